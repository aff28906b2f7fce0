//! Reads a process and all its threads.

use std::{
    collections::HashMap,
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::{Pid, geteuid},
};
use profiler_common::call::Abi;

use super::{
    bounded::{self, Patience},
    calls::{self, Task},
    holders,
    task::{self, Stat, Status},
};
use crate::{
    model::{ProcessFacts, ProcessName, TaskState, Unknown},
    proc_fields::TICK_NS,
    text::Untrusted,
};

/// How long reading all threads may take.
const ALL_THREADS: Duration = Duration::from_secs(5);

/// Bytes of a command line that are read.
const MOST_COMMAND: u64 = 4096;

/// CPUs whose clocks are read.
const MOST_CPUS: usize = 256;

/// Arguments of a command line that are kept.
const MOST_ARGUMENTS: usize = 64;

/// A process at one time.
#[derive(Clone, Debug, Default)]
pub struct Reading {
    /// The process.
    pub process: ProcessFacts,
    /// Its threads, of those that could be read.
    pub threads: Vec<ThreadReading>,
    /// Number of threads.
    pub thread_count: usize,
    /// Its process group.
    pub process_group: u32,
    /// Its start, ticks since boot.
    pub start_ticks: u64,
    /// The ABI of its executable.
    pub abi: Option<Abi>,
    /// What could not be read, and why.
    pub unknown: Vec<Unknown>,
    /// When it was read.
    pub taken: Option<Instant>,
}

/// A thread at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ThreadReading {
    /// Thread id.
    pub tid: u32,
    /// Name.
    pub comm: Untrusted,
    /// Thread id in its own pid namespace.
    pub inner_tid: u32,
    /// State.
    pub state: TaskState,
    /// Where it is. `None` if that could not be read.
    pub task: Option<Task>,
    /// The text of /proc/PID/syscall, with the stack pointer.
    pub place: String,
    /// How often it has left a CPU.
    pub switches: Option<u64>,
    /// Time on a CPU, and time waiting for one, nanoseconds. `None` if the kernel does not say.
    pub times: Option<(u64, u64)>,
    /// Time in the kernel, nanoseconds.
    pub system_ns: u64,
    /// How long it has been asleep at least, nanoseconds. `None` if it is not, or if the kernel does
    /// not say.
    pub asleep_ns: Option<u64>,
}

/// Why a process cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such process or thread.
    Gone,
    /// The kernel did not answer in time.
    TimedOut,
}

/// The process of a process id or thread id. Returns the process id.
///
/// # Errors
/// If neither exists.
pub fn process_of(proc: &Path, id: u32, patience: &mut Patience) -> Result<u32, Failure> {
    let path = proc.join(id.to_string()).join("status");
    let status = patience.run(move || bounded::read(&path, 65_536)).ok_or(Failure::TimedOut)?;
    let status = status.ok().and_then(|text| Status::parse(&text));
    status.map(|status| status.tgid).ok_or(Failure::Gone)
}

impl Reading {
    /// Reads a process.
    ///
    /// # Errors
    /// If it does not exist, or the kernel does not answer.
    pub fn take(proc: &Path, pid: u32, patience: &mut Patience) -> Result<Self, Failure> {
        let directory = proc.join(pid.to_string());
        let (in_worker, own_proc) = (directory.clone(), proc.to_owned());
        let facts = patience.run(move || facts(&own_proc, &in_worker, pid));
        let facts = facts.ok_or(Failure::TimedOut)?.ok_or(Failure::Gone)?;
        let Facts { mut process, group, start_ticks, abi, threads } = facts;
        let thread_count = threads.len();
        let mut this =
            Self { abi, process_group: group, start_ticks, thread_count, ..Self::default() };
        this.read_command(&directory, &mut process, patience);
        this.read_threads(&directory, threads, patience);
        if let Some(first) = this.threads.iter().find(|thread| thread.tid == pid) {
            process.state = first.state;
        }
        let is_alone = this.thread_count <= 1;
        process.leader_has_ended = process.state == TaskState::ZOMBIE && !is_alone;
        (this.process, this.taken) = (process, Some(Instant::now()));
        Ok(this)
    }

