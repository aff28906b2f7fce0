//! Drops the privileges that the daemon requires only to attach: user, capabilities, syscalls.

pub mod helper;
mod seccomp;
mod state;
mod user;

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant},
};

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl;

pub use self::{
    state::Confinement,
    user::{NOBODY, User},
};
use crate::text::json;

/// Why privileges cannot be dropped.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The threads of this process cannot be listed.
    #[error("cannot list own threads in /proc/self/task (is /proc mounted?): {0}")]
    Threads(io::Error),
    /// The remaining privileges cannot be read.
    #[error("cannot read /proc/thread-self/status: {0}")]
    State(io::Error),
    /// Any other failure, for people.
    #[error("cannot drop privileges: {0}")]
    Drop(String),
}

impl From<String> for PrivilegeError {
    fn from(why: String) -> Self {
        Self::Drop(why)
    }
}

/// How long an ended thread may stay in /proc. On a busy host, the thread waits for a CPU before it
/// is gone.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Drops the privileges of this process permanently:
///
/// 1. Changes to `user`, if the process runs as root.
/// 2. Drops every capability that a drain does not require. On kernels before 5.19, keeps the
///    capability to use `bpf(2)`.
/// 3. Sets no_new_privs, and makes the process not dumpable, so that other processes of its user
///    cannot trace it.
/// 4. Installs seccomp filters.
///
/// If `may_unlink` is true, the filters allow unlink(2), with which the daemon removes its Unix
/// socket.
///
/// Returns the remaining privileges, and the steps that failed with their reasons. If the process
/// stays root, that is a failed step only for the default `user`, [`NOBODY`].
///
/// Attached programs stay attached, and open descriptors of maps stay usable, because the kernel
/// checked the privilege when they were created. But before 5.19, `__sys_bpf`
/// (kernel/bpf/syscall.c) returns EPERM for every command if the process is not capable and
/// `kernel.unprivileged_bpf_disabled` is set. So even a push to a queue with an open descriptor
/// requires `CAP_BPF`. From 5.19 on (c8644cd0efe7), only creating maps and loading programs does.
/// The profiler tests which of the two applies, because a distribution may have backported the
/// change.
///
/// # Errors
/// [`PrivilegeError`] if capabilities cannot be dropped, or if this process cannot change to a user
/// other than [`NOBODY`].
pub fn confine(
    user: &User,
    may_unlink: bool,
) -> Result<(Confinement, Vec<String>), PrivilegeError> {
    wait_for_single_thread()?;
    let mut undone = Vec::new();
    let keep = |permitted: &CapsHashSet| {
        if bpf_is_refused() { bpf_right(permitted) } else { CapsHashSet::new() }
    };
    let unprivileged =
        drop_all(user, keep).map_err(|error| PrivilegeError::Drop(error.to_string()))?;
    if let Err(errno) = unprivileged {
        let why = format!(
            "cannot change to user {user}, which requires CAP_SETUID and CAP_SETGID: {errno}"
        );
        if !user.is_default() {
            return Err(why.into());
        }
        undone.push(why);
    }
    if let Err(error) = seccomp::install(may_unlink) {
        undone.push(format!("cannot install a seccomp filter: {error}"));
    }
    Ok((Confinement::read()?, undone))
}

