//! What differs between architectures on the user side of the engine. Each architecture has a file
//! with the same items; x86_64 is the only one.
//!
//! The tables of syscalls are in `names/`, by ABI.

mod x86_64;

pub(crate) use x86_64::{CopyUnit, PAGE_SIZE, prefetch, probe_syscalls, status_offset_without_btf};
