//! Processes and threads that come into the scope of a filter and leave it again, again and
//! again, and know which of their calls were made within it.

use std::{
    fs::File,
    os::fd::AsRawFd as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
};

use libc::c_long;

use super::{
    Calls, Made, Params, Process, Statement,
    execs::Program,
    fork, names, own_pid, own_tid, raw, reap,
    seccomp::answer,
    statement::{add, calls},
    wait_until_in_call,
};

/// The name that is in the filter, and one that is not.
pub(crate) const WANTED: &str = "wanted";
const UNWANTED: &str = "unwanted";

/// Threads that make calls when they are told to, and run without any until then: what
/// changes meanwhile changes for a thread at work.
struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// Turns that have been given out.
    turn: AtomicU64,
    /// Turns that threads have taken, all together.
    taken: AtomicU64,
}

/// No turn: the end.
const END: u64 = u64::MAX;

impl Crew {
    fn new(threads: u64, calls: u64) -> Self {
        let shared = Arc::new(Shared::default());
        let work = move |shared: Arc<Shared>| {
            for turn in 1.. {
                let until = |n| n >= turn;
                if wait_for(&shared.turn, until) == END {
                    return;
                }
                make(calls);
                shared.taken.fetch_add(1, SeqCst);
            }
        };
        let start = |_| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || work(shared))
        };
        let threads = (0..threads).map(start).collect();
        Self { shared, threads }
    }

    /// Has each of them make its calls once.
    fn turn(&self) {
        let turn = self.shared.turn.fetch_add(1, SeqCst) + 1;
        let all = turn * self.threads.len() as u64;
        wait_for(&self.shared.taken, |taken| taken == all);
    }

    fn end(self) {
        self.shared.turn.store(END, SeqCst);
        self.threads.into_iter().for_each(|thread| thread.join().expect("no panic"));
    }
}

/// Without a call.
fn wait_for(number: &AtomicU64, is_so: impl Fn(u64) -> bool) -> u64 {
    loop {
        let now = number.load(SeqCst);
        if is_so(now) {
            return now;
        }
        std::hint::spin_loop();
    }
}

/// Calls that succeed, that fail, and that seccomp denies.
fn make(calls: u64) {
    for _ in 0..calls {
        assert!(raw::syscall(libc::SYS_getppid, [0; 1]) >= 0);
        assert_eq!(raw::syscall(libc::SYS_fsync, [-1]), -c_long::from(libc::EBADF));
        assert_eq!(raw::syscall(libc::SYS_getsid, [0]), -c_long::from(libc::EPERM));
    }
}

/// What that comes to, so many times.
fn made(times: u64) -> Calls {
    calls([
        ("getppid", Made::succeeded(times)),
        ("fsync", Made::failed(times, "EBADF")),
        ("getsid", Made::denied(times)),
    ])
}

/// A way into the filter's scope and out of it, for the process of the thread that goes it.
struct Way {
    into: (File, Vec<u8>),
    out: (File, Vec<u8>),
}

impl Way {
    /// Whoever writes 0 moves itself.
    fn of_cgroups(params: &Params, file: &str) -> Self {
        let open = |directory: &str| {
            let path = Path::new(&params.0[directory]).join(file);
            let opened = File::options().write(true).open(&path);
            (opened.unwrap_or_else(|error| panic!("{}: {error}", path.display())), b"0".to_vec())
        };
        Self { into: open("inside"), out: open("outside") }
    }

    /// Of the leader, whichever thread it is that writes.
    fn of_names() -> Self {
        let own = format!("/proc/{0}/task/{0}/comm", own_pid());
        let open = |name: &str| {
            let file = File::options().write(true).open(&own).expect("a file of ours");
            (file, name.as_bytes().to_vec())
        };
        Self { into: open(WANTED), out: open(UNWANTED) }
    }

    /// One `writev`.
    fn go((file, what): &(File, Vec<u8>)) {
        let from = libc::iovec { iov_base: what.as_ptr().cast_mut().cast(), iov_len: what.len() };
        let args = [file.as_raw_fd().into(), &raw const from as c_long, 1];
        assert_eq!(raw::syscall(libc::SYS_writev, args), what.len() as c_long, "{what:?}");
    }

    fn go_in(&self) {
        Self::go(&self.into);
    }

    fn go_out(&self) {
        Self::go(&self.out);
    }
}

