//! Structures in the memory of a process, by the name that signatures use.

mod files;
mod process;
mod read;
mod signals;
mod sockets;
mod time;

use profiler_common::call::Abi;

use super::{Style, Value};

/// A structure that calls pass by its address.
#[derive(Clone, Copy, Debug)]
pub struct Structure {
    /// The name by which signatures refer to the structure, such as `stat` in `struct:stat`.
    pub name: &'static str,
    /// Bytes of the structure; of a structure of variable size, the most that are copied.
    pub bytes: fn(Abi) -> usize,
    /// Decodes the bytes. There can be fewer than `bytes` if the call passes the size, as with
    /// `sockaddr` and `clone_args`.
    pub decode: fn(&[u8], Abi, &Style) -> Value,
}

/// Structures to which later kernels add fields. A process says how long its structure is.
pub(super) const EXTENSIBLE: [&str; 3] = ["open_how", "clone_args", "landlock_ruleset_attr"];

/// Bytes that are copied behind the known fields of an extensible structure.
pub(super) const TAIL: usize = 64;

/// The date of a time since 1970 in UTC.
pub(super) fn date(seconds: i64) -> Option<String> {
    time::date(seconds, "")
}

/// The structure of this name.
pub fn find(name: &str) -> Option<&'static Structure> {
    ALL.iter().copied().flatten().find(|structure| structure.name == name)
}

/// The structures. One table per subject, in a file of its own.
static ALL: [&[Structure]; 5] = [files::ALL, process::ALL, signals::ALL, sockets::ALL, time::ALL];

#[cfg(test)]
mod tests;
