//! Seccomp filters: the syscalls that the daemon may make once its programs are attached.
//!
//! The lists have the syscalls that drains, scrapes, reloads and the end of the daemon require.
//! They are shorter than the unit's `SystemCallFilter=`, which also allows attaching. A syscall in
//! no list fails with EPERM, so that a forgotten syscall breaks one function and not the daemon.
//! Syscalls that only injected code would make kill the process, which the kernel logs (audit, type
//! 1326).

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction,
    SeccompCmpArgLen::Dword,
    SeccompCmpOp::{Eq, MaskedEq},
    SeccompCondition, SeccompFilter, SeccompRule,
};

/// Syscalls that are allowed with any arguments.
const ALLOWED: &[c_long] = &[
    // Open descriptors.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_fcntl,
    libc::SYS_dup,
    libc::SYS_dup3,
    // Reading files and directories.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    // Accepted connections. The daemon cannot connect.
    libc::SYS_accept4,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Waiting.
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_futex,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_gettimeofday,
    libc::SYS_sched_yield,
    libc::SYS_restart_syscall,
    // Threads, signals, memory, the end.
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_membarrier,
    libc::SYS_sched_getaffinity,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_sigaltstack,
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mincore,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // The process's own state.
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getrusage,
    libc::SYS_times,
    libc::SYS_getcpu,
    libc::SYS_getrandom,
];

/// Syscalls that only x86_64 has. Other architectures use those in [`ALLOWED`] instead.
#[cfg(target_arch = "x86_64")]
const ALLOWED_OF_ARCHITECTURE: &[c_long] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_poll,
    libc::SYS_epoll_wait,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const ALLOWED_OF_ARCHITECTURE: &[c_long] = &[];

/// Commands of bpf(2), from `enum bpf_cmd` (include/uapi/linux/bpf.h): elements of maps, one at a
/// time and in batches; attaching a further copy of a loaded program; and information. The daemon
/// cannot create maps or load programs.
const BPF_COMMANDS: &[u64] = &[
    1,  // BPF_MAP_LOOKUP_ELEM
    2,  // BPF_MAP_UPDATE_ELEM
    3,  // BPF_MAP_DELETE_ELEM
    4,  // BPF_MAP_GET_NEXT_KEY
    10, // BPF_PROG_TEST_RUN
    15, // BPF_OBJ_GET_INFO_BY_FD
    17, // BPF_RAW_TRACEPOINT_OPEN
    21, // BPF_MAP_LOOKUP_AND_DELETE_ELEM
    24, // BPF_MAP_LOOKUP_BATCH
    25, // BPF_MAP_LOOKUP_AND_DELETE_BATCH
    26, // BPF_MAP_UPDATE_BATCH
    27, // BPF_MAP_DELETE_BATCH
    28, // BPF_LINK_CREATE
];

/// Requests of ioctl(2) that the standard library makes: to ask whether a descriptor is a terminal,
/// and to make it non-blocking.
const IOCTLS: &[u64] = &[libc::TCGETS, libc::FIONBIO, libc::FIONREAD];

/// Options of prctl(2): to read the remaining privileges, and to name threads and memory.
const PRCTLS: &[u64] = &[
    libc::PR_GET_DUMPABLE as u64,
    libc::PR_GET_SECCOMP as u64,
    libc::PR_GET_NO_NEW_PRIVS as u64,
    libc::PR_CAPBSET_READ as u64,
    libc::PR_SET_NAME as u64,
    libc::PR_GET_NAME as u64,
    libc::PR_SET_VMA as u64,
];

/// Syscalls that kill the daemon, because it has no reason to make them: they affect other
/// programs, other processes or the kernel itself.
const KILLING: &[c_long] = &[
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
];

/// The filters for this architecture, in the order in which they are installed.
pub(super) fn filters(may_unlink: bool) -> Result<Vec<BpfProgram>, BackendError> {
    let fails = |errno: libc::c_int| SeccompAction::Errno(errno.cast_unsigned());
    let always = |calls: &[c_long]| calls.iter().map(|&call| (call, Vec::new())).collect();
    let compiled = |rules: BTreeMap<_, _>, otherwise, matching| {
        SeccompFilter::new(rules, otherwise, matching, std::env::consts::ARCH.try_into()?)?
            .try_into()
    };
    Ok(vec![
        compiled(always(KILLING), SeccompAction::Allow, SeccompAction::KillProcess)?,
        // Its flags are in memory, which a filter cannot read. The C library then uses
        // clone(2), whose flags are an argument.
        compiled(always(&[libc::SYS_clone3]), SeccompAction::Allow, fails(libc::ENOSYS))?,
        compiled(allowed(may_unlink)?, fails(libc::EPERM), SeccompAction::Allow)?,
    ])
}

