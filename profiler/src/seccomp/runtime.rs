//! What a container runtime calls between the installation of a filter and the start of the program.
//!
//! The calls depend on when the runtime installs the filter. Without `no_new_privs`, runc needs its
//! privileges for that, so it installs the filter before it drops them. With it, runc installs the
//! filter just before execve. The runtime has several threads (Go's scheduler), and the filter
//! applies to all of them. Which calls they make differs from run to run, so that several runs were
//! measured: `profiler trace --format json -- runc run NAME`, with a profile whose default action is
//! `SCMP_ACT_LOG`. The calls are those of `runc init` from its last seccomp(2) to its execve(2).

/// The calls of runc, with the reason. Measured: runc 1.1.5 of Debian 12, 8 runs each.
pub fn runc(no_new_privs: bool) -> Vec<(&'static str, &'static str)> {
    const LATE: &str = "Not seen. runc 1.1.5 calls them, after it installed the filter \
                        just before it starts the program.";
    const EARLY: &str = "Not seen. runc 1.1.5 without no_new_privs calls them, after it installed \
                         the filter and before it drops privileges.";
    const SCHEDULER: &str = "Not seen. Go's scheduler in runc may call them.";
    let mut all: Vec<_> = OF_BOTH.iter().map(|name| (*name, LATE)).collect();
    if !no_new_privs {
        all.extend(OF_EARLY.iter().map(|name| (*name, EARLY)));
    }
    all.extend(OF_SCHEDULER.iter().map(|name| (*name, SCHEDULER)));
    all
}

/// Seen in all runs, or in some.
const OF_BOTH: [&str; 13] = [
    "close",
    "epoll_ctl",
    "epoll_pwait",
    "execve",
    "fstatfs",
    "futex",
    "getdents64",
    "getpid",
    "nanosleep",
    "openat",
    "prctl",
    "rt_sigreturn",
    "write",
];

/// In addition if the filter is installed early.
const OF_EARLY: [&str; 13] = [
    "capget",
    "capset",
    "chdir",
    "faccessat2",
    "fcntl",
    "fstat",
    "getcwd",
    "getppid",
    "newfstatat",
    "read",
    "setgid",
    "setgroups",
    "setuid",
];

/// Go's scheduler starts and wakes threads, yields, and preempts by a signal (`runtime/os_linux.go`,
/// `runtime/signal_unix.go`). Whether it does so in these few milliseconds is chance.
const OF_SCHEDULER: [&str; 12] = [
    "clone",
    "exit",
    "gettid",
    "madvise",
    "mmap",
    "munmap",
    "rt_sigaction",
    "rt_sigprocmask",
    "sched_yield",
    "sigaltstack",
    "tgkill",
    "epoll_create1",
];
