//! Which syscalls wait by nature. A thread can be in such a syscall for days. If another syscall
//! takes a second, something is wrong.

use std::sync::LazyLock;

use profiler_common::call::{CallKey, OVERFLOW_SLOTS};

use super::syscalls;
use crate::model::Kind;

/// Syscalls of [`Kind::Waits`], on every ABI: a name means the same on all of them.
const WAIT: &[&str] = &[
    // For a time.
    "nanosleep",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    // For a signal.
    "pause",
    "sigsuspend",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    // For a descriptor to be ready.
    "poll",
    "ppoll",
    "ppoll_time64",
    "select",
    "_newselect",
    "pselect6",
    "pselect6_time64",
    "epoll_wait",
    "epoll_pwait",
    "epoll_pwait2",
    // For a connection.
    "accept",
    "accept4",
    // For completions.
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_uring_enter",
    // For another thread. FUTEX_WAKE and similar operations return at once.
    "futex",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    // For a child.
    "wait4",
    "waitid",
    "waitpid",
    // For a message or a semaphore. A sender (msgsnd, mq_timedsend) waits only if nobody receives,
    // as a writer does.
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "msgrcv",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    // Continues a sleep, poll or futex that a stop interrupted: syscalls that set
    // `restart_block.fn` (kernel/signal.c, `sys_restart_syscall`).
    "restart_syscall",
];

/// Syscalls of [`Kind::MayWait`], on every ABI.
const MAY_WAIT: &[&str] = &[
    // Also from terminals, inotify, signalfd, eventfd, timerfd and /proc/kmsg. pread64 and preadv
    // are not in the list: descriptors without a position refuse them (ESPIPE).
    "read",
    "readv",
    // With position -1, the same as readv.
    "preadv2",
    "recvfrom",
    "recvmsg",
    "recvmmsg",
    "recvmmsg_time64",
    // At least one descriptor is a pipe.
    "splice",
    "tee",
    "vmsplice",
    // KVM_RUN, TIOCMIWAIT and BINDER_WRITE_READ wait. Hundreds of other requests work.
    "ioctl",
    // SYSLOG_ACTION_READ waits for the next message.
    "syslog",
    // These multiplex several operations: recv and accept, but also connect; semop and msgrcv, but
    // also shmat (net/socket.c, ipc/syscall.c).
    "socketcall",
    "ipc",
    // An unknown syscall may be of any kind.
    syscalls::UNKNOWN,
];

/// The kind of a syscall.
pub fn kind(key: CallKey) -> Kind {
    let name = syscalls::name(key);
    if WAIT.contains(&name) {
        Kind::Waits
    } else if MAY_WAIT.contains(&name) {
        Kind::MayWait
    } else {
        Kind::Works
    }
}

/// Whether a syscall waits by nature: [`kind`] is [`Kind::Waits`]. Looks up an array, so it can be
/// called for every row.
pub fn waits_by_nature(key: CallKey) -> bool {
    static WAITS: LazyLock<Vec<bool>> = LazyLock::new(|| {
        let waits = |key| kind(key) == Kind::Waits;
        (0..OVERFLOW_SLOTS).map(|at| CallKey::from_overflow_index(at).is_some_and(waits)).collect()
    });
    WAITS.get(key.overflow_index() as usize).copied().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use profiler_common::call::{ABIS, Abi};

    use super::*;

    fn every_key() -> impl Iterator<Item = CallKey> {
        ABIS.into_iter().flat_map(|abi| (0..abi.limit()).map(move |nr| CallKey::of(abi, nr)))
    }

    fn of(abi: Abi, nr: u32) -> (&'static str, Kind) {
        let key = CallKey::of(abi, nr);
        (syscalls::name(key), kind(key))
    }

    #[test]
    fn every_listed_name_is_that_of_a_call() {
        let known: HashSet<_> = every_key().map(syscalls::name).collect();
        for name in WAIT.iter().chain(MAY_WAIT) {
            assert!(known.contains(*name), "no ABI has {name}");
        }
    }

    #[test]
    fn no_name_is_listed_twice() {
        let all: HashSet<_> = WAIT.iter().chain(MAY_WAIT).collect();
        assert_eq!(all.len(), WAIT.len() + MAY_WAIT.len());
    }

    /// Variants of a syscall, for example for 64-bit time, have the same kind.
    #[test]
    fn forms_of_a_call_are_of_one_kind() {
        for key in every_key() {
            let name = syscalls::name(key);
            let Some(plain) = name.strip_suffix("_time64") else { continue };
            let other = every_key().find(|&key| syscalls::name(key) == plain);
            assert_eq!(other.map(kind), Some(kind(key)), "{name}");
        }
    }

    #[test]
    fn the_table_says_the_same_as_the_names() {
        assert!(every_key().all(|key| waits_by_nature(key) == (kind(key) == Kind::Waits)));
    }

    #[test]
    fn numbers_mean_what_their_abi_says() {
        assert_eq!(of(Abi::X86_64, 202), ("futex", Kind::Waits));
        assert_eq!(of(Abi::I386, 240), ("futex", Kind::Waits));
        assert_eq!(of(Abi::I386, 422), ("futex_time64", Kind::Waits));
        assert_eq!(of(Abi::X32, 202), ("futex", Kind::Waits));
        assert_eq!(of(Abi::I386, 202).1, Kind::Works);
        assert_eq!(of(Abi::X86_64, 0), ("read", Kind::MayWait));
        assert_eq!(of(Abi::I386, 0), ("restart_syscall", Kind::Waits));
        assert_eq!(of(Abi::X32, 517), ("recvfrom", Kind::MayWait));
        assert_eq!(of(Abi::X86_64, 500), (syscalls::UNKNOWN, Kind::MayWait));
    }

    #[test]
    fn what_should_not_last_is_of_concern() {
        let works = [
            "close",
            "connect",
            "creat",
            "exit_group",
            "fcntl",
            "fdatasync",
            "flock",
            "fsync",
            "futex_wake",
            "mount",
            "openat",
            "pread64",
            "preadv",
            "sendmsg",
            "sync",
            "unlink",
            "vfork",
            "write",
        ];
        for name in works {
            let key = every_key().find(|&key| syscalls::name(key) == name);
            assert_eq!(key.map(kind), Some(Kind::Works), "{name}");
        }
    }
}
