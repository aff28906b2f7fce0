//! The compiled objects: embedded in the executable, which therefore needs no other file.
//!
//! `cargo xtask build-ebpf` makes the objects. A debug build, or a build with the feature
//! `object-override`, reads them from the directory that `PROFILER_OBJECT_DIR` names, so that the
//! kernel tests can run on objects that are not committed. A release build ignores the variable,
//! which could make a privileged process load other programs.

use std::borrow::Cow;

/// A compiled object.
#[derive(Clone, Copy, Debug)]
pub(super) struct File {
    name: &'static str,
    embedded: &'static [u8],
}

macro_rules! file {
    ($name:literal) => {
        File { name: $name, embedded: aya::include_bytes_aligned!(concat!("../objects/", $name)) }
    };
}

/// Counts calls, on kernels with arenas.
pub(super) static ARENA: File = file!("profiler-arena.bpf.o");
/// Counts calls, on kernels with typed tracepoints and task storage.
pub(super) static TASK: File = file!("profiler-task.bpf.o");
/// Counts calls, on all other kernels.
pub(super) static TID: File = file!("profiler-tid.bpf.o");
/// Reports the profiler's process id on the host, and the kernel's clock.
pub(super) static IDENTITY: File = file!("profiler-identity.bpf.o");
/// Puts indexes onto the free stacks.
pub(super) static FILL: File = file!("profiler-fill.bpf.o");
/// Follows single calls.
pub(super) static TRACE: File = file!("profiler-trace.bpf.o");

/// Sums up stacks of calls.
pub(super) static STACKS: File = file!("profiler-stacks.bpf.o");

impl File {
    /// The bytes to load.
    pub(super) fn bytes(&self) -> Cow<'static, [u8]> {
        overridden(self.name).unwrap_or(Cow::Borrowed(self.embedded))
    }
}

/// The object of this name in the directory that `PROFILER_OBJECT_DIR` names.
///
/// # Panics
///
/// If the directory lacks the object. The embedded object would pass a test that was meant for
/// another one.
#[cfg(any(debug_assertions, feature = "object-override"))]
fn overridden(name: &str) -> Option<Cow<'static, [u8]>> {
    let file = std::path::Path::new(&std::env::var_os("PROFILER_OBJECT_DIR")?).join(name);
    match std::fs::read(&file) {
        Ok(bytes) => Some(Cow::Owned(bytes)),
        Err(error) => {
            panic!("PROFILER_OBJECT_DIR: cannot read {}: {error}", crate::text::path(&file))
        }
    }
}

#[cfg(not(any(debug_assertions, feature = "object-override")))]
fn overridden(_name: &str) -> Option<Cow<'static, [u8]>> {
    None
}
