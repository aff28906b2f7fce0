//! Threads that are blocked, each in a known way.

use std::{
    cell::UnsafeCell,
    collections::BTreeMap,
    fs::File,
    io::{BufRead as _, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::net::UnixStream,
    },
    sync::mpsc,
    thread,
};

use serde::{Deserialize, Serialize};

use super::{Params, fork, now, own_pid, own_tid, raw, wait_until_in_call};

/// What a thread waits for.
#[derive(Serialize, Deserialize, Debug, Clone, Default)]
pub(crate) struct Waiting {
    pub(crate) tid: u32,
    /// The process or thread that could end the wait.
    pub(crate) other: u32,
    /// The descriptor, or the first of several.
    pub(crate) fd: i32,
    /// The second of several descriptors.
    pub(crate) second: i32,
    /// The address of a futex.
    pub(crate) address: u64,
    /// A time before the thread entered the call, and a time after, by the profiler's clock.
    pub(crate) before_ns: u64,
    pub(crate) after_ns: u64,
}

/// The threads of the workload, by what they wait for.
#[derive(Serialize, Deserialize, Debug, Clone)]
pub(crate) struct Blocked {
    pub(crate) pid: u32,
    pub(crate) waits: BTreeMap<String, Waiting>,
}

/// How often the workload fails to open each path, with the errno.
pub(crate) const FAILING: [(&str, &str, u64); 3] = [
    ("/nonexistent/first", "ENOENT", 300),
    ("/nonexistent/second", "ENOENT", 200),
    ("/dev/null/third", "ENOTDIR", 50),
];

/// Nobody else opens files by this call on a modern host.
pub(crate) const OPENS: &str = "open";

/// The line that tells the workload to fail.
pub(crate) const FAIL: &str = "fail\n";
/// The line that tells the workload to start a thread that sleeps.
pub(crate) const SLEEP: &str = "sleep\n";

/// Seconds for which threads sleep.
pub(crate) const SLEEP_SECONDS: i64 = 5_000;