/// The conditions on which each syscall is allowed. One of several conditions is enough; without a
/// condition, the syscall is always allowed.
fn allowed(may_unlink: bool) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, BackendError> {
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> =
        ALLOWED.iter().chain(ALLOWED_OF_ARCHITECTURE).map(|&call| (call, Vec::new())).collect();
    if may_unlink {
        rules.insert(libc::SYS_unlinkat, Vec::new());
        #[cfg(target_arch = "x86_64")]
        rules.insert(libc::SYS_unlink, Vec::new());
    }
    // Otherwise, EPERM of this filter would take precedence over ENOSYS of the other
    // (seccomp_run_filters, kernel/seccomp.c: of equal actions, the latest filter's wins).
    rules.insert(libc::SYS_clone3, Vec::new());
    let rule = |argument, operator, value| {
        SeccompRule::new(vec![SeccompCondition::new(argument, Dword, operator, value)?])
    };
    let one_of = |argument, values: &[u64]| {
        values.iter().map(|&value| rule(argument, Eq, value)).collect::<Result<Vec<_>, _>>()
    };
    let none_of = |argument, bits: libc::c_int| {
        Ok::<_, BackendError>(vec![rule(argument, MaskedEq(bits.cast_unsigned().into()), 0)?])
    };
    rules.insert(libc::SYS_bpf, one_of(0, BPF_COMMANDS)?);
    rules.insert(libc::SYS_ioctl, one_of(1, IOCTLS)?);
    rules.insert(libc::SYS_prctl, one_of(0, PRCTLS)?);
    // Files can only be opened for reading, and memory cannot become executable.
    let writing = libc::O_WRONLY | libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC;
    rules.insert(libc::SYS_openat, none_of(2, writing)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, none_of(1, writing)?);
    rules.insert(libc::SYS_mmap, none_of(2, libc::PROT_EXEC)?);
    rules.insert(libc::SYS_mprotect, none_of(2, libc::PROT_EXEC)?);
    // The daemon can start threads but not processes, read limits but not set them, and signal only
    // itself.
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    rules.insert(libc::SYS_clone, vec![rule(0, MaskedEq(thread), thread)?]);
    let no_pointer = SeccompCondition::new(2, seccompiler::SeccompCmpArgLen::Qword, Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![no_pointer])?]);
    // Signal 0 only checks whether a thread exists.
    let own = one_of(0, &[std::process::id().into()])?;
    rules.insert(libc::SYS_tgkill, own.into_iter().chain(one_of(2, &[0])?).collect());
    Ok(rules)
}

/// Installs the filters for every thread of this process. Requires no_new_privs.
pub(super) fn install(may_unlink: bool) -> Result<(), seccompiler::Error> {
    for filter in filters(may_unlink)? {
        seccompiler::apply_filter_all_threads(&filter)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        net::{TcpListener, TcpStream},
        process::Command,
        thread,
    };

    use super::super::{User, confine, in_child, user::NOBODY};

    fn confined() {
        let (_, undone) = confine(&User::find(NOBODY).expect("nobody"), false).expect("confined");
        assert_eq!(undone, <[String; 0]>::default());
    }

    #[test]
    fn what_is_not_needed_is_refused_and_the_rest_works() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("connects");
        let (_, failures) = in_child(|| {
            confined();
            let refused = |what: &str, outcome: std::io::Result<()>| {
                let errno = outcome.err().and_then(|error| error.raw_os_error());
                (errno != Some(libc::EPERM)).then(|| format!("{what}: {errno:?}"))
            };
            let works = |what: &str, outcome: std::io::Result<()>| {
                outcome.err().map(|error| format!("{what}: {error}"))
            };
            let executable = || {
                let (size, exec) = (4096, libc::PROT_READ | libc::PROT_EXEC);
                let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
                // SAFETY: maps new memory at an address that the kernel chooses.
                let at = unsafe { libc::mmap(std::ptr::null_mut(), size, exec, anonymous, -1, 0) };
                if at == libc::MAP_FAILED { Err(std::io::Error::last_os_error()) } else { Ok(()) }
            };
            let thread = || thread::Builder::new().spawn(|| ()).map(|thread| drop(thread.join()));
            // No process has this id, so the kernel's own error differs from that of the filter.
            let signal_other = |signal: libc::c_int| {
                // SAFETY: passes three numbers.
                match unsafe { libc::syscall(libc::SYS_tgkill, i32::MAX, i32::MAX, signal) } {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            };
            let asked = match signal_other(0) {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(()),
                other => other,
            };
            let failures = [
                works("asking whether a thread exists", asked),
                refused("a signal to another process", signal_other(libc::SIGTERM)),
                refused("writing a file", File::options().write(true).open("/dev/null").map(drop)),
                refused("making a file", File::create("/tmp/of-the-profiler").map(drop)),
                refused("removing a file", std::fs::remove_file("/tmp/of-the-profiler")),
                refused("connecting", TcpStream::connect(address).map(drop)),
                refused("listening", TcpListener::bind("127.0.0.1:0").map(drop)),
                refused("another process", Command::new("/bin/true").status().map(drop)),
                refused("executable memory", executable()),
                works("reading a file", File::open("/dev/null").map(drop)),
                works("accepting", listener.accept().map(drop)),
                works("a thread", thread()),
                works("not waiting", listener.set_nonblocking(true)),
            ];
            Ok((String::new(), failures.into_iter().flatten().collect()))
        })
        .expect("it lives");
        assert_eq!(failures, <[String; 0]>::default());
        drop(client);
    }

    #[test]
    fn executing_another_program_is_the_end() {
        let outcome = in_child(|| {
            confined();
            let arguments = [c"true".as_ptr(), std::ptr::null()];
            // SAFETY: passes a path and a list that ends with null. Both are alive.
            unsafe { libc::execv(c"/bin/true".as_ptr(), arguments.as_ptr()) };
            Ok(("it lives".into(), Vec::new()))
        });
        // The kernel kills the child before it can write its result.
        assert!(outcome.as_ref().is_err_and(|error| error.contains("EOF")), "{outcome:?}");
    }
}