    /// Reads the command line and the path of the executable.
    fn read_command(
        &mut self,
        directory: &Path,
        process: &mut ProcessFacts,
        patience: &mut Patience,
    ) {
        if process.is_kernel_thread {
            process.command = Some(Vec::new());
            return;
        }
        let path = directory.join("cmdline");
        match patience.run(move || bounded::read(&path, MOST_COMMAND)) {
            Some(Ok(text)) if !text.is_empty() => {
                let text = text.strip_suffix(b"\0").unwrap_or(&text);
                let arguments = text.split(|&byte| byte == 0).take(MOST_ARGUMENTS);
                process.command = Some(arguments.map(Untrusted::from_bytes).collect());
            }
            Some(_) => {}
            None => self.not_known("the command line", TIMED_OUT),
        }
        let path = directory.join("exe");
        let link = patience.run(move || fs::read_link(path));
        process.executable = link.and_then(Result::ok).map(|path| Untrusted::from(&*path));
    }

    fn read_threads(&mut self, directory: &Path, tids: Vec<u32>, patience: &mut Patience) {
        let deadline = Instant::now() + ALL_THREADS;
        let abi = self.abi.unwrap_or(Abi::X86_64);
        let mut is_denied = false;
        let mut last = Vec::new();
        for tid in tids {
            if Instant::now() >= deadline || patience.has_given_up() {
                let why = if patience.has_given_up() { TIMED_OUT } else { "they are too many" };
                self.not_known("the state of some threads", why);
                break;
            }
            let path = directory.join("task").join(tid.to_string());
            // A thread that ends meanwhile has no reading.
            let thread = patience.run(move || ThreadReading::take(&path, tid, abi));
            if let Some(Some(facts)) = thread {
                is_denied |= facts.is_denied;
                self.threads.push(facts.thread);
                last.push(facts.last);
            }
        }
        self.set_asleep(&last, patience);
        if is_denied {
            self.unknown.push(Unknown { what: "the calls in which threads are", why: denied() });
        }
    }

    /// Computes how long threads have been asleep: since they were on a CPU last, by the clock of that
    /// CPU. The clock does not advance while the CPU handles interrupts, so the time is a minimum.
    fn set_asleep(&mut self, last: &[Option<(usize, u64)>], patience: &mut Patience) {
        let mut clocks: HashMap<usize, Option<u64>> = HashMap::new();
        for (thread, last) in self.threads.iter_mut().zip(last) {
            let Some((cpu, ns)) = *last else { continue };
            if !matches!(thread.state, TaskState('S' | 'D')) {
                continue;
            }
            if !clocks.contains_key(&cpu) && clocks.len() >= MOST_CPUS {
                continue;
            }
            let clock =
                clocks.entry(cpu).or_insert_with(|| patience.run(move || clock_of(cpu)).flatten());
            thread.asleep_ns = clock.and_then(|now| now.checked_sub(ns));
        }
    }

    fn not_known(&mut self, what: &'static str, why: &str) {
        self.unknown.push(Unknown { what, why: why.to_owned() });
    }
}

/// Why a read has no result that did not end.
pub(super) const TIMED_OUT: &str = "could not be read within 1 s";

/// Why the kernel refuses to show what a process does, and what is required.
pub(super) fn denied() -> String {
    match yama() {
        _ if geteuid().is_root() => "the kernel refused, although the profiler runs as root".into(),
        Some(scope @ 1..) => {
            format!("requires root or CAP_SYS_PTRACE, because kernel.yama.ptrace_scope is {scope}")
        }
        _ => "requires root, CAP_SYS_PTRACE, or the user of the process".into(),
    }
}

/// The value of kernel.yama.ptrace_scope, if the kernel has it.
fn yama() -> Option<u32> {
    let text = bounded::read("/proc/sys/kernel/yama/ptrace_scope".as_ref(), 16).ok()?;
    str::from_utf8(&text).ok()?.trim().parse().ok()
}

/// What is read of a process at first.
struct Facts {
    process: ProcessFacts,
    group: u32,
    start_ticks: u64,
    abi: Option<Abi>,
    /// The ids of its threads.
    threads: Vec<u32>,
}

