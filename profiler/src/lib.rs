//! A system-wide system-call profiler.
//!
//! Data flows one way: [`filter`] says what is to count, [`kernel`] reads what the eBPF programs recorded,
//! [`drain`] does so in time, [`aggregate`] adds it up, [`enrich`] names it,
//! [`snapshot`] is the result that every consumer reads, and [`export`],
//! [`stat`] and [`tui`] show it.

#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod address;
pub mod aggregate;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod doctor;
pub mod drain;
pub mod duration;
pub mod enrich;
mod environment;
pub mod error;
pub mod exhausted;
pub mod export;
pub mod filter;
mod inherited;
mod interruptible;
pub mod kernel;
pub mod logging;
mod prefetch;
pub mod privilege;
mod proc_fields;
pub mod rows;
pub mod snapshot;
pub mod stat;
pub mod streams;
pub mod text;
pub mod tui;
pub mod units;
mod watched;
