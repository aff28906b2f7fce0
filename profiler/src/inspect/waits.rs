//! What a thread waits for, from the call in which it is.

use std::path::Path;

use profiler_common::{
    call::{Abi, CallKey},
    trace::Kind,
};

use super::{
    bounded,
    files::{Files, signals},
    futex, holders,
    limits::{self, Limit},
    locks,
    memory::Memory,
    process::{Reading, ThreadReading, thread_directory},
    task::{self, Stat},
};
use crate::{
    decode,
    model::{Child, FileKind, MOST_FILES, OpenFile, ProcessName, TaskState, Wait},
    names::syscalls,
};

/// Descriptors of poll(2) and select(2) that are read.
const MOST_POLLED: u64 = 4096;

/// Children that are examined.
const MOST_CHILDREN: usize = 4096;

/// Bytes of /proc/locks that are read.
const MOST_LOCKS: u64 = 4 << 20;

/// Finds out what threads of a process wait for.
pub(super) struct Waits<'a> {
    pub(super) proc: &'a Path,
    pub(super) reading: &'a Reading,
    pub(super) memory: Memory<'a>,
    pub(super) files: Files,
    /// The children of the process, once they were asked for.
    children: Option<Vec<(Child, u32)>>,
    locks: Option<Vec<locks::FileLock>>,
}

impl<'a> Waits<'a> {
    pub(super) fn new(proc: &'a Path, reading: &'a Reading, memory: Memory<'a>) -> Self {
        let files = Files::of(proc, reading.process.pid);
        Self { proc, reading, memory, files, children: None, locks: None }
    }

    /// What a thread waits for that is not in a call, or whose state says more than the call.
    pub(super) fn of_state(&mut self, thread: &ThreadReading) -> Option<Wait> {
        let process = &self.reading.process;
        match thread.state {
            TaskState('T') => Some(Wait::Continue),
            TaskState('t') => Some(Wait::Tracer { tracer: process.tracer.clone() }),
            TaskState::ZOMBIE if thread.tid == process.pid && !process.leader_has_ended => {
                process.parent.clone().map(|parent| Wait::Parent { parent })
            }
            _ => None,
        }
    }

    /// What a thread waits for in a call, and when the call returns at the latest.
    pub(super) fn of_call(
        &mut self,
        thread: &ThreadReading,
        key: CallKey,
        args: &[u64; 6],
    ) -> (Option<Wait>, Option<Limit>) {
        let Some(name) = syscalls::known(key) else { return (None, None) };
        let abi = key.abi().unwrap_or(Abi::X86_64);
        let limit = limits::of(name, args, abi, &mut self.memory);
        let wait = match name {
            "epoll_wait" | "epoll_pwait" | "epoll_pwait2" => Some(self.of_epoll(fd(args[0]))),
            "poll" | "ppoll" | "ppoll_time64" => self.of_poll(args),
            "select" | "_newselect" | "pselect6" | "pselect6_time64" => self.of_select(args, abi),
            "futex" | "futex_time64" | "futex_wait" | "futex_waitv" => {
                let threads = &self.reading.threads;
                futex::of(name, args, thread.tid, threads, &mut self.memory).map(Wait::Futex)
            }
            "flock" => Some(self.of_lock(fd(args[0]), "flock")),
            // F_SETLKW, F_SETLKW64 of 32-bit programs, and F_OFD_SETLKW.
            "fcntl" | "fcntl64" => match (args[1], abi) {
                (7, _) | (14, Abi::I386) => Some(self.of_lock(fd(args[0]), "posix")),
                (38, _) => Some(self.of_lock(fd(args[0]), "ofd")),
                _ => self.of_files(key, args),
            },
            "wait4" | "waitpid" => Some(self.of_children(Wanted::of_wait(fd(args[0])))),
            "waitid" => {
                let wanted = match args[0] {
                    1 => Wanted::Process(low(args[1])),
                    2 if args[1] == 0 => Wanted::OwnGroup,
                    2 => Wanted::Group(low(args[1])),
                    3 => self.of_pidfd(fd(args[1])),
                    _ => Wanted::Any,
                };
                Some(self.of_children(wanted))
            }
            "vfork" => Some(self.of_vfork()),
            // CLONE_VFORK.
            "clone" if args[0] & 0x4000 != 0 => Some(self.of_vfork()),
            "clone3" if self.memory.read_u32(args[0]).is_some_and(|flags| flags & 0x4000 != 0) => {
                Some(self.of_vfork())
            }
            "nanosleep" | "clock_nanosleep" | "clock_nanosleep_time64" | "restart_syscall" => {
                Some(Wait::Time)
            }
            "pause" | "rt_sigsuspend" | "sigsuspend" => Some(Wait::Signal { signals: None }),
            "rt_sigtimedwait" | "rt_sigtimedwait_time64" => {
                let set = self.memory.read(args[0], 8).and_then(|bytes| bytes.try_into().ok());
                let signals = set.map(|set| signals(u64::from_ne_bytes(set)));
                Some(Wait::Signal { signals })
            }
            _ => self.of_files(key, args),
        };
        (wait, limit)
    }