/// `rounds` times into the cgroup `inside`, and out of it.
pub(super) fn migrated(params: &Params) -> Statement {
    by_turns(params, &Way::of_cgroups(params, "cgroup.procs"))
}

/// The same by name; with `by-thread=1` not by the thread whose name it is.
pub(super) fn renamed_by_turns(params: &Params) -> Statement {
    let way = Way::of_names();
    if !params.has("by-thread") {
        return by_turns(params, &way);
    }
    thread::scope(|scope| scope.spawn(|| by_turns(params, &way)).join().expect("no panic"))
}

/// `threads` threads that run, one that is in a call meanwhile, the one that goes the way,
/// and a child: all make the same calls before, within and after.
fn by_turns(params: &Params, way: &Way) -> Statement {
    let (rounds, calls) = (params.number("rounds"), params.number("calls"));
    let threads = params.number("threads");
    params.hold();
    answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0);
    let crew = Crew::new(threads, calls);
    let sleeper = Sleeper::new();
    let mut children = Vec::new();
    for _ in 0..rounds {
        crew.turn();
        make(calls);
        sleeper.falls_asleep();
        way.go_in();
        crew.turn();
        make(calls);
        // It entered before this, and leaves within.
        sleeper.wakes();
        sleeper.falls_asleep();
        let child = fork(|| {
            make(calls);
            true
        });
        reap(child);
        children.push(child);
        way.go_out();
        // It entered within, and leaves after this.
        sleeper.wakes();
        crew.turn();
        make(calls);
    }
    crew.end();
    sleeper.end();
    let mut own = made(rounds * (threads + 1) * calls);
    // Those out of scope, which entered within.
    add(&mut own, "writev", &Made::succeeded(rounds));
    add(&mut own, "readv", &Made::succeeded(rounds));
    for name in ["exit", "exit_group"] {
        add(&mut own, name, &Made::default());
    }
    let mut processes = vec![Process::new(own_pid(), own)];
    // A child is called as the thread that made it is, and not as that one's process.
    let named_otherwise = params.has("by-thread");
    processes.extend(children.into_iter().map(|child| {
        let mut made = made(calls);
        add(&mut made, "exit_group", &Made::never_returned(1));
        if named_otherwise {
            made.values_mut().for_each(|made| *made = Made::default());
        }
        Process::new(child, made)
    }));
    Statement::of_all(processes)
}

/// A thread that sleeps in `readv`.
struct Sleeper {
    to: std::io::PipeWriter,
    tid: u32,
    woken: Arc<AtomicU64>,
    may_sleep: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Sleeper {
    fn new() -> Self {
        let (from, to) = std::io::pipe().expect("a pipe");
        let (woken, may_sleep) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let tid = Arc::<AtomicU64>::default();
        let thread = thread::spawn({
            let (woken, may_sleep) = (Arc::clone(&woken), Arc::clone(&may_sleep));
            let tid = Arc::clone(&tid);
            move || {
                tid.store(own_tid().into(), SeqCst);
                for turn in 1.. {
                    if wait_for(&may_sleep, |n| n >= turn) == END {
                        return;
                    }
                    let mut byte = 0_u8;
                    let into = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
                    let args = [from.as_raw_fd().into(), &raw const into as c_long, 1];
                    assert_eq!(raw::syscall(libc::SYS_readv, args), 1);
                    woken.fetch_add(1, SeqCst);
                }
            }
        });
        let tid = wait_for(&tid, |tid| tid != 0) as u32;
        Self { to, tid, woken, may_sleep, thread }
    }

    fn falls_asleep(&self) {
        self.may_sleep.fetch_add(1, SeqCst);
        wait_until_in_call(own_pid(), self.tid, libc::SYS_readv);
    }

    /// Returns when it has left its call.
    fn wakes(&self) {
        let turn = self.may_sleep.load(SeqCst);
        let byte = 0_u8;
        let args = [self.to.as_raw_fd().into(), &raw const byte as c_long, 1];
        assert_eq!(raw::syscall(libc::SYS_write, args), 1);
        wait_for(&self.woken, |woken| woken == turn);
    }

    fn end(self) {
        self.may_sleep.store(END, SeqCst);
        self.thread.join().expect("no panic");
    }
}

/// One thread of two goes into the threaded cgroup `inside`, and back to `outside`, where
/// its process is; both make the same calls.
pub(super) fn migrated_thread(params: &Params) -> Statement {
    let (rounds, calls) = (params.number("rounds"), params.number("calls"));
    Way::go(&Way::of_cgroups(params, "cgroup.procs").out);
    let way = Way::of_cgroups(params, "cgroup.threads");
    answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0);
    let crew = Crew::new(1, calls);
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..rounds {
                make(calls);
                way.go_in();
                crew.turn();
                make(calls);
                way.go_out();
                make(calls);
            }
        });
    });
    crew.end();
    let mut made = made(rounds * calls);
    add(&mut made, "writev", &Made::succeeded(rounds));
    Statement::of(own_pid(), made)
}

