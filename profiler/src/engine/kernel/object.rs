//! The compiled kernel side: embedded in the executable, so that it needs no
//! other file.
//!
//! `cargo xtask build-ebpf` makes the objects. A debug build, or one with the
//! feature `object-override`, takes them from the directory that
//! `PROFILER_OBJECT_DIR` names, so that the kernel tests can run on objects that
//! are not committed. A release build does not look at the environment: it would
//! be a way to have a privileged process load something else.

use std::borrow::Cow;

use super::{Options, features::Features};

/// Which object is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ObjectKind {
    /// Typed tracepoints, task storage, an arena.
    Arena,
    /// Typed tracepoints, task storage, arrays.
    Arrays,
    /// Raw tracepoints, a table of tasks, arrays.
    Fallback,
}

impl ObjectKind {
    /// The best object that this kernel is expected to load.
    pub(super) fn best(features: &Features, options: &Options) -> Self {
        if !features.has_typed_tracepoints() || options.force_fallback {
            Self::Fallback
        } else if features.has_arena() && !options.force_arrays {
            Self::Arena
        } else {
            Self::Arrays
        }
    }

    /// What the programs are built on, for people.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::Arena => "tp_btf, task storage, arena",
            Self::Arrays => "tp_btf, task storage",
            Self::Fallback => "raw_tp, table by task",
        }
    }
}

/// For kernels with arenas.
pub(super) fn arena() -> Cow<'static, [u8]> {
    overridden("profiler-arena.bpf.o")
        .unwrap_or(Cow::Borrowed(aya::include_bytes_aligned!("objects/profiler-arena.bpf.o")))
}

/// For those with BTF and task storage.
pub(super) fn task() -> Cow<'static, [u8]> {
    overridden("profiler-task.bpf.o")
        .unwrap_or(Cow::Borrowed(aya::include_bytes_aligned!("objects/profiler-task.bpf.o")))
}

/// For kernels without one of them.
pub(super) fn tid() -> Cow<'static, [u8]> {
    overridden("profiler-tid.bpf.o")
        .unwrap_or(Cow::Borrowed(aya::include_bytes_aligned!("objects/profiler-tid.bpf.o")))
}

/// Tells what the kernel calls us, and its clock.
pub(super) fn identity() -> Cow<'static, [u8]> {
    overridden("profiler-identity.bpf.o")
        .unwrap_or(Cow::Borrowed(aya::include_bytes_aligned!("objects/profiler-identity.bpf.o")))
}

/// # Panics
///
/// If the override names no such object: to go on with the embedded one would be
/// to test another than the one that was asked for.
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

#[cfg(test)]
mod tests {
    use object::{Object as _, ObjectSection as _, read::elf::ElfFile64};

    /// Without BTF the kernel would refuse `tp_btf` programs; with DWARF the
    /// objects would be several times as large.
    #[test]
    fn objects_have_btf_and_no_dwarf() {
        for bytes in [super::arena(), super::task(), super::tid(), super::identity()] {
            let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).expect("an ELF file");
            let names: Vec<_> = elf.sections().filter_map(|s| s.name().ok()).collect();
            assert!(names.contains(&".BTF") && names.contains(&".BTF.ext"), "{names:?}");
            assert!(!names.iter().any(|name| name.contains("debug")), "{names:?}");
            assert!(bytes.len() < 200_000, "{} bytes", bytes.len());
        }
    }
}
