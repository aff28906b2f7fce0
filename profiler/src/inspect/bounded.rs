//! Reads that end in time. A read of /proc/PID/cmdline, maps or mem waits for the lock of the memory
//! of that process, which a stuck process can hold for ever (`access_remote_vm`, mm/memory.c). So
//! another thread reads, and is given up after a time.

use std::{
    fs::File,
    io::{self, Read as _},
    path::Path,
    sync::mpsc::{Sender, channel, sync_channel},
    thread,
    time::Duration,
};

/// How long a read may take.
pub(super) const LIMIT: Duration = Duration::from_secs(1);

/// After so many reads that did not end in time, further reads are not attempted.
const MOST_TIMEOUTS: u32 = 3;

type Job = Box<dyn FnOnce() + Send>;

/// Runs reads in another thread, each with a time limit.
pub struct Patience {
    worker: Option<Sender<Job>>,
    timeouts: u32,
    limit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { worker: None, timeouts: 0, limit: LIMIT }
    }
}

impl Patience {
    /// Does `work`. `None` if it does not end in time, or if too many before did not.
    pub(super) fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.run_for(self.limit, work)
    }

    /// Same as [`Self::run`], with another time limit.
    pub(super) fn run_for<T: Send + 'static>(
        &mut self,
        limit: Duration,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        if self.has_given_up() {
            return None;
        }
        let (send, receive) = sync_channel(1);
        let job: Job = Box::new(move || {
            let _ = send.send(work());
        });
        let worker = match self.worker.take() {
            Some(worker) => worker,
            None => start()?,
        };
        worker.send(job).ok()?;
        match receive.recv_timeout(limit) {
            Ok(result) => {
                self.worker = Some(worker);
                Some(result)
            }
            // The thread ends when its read does, because it gets no further work.
            Err(_) => {
                self.timeouts += 1;
                None
            }
        }
    }

    /// Whether so many reads did not end in time that further reads are not attempted.
    pub(super) fn has_given_up(&self) -> bool {
        self.timeouts >= MOST_TIMEOUTS
    }

    /// Whether a read did not end in time.
    pub(super) fn has_timed_out(&self) -> bool {
        self.timeouts > 0
    }
}

fn start() -> Option<Sender<Job>> {
    let (send, receive) = channel::<Job>();
    let work = move || receive.into_iter().for_each(|job| job());
    thread::Builder::new().name("inspect".into()).spawn(work).ok()?;
    Some(send)
}

/// Reads at most `limit` bytes of a file.
pub(super) fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_read_that_does_not_end_is_given_up() {
        let mut patience = Patience { limit: Duration::from_millis(20), ..Patience::default() };
        assert_eq!(patience.run(|| 7), Some(7));
        let mut ends = Vec::new();
        for _ in 0..MOST_TIMEOUTS {
            let (end, wait) = mpsc::channel::<()>();
            ends.push(end);
            assert_eq!(patience.run(move || wait.recv().is_ok()), None);
        }
        assert!(patience.has_given_up());
        assert_eq!(patience.run(|| 7), None);
    }

    #[test]
    fn a_panic_is_no_answer() {
        let mut patience = Patience::default();
        assert_eq!(patience.run(|| assert!(std::hint::black_box(false))), None);
        assert_eq!(patience.run(|| 7), Some(7));
    }

    #[test]
    fn a_file_is_read_up_to_a_limit() {
        assert_eq!(read("/proc/self/stat".as_ref(), 3).expect("/proc").len(), 3);
        assert!(read("/proc/self/no-such-file".as_ref(), 3).is_err());
    }
}
