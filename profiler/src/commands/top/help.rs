//! Explains the keys, and the words on the screen. The man page has the same text.

use crossterm::event::KeyCode;
use unicode_width::UnicodeWidthStr as _;

use super::header::GAP;

/// Keys, and what they do.
pub const KEYS: &[(&str, &str)] = &[
    ("Tab, 1 2 3 4", "views: processes, syscalls, in flight, io_uring"),
    ("i", "calls in flight, the same as 3"),
    ("Up Down j k", "move the mark"),
    ("PgUp PgDn", "move the mark by a page"),
    ("Home End g G", "move the mark to the first or the last row"),
    ("Enter", "open the row: processes, syscalls, callers or latencies"),
    ("h", "open the latencies of the marked row"),
    ("E", "open the errors of the marked row: paths, addresses, reasons"),
    ("y", "open the syscalls of the marked process or container"),
    ("e", "explain the marked process: what it waits for; e: look again"),
    ("Esc, Bksp", "clear the filter; then go back"),
    ("F", "follow the marked row; otherwise the mark keeps its position"),
    ("B", "list containers, pods, units, cgroups, or processes again"),
    ("H", "in a list of processes: show threads or processes"),
    ("C", "in a list of syscalls: group by category, by class, or not"),
    ("w", "show or hide calls that wait by nature, in every view"),
    ("n", "show command lines or names of processes"),
    ("t", "figures of the last interval, or since the start"),
    ("< >, arrows", "sort by the column to the left, to the right"),
    ("r", "reverse the order"),
    ("/", "filter by name or id as you type; Enter keeps, Esc clears"),
    ("Ctrl-U", "clear the filter while you type it"),
    ("c", "cost: time the profiler's programs, which costs more"),
    ("p, Space", "pause the screen; counting continues"),
    ("+ -", "refresh less often, more often"),
    ("?, F1", "this help; Up and Down scroll, any other key closes it"),
    ("Ctrl-L", "redraw the screen"),
    ("Ctrl-Z", "suspend"),
    ("q, Ctrl-C", "quit"),
];

/// The words of the header, and what they mean.
pub const HEADER: &[(&str, &str)] = &[
    ("calls/s", "all syscalls that entered in the interval, per second"),
    ("errors/s", "calls that returned an errno, per second"),
    ("forks/s", "calls of fork, vfork, clone, clone3 that succeeded: threads too"),
    ("execs/s", "calls of execve and execveat that succeeded"),
    ("CPUs", "CPUs that are online"),
    ("last", "length of the interval; `since start` after t"),
    ("timed", "which calls have a latency (--sample, --no-latency)"),
    ("up", "time since the profiler attached"),
    ("PAUSED", "the screen does not refresh; p continues"),
    ("lost", "calls that are missing from all figures; should be 0"),
    ("perhaps", "upper bound of calls that the kernel may have skipped"),
    ("WRONG SUMS", "figures that contradict each other: a bug, please report it"),
    ("overflowed", "calls counted without their process, in the row (overflow)"),
    ("maps", "how full the kernel tables are; threads or memory if nearly"),
    ("FULL", "a kernel table is full: further calls are overflowed"),
    ("own", "the profiler's share of one CPU; marked from 5% on"),
    ("RSS", "memory of the profiler's process"),
    ("drain", "time to read the kernel tables; marked from interval/10 on"),
    ("tp_btf...", "how the programs are attached, and where figures are"),
    ("only", "which processes and calls are counted (-p and filters)"),
    ("programs", "CPU time of the eBPF programs, after c: of all CPUs, a call"),
    ("runs/s", "runs of the eBPF programs, and the mean time of a run"),
    ("in flight", "threads within a call now, in all views; a list has the oldest"),
    ("waiting", "of these, threads in calls that wait by nature"),
    ("oldest", "the oldest call that works and does not wait, from 1 s on"),
    ("io_uring", "its operations per second, of the host or of the opened process"),
    ("in", "the container, pod or systemd unit of the opened process"),
    ("ended", "the opened process or thread has ended: figures since the start"),
    ("idle", "nothing in this interval: figures since the start instead"),
];

