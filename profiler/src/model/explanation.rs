//! What a process is doing now: its threads, what each of them waits for, and who can end the wait.

use serde::Serialize;

use crate::text::Untrusted;

/// What a process is doing now.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Explanation {
    /// The process.
    pub process: ProcessFacts,
    /// The thread that was asked for. Its group is the first one. `None` for a whole process.
    pub thread: Option<u32>,
    /// Number of threads.
    pub threads: usize,
    /// Number of threads in `groups`. The state of the others could not be read in time.
    pub threads_read: usize,
    /// Threads that wait in the same way. The longest wait is first.
    pub groups: Vec<ThreadGroup>,
    /// Number of further groups, which are left out.
    pub groups_omitted: usize,
    /// Threads that wait for each other in a circle. Empty if there is no such circle.
    pub deadlock: Vec<u32>,
    /// What the process did in the last seconds. `None` if it was not watched.
    pub profile: Option<ProcessProfile>,
    /// What could not be found out, and why.
    pub unknown: Vec<Unknown>,
    /// Whether the process ended while it was explained.
    pub has_ended: bool,
}

/// What could not be found out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// What is missing.
    pub what: &'static str,
    /// Why it is missing.
    pub why: String,
}

/// The identity and the state of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessFacts {
    /// Process id.
    pub pid: u32,
    /// Name.
    pub comm: Untrusted,
    /// State of the first thread.
    pub state: TaskState,
    /// The arguments. `None` if they could not be read; empty for a kernel thread.
    pub command: Option<Vec<Untrusted>>,
    /// Path of the executable. `None` if it could not be read, and for a kernel thread.
    pub executable: Option<Untrusted>,
    /// Real user id.
    pub uid: Option<u32>,
    /// The parent.
    pub parent: Option<ProcessName>,
    /// The process that traces it with ptrace(2).
    pub tracer: Option<ProcessName>,
    /// Time since the start, nanoseconds.
    pub age_ns: Option<u64>,
    /// Whether it is a thread of the kernel.
    pub is_kernel_thread: bool,
    /// Its id in each pid namespace below that of the profiler, from the outermost to the innermost.
    pub ids_in_namespaces: Vec<u32>,
    /// Whether its first thread has ended while others run.
    pub leader_has_ended: bool,
}

/// A process and its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ProcessName {
    /// Process id.
    pub pid: u32,
    /// Name. Empty if the process has ended.
    pub comm: Untrusted,
}

/// A thread and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ThreadName {
    /// Thread id.
    pub tid: u32,
    /// Name.
    pub comm: Untrusted,
}

/// The state of a task, as /proc/PID/stat has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct TaskState(pub char);

impl TaskState {
    /// A zombie.
    pub const ZOMBIE: Self = Self('Z');

    /// The name for people.
    pub fn title(self) -> &'static str {
        match self.0 {
            'R' => "running",
            'S' => "sleeping",
            'D' => "in uninterruptible sleep",
            'T' => "stopped",
            't' => "stopped by a tracer",
            'Z' => "zombie",
            'X' | 'x' => "dead",
            'I' => "idle",
            'P' => "parked",
            _ => "in an unknown state",
        }
    }

    /// Whether a signal or a tracer has stopped the task.
    pub fn is_stopped(self) -> bool {
        matches!(self.0, 'T' | 't')
    }

    /// Whether the task has ended.
    pub fn has_ended(self) -> bool {
        matches!(self.0, 'Z' | 'X' | 'x')
    }
}

impl Default for TaskState {
    fn default() -> Self {
        Self('?')
    }
}

/// Threads that wait in the same way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThreadGroup {
    /// The first threads, by age. At most [`MOST_NAMED`].
    pub named: Vec<ThreadName>,
    /// Number of threads.
    pub count: usize,
    /// Their state.
    pub state: TaskState,
    /// What they do.
    pub doing: Doing,
    /// Whether the threads make the same call on different objects. The call is that of one of them.
    pub differs: bool,
    /// How long they have been in the call. `None` if that is unknown.
    pub age: Option<Ages>,
    /// What they wait for. `None` if they wait for nothing, or if it is unknown.
    pub wait: Option<Wait>,
    /// When the call returns at the latest. `None` if it has no time limit, or the limit is unknown.
    pub limit: Option<TimeLimit>,
    /// Functions of the kernel in which the first thread is, from the innermost to the outermost.
    /// `None` if they could not be read.
    pub kernel_stack: Option<Vec<Untrusted>>,
    /// The function of the kernel in which the first thread sleeps. `None` if it does not sleep, or
    /// if that could not be read.
    pub wait_channel: Option<Untrusted>,
}

/// Threads of a group that are named.
pub const MOST_NAMED: usize = 16;

