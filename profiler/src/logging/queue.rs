//! Queues log messages for standard error, so that logging never blocks. If the reader of standard
//! error stops, messages are dropped and counted, and drains continue.

use std::{
    collections::VecDeque,
    io::{self, Write},
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use crate::text::{self, Untrusted};

/// The maximum size of all queued messages, bytes.
const MAX_BYTES: usize = 256 << 10;
/// The maximum size of a message, bytes. Longer messages are truncated.
const MAX_MESSAGE: usize = 8 << 10;
/// The longest time between two checks for repeated messages.
const TICK: Duration = Duration::from_secs(1);

/// Messages that are not written yet.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Vec<u8>>,
    bytes: usize,
    dropped: u64,
    /// How many of these were reported in a message.
    told: u64,
    has_thread: bool,
    is_writing: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a message. If the queue is full, drops and counts the message.
    pub(super) fn push(&self, message: &[u8]) {
        let mut message = message[..message.len().min(MAX_MESSAGE)].to_vec();
        if message.last() != Some(&b'\n') {
            message.push(b'\n');
        }
        let mut state = self.lock();
        if state.bytes + message.len() > MAX_BYTES {
            state.dropped += 1;
            return;
        }
        state.bytes += message.len();
        state.messages.push_back(message);
        drop(state);
        self.changed.notify_all();
    }

    /// Number of messages that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.lock().dropped
    }

    /// Starts the thread that writes to `out`, unless it is running. Once per second, the thread
    /// calls `say` with the number of messages that were dropped since the last call, and writes
    /// the messages that `say` returns.
    pub(super) fn start(
        self: &Arc<Self>,
        out: impl Write + Send + 'static,
        say: impl FnMut(u64) -> Vec<Vec<u8>> + Send + 'static,
    ) -> io::Result<()> {
        if mem::replace(&mut self.lock().has_thread, true) {
            return Ok(());
        }
        let queue = Arc::clone(self);
        let started =
            thread::Builder::new().name("log".into()).spawn(move || queue.write(out, say));
        started.map(drop).inspect_err(|_| self.lock().has_thread = false)
    }

    fn write(&self, mut out: impl Write, mut say: impl FnMut(u64) -> Vec<Vec<u8>>) {
        loop {
            let mut state = self.lock();
            state.is_writing = false;
            self.changed.notify_all();
            let idle = |state: &mut State| state.messages.is_empty();
            let (mut state, _) = self
                .changed
                .wait_timeout_while(state, TICK, idle)
                .unwrap_or_else(PoisonError::into_inner);
            let messages = mem::take(&mut state.messages);
            state.bytes = 0;
            state.is_writing = true;
            let dropped = state.dropped - state.told;
            state.told = state.dropped;
            drop(state);
            for message in messages.into_iter().chain(say(dropped)) {
                // If a message cannot be written, nothing else can report it.
                let _ = out.write_all(&message);
            }
        }
    }

    /// Waits until all messages are written, for at most `patience`.
    pub(super) fn flush(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut state = self.lock();
        while state.is_writing || !state.messages.is_empty() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Adds each write to the queue as one message. Makes the text of libraries harmless; the
/// profiler's own messages already are.
pub(super) struct QueueWriter(pub(super) Arc<Queue>);

impl Write for QueueWriter {
    fn write(&mut self, message: &[u8]) -> io::Result<usize> {
        let text = Untrusted::from_bytes(message);
        self.0.push(text::harmless_log(text.raw()).as_bytes());
        Ok(message.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, pipe};

    use super::*;

    #[test]
    fn a_reader_that_stops_delays_nobody_and_what_is_dropped_is_counted() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let queue = Arc::<Queue>::default();
        let say =
            |dropped| Vec::from_iter((dropped > 0).then(|| format!("{dropped} dropped\n").into()));
        queue.start(writer, say).expect("a thread");
        let started = Instant::now();
        const MESSAGES: u64 = 10_000;
        for _ in 0..MESSAGES {
            queue.push(&[b'x'; 99]);
        }
        assert!(started.elapsed() < Duration::from_secs(5), "it waited");
        queue.flush(Duration::from_millis(10));
        let dropped = queue.dropped();
        assert!((1..MESSAGES).contains(&dropped), "{dropped}");
        // When the reader continues, it gets the rest, and a message with the number of dropped
        // messages. That message may come before the rest, so the loop ends when both have arrived.
        let mut text = String::new();
        let (mut told, mut written) = (0, 0);
        while told + written < MESSAGES {
            let mut piece = [0; 4096];
            let read = reader.read(&mut piece).expect("bytes");
            text.push_str(std::str::from_utf8(&piece[..read]).expect("text"));
            let complete = text.rsplit_once('\n').map_or("", |(lines, _)| lines);
            told = complete
                .lines()
                .filter_map(|line| line.strip_suffix(" dropped")?.parse::<u64>().ok())
                .sum();
            written = complete.lines().filter(|line| line.starts_with('x')).count() as u64;
        }
        assert_eq!(told, dropped);
        assert_eq!(written + dropped, MESSAGES);
    }

    #[test]
    fn all_is_written_before_the_end() {
        let (mut reader, writer) = pipe().expect("a pipe");
        let queue = Arc::<Queue>::default();
        // Messages are queued until the thread starts.
        queue.push(b"first");
        queue.start(writer, |_| Vec::new()).expect("a thread");
        queue.push(&vec![b'y'; 2 * MAX_MESSAGE]);
        queue.flush(Duration::from_secs(10));
        let mut text = vec![0; "first\n".len() + MAX_MESSAGE + 1];
        reader.read_exact(&mut text).expect("both");
        assert!(text.starts_with(b"first\nyyy") && text.ends_with(b"yy\n"));
    }
}
