//! Starts many processes or threads. On command, all of them make their calls, and then wait for
//! the next command.

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

/// The kind of the tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Processes,
    Threads,
}

/// Start many processes or threads, which make a few calls for each line of input (`bench` starts
/// this)
#[derive(clap::Args)]
pub(crate) struct Args {
    processes: u32,
    /// Threads of each process
    threads: u32,
}

/// Prints a line once all tasks have started, and a line for each line of input once all tasks have
/// made their calls.
pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let mut crowd = Crowd::gather(args.processes, args.threads, |_, _| {
        for call in 0..CALLS {
            Workload::Alternating.call(call);
        }
    })?;
    // From here on, each task has a record.
    crowd.go()?;
    println!("there");
    for line in std::io::stdin().lines() {
        line?;
        crowd.go()?;
        println!("done");
    }
    Ok(ExitCode::SUCCESS)
}

/// The state that all tasks share, in memory that a fork does not copy.
struct Shared {
    /// Number of commands so far.
    generation: AtomicU32,
    /// Number of tasks that have made their calls.
    done: AtomicU32,
    /// When the last task had made its calls, by CLOCK_MONOTONIC, nanoseconds.
    last_ns: AtomicU64,
    /// Number of tasks that have started.
    gathered: AtomicU32,
    /// Total number of tasks.
    tasks: AtomicU32,
}

/// The processes. Dropping this value ends them.
pub(crate) struct Crowd {
    shared: &'static Shared,
    processes: Vec<Pid>,
    tasks: u32,
}

/// Size of a thread's stack, bytes: enough for `plan`.
const STACK: usize = 64 * 1024;

/// Number of calls for each line.
const CALLS: u64 = 8;

/// How long the tasks may take to start, or to make their calls.
const PATIENCE: Duration = Duration::from_secs(60);

impl Crowd {
    /// Starts the tasks. On each command, each task runs `plan` with its index and the number of
    /// earlier commands. The caller must have only one thread, because this function forks.
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
            // SAFETY: there are no other threads, so no lock is held in the child.
            match unsafe { fork() }.context("cannot start more processes")? {
                ForkResult::Parent { child } => crowd.processes.push(child),
                ForkResult::Child => {
                    let tied = prctl::set_pdeathsig(Signal::SIGKILL).is_ok() && getppid() == parent;
                    let first = process * threads;
                    let code = i32::from(!tied || !shared.threads(first, threads, &plan));
                    // SAFETY: ends only this copy of the process.
                    unsafe { libc::_exit(code) };
                }
            }
        }
        crowd.wait(&shared.gathered).context("cannot start more threads")?;
        Ok(crowd)
    }

    /// Lets all tasks make their calls. Returns the time from the command until the last task is
    /// done.
    pub(crate) fn go(&mut self) -> Result<Duration> {
        self.shared.done.store(0, Relaxed);
        let start = now_ns();
        self.shared.generation.fetch_add(1, SeqCst);
        wake(&self.shared.generation);
        self.wait(&self.shared.done)?;
        Ok(Duration::from_nanos(self.shared.last_ns.load(Acquire).saturating_sub(start)))
    }

    /// Waits until `count` equals the number of tasks.
    fn wait(&self, count: &AtomicU32) -> Result<()> {
        let deadline = now_ns() + PATIENCE.as_nanos() as u64;
        loop {
            let seen = count.load(Acquire);
            if seen == self.tasks {
                return Ok(());
            }
            if now_ns() > deadline {
                bail!(
                    "only {seen} of {} tasks are ready after {} s",
                    self.tasks,
                    PATIENCE.as_secs()
                );
            }
            // SAFETY: only checks whether a child has ended, and gets no address.
            if unsafe { libc::waitpid(-1, ptr::null_mut(), libc::WNOHANG) } > 0 {
                bail!("one of {} tasks ended early", self.tasks);
            }
            // The last task wakes this process. The time limit is for a task that never arrives.
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
        // SAFETY: mapped by `map`, and not used any more.
        unsafe { libc::munmap(ptr::from_ref(self.shared).cast_mut().cast(), size_of::<Shared>()) };
    }
}

impl Shared {
    fn map() -> Result<&'static Self> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS);
        // SAFETY: a new mapping, page aligned, of zeros, which are valid for the atomics in it. It
        // exists until the crowd is dropped.
        unsafe {
            let at = libc::mmap(ptr::null_mut(), size_of::<Self>(), protection, flags, -1, 0);
            if at == libc::MAP_FAILED {
                return Err(std::io::Error::last_os_error()).context("cannot share memory");
            }
            Ok(&*at.cast::<Self>())
        }
    }

    /// Starts the threads. Returns only if a thread cannot be started.
    fn threads(&self, first: u32, count: u32, plan: &(impl Fn(u32, u32) + Sync)) -> bool {
        thread::scope(|scope| {
            for index in first + 1..first + count {
                let started = thread::Builder::new()
                    .stack_size(STACK)
                    .spawn_scoped(scope, move || self.member(index, plan));
                if started.is_err() {
                    // SAFETY: ends this process. Its threads have no state that has to be saved.
                    unsafe { libc::_exit(1) };
                }
            }
            self.member(first, plan);
        });
        true
    }

    /// Runs `plan` on each command, until it is killed.
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

    /// Counts this task. The last task wakes the waiting process.
    fn arrive(&self, count: &AtomicU32) {
        if count.fetch_add(1, Release) + 1 == self.tasks.load(Relaxed) {
            wake(count);
        }
    }
}

/// Sleeps while `word` has the value `value`, at most for `bound`. It can also wake spuriously.
fn wait_while(word: &AtomicU32, value: u32, bound: Option<Duration>) {
    let bound = bound.map(|bound| libc::timespec {
        tv_sec: bound.as_secs() as libc::time_t,
        tv_nsec: i64::from(bound.subsec_nanos()),
    });
    let bound = bound.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the word and the time are alive during the call.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, value, bound) };
}

fn wake(word: &AtomicU32) {
    // SAFETY: the call only looks up sleepers by the address of the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX) };
}

fn now_ns() -> u64 {
    clock_gettime(ClockId::CLOCK_MONOTONIC)
        .map_or(0, |now| now.tv_sec().unsigned_abs() * 1_000_000_000 + now.tv_nsec().unsigned_abs())
}