    /// The open files that a call uses.
    fn of_files(&mut self, key: CallKey, args: &[u64; 6]) -> Option<Wait> {
        let mut files = Vec::new();
        for capture in decode::plan_with_files(key) {
            let Some(&arg) = args.get(usize::from(capture.arg)) else { continue };
            if capture.kind == Kind::File as u8 && fd(arg) >= 0 {
                files.push(self.file(fd(arg)));
            }
        }
        match (files.len(), files.pop()) {
            (_, None) => None,
            (1, Some(file)) => Some(Wait::File { file }),
            (count, Some(last)) => {
                files.push(last);
                Some(Wait::Files { epoll: None, files, count })
            }
        }
    }

    fn file(&mut self, fd: i32) -> OpenFile {
        self.files.get(fd, self.memory.patience())
    }

    fn of_epoll(&mut self, fd: i32) -> Wait {
        let epoll = self.file(fd);
        let info = self.files.info(fd, self.memory.patience());
        let files = info.targets.iter().take(MOST_FILES).map(|&fd| self.file(fd)).collect();
        Wait::Files { epoll: Some(epoll), files, count: info.target_count }
    }

    fn of_poll(&mut self, args: &[u64; 6]) -> Option<Wait> {
        // Each `struct pollfd` has a descriptor and two sets of events.
        let count = (args[1] & 0xffff_ffff).min(MOST_POLLED);
        let bytes = self.memory.read(args[0], usize::try_from(count * 8).ok()?)?;
        let fds = bytes
            .chunks_exact(8)
            .filter_map(|one| Some(i32::from_ne_bytes(one.get(..4)?.try_into().ok()?)));
        // Negative descriptors are ignored.
        let fds: Vec<i32> = fds.filter(|&fd| fd >= 0).collect();
        Some(self.of_several(&fds))
    }

    fn of_select(&mut self, args: &[u64; 6], abi: Abi) -> Option<Wait> {
        let bits = u64::try_from(fd(args[0])).ok()?.min(MOST_POLLED);
        // The kernel reads whole words.
        let word = if abi == Abi::I386 { 32 } else { 64 };
        let length = usize::try_from(bits.div_ceil(word) * word / 8).ok()?;
        let mut fds = Vec::new();
        for &address in args.get(1..4)?.iter().filter(|&&address| address != 0) {
            let Some(bytes) = self.memory.read(address, length) else { continue };
            let members = (0..i32::try_from(bits).ok()?).filter(|&bit| {
                bytes
                    .get(bit.unsigned_abs() as usize / 8)
                    .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
            });
            fds.extend(members);
        }
        fds.sort_unstable();
        fds.dedup();
        Some(self.of_several(&fds))
    }

    fn of_several(&mut self, fds: &[i32]) -> Wait {
        if fds.is_empty() {
            // A program can sleep so.
            return Wait::Time;
        }
        let files = fds.iter().take(MOST_FILES).map(|&fd| self.file(fd)).collect();
        Wait::Files { epoll: None, files, count: fds.len() }
    }

