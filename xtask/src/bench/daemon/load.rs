//! The load on a measured daemon: processes with threads, each of which makes a number of different
//! syscalls per second.

use std::{io, io::Read as _, process::ExitCode, ptr, thread, time::Duration};

use anyhow::{Context as _, Result, ensure};
use nix::{
    sys::{
        prctl::set_pdeathsig,
        signal::{SigSet, Signal},
        time::TimeSpec,
    },
    time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep},
    unistd::{ForkResult, fork},
};

use super::storm;

/// Calls that have no effect, because they have no arguments, or an invalid descriptor.
const CALLS: [libc::c_long; 40] = [
    libc::SYS_getppid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_getpgrp,
    libc::SYS_close,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_ioctl,
    libc::SYS_sched_yield,
    libc::SYS_fchdir,
    libc::SYS_ftruncate,
    libc::SYS_flock,
    libc::SYS_fchmod,
    libc::SYS_fchown,
    libc::SYS_getdents64,
    libc::SYS_listen,
    libc::SYS_accept,
    libc::SYS_bind,
    libc::SYS_connect,
    libc::SYS_shutdown,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_epoll_wait,
    libc::SYS_fallocate,
];

/// Maximum number of different calls.
pub(super) const MOST_CALLS: usize = CALLS.len();

/// The first number of x32 (`__X32_SYSCALL_BIT`).
const X32: libc::c_long = 0x4000_0000;
/// The end of the numbers of x32.
const X32_END: libc::c_long = 548;

/// The time between two rounds of calls of a thread.
const ROUND: Duration = Duration::from_secs(1);

/// Make calls for a daemon to watch (`bench daemon` starts this)
#[derive(clap::Args)]
pub(crate) struct Args {
    #[arg(long, default_value_t = 1)]
    pub(super) processes: u32,
    /// Threads of each process
    #[arg(long, default_value_t = 1)]
    pub(super) threads: u32,
    /// Processes that make their calls every second, rather than once [default: all]
    #[arg(long)]
    pub(super) active: Option<u32>,
    /// Different calls of each thread
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=MOST_CALLS as i64))]
    pub(super) calls: u32,
    /// Also make each call that the kernel does not implement, once
    #[arg(long)]
    pub(super) wide: bool,
    /// Instead, fork and end these processes as fast as possible, and print the latencies of their
    /// calls
    #[arg(long)]
    pub(super) storm: bool,
}

/// Makes one of [`CALLS`].
pub(super) fn call(which: usize) {
    // SAFETY: -1 is not a descriptor, so the kernel does not use the null pointers.
    unsafe { libc::syscall(CALLS[which], -1_i64, ptr::null::<u8>(), 0_i64, 0_i64, 0_i64, 0_i64) };
}

/// Prints `ready` when all threads have made their calls once. Runs until it is killed.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    set_pdeathsig(Signal::SIGKILL)?;
    if args.storm {
        return storm::run(args.processes, args.calls as usize);
    }
    if args.wide {
        widen()?;
    }
    let (mut ready, done) = io::pipe()?;
    let active = args.active.unwrap_or(args.processes);
    for process in 0..args.processes {
        // SAFETY: there is no other thread.
        match unsafe { fork() }.context("cannot fork")? {
            ForkResult::Parent { .. } => {}
            ForkResult::Child => {
                set_pdeathsig(Signal::SIGKILL)?;
                let busy = process < active;
                let share = f64::from(process) / f64::from(args.processes);
                let offset = ROUND.mul_f64(share);
                for _ in 1..args.threads {
                    let (done, calls) = (done.try_clone()?, args.calls);
                    thread::Builder::new()
                        .stack_size(64 * 1024)
                        .spawn(move || make_calls(calls as usize, busy, offset, done))?;
                }
                make_calls(args.calls as usize, busy, offset, done);
            }
        }
    }
    drop(done);
    let threads = u64::from(args.processes) * u64::from(args.threads);
    let mut said = Vec::new();
    ready.by_ref().take(threads).read_to_end(&mut said)?;
    ensure!(said.len() as u64 == threads, "only {} of {threads} threads", said.len());
    println!("ready");
    sleep_for_ever()
}

fn make_calls(calls: usize, busy: bool, offset: Duration, done: io::PipeWriter) -> ! {
    use io::Write as _;
    (0..calls).for_each(call);
    // If the reader is gone, this process ends too.
    let _ = (&done).write_all(b".");
    drop(done);
    if !busy {
        sleep_for_ever();
    }
    let clock = ClockId::CLOCK_MONOTONIC;
    let Ok(now) = clock_gettime(clock) else { sleep_for_ever() };
    let mut next = now + TimeSpec::from(offset);
    loop {
        next = next + TimeSpec::from(ROUND);
        let _ = clock_nanosleep(clock, ClockNanosleepFlags::TIMER_ABSTIME, &next);
        (0..calls).for_each(call);
    }
}

fn sleep_for_ever() -> ! {
    loop {
        // No signal is blocked, and every signal ends the process.
        let _ = SigSet::empty().suspend();
    }
}

/// Makes a call with every number of x32, if the kernel was built without x32 and refuses them.
/// This gives many more rows than real programs.
fn widen() -> Result<()> {
    // SAFETY: `getpid` takes no argument, with any number.
    let known = unsafe { libc::syscall(X32 | libc::SYS_getpid) } != -1;
    ensure!(!known, "this kernel supports x32, so the calls would have effects");
    for nr in 0..X32_END {
        // SAFETY: the kernel refuses these numbers, as checked above.
        unsafe { libc::syscall(X32 | nr, -1_i64, 0_i64, 0_i64, 0_i64, 0_i64, 0_i64) };
    }
    (0..MOST_CALLS).for_each(call);
    Ok(())
}