/// Waits until the process has only one thread. Each thread has capabilities of its own, so another
/// thread would keep them. A joined thread stays in /proc until the kernel has finished with it:
/// `do_exit` (kernel/exit.c) first wakes the joining thread, in `exit_mm`.
fn wait_for_single_thread() -> Result<(), PrivilegeError> {
    let deadline = Instant::now() + LAST_BREATH;
    loop {
        let threads = fs::read_dir("/proc/self/task").map_err(PrivilegeError::Threads)?.count();
        if threads == 1 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("{threads} threads are running; expected one").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// Drops user and capabilities, except those that `keep` chooses from the permitted ones. `keep` runs
/// when no capability is in effect. The inner result says whether the process could change to `user`.
fn drop_all(
    user: &User,
    keep: impl FnOnce(&CapsHashSet) -> CapsHashSet,
) -> Result<nix::Result<()>, Box<dyn std::error::Error>> {
    // First drop what an exec could restore, while the process still has CAP_SETPCAP. Without
    // CAP_SETPCAP, as in the systemd unit, no_new_privs prevents that an exec restores
    // capabilities.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // Otherwise, changing the user would drop CAP_BPF, which older kernels still require.
    prctl::set_keepcaps(true)?;
    let became = user.become_it();
    prctl::set_keepcaps(false)?;
    prctl::set_no_new_privs()?;

    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::clear(None, CapSet::Effective)?;
    let kept = keep(&permitted);
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    // This comes last, because a change of credentials resets it (commit_creds, kernel/cred.c).
    prctl::set_dumpable(false)?;
    Ok(became)
}

/// Drops the privileges of a forked process, for `doctor`, which keeps its own. Returns the
/// remaining privileges, and the problems with them.
///
/// # Errors
/// The reason, for people, if the privileges cannot be dropped.
pub fn try_confining(user: &User) -> Result<(String, Vec<String>), String> {
    in_child(|| {
        let (state, undone) = confine(user, false)?;
        Ok((state.to_string(), [undone, state.weaknesses()].concat()))
    })
}

/// Runs `work` in a child process, and returns its result.
fn in_child(
    work: impl FnOnce() -> Result<(String, Vec<String>), PrivilegeError>,
) -> Result<(String, Vec<String>), String> {
    let failed =
        |error: &dyn std::fmt::Display| format!("cannot run the check in a child process: {error}");
    let (mut reader, mut writer) = io::pipe().map_err(|error| failed(&error))?;
    // SAFETY: other threads may hold locks. The child uses only the lock of the allocator, which
    // the C library resets (fork(3), glibc), and ends without destructors.
    match unsafe { nix::unistd::fork() }.map_err(|errno| failed(&errno))? {
        nix::unistd::ForkResult::Child => {
            // A panic in the child must not unwind into the code of the parent.
            let work = catch_unwind(AssertUnwindSafe(work));
            let outcome = work
                .map(|outcome| outcome.map_err(|error| error.to_string()))
                .unwrap_or_else(|_| Err("it panicked".into()));
            let _ = json::write(&mut writer, &outcome);
            // SAFETY: ends this process, which has only this thread.
            unsafe { libc::_exit(0) }
        }
        nix::unistd::ForkResult::Parent { child } => {
            drop(writer);
            let outcome = serde_json::from_reader(&mut reader);
            let _ = nix::sys::wait::waitpid(child, None);
            outcome.map_err(|error| failed(&error))?
        }
    }
}

/// The capability of `permitted` with which the kernel's `bpf_capable()` is true.
fn bpf_right(permitted: &CapsHashSet) -> CapsHashSet {
    [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .find(|capability| permitted.contains(capability))
        .into_iter()
        .collect()
}

/// Whether the kernel refuses bpf(2) before it looks at the map.
fn bpf_is_refused() -> bool {
    /// The part of `union bpf_attr` for commands on elements (include/uapi/linux/bpf.h).
    #[repr(C)]
    struct Element {
        map_fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
    let no_map = Element { map_fd: u32::MAX, padding: 0, key: 0, value: 0, flags: 0 };
    // SAFETY: the kernel reads `size_of::<Element>()` bytes of a live `Element`, and follows
    // neither pointer, because -1 is not a descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, &raw const no_map, size_of::<Element>())
    };
    // After the check for privilege, the error would be EBADF.
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_right_is_kept() {
        let of =
            |capabilities: &[Capability]| capabilities.iter().copied().collect::<CapsHashSet>();
        let both = of(&[Capability::CAP_SYS_ADMIN, Capability::CAP_BPF, Capability::CAP_CHOWN]);
        assert_eq!(bpf_right(&both), of(&[Capability::CAP_BPF]));
        assert_eq!(bpf_right(&of(&[Capability::CAP_SYS_ADMIN])), of(&[Capability::CAP_SYS_ADMIN]));
        assert_eq!(bpf_right(&of(&[Capability::CAP_CHOWN])), of(&[]));
    }

    /// Does not require root, because any process can drop capabilities. Runs in a separate
    /// process, because the test runner has other threads.
    #[test]
    fn nothing_is_left_that_draining_does_not_need() {
        let (state, undone) = in_child(|| {
            let (state, undone) = confine(&User::find(NOBODY).expect("nobody"), false)?;
            Ok((state.to_string(), [undone, state.weaknesses()].concat()))
        })
        .expect("a process can always be confined");
        assert_eq!(undone, <[String; 0]>::default());
        assert!(state.contains("no_new_privs yes, seccomp filters"), "{state}");
        assert!(state.ends_with("dumpable no"), "{state}");
        assert!(state.contains(", no capability, ") || state.contains(", CAP_BPF, "), "{state}");
    }
}
