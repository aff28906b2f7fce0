//! A thread that looks up the names of containers.

use std::{
    io,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::{
    fcntl::OFlag,
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use super::{Shared, lock};
use crate::placement::Names;

/// The thread. Dropping this value ends the thread, unless the thread hangs in a lookup.
pub(super) struct NameThread {
    /// A byte wakes the thread, and closing it ends the thread.
    control: Option<OwnedFd>,
    thread: Option<JoinHandle<Names>>,
    idle: Arc<Idle>,
}

/// Whether all pending lookups are done.
#[derive(Default)]
struct Idle {
    is_idle: Mutex<bool>,
    changed: Condvar,
}

impl Idle {
    fn set(&self, idle: bool) {
        *self.is_idle.lock().unwrap_or_else(PoisonError::into_inner) = idle;
        self.changed.notify_all();
    }
}

/// A pipe for the orders to a thread.
pub(super) struct Orders {
    read: OwnedFd,
    write: OwnedFd,
}

impl Orders {
    /// Makes the pipe. A daemon may make none any more once it has dropped its privileges.
    pub(super) fn new() -> nix::Result<Self> {
        let flags = OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        let (read, write) = nix::unistd::pipe2(flags)?;
        Ok(Self { read, write })
    }
}

impl NameThread {
    /// Starts the thread. `events` is the descriptor of the events in `shared`. `known` are names that
    /// were looked up before.
    pub(super) fn start(
        shared: Arc<Mutex<Shared>>,
        events: RawFd,
        known: Names,
        Orders { read: orders, write: control }: Orders,
    ) -> io::Result<Self> {
        let idle = Arc::new(Idle::default());
        let state = Arc::clone(&idle);
        let work = move || work(&shared, events, &orders, (&state, known));
        let thread = thread::Builder::new().name("cgroup-names".into()).spawn(work)?;
        Ok(Self { control: Some(control), thread: Some(thread), idle })
    }

    /// Wakes the thread to look up names for which no event will wake it. The caller holds the lock
    /// of the shared state.
    pub(super) fn wake(&self) {
        self.idle.set(false);
        if let Some(control) = &self.control {
            // If the pipe is full, the thread is about to wake.
            let _ = nix::unistd::write(control, &[0]);
        }
    }

    /// Waits until all names are looked up, for at most `time`.
    pub(super) fn wait(&self, time: Duration) {
        let idle = self.idle.is_idle.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.idle.changed.wait_timeout_while(idle, time, |idle| !*idle));
    }
}

impl NameThread {
    /// Ends the thread, and returns the names that it looked up. `None` if the thread hangs in a
    /// lookup.
    pub(super) fn end(&mut self) -> Option<Names> {
        drop(self.control.take());
        // A lookup on a hanging file system must not block this thread.
        self.wait(Duration::from_millis(100));
        let thread = self.thread.take()?;
        let is_idle = *self.idle.is_idle.lock().unwrap_or_else(PoisonError::into_inner);
        is_idle.then(|| thread.join().ok()).flatten()
    }
}

impl Drop for NameThread {
    fn drop(&mut self) {
        self.end();
    }
}

fn work(
    shared: &Mutex<Shared>,
    events: RawFd,
    orders: &OwnedFd,
    (idle, mut names): (&Idle, Names),
) -> Names {
    loop {
        loop {
            let wanted = {
                let mut shared = lock(shared);
                shared.consume();
                let wanted = shared.paths.nameless();
                if wanted.is_empty() {
                    // Set under the lock, which [`NameThread::wake`] requires too.
                    idle.set(true);
                    break;
                }
                wanted
            };
            for (id, container) in wanted {
                let named = names.of(&container).clone();
                lock(shared).name(id, named);
            }
        }
        // SAFETY: `shared` keeps the descriptor open.
        let events = unsafe { BorrowedFd::borrow_raw(events) };
        let mut fds = [
            PollFd::new(events, PollFlags::POLLIN),
            PollFd::new(orders.as_fd(), PollFlags::POLLIN),
        ];
        let polled = poll(&mut fds, PollTimeout::NONE);
        let [_, ordered] = fds;
        while nix::unistd::read(orders, &mut [0; 64]).is_ok_and(|len| len > 0) {}
        if ordered.revents().is_some_and(|ready| ready.contains(PollFlags::POLLHUP))
            || polled.is_err_and(|error| error != nix::errno::Errno::EINTR)
        {
            return names;
        }
        idle.set(false);
    }
}
