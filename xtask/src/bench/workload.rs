//! The timed loops of syscalls. Each loop runs in a separate process.

use std::{hint::black_box, process::ExitCode, time::Instant};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

use super::crowd::{Crowd, Kind};

/// The calls of a loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Workload {
    /// One call, repeated: the best case
    Getppid,
    /// Four different calls in turn
    Alternating,
    /// One call that fails
    Failing,
    /// Sixteen different calls in turn, all of which fail
    Sixteen,
    /// Sixty-four different calls in turn, all of which fail
    SixtyFour,
}

/// Calls that fail with EBADF, or with an earlier check, if all their arguments are -1.
const ON_NO_FILE: [libc::c_long; 64] = [
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_fstat,
    libc::SYS_lseek,
    libc::SYS_ioctl,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_dup,
    libc::SYS_sendfile,
    libc::SYS_connect,
    libc::SYS_accept,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_bind,
    libc::SYS_listen,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
    libc::SYS_fcntl,
    libc::SYS_fallocate,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_getdents,
    libc::SYS_fchdir,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_fstatfs,
    libc::SYS_readahead,
    libc::SYS_fsetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_fremovexattr,
    libc::SYS_getdents64,
    libc::SYS_fadvise64,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_ctl,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_rm_watch,
    libc::SYS_openat,
    libc::SYS_mkdirat,
    libc::SYS_unlinkat,
    libc::SYS_readlinkat,
    libc::SYS_fchmodat,
    libc::SYS_faccessat,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_sync_file_range,
    libc::SYS_vmsplice,
    libc::SYS_epoll_pwait,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_accept4,
    libc::SYS_dup3,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_syncfs,
];

impl Workload {
    #[cfg(feature = "bench")]
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Getppid => "getppid",
            Self::Alternating => "getppid, getuid, getgid, geteuid in turn",
            Self::Failing => "close(-1), which fails",
            Self::Sixteen => "16 calls in turn, which fail",
            Self::SixtyFour => "64 calls in turn, which fail",
        }
    }

    pub(super) fn call(self, turn: u64) {
        const FOUR: [libc::c_long; 4] =
            [libc::SYS_getppid, libc::SYS_getuid, libc::SYS_getgid, libc::SYS_geteuid];
        let on_no_file = |turn: u64| ON_NO_FILE[(turn % ON_NO_FILE.len() as u64) as usize];
        // SAFETY: -1 is neither a descriptor nor an address, so calls with -1 as each argument read
        // and change nothing. The other calls take no arguments.
        let result = unsafe {
            match self {
                Self::Getppid => libc::syscall(libc::SYS_getppid),
                Self::Alternating => libc::syscall(FOUR[(turn % 4) as usize]),
                Self::Failing => libc::syscall(libc::SYS_close, -1),
                Self::Sixteen => libc::syscall(on_no_file(turn % 16), -1, -1, -1, -1, -1, -1),
                Self::SixtyFour => libc::syscall(on_no_file(turn), -1, -1, -1, -1, -1, -1),
            }
        };
        black_box(result);
    }
}

/// Times a loop of syscalls (`bench` starts this)
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The calls to make
    #[arg(long)]
    workload: Workload,
    /// Number of calls, of all tasks together
    #[arg(long)]
    calls: u64,
    /// The CPUs to run on; each task gets the next one
    #[arg(long, value_delimiter = ',', required = true)]
    cpu: Vec<usize>,
    /// Number of concurrent tasks
    #[arg(long, default_value_t = 1)]
    tasks: u32,
    /// The kind of the tasks
    #[arg(long, value_enum, default_value_t = Kind::Processes)]
    kind: Kind,
    /// Calls before a task yields its CPU [default: never]
    #[arg(long, default_value_t = u64::MAX)]
    turn: u64,
}

/// Prints nanoseconds of CPU time per call.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(args.tasks > 0 && args.calls > 0 && args.turn > 0, "nothing to do");
    let nanoseconds = if args.tasks == 1 {
        pin(args.cpu[0])?;
        // The first calls fill the caches, and make the profiler create its record.
        calls(args.workload, args.calls / 20, args.turn);
        let start = Instant::now();
        calls(args.workload, args.calls, args.turn);
        start.elapsed().as_nanos() as f64 / args.calls as f64
    } else {
        let (tasks, each) = (args.tasks, args.calls / u64::from(args.tasks));
        let (processes, threads) = match args.kind {
            Kind::Processes => (tasks, 1),
            Kind::Threads => (1, tasks),
        };
        let (workload, turn, cpus) = (args.workload, args.turn, args.cpu.clone());
        let plan = move |index, generation| {
            if generation == 0 {
                // If pinning fails, the task runs on another CPU, which the figures would show.
                let _ = pin(cpus[index as usize % cpus.len()]);
            }
            calls(workload, if generation == 0 { (each / 20).max(64) } else { each }, turn);
        };
        let mut crowd = Crowd::gather(processes, threads, plan)?;
        crowd.go()?;
        let took = crowd.go()?;
        let of_a_cpu = (u64::from(tasks) * each) as f64 / args.cpu.len() as f64;
        took.as_nanos() as f64 / of_a_cpu
    };
    println!("{nanoseconds}");
    Ok(ExitCode::SUCCESS)
}

fn calls(workload: Workload, count: u64, turn: u64) {
    let mut until = turn;
    for call in 0..count {
        workload.call(call);
        if call == until {
            until += turn;
            std::thread::yield_now();
        }
    }
}

fn pin(cpu: usize) -> Result<()> {
    let mut cpus = CpuSet::new();
    cpus.set(cpu)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &cpus)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_on_no_file_fails_and_is_another() {
        let mut seen = std::collections::BTreeSet::new();
        for number in ON_NO_FILE {
            assert!(seen.insert(number), "the list has {number} twice");
            // SAFETY: as in `Workload::call`.
            let result = unsafe { libc::syscall(number, -1, -1, -1, -1, -1, -1) };
            assert_eq!(result, -1, "{number} did not fail");
        }
    }
}
