//! Reads what the programs recorded, computes differences, frees the records of ended threads, and
//! checks the accounting equation.
//!
//! The drain reads only [`Tables`](super::tables::Tables), so tests can run it without a kernel.

mod batch;
#[cfg(feature = "bench")]
pub mod bench;
mod books;
pub(super) mod departed;
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), expect(dead_code, reason = "the tests use all of it"))]
mod fake;
mod freeing;
pub(super) mod health;
pub(super) mod in_flight;
mod judging;
mod off_cpu;
mod overflow;
mod packed;
mod reader;
#[cfg(test)]
mod reader_properties;
#[cfg(test)]
mod reader_tests;
mod shadow;
mod slot;
mod thread_reading;
mod threads;
pub(super) mod user_names;
pub(super) mod users;

pub(super) use reader::Reader;