/// A thread to start: its name, what it waits for, what it does, and the call in which it waits.
type Start = (&'static str, Waiting, Box<dyn FnOnce() + Send>, libc::c_long);

/// Prints a [`Blocked`]. Then obeys lines of its input: [`FAIL`] and [`SLEEP`]. Ends with the input.
/// With `only=KIND`, the main thread reads its input, and one thread is blocked so.
pub(super) fn run(params: &Params) -> ! {
    let only = params.0.get("only");
    let wants = |kind: &str| only.is_none_or(|only| only == kind);
    let mut waits = BTreeMap::new();
    // Children first, because they are forked by a process of one thread.
    let mut children = Vec::new();
    let mut starts: Vec<Start> = Vec::new();
    if wants("pipe") {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let child = child();
        drop(writer);
        let waiting = Waiting { other: child, fd: reader.as_raw_fd(), ..Waiting::default() };
        let read = move || drop(reader.read(&mut [0; 8]));
        starts.push(("pipe", waiting, Box::new(read), libc::SYS_read));
        children.push(child);
    }
    if wants("unix") {
        let (mut own, other) = UnixStream::pair().expect("a pair");
        let child = child();
        drop(other);
        let waiting = Waiting { other: child, fd: own.as_raw_fd(), ..Waiting::default() };
        let read = move || drop(own.read(&mut [0; 8]));
        starts.push(("unix", waiting, Box::new(read), libc::SYS_recvfrom));
        children.push(child);
    }
    if wants("tcp") {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = TcpStream::connect(address).expect("it listens");
        let (server, _) = listener.accept().expect("a connection");
        let child = child();
        drop(server);
        let waiting = Waiting { other: child, fd: client.as_raw_fd(), ..Waiting::default() };
        let read = move || drop(client.read(&mut [0; 8]));
        starts.push(("tcp", waiting, Box::new(read), libc::SYS_recvfrom));
        children.push(child);
    }
    if wants("flock") {
        let file = tempfile::tempfile().expect("a file");
        // Opened again, so that the lock is that of another open file.
        let path = format!("/proc/{}/fd/{}", own_pid(), file.as_raw_fd());
        let (mut ready, tell) = std::io::pipe().expect("a pipe");
        let child = fork(|| {
            let own = File::options().read(true).open(&path).expect("the file");
            // SAFETY: locks a file that stays open.
            let locked = unsafe { libc::flock(own.as_raw_fd(), libc::LOCK_EX) };
            let _ = (&tell).write_all(b"x");
            die_with_parent();
            locked == 0
        });
        ready.read_exact(&mut [0]).expect("a byte");
        let waiting = Waiting { other: child, fd: file.as_raw_fd(), ..Waiting::default() };
        let lock = move || {
            // SAFETY: as above.
            unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) };
        };
        starts.push(("flock", waiting, Box::new(lock), libc::SYS_flock));
        children.push(child);
    }
    if wants("child") {
        let child = child();
        let waiting = Waiting { other: child, ..Waiting::default() };
        let wait = move || {
            let mut status = 0;
            // SAFETY: writes one integer.
            unsafe { libc::waitpid(child.cast_signed(), &raw mut status, 0) };
        };
        starts.push(("child", waiting, Box::new(wait), libc::SYS_wait4));
        children.push(child);
    }
    if wants("epoll") {
        let (waiting, wait) = epoll();
        starts.push(("epoll", waiting, wait, libc::SYS_epoll_wait));
    }
    if wants("sleep") {
        starts.push(("sleep", Waiting::default(), Box::new(sleep), libc::SYS_nanosleep));
    }
    for (kind, waiting, call, number) in starts {
        waits.insert(kind.to_owned(), start(waiting, call, number));
    }
    if wants("mutex") {
        let (first, second) = (mutex(false), mutex(false));
        let owner = start(Waiting::default(), move || hold(&[first]), libc::SYS_pause);
        let waiting = Waiting { other: owner.tid, address: first.address(), ..Waiting::default() };
        waits.insert("mutex".into(), start(waiting, move || hold(&[first]), libc::SYS_futex));
        let owner = start(Waiting::default(), move || hold(&[second]), libc::SYS_pause);
        waits.insert("owner".into(), owner);
    }
    if wants("pi") {
        let lock = mutex(true);
        let owner = start(Waiting::default(), move || hold(&[lock]), libc::SYS_pause);
        let waiting = Waiting { other: owner.tid, address: lock.address(), ..Waiting::default() };
        waits.insert("pi".into(), start(waiting, move || hold(&[lock]), libc::SYS_futex));
    }
    // Not among the others, because it changes the verdict.
    if only.is_some_and(|only| only == "deadlock") {
        let (one, other) = (mutex(false), mutex(false));
        let (go, wait) = mpsc::channel::<()>();
        let first = start(
            Waiting::default(),
            move || {
                one.lock();
                let _ = wait.recv();
                other.lock();
            },
            libc::SYS_futex,
        );
        let waiting = Waiting { other: first.tid, address: one.address(), ..Waiting::default() };
        let second = start(waiting, move || hold_in_order(other, one), libc::SYS_futex);
        go.send(()).expect("it waits");
        // Before, it waited for the message by a futex too.
        let place = format!("/proc/{}/task/{}/syscall", own_pid(), first.tid);
        let address = format!("{:#x}", other.address());
        while !std::fs::read_to_string(&place).expect("a thread of ours").contains(&address) {
            thread::yield_now();
        }
        waits.insert("first".into(), Waiting { other: second.tid, ..first });
        waits.insert("second".into(), second);
    }
    let blocked = Blocked { pid: own_pid(), waits };
    println!("{}", serde_json::to_string(&blocked).expect("plain data"));
    for line in std::io::stdin().lock().lines() {
        match format!("{}\n", line.expect("text")).as_str() {
            FAIL => fail(),
            SLEEP => {
                let waiting = start(Waiting::default(), sleep, libc::SYS_nanosleep);
                println!("{}", serde_json::to_string(&waiting).expect("plain data"));
            }
            other => panic!("what is {other:?}?"),
        }
    }
    for child in children {
        // SAFETY: a child of ours.
        unsafe { libc::kill(child.cast_signed(), libc::SIGKILL) };
    }
    raw::end(0)
}

/// A child that holds all open files until its parent ends.
fn child() -> u32 {
    fork(|| {
        die_with_parent();
        true
    })
}

