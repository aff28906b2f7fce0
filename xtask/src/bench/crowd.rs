//! Many processes or threads that wait until they are told to go, then all make their
//! calls, and wait again.

use std::{
    process::ExitCode,
    ptr,
    sync::atomic::{
        AtomicU32, AtomicU64,
        Ordering::{Acquire, Relaxed, Release, SeqCst},
    },
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use nix::{
    sys::{
        prctl,
        signal::{Signal, kill},
        wait::waitpid,
    },
    time::{ClockId, clock_gettime},
    unistd::{ForkResult, Pid, fork, getppid},
};

use super::workload::Workload;

/// What a task is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Processes,
    Threads,
}

/// Keeps many processes or threads, that make a few calls at each line (`bench` starts this)
#[derive(clap::Args)]
pub(crate) struct Args {
    processes: u32,
    /// Of each process
    threads: u32,
}

/// Answers with a line once all are there, and to each line once all made their calls.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut crowd = Crowd::gather(args.processes, args.threads, |_, _| {
        for call in 0..CALLS {
            Workload::Alternating.call(call);
        }
    })?;
    // Each has a record from here on.
    crowd.go()?;
    println!("there");
    for line in std::io::stdin().lines() {
        line?;
        crowd.go()?;
        println!("done");
    }
    Ok(ExitCode::SUCCESS)
}

/// What all of them share: in memory that a fork does not copy.
struct Shared {
    /// How often they were told to go.
    generation: AtomicU32,
    /// How many are done.
    done: AtomicU32,
    /// When the last was, by CLOCK_MONOTONIC.
    last_ns: AtomicU64,
    /// How many are there.
    gathered: AtomicU32,
    /// How many there are to be.
    tasks: AtomicU32,
}

/// The processes; without it they end.
pub(crate) struct Crowd {
    shared: &'static Shared,
    processes: Vec<Pid>,
    tasks: u32,
}

/// Room for little more than `plan`.
const STACK: usize = 64 * 1024;

/// Calls at each line.
const CALLS: u64 = 8;

/// How long they may take to gather, or to make their calls.
const PATIENCE: Duration = Duration::from_secs(60);

impl Crowd {
    /// Starts them. Each runs `plan` with its index and how often it went before, whenever
    /// it is told to go. The caller must have one thread only, since it forks.
    pub(crate) fn gather(
        processes: u32,
        threads: u32,
        plan: impl Fn(u32, u32) + Sync,
    ) -> Result<Self> {
        let shared = Shared::map()?;
        let mut crowd =
            Self { shared, processes: Vec::new(), tasks: processes.saturating_mul(threads) };
        shared.tasks.store(crowd.tasks, Release);
        let parent = nix::unistd::getpid();
        for process in 0..processes {
            // SAFETY: there are no other threads, so the child finds no lock taken.
            match unsafe { fork() }.context("cannot start more processes")? {
                ForkResult::Parent { child } => crowd.processes.push(child),
                ForkResult::Child => {
                    let tied = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent;
                    let first = process * threads;
                    let code = i32::from(!tied || !shared.threads(first, threads, &plan));
                    // SAFETY: ends this copy of the process and nothing of the caller's.
                    unsafe { libc::_exit(code) };
                }
            }
        }
        crowd.wait(&shared.gathered).context("cannot start more threads")?;
        Ok(crowd)
    }

    /// Has all make their calls; from when they were told to until the last is done.
    pub(crate) fn go(&mut self) -> Result<Duration> {
        self.shared.done.store(0, Relaxed);
        let start = now_ns();
        self.shared.generation.fetch_add(1, SeqCst);
        wake(&self.shared.generation);
        self.wait(&self.shared.done)?;
        Ok(Duration::from_nanos(self.shared.last_ns.load(Acquire).saturating_sub(start)))
    }

    /// Until it says that all of them did.
    fn wait(&self, count: &AtomicU32) -> Result<()> {
        let deadline = now_ns() + PATIENCE.as_nanos() as u64;
        loop {
            let seen = count.load(Acquire);
            if seen == self.tasks {
                return Ok(());
            }
            if now_ns() > deadline {
                bail!("only {seen} of {} are there after {} s", self.tasks, PATIENCE.as_secs());
            }
            // SAFETY: asks only whether a child has ended, and is given no address.
            if unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {
                bail!("one of {} ended before its time", self.tasks);
            }
            // The last to come wakes us; the bound is for one that never comes.
            wait_while(count, seen, Some(Duration::from_millis(100)));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for process in &self.processes {
            let _ = kill(*process, Signal::SIGKILL);
        }
        for process in &self.processes {
            let _ = waitpid(*process, None);
        }
        // SAFETY: mapped by `map`, and nobody is left who uses it.
        unsafe { libc::munmap(ptr::from_ref(self.shared).cast_mut().cast(), size_of::<Shared>()) };
    }
}

impl Shared {
    fn map() -> Result<&'static Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, of zeros, which are valid for the atomics in it, and page
        // aligned. It is there until the crowd is dropped.
        unsafe {
            let at = libc::mmap(ptr::null_mut(), size_of::<Self>(), protection, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error()).context("cannot share memory");
            }
            Ok(&*at.cast::<Self>())
        }
    }

    /// Whether they could all be started; else it returns at once, and otherwise never.
    fn threads(&self, first: u32, count: u32, plan: &(impl Fn(u32, u32) + Sync)) -> bool {
        thread::scope(|scope| {
            for index in first + 1..first + count {
                let started = thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, move || self.member(index, plan));
                if started.is_err() {
                    // SAFETY: ends this process; the threads in it have nothing to lose.
                    unsafe { libc::_exit(1) };
                }
            }
            self.member(first, plan);
        });
        true
    }

    /// Goes whenever it is told to, until it is killed.
    fn member(&self, index: u32, plan: &impl Fn(u32, u32)) {
        self.arrive(&self.gathered);
        let mut generation = 0;
        loop {
            while self.generation.load(Acquire) == generation {
                wait_while(&self.generation, generation, None);
            }
            plan(index, generation);
            generation += 1;
            self.last_ns.fetch_max(now_ns(), Release);
            self.arrive(&self.done);
        }
    }

    /// The last to arrive wakes who waits for all.
    fn arrive(&self, count: &AtomicU32) {
        if count.fetch_add(1, Release) + 1 == self.tasks.load(Relaxed) {
            wake(count);
        }
    }
}

/// Sleeps while it has this value, or for no reason, or until the time is over.
fn wait_while(word: &AtomicU32, value: u32, bound: Option<Duration>) {
    let bound = bound.map(|bound| libc::timespec {
        tv_sec: bound.as_secs() as libc::time_t,
        tv_nsec: i64::from(bound.subsec_nanos()),
    });
    let bound = bound.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word and the time are there while the call lasts.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, bound) };
}

fn wake(word: &AtomicU32) {
    // SAFETY: the call only looks for sleepers at the word's address.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}
