//! A thread that looks up the names of containers.

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd, RawFd},
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::{Shared, lock};
use crate::placement::Names;

/// The thread. Dropping it ends it, unless it hangs in a lookup.
pub(super) struct NameThread {
    /// Closing it ends the thread.
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<Names>>,
    idle: Arc<Idle>,
}

/// Whether all names are looked up that can be.
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

impl NameThread {
    /// Starts the thread. `events` is the descriptor of the events in `shared`. Without a thread,
    /// containers have ids only. `known` are names that were looked up before.
    pub(super) fn start(shared: Arc<Mutex<Shared>>, events: RawFd, known: Names) -> Option<Self> {
        let (end, stop) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).ok()?;
        let idle = Arc::new(Idle::default());
        let state = Arc::clone(&idle);
        let work = move || work(&shared, events, &end, &state, known);
        let thread = thread::Builder::new().name("cgroup-names".into()).spawn(work).ok()?;
        Some(Self { stop: Some(stop), thread: Some(thread), idle })
    }

    /// Waits until all names are looked up, and at most for `time`.
    pub(super) fn wait(&self, time: Duration) {
        let idle = self.idle.is_idle.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.idle.changed.wait_timeout_while(idle, time, |idle| !*idle));
    }
}

impl NameThread {
    /// Ends the thread, and returns the names that it looked up. None if it hangs in a lookup.
    pub(super) fn end(&mut self) -> Option<Names> {
        drop(self.stop.take());
        // A lookup on a file system that hangs must not hang us too.
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
    end: &OwnedFd,
    idle: &Idle,
    mut names: Names,
) -> Names {
    loop {
        let wanted = {
            let mut shared = lock(shared);
            shared.consume();
            shared.paths.nameless()
        };
        for (id, container) in wanted {
            let named = names.of(&container).clone();
            lock(shared).paths.name(id, named);
        }
        idle.set(true);
        // SAFETY: `shared` keeps the descriptor open.
        let events = unsafe { BorrowedFd::borrow_raw(events) };
        let mut fds =
            [PollFd::new(events, PollFlags::POLLIN), PollFd::new(end.as_fd(), PollFlags::empty())];
        let polled = poll(&mut fds, PollTimeout::NONE);
        let [_, ended] = fds;
        if ended.revents().is_some_and(|ready| !ready.is_empty())
            || polled.is_err_and(|error| error != nix::errno::Errno::EINTR)
        {
            return names;
        }
        idle.set(false);
    }
}
