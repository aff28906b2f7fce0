//! Gives up what attaching needed and running does not: user, capabilities, system calls.

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
    /// The threads of this process are not known.
    #[error("cannot list own threads in /proc/self/task (is /proc mounted?): {0}")]
    Threads(io::Error),
    /// The privileges that are left are not known.
    #[error("cannot read /proc/thread-self/status: {0}")]
    State(io::Error),
    /// Something else, for people.
    #[error("cannot drop privileges: {0}")]
    Drop(String),
}

impl From<String> for PrivilegeError {
    fn from(why: String) -> Self {
        Self::Drop(why)
    }
}

/// How long a thread that has ended may stay listed: on a host without idle CPUs it has to wait
/// for one.
const LAST_BREATH: Duration = Duration::from_secs(10);

/// Confines this process for good:
///
/// 1. It becomes `user`, if it runs as root.
/// 2. It gives up every capability that draining does not need: all, or on kernels before
///    5.19 all but the right to use `bpf(2)`.
/// 3. It sets no_new_privs, cannot be traced by its user's other processes, and leaves no
///    core dump.
/// 4. It installs seccomp filters.
///
/// If `may_unlink`, the filters allow to remove files, as the daemon removes its Unix socket.
///
/// Returns what is left, and what could not be done and why. To remain root is such a case
/// only if `user` is the default, [`NOBODY`].
///
/// What is attached stays attached, and open descriptors of maps stay usable: the
/// kernel checked at their creation. But before 5.19 `__sys_bpf` (kernel/bpf/syscall.c)
/// begins with "not capable and `kernel.unprivileged_bpf_disabled`: EPERM", whatever
/// the command, so there even a push to a queue whose descriptor we hold needs
/// `CAP_BPF`. From 5.19 on (c8644cd0efe7) only creating maps and loading programs
/// does. Which of the two this kernel is, it is asked; a version would not tell what
/// a distribution has backported.
///
/// # Errors
/// [`PrivilegeError`] if capabilities cannot be given up, or if this process cannot
/// become a user other than [`NOBODY`].
pub fn confine(
    user: &User,
    may_unlink: bool,
) -> Result<(Confinement, Vec<String>), PrivilegeError> {
    wait_for_single_thread()?;
    let mut undone = Vec::new();
    let unprivileged = drop_all(user).map_err(|error| PrivilegeError::Drop(error.to_string()))?;
    if let Err(errno) = unprivileged {
        let why =
            format!("cannot become the user {user}, for want of CAP_SETUID or CAP_SETGID: {errno}");
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

/// Waits until this is the only thread. Capabilities are a thread's: another one would keep its
/// own. A thread that was joined is still listed until the kernel is done with it: `do_exit`
/// (kernel/exit.c) first wakes whoever joins it, in `exit_mm`.
fn wait_for_single_thread() -> Result<(), PrivilegeError> {
    let deadline = Instant::now() + LAST_BREATH;
    loop {
        let threads = fs::read_dir("/proc/self/task").map_err(PrivilegeError::Threads)?.count();
        if threads == 1 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            return Err(format!("{threads} threads run where one was expected").into());
        }
        thread::sleep(Duration::from_millis(1));
    }
}

/// The inner result is that of becoming `user`.
fn drop_all(user: &User) -> Result<nix::Result<()>, Box<dyn std::error::Error>> {
    // What an exec can bring back goes first, while the right to take it away is
    // still there. Without that right (as in the systemd unit, whose bounding set
    // is small from the start) no_new_privs alone has to do, and does.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    // Or becoming another user would take CAP_BPF away where it is still needed.
    prctl::set_keepcaps(true)?;
    let became = user.become_it();
    prctl::set_keepcaps(false)?;
    prctl::set_no_new_privs()?;

    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::clear(None, CapSet::Effective)?;
    let kept = if bpf_is_refused() { bpf_right(&permitted) } else { CapsHashSet::new() };
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    // Last, since other credentials reset it (commit_creds, kernel/cred.c).
    prctl::set_dumpable(false)?;
    Ok(became)
}

/// Confines a process that is forked for it, and returns what is left to it and what is
/// amiss with that: for `doctor`, whose own process goes on.
///
/// # Errors
/// In words, if the process cannot be confined at all.
pub fn try_confining(user: &User) -> Result<(String, Vec<String>), String> {
    in_child(|| {
        let (state, undone) = confine(user, false)?;
        Ok((state.to_string(), [undone, state.weaknesses()].concat()))
    })
}

/// What `work` returns in a child process.
fn in_child(
    work: impl FnOnce() -> Result<(String, Vec<String>), PrivilegeError>,
) -> Result<(String, Vec<String>), String> {
    let failed = |error: &dyn std::fmt::Display| format!("cannot try it: {error}");
    let (mut reader, mut writer) = io::pipe().map_err(|error| failed(&error))?;
    // SAFETY: the child does not use what other threads may have locked but the allocator,
    // which the C library leaves in order (fork(3), glibc), and ends without destructors.
    match unsafe { nix::unistd::fork() }.map_err(|errno| failed(&errno))? {
        nix::unistd::ForkResult::Child => {
            // A panic must not unwind into what the parent does.
            let work = catch_unwind(AssertUnwindSafe(work));
            let outcome = work
                .map(|outcome| outcome.map_err(|error| error.to_string()))
                .unwrap_or_else(|_| Err("it panicked".into()));
            let _ = json::write(&mut writer, &outcome);
            // SAFETY: ends this process, whose only thread this is.
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

/// The least of `permitted` that makes the kernel's `bpf_capable()` true.
fn bpf_right(permitted: &CapsHashSet) -> CapsHashSet {
    [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .find(|capability| permitted.contains(capability))
        .into_iter()
        .collect()
}

/// Whether the kernel refuses to update a map before it has even looked at which.
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
    // SAFETY: the kernel reads `size_of::<Element>()` bytes of a live `Element`, and
    // follows neither pointer, as -1 is no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, &raw const no_map, size_of::<Element>())
    };
    // Past the check for privilege it is EBADF.
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

    /// Needs no root: every set can always be made smaller. In a process of its own, since
    /// the test runner has other threads.
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
