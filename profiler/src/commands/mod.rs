//! The commands. No other module uses clap.

pub mod cli;
pub mod completions;
pub mod config;
pub mod daemon;
mod destination;
pub mod doctor;
pub mod error;
pub mod explain;
pub mod flame;
pub mod metrics;
mod places;
pub mod seccomp;
pub mod stat;
mod style;
pub mod syscalls;
mod target;
mod timed;
pub mod toml_file;
pub mod top;
pub mod trace;
mod wait;
