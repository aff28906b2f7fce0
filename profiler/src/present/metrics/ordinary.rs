//! A snapshot of an ordinary host, from which its samples are counted.
//!
//! The syscalls and errnos come from a Debian 12 host that compiled programs, ran containers, and
//! served a web site from a database. The list has the 90 syscalls that the host made most often,
//! without those of test programs.

use profiler_common::{
    call::{Abi, CallKey, OVERFLOW_SLOTS},
    limits::ERRNOS,
};

use super::explain::{Setup, health, is_counted};
use crate::{
    model::{CallInFlight, CallRow, Figures, InFlight, Kind, Snapshot},
    names::{errnos, syscalls, waits},
};

/// Syscalls of x86_64, and the errnos that they return.
const CALLS: [(&str, &[&str]); 90] = [
    ("accept4", &["EAGAIN"]),
    ("access", &["ENOENT"]),
    ("arch_prctl", &[]),
    ("bind", &["EADDRINUSE"]),
    ("brk", &[]),
    ("chdir", &["ENOENT"]),
    ("chmod", &["ENOENT"]),
    ("clock_nanosleep", &[]),
    ("clone", &[]),
    ("clone3", &[]),
    ("close", &["EBADF"]),
    ("connect", &["EINPROGRESS", "ENOENT", "ECONNREFUSED"]),
    ("copy_file_range", &["EBADF"]),
    ("dup2", &[]),
    ("epoll_create1", &[]),
    ("epoll_ctl", &["EPERM", "ENOENT"]),
    ("epoll_pwait", &["EINTR"]),
    ("epoll_wait", &["EINTR"]),
    ("eventfd2", &[]),
    ("execve", &["EACCES", "ENOENT"]),
    ("exit", &[]),
    ("exit_group", &[]),
    ("faccessat2", &["ENOENT"]),
    ("fadvise64", &["ESPIPE"]),
    ("fchmod", &[]),
    ("fchown", &[]),
    ("fcntl", &["EBADF"]),
    ("fdatasync", &[]),
    ("fgetxattr", &["ENODATA"]),
    ("fstat", &[]),
    ("fstatfs", &[]),
    ("fsync", &["EINVAL"]),
    ("ftruncate", &[]),
    ("futex", &["EAGAIN", "EINTR", "ETIMEDOUT"]),
    ("getcwd", &[]),
    ("getdents64", &[]),
    ("getegid", &[]),
    ("geteuid", &[]),
    ("getgid", &[]),
    ("getpid", &[]),
    ("getppid", &[]),
    ("getrandom", &[]),
    ("getrusage", &[]),
    ("getsockname", &[]),
    ("getsockopt", &[]),
    ("gettid", &[]),
    ("getuid", &[]),
    ("getxattr", &["ENODATA"]),
    ("ioctl", &["ENOTTY", "EOPNOTSUPP"]),
    ("kill", &["ESRCH"]),
    ("linkat", &[]),
    ("lseek", &["ENXIO", "ESPIPE"]),
    ("lstat", &["ENOENT"]),
    ("madvise", &[]),
    ("mkdir", &["EEXIST", "ENOENT"]),
    ("mmap", &[]),
    ("mprotect", &[]),
    ("mremap", &[]),
    ("munmap", &[]),
    ("newfstatat", &["EACCES", "ENOENT"]),
    ("openat", &["EACCES", "ENOENT", "ENOTDIR", "ENXIO"]),
    ("pipe2", &[]),
    ("poll", &[]),
    ("prctl", &["EINVAL"]),
    ("pread64", &[]),
    ("prlimit64", &["EPERM"]),
    ("pselect6", &[]),
    ("pwrite64", &[]),
    ("read", &["EAGAIN", "EINTR", "EIO"]),
    ("readlink", &["EINVAL", "ENOENT"]),
    ("recvfrom", &["EAGAIN", "ECONNRESET"]),
    ("recvmsg", &["EAGAIN"]),
    ("rename", &[]),
    ("rseq", &[]),
    ("rt_sigaction", &[]),
    ("rt_sigprocmask", &[]),
    ("rt_sigreturn", &[]),
    ("sched_getaffinity", &[]),
    ("sendmsg", &[]),
    ("sendto", &["EPIPE"]),
    ("set_robust_list", &[]),
    ("set_tid_address", &[]),
    ("setsockopt", &[]),
    ("socket", &[]),
    ("statfs", &["ENOENT"]),
    ("statx", &["ENOENT"]),
    ("unlink", &["ENOENT"]),
    ("wait4", &["ECHILD"]),
    ("write", &["EAGAIN", "EPIPE"]),
    ("writev", &["EAGAIN", "EPIPE"]),
];

/// Syscalls that end their thread, and so have no latency.
const NEVER_RETURN: [&str; 2] = ["exit", "exit_group"];

/// Syscalls that signals interrupt, and that the kernel then restarts.
const RESTARTED: [&str; 3] = ["read", "recvmsg", "wait4"];

/// Syscalls that have threads in flight at any moment.
const IN_FLIGHT: [&str; 12] = [
    "accept4",
    "clock_nanosleep",
    "epoll_pwait",
    "epoll_wait",
    "fdatasync",
    "futex",
    "poll",
    "pselect6",
    "read",
    "recvfrom",
    "recvmsg",
    "wait4",
];

/// Returns three counts for an ordinary host: different syscalls, pairs of syscall and errno, and
/// syscalls in flight at one time.
pub fn counts() -> [usize; 3] {
    let errnos = CALLS.iter().map(|(_, errnos)| errnos.len()).sum();
    [CALLS.len(), errnos, IN_FLIGHT.len()]
}

