//! A process of its own that may read any file, and do nothing else.
//!
//! The daemon gives up every capability. Files that only root can read, such as those in which Docker
//! keeps the names of containers, are then read by this process, which was forked before. It has
//! [`Capability::CAP_DAC_READ_SEARCH`] and no other, the user and the seccomp filters of the daemon, and
//! a socket to it. What it answers is up to the caller: it should be little.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixStream},
    panic::{AssertUnwindSafe, catch_unwind},
};

use caps::{CapSet, Capability, CapsHashSet};

use super::{PrivilegeError, User, drop_all, seccomp};

/// Forks the process, which runs `work` with its end of a socket, and ends with it. Returns the other end;
/// if that is closed, the process should end.
///
/// Returns `None` if this process lacks the capability, or if `user` is root, who owns these files.
///
/// # Errors
/// [`PrivilegeError`] if the process cannot be made.
pub fn start(
    user: &User,
    work: impl FnOnce(UnixStream),
) -> Result<Option<UnixStream>, PrivilegeError> {
    let failed = |error: &dyn std::fmt::Display| {
        PrivilegeError::Drop(format!("cannot start a process that reads files: {error}"))
    };
    let may_read = caps::has_cap(None, CapSet::Effective, Capability::CAP_DAC_READ_SEARCH);
    if user.is_root() || !may_read.unwrap_or(false) {
        return Ok(None);
    }
    let (ours, theirs) = UnixStream::pair().map_err(|error| failed(&error))?;
    // SAFETY: the child does not use what other threads may have locked but the allocator, which the C
    // library leaves in order (fork(3), glibc), and ends without destructors.
    match unsafe { nix::unistd::fork() }.map_err(|errno| failed(&errno))? {
        nix::unistd::ForkResult::Child => {
            // A panic must not unwind into what the parent does.
            let _ = catch_unwind(AssertUnwindSafe(|| {
                close_all_but(theirs.as_raw_fd());
                if confine(user).is_ok() {
                    work(theirs);
                }
            }));
            // SAFETY: ends this process, whose only thread this is.
            unsafe { libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { .. } => Ok(Some(ours)),
    }
}

/// Closes every descriptor but one: maps, programs, sockets, the log.
fn close_all_but(kept: i32) {
    let kept = kept.cast_unsigned();
    for (first, last) in [(0, kept.saturating_sub(1)), (kept + 1, u32::MAX)] {
        // SAFETY: what is closed is used by nobody: this process runs nothing of what it was before.
        let closed = unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) };
        if closed != 0 {
            // Linux 5.8 and earlier lack the call.
            (first..=last.min(MAX_DESCRIPTOR)).for_each(|fd| {
                // SAFETY: as above.
                unsafe { libc::close(fd.cast_signed()) };
            });
        }
    }
}

/// The most descriptors that the daemon has, and more.
const MAX_DESCRIPTOR: u32 = 4_096;

/// Confines this process as the daemon, but keeps the capability.
fn confine(user: &User) -> Result<(), Box<dyn std::error::Error>> {
    let keep = |permitted: &CapsHashSet| {
        let kept = Capability::CAP_DAC_READ_SEARCH;
        permitted.contains(&kept).then_some(kept).into_iter().collect()
    };
    drop_all(user, keep)?.map_err(io::Error::from)?;
    seccomp::install(false)?;
    Ok(())
}
