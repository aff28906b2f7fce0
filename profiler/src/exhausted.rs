//! Errors of exhausted resources: names the limit that was reached, and how to raise it.

use std::io;

use nix::sys::resource::{Resource, getrlimit};

/// A resource that a syscall found exhausted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exhausted {
    /// `EMFILE`: this process's file descriptors.
    OpenFiles,
    /// `ENFILE`: the host's file descriptors.
    HostFiles,
    /// `ENOMEM`: memory.
    Memory,
    /// `ENOSPC`: space in a file system or in a table of the kernel.
    Space,
    /// `EAGAIN`: threads, or a retry limit of the kernel.
    Threads,
}

impl Exhausted {
    /// The exhausted resource that `error` reports, if it reports one.
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
                    "the limit of open files of this process is {limit}: raise it, for example by \
                     `ulimit -n 1024`,\nor LimitNOFILE=1024 in a systemd unit"
                )
            }
            Self::HostFiles => {
                "the host has reached its limit of open files: raise sysctl fs.file-max".into()
            }
            Self::Memory => {
                "reduce --max-memory and --max-threads, or raise the limit of the memory \
                             cgroup\n(MemoryMax= in a systemd unit)"
                    .into()
            }
            Self::Space => "a table of the kernel, or the disk, is full".into(),
            Self::Threads => {
                "try again; if that does not help, raise the limit of threads of the user \
                              (`ulimit -u`)\nor of the cgroup (pids.max)"
                    .into()
            }
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
            (libc::ENOSPC, "is full"),
            (libc::EAGAIN, "ulimit -u"),
        ] {
            let exhausted = Exhausted::of(&io::Error::from_raw_os_error(errno));
            let hint = exhausted.expect("a resource").hint();
            assert!(hint.contains(word), "{hint}");
        }
        assert_eq!(Exhausted::of(&io::Error::from_raw_os_error(libc::EPERM)), None);
    }
}