/// What a thread does.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Doing {
    /// It is in a call.
    Call {
        /// Name of the syscall.
        syscall: String,
        /// The ABI of the syscall.
        abi: &'static str,
        /// The call, with its decoded arguments.
        text: Untrusted,
        /// The decoded arguments, as `profiler trace` prints them in JSON.
        args: serde_json::Value,
        /// Whether the syscall waits by nature.
        waits_by_nature: bool,
    },
    /// It runs, or is ready to run.
    Runs,
    /// It is blocked outside of calls, for example in a page fault, or stopped.
    Blocked,
    /// It is a thread of the kernel.
    Kernel,
    /// It has ended.
    Ended,
    /// What it does could not be read.
    Unknown,
}

/// How long the threads of a group have been in their calls, nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Ages {
    /// The shortest time.
    pub shortest_ns: u64,
    /// The longest time.
    pub longest_ns: u64,
    /// Whether the longest time is a minimum: the call entered before the profiler attached.
    pub at_least: bool,
}

/// How long a call may still take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TimeLimit {
    /// The whole time, nanoseconds. `None` if the limit is a point in time.
    pub total_ns: Option<u64>,
    /// The rest, nanoseconds. `None` if the age of the call is unknown.
    pub left_ns: Option<u64>,
    /// Whether `left_ns` is a maximum, because the age of the call is a minimum.
    pub at_most: bool,
}

/// What a thread waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Wait {
    /// An operation on an open file.
    File {
        /// The open file.
        file: OpenFile,
    },
    /// An event on one of several open files.
    Files {
        /// The epoll instance, if the files are registered there.
        epoll: Option<OpenFile>,
        /// The files. At most [`MOST_FILES`].
        files: Vec<OpenFile>,
        /// Number of files.
        count: usize,
    },
    /// A futex.
    Futex(Futex),
    /// A lock of a file.
    FileLock {
        /// The file.
        file: Option<OpenFile>,
        /// `flock`, `posix` or `ofd`.
        lock: &'static str,
        /// The processes that hold locks in the way, as the kernel recorded them.
        holders: Vec<ProcessName>,
    },
    /// The end of a child, or a change of its state.
    Children {
        /// The children that match. At most [`MOST_FILES`].
        children: Vec<Child>,
        /// Number of children that match.
        count: usize,
        /// Whether the thread made a child that uses its memory (vfork), and waits until that child
        /// has executed a program or ended.
        is_vfork: bool,
    },
    /// A point in time.
    Time,
    /// A signal.
    Signal {
        /// The signals. `None` for any signal that has a handler.
        signals: Option<Vec<String>>,
    },
    /// The signal SIGCONT, because the thread is stopped.
    Continue,
    /// The tracer that stopped the thread.
    Tracer {
        /// The tracer.
        tracer: Option<ProcessName>,
    },
    /// Its parent, which has not read its exit status.
    Parent {
        /// The parent.
        parent: ProcessName,
    },
}

/// Open files and children that are listed of a wait.
pub const MOST_FILES: usize = 32;

/// A futex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Futex {
    /// The address.
    pub address: u64,
    /// The value in memory. `None` if it could not be read.
    pub value: Option<u32>,
    /// The value that the thread found when it began to wait. `None` if the call has none.
    pub expected: Option<u32>,
    /// Whether only threads of one process use it.
    pub is_private: bool,
    /// The thread that holds the lock.
    pub owner: Option<FutexOwner>,
}

/// The thread that holds a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FutexOwner {
    /// The thread.
    pub tid: u32,
    /// The name of the thread. Empty if the thread is unknown.
    pub comm: Untrusted,
    /// How it was found.
    pub evidence: Evidence,
    /// What the owner does, if it is a thread of the process.
    pub doing: Option<Untrusted>,
}

/// How the owner of a lock was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Evidence {
    /// The futex has the thread id of its owner: a lock with priority inheritance, or a robust one.
    Futex,
    /// The futex has the id of a thread that has not ended: the thread waits for its end, as
    /// pthread_join(3) does.
    Join,
    /// A guess: the memory behind the futex looks like a mutex of glibc, and has the id of a thread
    /// of the process where the mutex has its owner.
    LikeMutex,
}

/// A child.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Child {
    /// The child.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Its state.
    pub state: TaskState,
}

/// An open file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenFile {
    /// The descriptor.
    pub fd: i32,
    /// The kind: `file`, `pipe`, `socket` and so on.
    pub kind: FileKind,
    /// Its path or address. Empty if it could not be read.
    pub name: Untrusted,
    /// Its state, such as the counter of an eventfd. Empty if there is nothing to say.
    pub detail: Untrusted,
    /// The other end of a pipe or socket.
    pub peer: Option<Peer>,
}