/// Returns a snapshot of an ordinary host, as a daemon that has run for a while makes it.
pub(super) fn snapshot(setup: &Setup<'_>) -> Snapshot {
    let counted = || {
        let calls = CALLS.iter().map(|&(name, errnos)| (key(name), name, errnos));
        calls.filter(|&(key, ..)| is_counted(setup, key))
    };
    let row = |(key, name, errnos): (CallKey, &str, &[&str])| {
        let is_in = |names: &[&str]| u64::from(names.contains(&name));
        let mut total = Figures {
            calls: 1_000,
            never_returned: is_in(&NEVER_RETURN),
            restarted: is_in(&RESTARTED),
            ..Figures::default()
        };
        if total.never_returned == 0 {
            total.latency.record(1_000);
            total.total_ns = 1_000;
        }
        errnos.iter().for_each(|name| total.add_errno(errno(name), 1));
        CallRow::new(key, total)
    };
    let in_flight = |(key, ..): (CallKey, &str, &[&str])| CallInFlight {
        key,
        kind: waits::kind(key),
        threads: 1,
        unrecorded: 0,
        // A call that waits by nature entered before the daemon attached.
        before: u64::from(waits::kind(key) == Kind::Waits),
        oldest: Default::default(),
    };
    let is_in_flight = |(_, name, _): &(CallKey, &str, &[&str])| IN_FLIGHT.contains(name);
    Snapshot {
        calls: counted().map(row).collect(),
        in_flight: InFlight {
            calls: counted().filter(is_in_flight).map(in_flight).collect(),
            ..InFlight::default()
        },
        health: health(setup, 0),
        ..Snapshot::default()
    }
}

fn key(name: &str) -> CallKey {
    let keys = (0..OVERFLOW_SLOTS).filter_map(CallKey::from_overflow_index);
    let is_named = |key: &CallKey| syscalls::known(*key) == Some(name);
    let mut keys = keys.filter(|key| key.abi() == Some(Abi::X86_64) && is_named(key));
    keys.next().expect("a test looks all of them up")
}

fn errno(name: &str) -> u16 {
    let mut numbers = (1..ERRNOS as u16).filter(|&errno| errnos::name(errno) == name);
    numbers.next().expect("a test looks all of them up")
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc, time::SystemTime};

    use super::{
        super::{
            Exposition, Options, Service, bounds::Bounds, encode, explain::ordinary_series, text,
        },
        *,
    };
    use crate::{model::Timed, present::metrics::Format};

    /// Returns the number of samples of a scrape in OpenMetrics. The text format has the same
    /// number.
    fn samples(setup: &Setup<'_>) -> usize {
        let exposition = Exposition {
            snapshot: Arc::new(snapshot(setup)),
            options: Arc::new(setup.options.clone()),
            service: Service { attached: Some(SystemTime::now()), ..Service::default() },
        };
        let of = |text: &str| text.lines().filter(|line| !line.starts_with('#')).count();
        let openmetrics = encode(&exposition, Format::OpenMetrics).expect("encodes");
        let openmetrics = String::from_utf8(openmetrics).expect("text");
        let samples = of(&text(&exposition).expect("encodes"));
        if !setup.options.created_samples {
            assert_eq!(of(&openmetrics), samples);
        }
        of(&openmetrics)
    }

    /// At least as many programs as the profiler has. The real names are in a module that this
    /// module may not use. The golden of `profiler metrics --explain` has the real names.
    const PROGRAMS: [&str; 24] = [
        "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "r",
        "s", "t", "u", "v", "w", "x",
    ];

    fn setup() -> Setup<'static> {
        Setup { timed: Timed::All, programs: PROGRAMS.to_vec(), ..Setup::default() }
    }

    /// A scrape with more samples than Prometheus's `sample_limit` fails as a whole. A common limit
    /// is 1,000.
    #[test]
    fn the_default_has_fewer_than_1000_samples_on_an_ordinary_host() {
        let setup = setup();
        let samples = samples(&setup);
        assert!((900..1_000).contains(&samples), "{samples}");
        assert_eq!(ordinary_series(&setup), samples);
    }

    #[test]
    fn settings_change_the_number_as_they_change_a_scrape() {
        let default = samples(&setup());
        let bounds = |ns: &[u64]| Options {
            bounds: Bounds::new(ns.iter().copied()).expect("bounds"),
            ..Options::default()
        };
        // `exit` and `exit_group` have no latency.
        let timed = CALLS.len() - NEVER_RETURN.len();
        let more = Setup { options: bounds(&[128, 512, 1_024, 2_048, 4_096, 1 << 20]), ..setup() };
        assert_eq!(samples(&more), default + timed);
        let none = Setup { options: bounds(&[]), ..setup() };
        assert_eq!(samples(&none), default - 5 * timed);
        let untimed = Setup { timed: Timed::None, ..setup() };
        assert_eq!(samples(&untimed), default - 8 * timed);
        let created = Options { created_samples: true, ..Options::default() };
        let created = Setup { options: created, ..setup() };
        for setup in [more, none, untimed, created, Setup { time_programs: true, ..setup() }] {
            assert_eq!(ordinary_series(&setup), samples(&setup), "{setup:?}");
        }
    }

    #[test]
    fn every_name_is_known_and_there_once() {
        let names: BTreeSet<_> = CALLS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), CALLS.len());
        for (name, errnos) in CALLS {
            key(name);
            errnos.iter().for_each(|name| assert!(errno(name) > 0));
        }
        for name in NEVER_RETURN.iter().chain(&RESTARTED).chain(&IN_FLIGHT) {
            assert!(names.contains(name), "{name}");
        }
    }
}
