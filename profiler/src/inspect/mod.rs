//! Reads from /proc what one process is doing: the calls of its threads, what they wait for, and who
//! is at the other end.
//!
//! Every read is bounded: in bytes, in number, and in time ([`Patience`]), because /proc can block
//! as the process does. The parsers are pure.

mod bounded;
mod calls;
mod explain;
pub mod fdinfo;
mod files;
mod futex;
mod holders;
mod limits;
pub mod locks;
mod memory;
pub mod net;
mod process;
mod sockets;
pub mod task;
mod waits;

pub use self::{
    bounded::Patience,
    calls::{Task, calls_in_flight, parse as parse_call},
    explain::{Age, explain},
    process::{Failure, Reading, ThreadReading, process_of},
};
