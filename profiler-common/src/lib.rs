//! What both sides of `profiler` share: the values in the maps ([`wire`]), the constants that the
//! user side sets ([`settings`]), capacities ([`limits`]), keys of calls ([`call`]) and buckets of
//! latencies ([`hist`]).
//!
//! The crate is `no_std`, so that the kernel side and the user side compile the same source.
#![no_std]

pub mod arch;
pub mod arena;
pub mod call;
pub mod cgroup;
pub mod failing;
pub mod fill;
pub mod hint;
pub mod hist;
pub mod identity;
pub mod io_uring;
pub mod limits;
pub mod maps;
pub mod recorder;
pub mod sampling;
pub mod settings;
pub mod share;
pub mod signals;
pub mod stacks;
pub mod trace;
pub mod wire;
