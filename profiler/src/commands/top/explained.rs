//! The page that explains a process. A separate thread makes the page, because reading /proc can
//! block.

use std::{
    path::Path,
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::help::{self, Scroll};
use crate::{
    commands::explain::page,
    inspect::{self, Age, Patience, Reading, Task},
    model::{Process, ProcessProfile, ThreadInFlight, nanoseconds},
    present::explain::{self, Line},
    proc_fields::TICK_NS,
};

/// Time between the two readings that show which threads stay in their calls.
const PAUSE: Duration = Duration::from_millis(200);

/// How long to wait for the next snapshot, which knows how long calls have lasted.
const NEXT_SNAPSHOT: Duration = Duration::from_secs(2);

/// The process to explain, and perhaps a thread that comes first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) process: Arc<Process>,
    pub(super) thread: Option<u32>,
}

/// The page of a process. Covers the lists until it is closed.
pub(super) struct Page {
    wanted: Wanted,
    /// The lines. `None` until the other thread has made them.
    lines: Option<Vec<Line>>,
    /// Whether the other thread has to be asked.
    is_new: bool,
    /// Whether the other thread was asked, and has not answered.
    is_waiting: bool,
    scroll: Scroll,
}

impl Page {
    /// An empty page.
    pub(super) fn new(wanted: Wanted) -> Self {
        Self { wanted, lines: None, is_new: true, is_waiting: false, scroll: Scroll::default() }
    }

    /// The id of the process.
    pub(super) fn pid(&self) -> Option<u32> {
        self.wanted.process.tgid
    }

    /// The process to explain, if the other thread has not been asked yet.
    pub(super) fn take_wanted(&mut self) -> Option<Wanted> {
        std::mem::take(&mut self.is_new).then(|| {
            self.is_waiting = true;
            self.wanted.clone()
        })
    }

    /// Whether the other thread was asked, and has not answered.
    pub(super) fn is_waiting(&self) -> bool {
        self.is_waiting
    }

    /// Explains the process again. The lines stay until the new ones are known.
    pub(super) fn renew(&mut self) {
        self.is_new = true;
    }

    /// Sets the lines, if they are of this process.
    pub(super) fn set_lines(&mut self, (of, lines): (Wanted, Vec<Line>)) -> bool {
        let is_same = of == self.wanted;
        if is_same {
            self.lines = Some(lines);
            self.is_waiting = false;
        }
        is_same
    }

    /// Handles a key. Returns whether the key scrolls.
    pub(super) fn on_key(&mut self, code: crossterm::event::KeyCode) -> bool {
        self.scroll.on_key(code)
    }

    /// The visible lines, in `width` columns and `height` rows.
    pub(super) fn visible(&mut self, width: usize, height: usize) -> Vec<Line> {
        let waiting = [Line { text: "looking at the process ...".into(), is_heading: false }];
        let lines = self.lines.as_deref().unwrap_or(&waiting);
        let wrapped: Vec<Line> = lines.iter().flat_map(|line| wrapped(line, width)).collect();
        let first = self.scroll.fit(height, wrapped.len());
        wrapped.into_iter().skip(first).take(height).collect()
    }
}

/// A line in `width` columns. Its continuations are indented.
fn wrapped(line: &Line, width: usize) -> Vec<Line> {
    let text = line.text.trim_start_matches(' ');
    let indent = line.text.len() - text.len();
    let room = width.saturating_sub(indent + 2).max(1);
    let parts = help::wrap(text, room).into_iter().enumerate();
    let part = |(at, part): (usize, String)| {
        let indent = if at == 0 { indent } else { indent + 2 };
        Line { text: format!("{:indent$}{part}", ""), is_heading: line.is_heading }
    };
    parts.map(part).collect()
}

/// The thread that makes pages.
#[derive(Default)]
pub(super) struct Explainer {
    worker: Option<Worker>,
}

struct Worker {
    wanted: Sender<Wanted>,
    in_flight: Sender<Vec<ThreadInFlight>>,
    pages: Receiver<(Wanted, Vec<Line>)>,
}

impl Explainer {
    /// Starts to explain a process.
    pub(super) fn explain(&mut self, wanted: Wanted) {
        if self.worker.is_none() {
            self.worker = Worker::start();
        }
        if let Some(worker) = &self.worker {
            let _ = worker.wanted.send(wanted);
        }
    }

