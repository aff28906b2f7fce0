//! The kernel engine: the only place that uses aya.
//!
//! [`Session`] loads and attaches the objects of a query. [`Tables`] reads what the programs
//! recorded, as plain values. [`drain`] interprets these values. [`Profiler`] is the engine.
//!
//! The modules form a tree: `xtask tidy` checks that there is no circle between them.

mod allocator;
mod arch;
mod arena;
mod attached;
mod btf;
mod call_lister;
mod cast;
mod cgroups;
mod directories;
pub mod drain;
mod error;
mod failures;
mod fd_info;
pub mod features;
mod filter;
mod fit;
mod hierarchies;
mod host_tasks;
mod host_threads;
mod identity;
mod layout;
mod load;
mod loader;
mod mapping;
mod maps;
mod memory_limit;
mod meter;
mod object;
mod operations;
mod options;
mod profiler;
mod programs;
mod provenance;
mod region;
mod rings;
mod session;
mod settings;
mod sharing;
mod signals;
pub mod stacks;
mod statistics;
mod tables;
pub mod trace;
#[cfg(any(debug_assertions, feature = "object-override"))]
pub mod trial;

pub use allocator::{release_memory, return_large_blocks};
pub use cast::Cast;
pub use cgroups::existing as existing_cgroups;
pub use error::KernelError;
pub use fit::Fit;
pub use memory_limit::MemoryLimit;
pub use object::program_names;
pub use options::{Options, Request};
pub use profiler::Profiler;
pub use rings::Rings;
pub use session::Session;
pub use signals::SignalsSent;
pub use statistics::{Statistics, can_be_kept};
pub use tables::{Activity, Before, MapTables, SlotCounts, Tables};
