//! Makes lines of steps.

use std::{
    fmt::Write as _,
    time::{Duration, SystemTime},
};

use profiler_common::call::CallKey;

use super::{heading::Heading, json, order::Step};
use crate::{
    commands::cli::{Clock, Column, TraceArgs, TraceFormat},
    decode::{self, Decoded, Style},
    environment,
    model::{Call, Event, Happened, nanoseconds},
};

/// The column at which strace aligns results.
const RESULT_COLUMN: usize = 40;

/// Spaces that separate the result from the columns before.
const UNFINISHED: &str = " <unfinished ...>";

/// The clocks when the profiler started to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Start {
    /// The wall clock.
    pub(super) wall: SystemTime,
    /// `CLOCK_MONOTONIC`, nanoseconds.
    pub(super) monotonic_ns: u64,
}

impl Start {
    /// The wall clock at a time of `CLOCK_MONOTONIC`.
    pub(super) fn wall_at(self, monotonic_ns: u64) -> SystemTime {
        match monotonic_ns.checked_sub(self.monotonic_ns) {
            Some(after) => self.wall.checked_add(Duration::from_nanos(after)),
            None => self.wall.checked_sub(Duration::from_nanos(self.monotonic_ns - monotonic_ns)),
        }
        .unwrap_or(self.wall)
    }
}

/// A line that has only begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    tid: u32,
    key: CallKey,
    entry_ns: Option<u64>,
    /// How many characters it has.
    characters: usize,
}

/// Makes lines, which continue where the last one ended.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    columns: Vec<Column>,
    clock: Clock,
    format: TraceFormat,
    style: Style,
    start: Start,
    /// The line that has only begun.
    open: Option<Open>,
    /// The time of the line before, nanoseconds of `CLOCK_MONOTONIC`.
    last_ns: u64,
}

impl Lines {
    /// Lines as the flags want them.
    pub(super) fn new(args: &TraceArgs, start: Start) -> Self {
        let style = Style {
            string_limit: args.string_limit as usize,
            is_verbose: args.verbose,
            with_files: !args.no_paths,
            ..Style::default()
        };
        let columns = args.columns.clone();
        let (clock, format) = (args.clock, args.format);
        Self { columns, clock, format, style, start, open: None, last_ns: start.monotonic_ns }
    }

    /// Sets the clocks when the profiler started to follow.
    pub(super) fn set_start(&mut self, start: Start) {
        (self.start, self.last_ns) = (start, start.monotonic_ns);
    }

    /// Writes the line or half line of a step.
    pub(super) fn write(&mut self, step: &Step, out: &mut Vec<u8>) {
        if self.format == TraceFormat::Json {
            // A call has one object: when it has left, or at the end.
            if !matches!(step, Step::Begun(_)) {
                json::write(step.event(), &self.style, self.start, out);
            }
            return;
        }
        let mut line = String::new();
        let event = step.event();
        if event.dropped > 0 {
            self.end_open(&mut line);
            let at = line.len();
            self.prefix(event, event_time(step), &mut line);
            let calls = if event.dropped == 1 { "event" } else { "events" };
            let _ = write!(line, "--- {} {calls} of this thread dropped ---", event.dropped);
            trim_end(&mut line, at);
            line.push('\n');
        }
        match (step, &event.happened) {
            (Step::Begun(_), Happened::Call(call)) => self.begin(event, call, &mut line),
            (Step::Resumed(_), Happened::Call(call)) => self.resume(event, call, &mut line),
            (_, Happened::Call(call)) => {
                self.end_open(&mut line);
                let at = line.len();
                self.prefix(event, event_time(step), &mut line);
                let decoded = decode::decode(call, &self.style);
                if self.has(Column::Call) {
                    line.push_str(&decoded.call_text());
                    align(&mut line, at);
                    line.push_str(&decoded.result_text());
                }
                self.duration(call, &mut line);
                trim_end(&mut line, at);
                line.push('\n');
            }
            (_, other) => {
                self.end_open(&mut line);
                let at = line.len();
                self.prefix(event, event_time(step), &mut line);
                line.push_str(&text_of(other));
                trim_end(&mut line, at);
                line.push('\n');
            }
        }
        self.encode(&line, out);
    }

    /// Writes the heading of a recording.
    pub(super) fn head(&mut self, heading: &Heading<'_>, out: &mut Vec<u8>) {
        if self.format == TraceFormat::Json {
            heading.write_json(self.start, out);
            return;
        }
        let mut line = String::new();
        self.end_open(&mut line);
        for (event, at_ns, text) in heading.lines() {
            let at = line.len();
            self.prefix(event, at_ns, &mut line);
            let _ = write!(line, "=== {text} ===");
            trim_end(&mut line, at);
            line.push('\n');
        }
        self.encode(&line, out);
    }

    /// Whether a call in flight has a line or an object of its own.
    pub(super) fn is_json(&self) -> bool {
        self.format == TraceFormat::Json
    }

    /// Completes a line that has only begun. In JSON, writes the calls that are in flight at the
    /// end, which have no object yet.
    pub(super) fn finish(&mut self, in_flight: &[Event], out: &mut Vec<u8>) {
        if self.format == TraceFormat::Json {
            in_flight.iter().for_each(|event| json::write(event, &self.style, self.start, out));
            return;
        }
        let mut line = String::new();
        self.end_open(&mut line);
        self.encode(&line, out);
    }