    /// Tells the calls in flight of a new snapshot.
    pub(super) fn tell_in_flight(&self, calls: Vec<ThreadInFlight>) {
        if let Some(worker) = &self.worker {
            let _ = worker.in_flight.send(calls);
        }
    }

    /// A page that is ready.
    pub(super) fn page(&self) -> Option<(Wanted, Vec<Line>)> {
        self.worker.as_ref()?.pages.try_iter().last()
    }
}

impl Worker {
    /// Starts the thread. `None` if the host cannot start another thread.
    fn start() -> Option<Self> {
        let (wanted, all_wanted) = channel::<Wanted>();
        let (in_flight, later) = channel();
        let (page, pages) = channel();
        let work = move || {
            for wanted in all_wanted {
                let lines = lines(&wanted, &later);
                if page.send((wanted, lines)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("top-explain".into()).spawn(work).ok()?;
        Some(Self { wanted, in_flight, pages })
    }
}

/// Explains a process.
fn lines(wanted: &Wanted, later: &Receiver<Vec<ThreadInFlight>>) -> Vec<Line> {
    let gone = |why: &str| {
        let process = &wanted.process;
        let pid = process.tgid.map_or_else(String::new, |pid| format!("PID {pid} "));
        vec![Line { text: format!("{pid}({}) {why}", process.comm), is_heading: true }]
    };
    const GONE: &str = "has ended, or is in another pid namespace.";
    let Some(pid) = wanted.process.tgid else { return gone("is not a single process.") };
    let proc = Path::new("/proc");
    let mut patience = Patience::default();
    let Ok(first) = Reading::take(proc, pid, &mut patience) else { return gone(GONE) };
    // Another process can have the id by now.
    if first.start_ticks != wanted.process.start_ns / TICK_NS {
        return gone(GONE);
    }
    thread::sleep(PAUSE);
    let Ok(now) = Reading::take(proc, pid, &mut patience) else { return gone(GONE) };
    let taken = Instant::now();
    // Only a snapshot that is taken later shows which calls were in flight at the reading.
    while later.try_recv().is_ok() {}
    let in_flight = later.recv_timeout(NEXT_SNAPSHOT).unwrap_or_default();
    let since = taken.elapsed();
    let mut ages = page::same_calls(&first, &now);
    for call in in_flight {
        let is_same = now.threads.iter().any(|thread| {
            thread.tid == call.tid
                && matches!(thread.task, Some(Task::InCall(key, _)) if key == call.key)
        });
        let Some(age) = call.age.checked_sub(since).filter(|_| is_same) else { continue };
        let ns = nanoseconds(age);
        let is_longer = ages.get(&call.tid).is_none_or(|known| known.ns < ns);
        if is_longer || !call.at_least {
            ages.insert(call.tid, Age { ns, at_least: call.at_least });
        }
    }
    let thread = wanted.thread.filter(|&tid| tid != pid);
    let mut explanation = inspect::explain(proc, &now, thread, &ages, &mut patience);
    if let Some(cpu) = page::cpu_use(&first, &now) {
        explanation.profile = Some(ProcessProfile { cpu: Some(cpu), ..ProcessProfile::default() });
    }
    explain::lines(&explanation)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc_fields::start_ticks;

    #[test]
    fn a_long_line_is_continued_below_its_beginning() {
        let line = Line { text: "    on pipe and so on".into(), is_heading: false };
        let texts: Vec<_> = wrapped(&line, 16).into_iter().map(|line| line.text).collect();
        assert_eq!(texts, ["    on pipe", "      and so on"]);
        let empty = Line { text: String::new(), is_heading: true };
        assert_eq!(wrapped(&empty, 14), std::slice::from_ref(&empty));
    }

    #[test]
    fn this_process_is_explained() {
        let stat = std::fs::read("/proc/self/stat").unwrap();
        let start_ns = start_ticks(&stat).unwrap() * TICK_NS + 1;
        let own = Process::new(std::process::id(), start_ns, "profiler");
        let (_send, later) = channel();
        let wanted = Wanted { process: Arc::new(own.clone()), thread: None };
        let page = lines(&wanted, &later);
        assert!(page[0].text.starts_with(&format!("PID {} (", std::process::id())), "{page:?}");
        assert!(page.iter().any(|line| line.text.starts_with("Process")), "{page:?}");
        let other = Process { start_ns: start_ns + TICK_NS, ..own };
        let wanted = Wanted { process: Arc::new(other), thread: None };
        assert!(lines(&wanted, &later)[0].text.contains("has ended"));
    }
}
