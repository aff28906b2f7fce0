//! Makes loaders that have not parsed the kernel's types.
//!
//! `EbpfLoader::new` always parses /sys/kernel/btf/vmlinux for relocations. The objects have no
//! such relocations: `features` and `btf` read what is needed. The parsed types would use some
//! 14 MiB, more than anything else at the start, and double the time of the attach on one CPU. So
//! a thread that cannot open files makes the loader.

use std::{collections::BTreeMap, thread};

use aya::EbpfLoader;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, TargetArch, apply_filter};

/// Makes a loader.
pub(super) fn without_types() -> EbpfLoader<'static> {
    let made = thread::Builder::new().spawn(|| {
        // Without seccomp, the loader parses the types for nothing.
        if let Err(error) = refuse_files() {
            tracing::debug!("the loader parses the kernel's types: {error}");
        }
        empty()
    });
    made.ok().and_then(|thread| thread.join().ok()).unwrap_or_else(empty)
}

fn empty() -> EbpfLoader<'static> {
    let mut loader = EbpfLoader::new();
    loader.btf(None);
    loader
}

/// Makes the kernel refuse to open files in this thread, by a seccomp filter of the thread.
fn refuse_files() -> Result<(), Box<dyn std::error::Error>> {
    let rules = BTreeMap::from([(libc::SYS_openat, Vec::new())]);
    let refuse = SeccompAction::Errno(libc::ENOENT as u32);
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, architecture)?;
    Ok(apply_filter(&BpfProgram::try_from(filter)?)?)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn only_the_thread_that_makes_the_loader_cannot_open_files() {
        let in_thread = thread::spawn(|| {
            refuse_files().expect("seccomp");
            File::open("/proc/self/status").expect_err("refused").kind()
        });
        assert_eq!(in_thread.join().expect("no panic"), std::io::ErrorKind::NotFound);
        without_types();
        File::open("/proc/self/status").expect("a file of ours");
    }
}
