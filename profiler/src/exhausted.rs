//! Resources that ran out: which limit was reached, and what raises it. Such a failure is no
//! lack of privilege, and no fault of the kernel.

use std::io;

use nix::sys::resource::{Resource, getrlimit};

/// A resource that a system call found exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// `EMFILE`: this process's file descriptors.
    OpenFiles,
    /// `ENFILE`: the host's file descriptors.
    HostFiles,
    /// `ENOMEM`: memory.
    Memory,
    /// `ENOSPC`: room in a file system or in a table of the kernel.
    Space,
    /// `EAGAIN`: threads, or the kernel's patience.
    Threads,
}

impl Exhausted {
    /// The resource that `error` says is exhausted, if it says so.
    pub fn of(error: &io::Error) -> Option<Self> {
        Some(match error.raw_os_error()? {
            libc::EMFILE => Self::OpenFiles,
            libc::ENFILE => Self::HostFiles,
            libc::ENOMEM => Self::Memory,
            libc::ENOSPC => Self::Space,
            libc::EAGAIN => Self::Threads,
            _ => return None,
        })
    }

    /// What the user can do.
    pub fn hint(self) -> String {
        match self {
            Self::OpenFiles => {
                let limit = getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft);
                format!(
                    "this process may have {limit} open files: raise that, for example by \
                     `ulimit -n 1024`,\nor LimitNOFILE=1024 in a systemd unit"
                )
            }
            Self::HostFiles => {
                "the host has as many open files as it allows: see sysctl fs.file-max".into()
            }
            Self::Memory => {
                "ask for less by --max-memory and --max-threads, or raise the limit of \
                             the memory cgroup\n(MemoryMax= in a systemd unit)"
                    .into()
            }
            Self::Space => "the kernel or the disk has no room left for it".into(),
            Self::Threads => "try again; if that does not help, raise the limit of threads: \
                              `ulimit -u` shows it,\nand pids.max that of the cgroup"
                .into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_resource_has_its_errno_and_a_hint() {
        for (errno, word) in [
            (libc::EMFILE, "ulimit -n"),
            (libc::ENFILE, "fs.file-max"),
            (libc::ENOMEM, "--max-memory"),
            (libc::ENOSPC, "no room"),
            (libc::EAGAIN, "ulimit -u"),
        ] {
            let exhausted = Exhausted::of(&io::Error::from_raw_os_error(errno));
            let hint = exhausted.expect("a resource").hint();
            assert!(hint.contains(word), "{hint}");
        }
        assert_eq!(Exhausted::of(&io::Error::from_raw_os_error(libc::EPERM)), None);
    }
}