/// Reads a process. `None` if it does not exist.
fn facts(proc: &Path, directory: &Path, pid: u32) -> Option<Facts> {
    let stat = Stat::parse(&bounded::read(&directory.join("stat"), 4096).ok()?)?;
    let status = Status::parse(&bounded::read(&directory.join("status"), 65_536).ok()?)?;
    let name = |pid: u32| -> Option<ProcessName> {
        (pid != 0).then(|| holders::name(&proc.join(pid.to_string()), pid))
    };
    let since_boot = fs::read_to_string(proc.join("uptime")).ok();
    let since_boot: Option<f64> = since_boot.and_then(|text| text.split(' ').next()?.parse().ok());
    let age_ns = since_boot.map(|seconds| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an uptime")]
        let now = (seconds * 1e9) as u64;
        now.saturating_sub(stat.start_ticks.saturating_mul(TICK_NS))
    });
    let process = ProcessFacts {
        pid,
        comm: stat.comm,
        state: stat.state,
        uid: status.uid,
        parent: name(stat.parent),
        tracer: name(status.tracer),
        age_ns,
        is_kernel_thread: stat.is_kernel_thread,
        ids_in_namespaces: status.ids.get(1..).unwrap_or_default().to_vec(),
        ..ProcessFacts::default()
    };
    let abi = (!stat.is_kernel_thread).then(|| calls::abi_of(&directory.join("exe")));
    let threads = fs::read_dir(directory.join("task")).into_iter().flatten().flatten();
    let tid = |thread: fs::DirEntry| thread.file_name().to_str()?.parse().ok();
    let (group, start_ticks) = (stat.group, stat.start_ticks);
    Some(Facts { process, group, start_ticks, abi, threads: threads.filter_map(tid).collect() })
}

/// What is read of a thread at once.
struct ThreadFacts {
    thread: ThreadReading,
    /// On which CPU the thread was last, and when.
    last: Option<(usize, u64)>,
    /// Whether the kernel refused to say in which call it is.
    is_denied: bool,
}

impl ThreadReading {
    /// Reads a thread.
    fn take(path: &Path, tid: u32, abi: Abi) -> Option<ThreadFacts> {
        let read = |name: &str| bounded::read(&path.join(name), 4096);
        let stat = Stat::parse(&read("stat").ok()?)?;
        let place = read("syscall");
        let is_denied = place.as_ref().is_err_and(|error| {
            error.kind() == ErrorKind::PermissionDenied && !stat.state.has_ended()
        });
        let place = String::from_utf8(place.unwrap_or_default()).unwrap_or_default();
        let status = read("status").ok().and_then(|text| Status::parse(&text));
        let this = Self {
            tid,
            comm: stat.comm,
            state: stat.state,
            task: calls::parse(&place, abi),
            place,
            switches: status.as_ref().and_then(|status| status.switches),
            inner_tid: status.and_then(|status| status.ids.last().copied()).unwrap_or(tid),
            times: read("schedstat").ok().and_then(|text| task::schedstat(&text)),
            system_ns: stat.system_ticks.saturating_mul(TICK_NS),
            asleep_ns: None,
        };
        let last = read("sched").ok().and_then(|text| task::last_on_cpu(&text));
        Some(ThreadFacts { thread: this, last: stat.cpu.zip(last), is_denied })
    }
}

/// The clock of a CPU, nanoseconds. `None` if this thread may not run there. Runs the calling thread
/// on that CPU for a moment.
fn clock_of(cpu: usize) -> Option<u64> {
    let own = Pid::from_raw(0);
    let before = sched_getaffinity(own).ok()?;
    let mut there = CpuSet::new();
    there.set(cpu).ok()?;
    sched_setaffinity(own, &there).ok()?;
    let text = bounded::read("/proc/thread-self/sched".as_ref(), 4096).ok();
    let _ = sched_setaffinity(own, &before);
    task::last_on_cpu(&text?)
}

/// The directory of a thread.
pub(super) fn thread_directory(proc: &Path, pid: u32, tid: u32) -> PathBuf {
    proc.join(pid.to_string()).join("task").join(tid.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_read() {
        let (own, mut patience) = (std::process::id(), Patience::default());
        let reading = Reading::take("/proc".as_ref(), own, &mut patience).expect("it runs");
        assert_eq!(reading.process.pid, own);
        assert!(!reading.process.is_kernel_thread && !reading.process.leader_has_ended);
        assert!(reading.thread_count >= 2 && reading.threads.len() >= 2);
        let command = reading.process.command.expect("a command line");
        let expected: Vec<_> = std::env::args_os().map(|word| Untrusted::from(&*word)).collect();
        assert_eq!(command, expected);
        assert!(reading.process.age_ns.is_some());
        let tid = reading.threads.iter().map(|thread| thread.tid).find(|&tid| tid != own);
        let tid = tid.expect("the runner of the tests has threads");
        assert_eq!(process_of("/proc".as_ref(), tid, &mut patience), Ok(own));
    }

    #[test]
    fn a_process_that_is_gone_is_an_error() {
        let mut patience = Patience::default();
        let gone = Reading::take("/proc".as_ref(), u32::MAX, &mut patience);
        assert_eq!(gone.map(|_| ()), Err(Failure::Gone));
        assert_eq!(process_of("/proc".as_ref(), u32::MAX, &mut patience), Err(Failure::Gone));
    }
}