/// Calls of a known number, without a statement.
pub(super) fn some(params: &Params) -> Statement {
    ask(params.number("calls"));
    raw::end(0)
}

fn ask(times: u64) {
    for _ in 0..times {
        raw::syscall(libc::SYS_getppid, [0; 1]);
    }
}

/// This program under the names UNWANTED and WANTED, which are links to it in `directory`.
fn programs(params: &Params) -> [Program; 2] {
    let directory = Path::new(&params.0["directory"]);
    let calls = format!("calls={}", params.number("calls"));
    [UNWANTED, WANTED].map(|name| Program::at(&directory.join(name), &["some", &calls]))
}

/// Children that exec this program under the names WANTED and UNWANTED, which are links to
/// it in `directory`: from the one into the other, and the reverse, `calls` calls of each.
pub(super) fn execs_by_name(params: &Params) -> Statement {
    let times = params.number("calls");
    let [unwanted, wanted] = programs(params);
    let call = || ask(times);
    let into = fork(|| {
        call();
        wanted.exec();
        false
    });
    reap(into);
    let out = fork(|| {
        Way::of_names().go_in();
        call();
        unwanted.exec();
        false
    });
    reap(out);
    // Not by the leader, which has another address.
    let by_thread = fork(|| {
        call();
        let leader = own_pid();
        thread::scope(|scope| {
            scope.spawn(|| {
                wait_until_in_call(leader, leader, libc::SYS_pause);
                wanted.exec();
            });
            raw::syscall(libc::SYS_pause, [0; 0]);
        });
        false
    });
    reap(by_thread);
    let of_wanted = || {
        let ended = Made::never_returned(1);
        calls([
            ("getppid", Made::succeeded(times)),
            ("execve", Made::default()),
            ("exit_group", ended),
        ])
    };
    let of_unwanted = calls([
        ("getppid", Made::succeeded(times)),
        ("execve", Made::succeeded(1)),
        ("exit_group", Made::default()),
    ]);
    Statement::of_all(vec![
        Process::new(into, of_wanted()),
        Process::new(out, of_unwanted),
        Process::new(by_thread, of_wanted()),
    ])
}

/// Children of two threads each, of which the one that is not the leader execs: whatever
/// the leader is called, the thread and the program; and the leader sleeps or has ended.
pub(super) fn execs_of_threads_by_name(params: &Params) -> Statement {
    let times = params.number("calls");
    let programs = programs(params);
    let mut processes = Vec::new();
    for case in 0..16 {
        let [leader, thread, program, zombie] = [1, 2, 4, 8].map(|bit| case & bit != 0);
        let child = fork(|| {
            if leader {
                Way::of_names().go_in();
            }
            ask(times);
            let leader = own_pid();
            thread::scope(|scope| {
                scope.spawn(|| {
                    names::set_own_name(if thread { c"wanted" } else { c"unwanted" });
                    ask(times);
                    if zombie {
                        names::wait_until_zombie(leader);
                    } else {
                        wait_until_in_call(leader, leader, libc::SYS_pause);
                    }
                    programs[usize::from(program)].exec();
                });
                if zombie {
                    raw::syscall(libc::SYS_exit, [0]);
                }
                raw::syscall(libc::SYS_pause, [0; 0]);
            });
            false
        });
        reap(child);
        // By its leader's name first, and by the program's then.
        let before = if leader { 2 * times } else { 0 };
        let after = if program { times } else { 0 };
        let mut made = Calls::new();
        add(&mut made, "getppid", &Made::succeeded(before + after));
        add(&mut made, "execve", &Made::succeeded(leader.into()));
        add(&mut made, "exit_group", &Made::never_returned(program.into()));
        processes.push(Process::new(child, made));
    }
    Statement::of_all(processes)
}