    fn of_lock(&mut self, fd: i32, lock: &'static str) -> Wait {
        let file = self.file(fd);
        let inode = self.files.info(fd, self.memory.patience()).inode;
        let pid = self.reading.process.pid;
        let path = self.proc.join("locks");
        let patience = self.memory.patience();
        let all = self.locks.get_or_insert_with(|| {
            let text = patience.run(move || bounded::read(&path, MOST_LOCKS));
            text.and_then(Result::ok).map(|text| locks::parse(&text)).unwrap_or_default()
        });
        let pids = locks::holders(all, pid, inode);
        let holders = pids.iter().take(MOST_FILES).map(|&pid| self.name(pid)).collect();
        let file = (file.kind != FileKind::Unknown).then_some(file);
        Wait::FileLock { file, lock, holders }
    }

    fn name(&mut self, pid: u32) -> ProcessName {
        let path = self.proc.join(pid.to_string());
        let name = self.memory.patience().run(move || holders::name(&path, pid));
        name.unwrap_or(ProcessName { pid, ..ProcessName::default() })
    }

    /// The process of a pidfd.
    fn of_pidfd(&mut self, fd: i32) -> Wanted {
        let info = self.files.info(fd, self.memory.patience());
        let pid = info.pid.and_then(|pid| u32::try_from(pid).ok());
        pid.map_or(Wanted::Any, Wanted::Process)
    }

    fn of_vfork(&mut self) -> Wait {
        match self.of_children(Wanted::Any) {
            Wait::Children { children, count, .. } => {
                Wait::Children { children, count, is_vfork: true }
            }
            other => other,
        }
    }

    fn of_children(&mut self, wanted: Wanted) -> Wait {
        let (proc, pid) = (self.proc.to_owned(), self.reading.process.pid);
        let tids: Vec<u32> = self.reading.threads.iter().map(|thread| thread.tid).collect();
        let patience = self.memory.patience();
        let all = self.children.get_or_insert_with(|| {
            patience.run(move || children(&proc, pid, &tids)).unwrap_or_default()
        });
        // Ids in the arguments are those of the namespace of the process.
        let is_nested = !self.reading.process.ids_in_namespaces.is_empty();
        let own_group = self.reading.process_group;
        let matching = all.iter().filter(|(child, group)| match wanted {
            Wanted::Any => true,
            _ if is_nested => true,
            Wanted::Process(pid) => child.process.pid == pid,
            Wanted::Group(id) => *group == id,
            Wanted::OwnGroup => *group == own_group,
        });
        let matching: Vec<&Child> = matching.map(|(child, _)| child).collect();
        let children = matching.iter().take(MOST_FILES).map(|&child| child.clone()).collect();
        Wait::Children { children, count: matching.len(), is_vfork: false }
    }
}

/// The children for which a call waits.
#[derive(Clone, Copy)]
enum Wanted {
    Any,
    Process(u32),
    Group(u32),
    OwnGroup,
}

impl Wanted {
    /// The first argument of wait4(2).
    fn of_wait(pid: i32) -> Self {
        match pid {
            1.. => Self::Process(pid.unsigned_abs()),
            0 => Self::OwnGroup,
            -1 => Self::Any,
            _ => Self::Group(pid.unsigned_abs()),
        }
    }
}

/// The children of all threads of a process, with their process groups.
fn children(proc: &Path, pid: u32, tids: &[u32]) -> Vec<(Child, u32)> {
    let of = |tid: &u32| {
        let path = thread_directory(proc, pid, *tid).join("children");
        bounded::read(&path, 1 << 20).map(|text| task::ids(&text)).unwrap_or_default()
    };
    let ids = tids.iter().take(MOST_CHILDREN).flat_map(of).take(MOST_CHILDREN);
    let child = |pid: u32| {
        let stat = bounded::read(&proc.join(pid.to_string()).join("stat"), 4096).ok()?;
        let stat = Stat::parse(&stat)?;
        let process = ProcessName { pid, comm: stat.comm };
        Some((Child { process, state: stat.state }, stat.group))
    };
    ids.filter_map(child).collect()
}

/// The lower half of an argument, as a descriptor or another `int`.
pub(super) fn fd(argument: u64) -> i32 {
    low(argument).cast_signed()
}

#[expect(clippy::cast_possible_truncation, reason = "the kernel reads the lower half")]
fn low(argument: u64) -> u32 {
    argument as u32
}