    fn encode(&self, line: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(environment::in_locale(line).as_bytes());
    }

    /// Begins the line of a call in flight. It ends when the call leaves, or when another line comes
    /// first.
    fn begin(&mut self, event: &Event, call: &Call, line: &mut String) {
        self.end_open(line);
        let at = line.len();
        // A call that entered before the profiler attached is shown when it started to follow.
        self.prefix(event, call.entry_ns.unwrap_or(self.start.monotonic_ns), line);
        if self.has(Column::Call) {
            line.push_str(&decode::decode(call, &self.style).text_before_exit());
        }
        let characters = line[at..].chars().count();
        let &Call { key, entry_ns, .. } = call;
        self.open = Some(Open { tid: event.tid, key, entry_ns, characters });
    }

    fn resume(&mut self, event: &Event, call: &Call, line: &mut String) {
        let decoded = decode::decode(call, &self.style);
        let is_same = |open: &mut Open| {
            (open.tid, open.key, open.entry_ns) == (event.tid, call.key, call.entry_ns)
        };
        let (at, before) = match self.open.take_if(is_same) {
            Some(open) => (0, open.characters),
            None => {
                self.end_open(line);
                let at = line.len();
                self.prefix(event, call.over_ns().unwrap_or(self.last_ns), line);
                if self.has(Column::Call) {
                    let _ = write!(line, "<... {} resumed>", decoded.name);
                }
                (at, 0)
            }
        };
        if self.has(Column::Call) {
            self.push_rest(&decoded, at, before, line);
        }
        self.duration(call, line);
        line.push('\n');
    }

    fn push_rest(&self, decoded: &Decoded, at: usize, before: usize, line: &mut String) {
        line.push_str(&decoded.rest_text());
        let column = before + line[at..].chars().count();
        push_spaces(line, column);
        line.push_str(&decoded.result_text());
    }

    /// Ends a line that has only begun: another line comes first.
    fn end_open(&mut self, line: &mut String) {
        if self.open.take().is_some() {
            line.push_str(UNFINISHED);
            line.push('\n');
        }
    }

    /// The columns before the call.
    fn prefix(&mut self, event: &Event, at_ns: u64, line: &mut String) {
        for column in &self.columns {
            // Writing to a `String` cannot fail.
            let _ = match column {
                Column::Time => {
                    write!(line, "{} ", self.time(at_ns))
                }
                Column::Pid if event.tid != event.tgid => {
                    write!(line, "{}/{} ", event.tgid, event.tid)
                }
                Column::Pid => write!(line, "{} ", event.tgid),
                Column::Tid => write!(line, "{} ", event.tid),
                Column::Comm => write!(line, "{} ", event.comm),
                Column::Call | Column::Duration => Ok(()),
            };
        }
        self.last_ns = at_ns;
    }

    fn time(&self, at_ns: u64) -> String {
        let wall = || self.start.wall_at(at_ns);
        let since = |earlier: u64| seconds(at_ns.saturating_sub(earlier));
        match self.clock {
            Clock::Date => humantime::format_rfc3339_micros(wall()).to_string(),
            // The time within `2026-01-31T12:34:56.123456Z`.
            Clock::Time => {
                let date = humantime::format_rfc3339_micros(wall()).to_string();
                date.get(11..26).unwrap_or(&date).to_owned()
            }
            Clock::Unix => {
                let since = wall().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                seconds(nanoseconds(since))
            }
            Clock::Monotonic => seconds(at_ns),
            Clock::Elapsed => since(self.start.monotonic_ns),
            Clock::Relative => since(self.last_ns),
        }
    }

    fn duration(&self, call: &Call, line: &mut String) {
        if self.has(Column::Duration)
            && let (Some(entry), Some(left)) = (call.entry_ns, call.left)
        {
            let ns = left.exit_ns.saturating_sub(entry);
            // Most calls take less than a microsecond.
            let _ = write!(line, " <{}.{:09}>", ns / 1_000_000_000, ns % 1_000_000_000);
        }
    }

    fn has(&self, column: Column) -> bool {
        self.columns.contains(&column)
    }
}

/// Seconds with microseconds.
fn seconds(ns: u64) -> String {
    format!("{}.{:06}", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000)
}

/// The time that the line of a step shows.
fn event_time(step: &Step) -> u64 {
    match &step.event().happened {
        Happened::Call(call) => call.entry_ns.or(call.over_ns()).unwrap_or_default(),
        Happened::Signal(signal) => signal.at_ns,
        Happened::Ended { at_ns, .. } => *at_ns,
    }
}

fn text_of(happened: &Happened) -> String {
    match happened {
        Happened::Signal(signal) => decode::signal_text(signal),
        Happened::Ended { status, .. } => decode::ended_text(*status),
        Happened::Call(_) => String::new(),
    }
}

/// Adds spaces, so that the result is aligned in the line that begins at `at`.
fn align(line: &mut String, at: usize) {
    let column = line[at..].chars().count();
    push_spaces(line, column);
}

fn push_spaces(line: &mut String, column: usize) {
    let spaces = RESULT_COLUMN.saturating_sub(column).max(1);
    line.extend(std::iter::repeat_n(' ', spaces));
}

/// Removes the space behind the last column of a line that begins at `at`.
fn trim_end(line: &mut String, at: usize) {
    let kept = line[at..].trim_end_matches(' ').len();
    line.truncate(at + kept);
}
