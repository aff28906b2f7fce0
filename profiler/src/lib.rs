//! A system-wide syscall profiler.
//!
//! Data flows one way. [`commands`] parses flags into a query; an [`engine`] attaches to it and
//! produces snapshots of the [`model`]; [`present`] renders them, and [`serve`] serves them.
//! `xtask tidy` enforces the arrows that ARCHITECTURE.md shows.

#![deny(clippy::print_stderr, clippy::print_stdout)]

pub mod address;
pub mod aggregate;
pub mod budget;
pub mod commands;
pub mod decode;
pub mod duration;
pub mod engine;
mod environment;
pub mod exhausted;
pub mod filter;
mod inherited;
pub mod inspect;
mod launch;
pub mod logging;
pub mod model;
pub mod names;
pub mod placement;
pub mod present;
pub mod privilege;
mod proc_fields;
mod regular_file;
pub mod seccomp;
pub mod serve;
pub mod streams;
#[cfg(feature = "symbols")]
pub mod symbols;
pub mod text;
mod users;