/// Sleeps until the parent ends.
fn die_with_parent() {
    // SAFETY: takes numbers.
    unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    loop {
        raw::syscall(libc::SYS_pause, [0; 4]);
    }
}

/// Starts a thread that makes a call. Returns when the thread is in it.
fn start(waiting: Waiting, call: impl FnOnce() + Send + 'static, number: libc::c_long) -> Waiting {
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        tell.send((own_tid(), now())).expect("a receiver");
        call();
    });
    let (tid, before_ns) = told.recv().expect("a thread");
    wait_until_in_call(own_pid(), tid, number);
    Waiting { tid, before_ns, after_ns: now(), ..waiting }
}

fn sleep() {
    let time = libc::timespec { tv_sec: SLEEP_SECONDS, tv_nsec: 0 };
    raw::syscall(libc::SYS_nanosleep, [(&raw const time) as libc::c_long, 0, 0, 0]);
}

/// Waits for an eventfd and for a pipe.
fn epoll() -> (Waiting, Box<dyn FnOnce() + Send>) {
    // SAFETY: the calls take numbers and a structure, and return descriptors.
    let (epoll, event) = unsafe {
        let epoll = OwnedFd::from_raw_fd(libc::epoll_create1(0));
        (epoll, OwnedFd::from_raw_fd(libc::eventfd(0, 0)))
    };
    let (reader, writer) = std::io::pipe().expect("a pipe");
    for fd in [event.as_raw_fd(), reader.as_raw_fd()] {
        let mut of = libc::epoll_event { events: libc::EPOLLIN as u32, u64: 0 };
        // SAFETY: the structure lives until the call has returned.
        let added =
            unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut of) };
        assert_eq!(added, 0, "a new descriptor");
    }
    let waiting = Waiting {
        fd: event.as_raw_fd(),
        second: reader.as_raw_fd(),
        other: own_pid(),
        ..Waiting::default()
    };
    let wait = move || {
        let mut events = [0_u64; 2];
        let of = (epoll.as_raw_fd(), events.as_mut_ptr());
        raw::syscall(libc::SYS_epoll_wait, [of.0.into(), of.1 as libc::c_long, 1, -1]);
        drop((event, reader, writer));
    };
    (waiting, Box::new(wait))
}

/// A mutex of glibc that lives for ever.
struct Mutex(UnsafeCell<libc::pthread_mutex_t>);

// SAFETY: it is used by the functions of pthreads only.
unsafe impl Sync for Mutex {}

fn mutex(with_inheritance: bool) -> &'static Mutex {
    let mutex: &'static Mutex =
        Box::leak(Box::new(Mutex(UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER))));
    if with_inheritance {
        // SAFETY: the attributes are initialised before they are used, and nobody uses the mutex yet.
        unsafe {
            let mut attributes = std::mem::zeroed::<libc::pthread_mutexattr_t>();
            libc::pthread_mutexattr_init(&raw mut attributes);
            libc::pthread_mutexattr_setprotocol(&raw mut attributes, libc::PTHREAD_PRIO_INHERIT);
            assert_eq!(libc::pthread_mutex_init(mutex.0.get(), &raw const attributes), 0);
        }
    }
    mutex
}

impl Mutex {
    fn lock(&self) {
        // SAFETY: it is initialised, and lives for ever.
        assert_eq!(unsafe { libc::pthread_mutex_lock(self.0.get()) }, 0, "a mutex");
    }

    fn address(&self) -> u64 {
        self.0.get() as u64
    }
}

/// Locks these, and sleeps.
fn hold(mutexes: &[&Mutex]) {
    mutexes.iter().for_each(|mutex| mutex.lock());
    raw::syscall(libc::SYS_pause, [0; 4]);
}

fn hold_in_order(first: &Mutex, second: &Mutex) {
    first.lock();
    second.lock();
}

/// Fails to open files.
fn fail() {
    for (path, _, count) in FAILING {
        let path = std::ffi::CString::new(path).expect("no NUL");
        for _ in 0..count {
            let opened = raw::syscall(libc::SYS_open, [path.as_ptr() as libc::c_long, 0, 0, 0]);
            assert!(opened < 0, "{path:?} is not there");
        }
    }
    println!("done");
}
