//! The processes of `-p`, by pidfd. A pidfd becomes readable when its process ends, even if its
//! parent has not reaped it, and even if another process has its id by now.

use std::{
    fs,
    os::fd::{AsFd, FromRawFd, OwnedFd},
};

use nix::{
    errno::Errno,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::LaunchError;
use crate::text::Untrusted;

/// Processes, running or ended.
pub(crate) struct Watched(Vec<OwnedFd>);

impl Watched {
    /// # Errors
    /// [`LaunchError::NoSuchProcess`] if one of them does not exist.
    pub(crate) fn new(pids: &[u32]) -> Result<Self, LaunchError> {
        pids.iter().map(|&pid| open(pid)).collect::<Result<_, _>>().map(Self)
    }

    /// Whether all processes have ended. `false` without processes.
    pub(crate) fn all_ended(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(has_ended)
    }
}

/// Opens the pidfd of a process (Linux 5.3).
fn open(pid: u32) -> Result<OwnedFd, LaunchError> {
    // SAFETY: takes two numbers, and returns a descriptor.
    let opened = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match (i32::try_from(opened), Errno::last()) {
        // SAFETY: the descriptor is new, and nothing else owns it.
        (Ok(descriptor @ 0..), _) => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        // EINVAL for 0, for negative ids, and for a thread that is not the leader of a process.
        (_, Errno::ESRCH | Errno::EINVAL | Errno::ENOENT) => Err(not_a_process(pid)),
        (_, errno) => Err(LaunchError::Watch(errno.into())),
    }
}

/// The error for an id that is not a process: the id is unused, or is that of a thread.
fn not_a_process(id: u32) -> LaunchError {
    let field = |of: u32, name: &str| {
        let status = fs::read(format!("/proc/{of}/status")).ok()?;
        let mut lines = status.split(|&b| b == b'\n');
        let value = lines.find_map(|line| line.strip_prefix(name.as_bytes()))?;
        Some(Untrusted::from_bytes(value.trim_ascii()))
    };
    let process = field(id, "Tgid:").and_then(|tgid| tgid.raw().parse().ok());
    match process {
        Some(process) if process != id => LaunchError::NotAProcess {
            id,
            process,
            name: field(process, "Name:").unwrap_or_default(),
        },
        _ => LaunchError::NoSuchProcess(id),
    }
}

fn has_ended(process: &OwnedFd) -> bool {
    let mut fds = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    poll(&mut fds, PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn what_is_no_process_is_not_there() {
        // 0, one beyond PID_MAX_LIMIT, and one that would be negative.
        for pid in [0, 999_999_999, u32::MAX] {
            assert!(matches!(Watched::new(&[pid]), Err(LaunchError::NoSuchProcess(p)) if p == pid));
        }
    }

    #[test]
    fn a_thread_is_told_from_nothing() {
        let (send, id) = std::sync::mpsc::channel();
        let (end, wait) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            send.send(nix::unistd::gettid().as_raw().cast_unsigned()).expect("it waits");
            let _ = wait.recv();
        });
        let id = id.recv().expect("an id");
        let refused = Watched::new(&[id]);
        drop(end);
        thread.join().expect("no panic");
        let own = std::process::id();
        assert!(
            matches!(refused, Err(LaunchError::NotAProcess { id: i, process, .. }) if (i, process) == (id, own))
        );
    }

    #[test]
    fn a_process_has_ended_before_it_is_asked_for() {
        let mut process =
            Command::new("cat").stdin(Stdio::piped()).spawn().expect("every host has one");
        let watched = Watched::new(&[process.id(), std::process::id()]).expect("two processes");
        let alone = Watched::new(&[process.id()]).expect("a process");
        assert!(!alone.all_ended());
        drop(process.stdin.take());
        while !alone.all_ended() {
            std::thread::yield_now();
        }
        assert!(!watched.all_ended(), "this one goes on");
        process.wait().expect("a child of ours");
        assert!(alone.all_ended());
    }

    #[test]
    fn no_process_never_ends() {
        assert!(!Watched::new(&[]).expect("nothing to open").all_ended());
    }
}