/// The kind of an open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A file of a file system.
    File,
    /// A directory.
    Directory,
    /// A device.
    Device,
    /// A pipe, with or without a name.
    Pipe,
    /// A socket.
    Socket,
    /// An epoll instance.
    Epoll,
    /// An eventfd.
    Eventfd,
    /// A timerfd.
    Timerfd,
    /// A signalfd.
    Signalfd,
    /// An inotify or fanotify instance.
    Inotify,
    /// A pidfd.
    Pidfd,
    /// Any other.
    Other,
    /// The descriptor is closed, or could not be read.
    Unknown,
}

/// The other end of a pipe or socket.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peer {
    /// The processes that have the other end open. At most [`MOST_FILES`].
    pub holders: Vec<Holder>,
    /// Number of descriptors of the other end that were found.
    pub count: usize,
    /// Whether all processes were searched. If not, there may be further holders.
    pub is_complete: bool,
    /// Why the other end cannot be found, for example because it is on another host.
    pub elsewhere: Option<&'static str>,
}

/// A process that has the other end of a pipe or socket open.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Holder {
    /// The process.
    #[serde(flatten)]
    pub process: ProcessName,
    /// Its descriptor.
    pub fd: i32,
}

/// What a process did in the last seconds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ProcessProfile {
    /// The length of the time, nanoseconds.
    pub window_ns: u64,
    /// Time on a CPU. `None` if it could not be read.
    pub cpu: Option<CpuUse>,
    /// Syscalls. `None` if they were not counted.
    pub calls: Option<CallProfile>,
    /// Calls that failed, by path. `None` if they were not traced.
    pub failures: Option<FailedCalls>,
}

/// Time that the threads of a process spent on a CPU, or waiting for one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CpuUse {
    /// The length of the time, nanoseconds. It can differ from that of the counted calls.
    pub window_ns: u64,
    /// Time on a CPU, nanoseconds.
    pub on_cpu_ns: u64,
    /// The part of `on_cpu_ns` in the kernel, nanoseconds. Its resolution is 10 ms.
    pub system_ns: u64,
    /// Time waiting for a CPU, nanoseconds.
    pub runnable_ns: u64,
}

/// The syscalls of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallProfile {
    /// Number of calls that entered.
    pub calls: u64,
    /// Number of calls that returned an errno.
    pub errors: u64,
    /// The syscalls with most time, in that order.
    pub rows: Vec<CallLine>,
    /// Number of further syscalls.
    pub omitted: usize,
    /// Errors by syscall and errno, the most frequent first.
    pub by_errno: Vec<ErrorLine>,
    /// Whether the time of calls is split into the time on a CPU, waiting and runnable.
    pub is_split: bool,
    /// The most calls that are missing, because the kernel skipped programs or tables were full.
    pub lost: u64,
}

/// The calls of a syscall.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallLine {
    /// The syscall, with its ABI if that is not the first one.
    pub syscall: String,
    /// Number of calls that entered.
    pub calls: u64,
    /// Number of calls that returned an errno.
    pub errors: u64,
    /// Wall time of the calls that returned, nanoseconds.
    pub total_ns: u64,
    /// The part on a CPU, nanoseconds.
    pub on_cpu_ns: u64,
    /// The part blocked, nanoseconds.
    pub waiting_ns: u64,
    /// The part waiting for a CPU, nanoseconds.
    pub runnable_ns: u64,
    /// The greatest latency, nanoseconds.
    pub max_ns: u64,
    /// Whether the syscall waits by nature.
    pub waits_by_nature: bool,
}

/// Calls that failed in the same way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ErrorLine {
    /// The syscall.
    pub syscall: String,
    /// The name of the errno.
    pub errno: String,
    /// Number of calls.
    pub count: u64,
}

/// Calls that failed, by path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FailedCalls {
    /// Number of failed calls that were seen.
    pub seen: u64,
    /// Number of events that were dropped. Some of them may be failed calls.
    pub dropped: u64,
    /// The most frequent failures, in that order.
    pub rows: Vec<FailureLine>,
    /// Number of failed calls that are not in `rows`.
    pub others: u64,
}

/// Calls that failed in the same way on the same object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailureLine {
    /// The syscall.
    pub syscall: String,
    /// The name of the errno.
    pub errno: String,
    /// The path or the open file. Empty if the call has none.
    pub path: Untrusted,
    /// Number of calls.
    pub count: u64,
}

impl Wait {
    /// All open files of the wait.
    pub fn files_mut(&mut self) -> Vec<&mut OpenFile> {
        match self {
            Self::File { file } | Self::FileLock { file: Some(file), .. } => vec![file],
            Self::Files { epoll, files, .. } => epoll.iter_mut().chain(files).collect(),
            _ => Vec::new(),
        }
    }
}
