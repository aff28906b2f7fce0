//! Processes and threads that repeatedly enter and leave the scope of a filter, and state which of
//! their calls were in scope.

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

/// A name that matches the filter, and one that does not.
pub(crate) const WANTED: &str = "wanted";
const UNWANTED: &str = "unwanted";

/// Threads that make calls when told to. Until then they spin without a call, so that the filter's
/// scope changes for a running thread.
struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    /// The number of turns started.
    turn: AtomicU64,
    /// The number of turns that all threads together have finished.
    taken: AtomicU64,
}

/// The value of `turn` that ends the threads.
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

    /// Has each thread make its calls once.
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

/// Spins, without a call, until the number meets the condition.
fn wait_for(number: &AtomicU64, is_so: impl Fn(u64) -> bool) -> u64 {
    loop {
        let now = number.load(SeqCst);
        if is_so(now) {
            return now;
        }
        std::hint::spin_loop();
    }
}

/// Makes calls that succeed, calls that fail, and calls that seccomp denies.
fn make(calls: u64) {
    for _ in 0..calls {
        assert!(raw::syscall(libc::SYS_getppid, [0; 1]) >= 0);
        assert_eq!(raw::syscall(libc::SYS_fsync, [-1]), -c_long::from(libc::EBADF));
        assert_eq!(raw::syscall(libc::SYS_getsid, [0]), -c_long::from(libc::EPERM));
    }
}

/// The statement of `times` runs of [`make`].
fn made(times: u64) -> Calls {
    calls([
        ("getppid", Made::succeeded(times)),
        ("fsync", Made::failed(times, "EBADF")),
        ("getsid", Made::denied(times)),
    ])
}

/// How a process enters and leaves the filter's scope.
struct Way {
    into: (File, Vec<u8>),
    out: (File, Vec<u8>),
}

impl Way {
    /// Moves the process or thread that writes, by writing 0 to `file` of a cgroup.
    fn of_cgroups(params: &Params, file: &str) -> Self {
        let open = |directory: &str| {
            let path = Path::new(&params.0[directory]).join(file);
            let opened = File::options().write(true).open(&path);
            (opened.unwrap_or_else(|error| panic!("{}: {error}", path.display())), b"0".to_vec())
        };
        Self { into: open("inside"), out: open("outside") }
    }

    /// Renames the leader, from any thread.
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

/// Moves into the cgroup `inside` and out of it, `rounds` times.
pub(super) fn migrated(params: &Params) -> Statement {
    by_turns(params, &Way::of_cgroups(params, "cgroup.procs"))
}

/// The same by name. With `by-thread=1`, a thread renames the leader.
pub(super) fn renamed_by_turns(params: &Params) -> Statement {
    let way = Way::of_names();
    if !params.has("by-thread") {
        return by_turns(params, &way);
    }
    thread::scope(|scope| scope.spawn(|| by_turns(params, &way)).join().expect("no panic"))
}

/// Runs `threads` threads, a thread that sleeps in a call meanwhile, the thread that changes the
/// scope, and a child. All make the same calls before, during and after the time in scope.
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
        // The sleeper entered the call before this, out of scope, and leaves it in scope.
        sleeper.wakes();
        sleeper.falls_asleep();
        let child = fork(|| {
            make(calls);
            true
        });
        reap(child);
        children.push(child);
        way.go_out();
        // The sleeper entered the call in scope, and leaves it after this.
        sleeper.wakes();
        crew.turn();
        make(calls);
    }
    crew.end();
    sleeper.end();
    let mut own = made(rounds * (threads + 1) * calls);
    // The writes that end the scope: they were entered in scope.
    add(&mut own, "writev", &Made::succeeded(rounds));
    add(&mut own, "readv", &Made::succeeded(rounds));
    for name in ["exit", "exit_group"] {
        add(&mut own, name, &Made::default());
    }
    let mut processes = vec![Process::new(own_pid(), own)];
    // A child inherits the name of the thread that created it, not of the leader.
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

    /// Ends the sleeper's call, and returns when the sleeper has left it.
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

/// One of two threads moves into the threaded cgroup `inside`, and back to `outside`, where its
/// process is. Both threads make the same calls.
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

/// Makes a known number of calls. The statement is empty.
pub(super) fn some(params: &Params) -> Statement {
    ask(params.number("calls"));
    raw::end(0)
}

fn ask(times: u64) {
    for _ in 0..times {
        raw::syscall(libc::SYS_getppid, [0; 1]);
    }
}

/// This program under the names UNWANTED and WANTED, as links in `directory`.
fn programs(params: &Params) -> [Program; 2] {
    let directory = Path::new(&params.0["directory"]);
    let calls = format!("calls={}", params.number("calls"));
    [UNWANTED, WANTED].map(|name| Program::at(&directory.join(name), &["some", &calls]))
}

/// Starts children that exec this program under the names WANTED and UNWANTED (links in
/// `directory`), from each name into the other. They make `calls` calls under each name.
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
    // By a thread that is not the leader, and so has another `task_struct`.
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

/// Starts children of two threads each, of which the one that is not the leader execs. The cases
/// cover each name of the leader, the thread and the program, with a leader that sleeps and one
/// that has ended.
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
        // The leader's name decides before the exec, and the program's name after it.
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
