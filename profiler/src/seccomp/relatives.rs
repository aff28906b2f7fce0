//! Close relatives of calls: variants that a newer C library or kernel uses in place of another one.

/// Sets of calls that can stand for each other: the older one, the variants with `at`, with wider
/// times, or with more flags. Glibc and musl change from one to another between versions.
const FAMILIES: &[&[&str]] = &[
    &["open", "openat", "openat2", "creat"],
    &["stat", "newfstatat", "fstatat64", "stat64", "statx", "lstat", "lstat64", "fstat", "fstat64"],
    &["access", "faccessat", "faccessat2"],
    &["fork", "vfork", "clone", "clone3"],
    &["poll", "ppoll", "ppoll_time64"],
    &["select", "_newselect", "pselect6", "pselect6_time64"],
    &["epoll_wait", "epoll_pwait", "epoll_pwait2"],
    &["epoll_create", "epoll_create1"],
    &["eventfd", "eventfd2"],
    &["inotify_init", "inotify_init1"],
    &["signalfd", "signalfd4"],
    &["pipe", "pipe2"],
    &["dup2", "dup3"],
    &["accept", "accept4"],
    &["mkdir", "mkdirat"],
    &["mknod", "mknodat"],
    &["rmdir", "unlink", "unlinkat"],
    &["rename", "renameat", "renameat2"],
    &["link", "linkat"],
    &["symlink", "symlinkat"],
    &["readlink", "readlinkat"],
    &["chmod", "fchmodat", "fchmodat2"],
    &["chown", "lchown", "fchownat", "chown32", "lchown32"],
    &["utime", "utimes", "futimesat", "utimensat", "utimensat_time64"],
    &["nanosleep", "clock_nanosleep", "clock_nanosleep_time64"],
    &["clock_gettime", "clock_gettime64", "gettimeofday", "time"],
    &["clock_getres", "clock_getres_time64"],
    &["futex", "futex_time64"],
    &["recvmmsg", "recvmmsg_time64"],
    &["semop", "semtimedop", "semtimedop_time64"],
    &["mq_timedsend", "mq_timedsend_time64"],
    &["mq_timedreceive", "mq_timedreceive_time64"],
    &["timerfd_settime", "timerfd_settime64"],
    &["timerfd_gettime", "timerfd_gettime64"],
    &["timer_settime", "timer_settime64"],
    &["timer_gettime", "timer_gettime64"],
    &["rt_sigtimedwait", "rt_sigtimedwait_time64"],
    &["io_pgetevents", "io_pgetevents_time64", "io_getevents"],
    &["getdents", "getdents64"],
    &["getrlimit", "ugetrlimit", "setrlimit", "prlimit64"],
    &["preadv", "preadv2"],
    &["pwritev", "pwritev2"],
    &["mmap", "mmap2"],
    &["statfs", "statfs64"],
    &["fstatfs", "fstatfs64"],
    &["fcntl", "fcntl64"],
    &["sendfile", "sendfile64"],
    &["wait4", "waitpid", "waitid"],
    &["execve", "execveat"],
    &["close", "close_range"],
    &["getuid", "getuid32"],
    &["getgid", "getgid32"],
    &["geteuid", "geteuid32"],
    &["getegid", "getegid32"],
];

/// The calls that can stand for `name`.
pub(super) fn of(name: &str) -> impl Iterator<Item = &'static str> {
    let families = FAMILIES.iter().filter(move |family| family.contains(&name));
    families.flat_map(|family| family.iter().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::table::Table;

    #[test]
    fn every_relative_is_a_call() {
        for name in FAMILIES.iter().flat_map(|family| family.iter()) {
            assert!(Table::get().named(name).is_some(), "{name}");
        }
    }

    #[test]
    fn no_call_is_in_two_families() {
        let mut all: Vec<_> = FAMILIES.iter().flat_map(|family| family.iter()).collect();
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