/// The words of the lists, and what they mean.
pub const LISTS: &[(&str, &str)] = &[
    ("PID", "process id; \u{d7}N: N processes of this name ended in the interval"),
    ("TID", "thread id; \u{d7}N: N threads of this name ended in the interval"),
    ("THREAD", "own name of the thread; (all): a whole process"),
    ("USER", "the real user of the process"),
    ("COMM", "name of the process; COMMAND: its command line"),
    ("CONTAINER", "its calls; -: calls in none; (removed): its cgroup is gone"),
    ("POD UNIT", "Kubernetes pod, systemd unit; CGROUP: path of the cgroup"),
    ("CATEGORY", "what the calls act on: see `profiler syscalls CALL`"),
    ("CLASS", "classes of strace; calls in the same classes share a row"),
    ("(ended)", "sum of the ended processes or threads no longer listed"),
    ("(overflow)", "calls counted without their process, as a table was full"),
    ("CALLS ERR", "calls, and calls that returned an errno"),
    ("DENIED", "calls that seccomp or ptrace refused; not part of CALLS"),
    ("TIME", "wall time in calls; it adds up over threads"),
    ("WHERE", "with --where: \u{2588} (#) on a CPU, \u{2593} (=) runnable, \u{2591} (.) waiting"),
    ("TIME%", "share of the time of all rows"),
    ("MEAN P50 P99", "latency: mean, median, 99th percentile"),
    ("MAX", "greatest latency"),
    ("TOP SYSCALL", "the call with most calls or errors if sorted by that, or time"),
    ("LATENCIES", "128 ns and less at the left, 2 s and more at the right"),
    ("OPERATION", "opcode of io_uring; operations are not syscalls"),
    ("SUBM COMPL", "requests that were submitted, and that completed"),
    ("POST", "further completions of multishot requests; messages of rings"),
    ("AGE", "how long the call has lasted; > means at least"),
    ("KIND", "works; may wait (pipe, socket, file); waits by nature"),
    ("waits", "hidden at first, since futex or epoll_wait hide a slow fsync"),
];

/// Width of the column of keys.
pub(super) const KEY_WIDTH: usize = 12;

/// The lines of the help: a word and its meaning, or a title and an empty text.
pub(super) fn lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    let titled = |title, lines: &'static [(&'static str, &'static str)]| {
        std::iter::once((title, "")).chain(lines.iter().copied())
    };
    titled("Keys", KEYS).chain(titled("Header", HEADER)).chain(titled("Lists", LISTS))
}

/// The lines of the help in `width` columns. A longer meaning continues in the next line.
pub(super) fn wrapped(width: usize) -> Vec<(&'static str, String)> {
    let room = width.saturating_sub(KEY_WIDTH + GAP.len());
    let mut wrapped = Vec::new();
    for (word, meaning) in lines() {
        let mut term = word;
        for line in wrap(meaning, room) {
            wrapped.push((std::mem::take(&mut term), line));
        }
    }
    wrapped
}

/// `text` in lines of at most `width` columns. A longer word has a line of its own.
pub(super) fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() || line.width() + 1 + word.width() <= width => {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The scroll position of the help.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scroll {
    first: usize,
    /// The greatest that `first` can be.
    last: usize,
}

impl Scroll {
    /// Notes that `page` of `lines` lines fit on the screen. Returns the first line to show.
    pub(super) fn fit(&mut self, page: usize, lines: usize) -> usize {
        self.last = lines.saturating_sub(page);
        self.first = self.first.min(self.last);
        self.first
    }

    /// Handles a key. Returns whether the key scrolls.
    pub(super) fn on_key(&mut self, code: KeyCode) -> bool {
        /// Lines that a page key scrolls.
        const PAGE: usize = 10;
        let Self { first, last } = *self;
        self.first = match code {
            KeyCode::Up | KeyCode::Char('k') => first.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => (first + 1).min(last),
            KeyCode::PageUp => first.saturating_sub(PAGE),
            KeyCode::PageDown => (first + PAGE).min(last),
            KeyCode::Home | KeyCode::Char('g') => 0,
            KeyCode::End | KeyCode::Char('G') => last,
            _ => return false,
        };
        true
    }
}

/// The most important keys, for the last line of the screen.
pub(super) const HINTS: [(&str, &str); 11] = [
    ("?", "help"),
    ("q", "quit"),
    ("w", "waits hidden"),
    ("Enter", "open"),
    ("Esc", "back"),
    ("i", "in flight"),
    ("/", "filter"),
    ("< >", "sort"),
    ("t", "since start"),
    ("F", "follow"),
    ("p", "pause"),
];
