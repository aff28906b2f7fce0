//! The heading of a recording: why it is printed, how much it has, and what is missing.

use std::io::Write as _;

use serde::Serialize;

use super::lines::Start;
use crate::{
    decode,
    engine::kernel::trace::{Recording, Report},
    model::{Call, Event, Happened},
    names::errnos,
    text::{Untrusted, json},
};

/// The version of the format.
const SCHEMA: u32 = 1;

/// Reports that get a line of their own in a heading, at most.
const MOST_REPORTS: usize = 10;

/// Why a recording is printed.
pub(super) enum Reason<'a> {
    /// Threads of the process ended, and the process with them; or calls that are reported left.
    /// At least one.
    Reports(&'a [Report]),
    /// A signal requested it. The process, its name, and when.
    Request(&'a Event, u64),
    /// The trace ends.
    End(&'a Event, u64),
}

/// The heading of a recording.
pub(super) struct Heading<'a> {
    /// Why it is printed.
    pub(super) reason: Reason<'a>,
    /// What is printed.
    pub(super) recording: &'a Recording,
}

#[derive(Serialize)]
struct Object<'a> {
    schema: u32,
    event: &'static str,
    time: String,
    monotonic_ns: u64,
    pid: u32,
    tid: u32,
    comm: &'a Untrusted,
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signal: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    syscall: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    result: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ns: Option<u64>,
    reports: usize,
    calls: usize,
    calls_in_flight: usize,
    threads: usize,
    overwritten: u64,
    cut: u64,
    unrecorded_threads: usize,
}

impl Heading<'_> {
    /// The event that has the process of the recording, and when it happened.
    fn first(&self) -> Option<(&Event, u64)> {
        match self.reason {
            Reason::Reports(reports) => {
                reports.first().map(|report| (&report.event, report.at_ns()))
            }
            Reason::Request(event, at_ns) | Reason::End(event, at_ns) => Some((event, at_ns)),
        }
    }

    /// How many calls have left.
    fn calls(&self) -> usize {
        let is_call = |event: &&Event| matches!(event.happened, Happened::Call(_));
        self.recording.events.iter().filter(is_call).count()
    }

    /// The lines: whose, when, and the text.
    pub(super) fn lines(&self) -> Vec<(&Event, u64, String)> {
        let mut lines = Vec::new();
        match self.reason {
            Reason::Reports(reports) => {
                let named = reports.iter().take(MOST_REPORTS);
                lines.extend(named.map(|report| (&report.event, report.at_ns(), text_of(report))));
                if reports.len() > MOST_REPORTS
                    && let Some(last) = lines.last_mut()
                {
                    let more = reports.len() - MOST_REPORTS;
                    last.2 += &format!(", and {more} more events");
                }
            }
            Reason::Request(event, at_ns) => {
                lines.push((event, at_ns, "requested by SIGUSR1".into()))
            }
            Reason::End(event, at_ns) => lines.push((event, at_ns, "the trace ends".into())),
        }
        if let Some(last) = lines.last_mut() {
            last.2 += &format!(": {}", self.size());
        }
        lines
    }

    /// How much there is, and what is missing.
    fn size(&self) -> String {
        let &Recording { threads, overwritten, cut, unrecorded_threads, .. } = self.recording;
        let mut text = match (self.calls(), threads) {
            (0, 0) => "no recorded calls".to_owned(),
            (1, _) => format!("the last call of {}", count(threads as u64, "thread")),
            (calls, _) => {
                format!("the last {calls} calls of {}", count(threads as u64, "thread"))
            }
        };
        if overwritten > 0 {
            let calls = count(overwritten, "call");
            text += &format!("; up to {calls} missing, overwritten before the profiler read them");
        }
        if cut > 0 {
            text += &format!("; {} with cut arguments", count(cut, "call"));
        }
        if unrecorded_threads > 0 {
            let threads = count(unrecorded_threads as u64, "thread");
            text += &format!("; {threads} not recorded, for lack of memory");
        }
        text
    }

    /// Writes the object, and a newline.
    pub(super) fn write_json(&self, start: Start, out: &mut Vec<u8>) {
        let Some((first, at_ns)) = self.first() else { return };
        let (call, status) = match (&self.reason, &first.happened) {
            (Reason::Reports(_), Happened::Call(call)) => (Some(call), None),
            (Reason::Reports(_), Happened::Ended { status, .. }) => (None, Some(*status)),
            _ => (None, None),
        };
        let reason = match (&self.reason, call) {
            (Reason::Reports(_), Some(_)) => "call",
            (Reason::Reports(_), None) => "exit",
            (Reason::Request(..), _) => "request",
            (Reason::End(..), _) => "end",
        };
        let &Recording { threads, overwritten, cut, unrecorded_threads, .. } = self.recording;
        let object = Object {
            schema: SCHEMA,
            event: "recording",
            time: humantime::format_rfc3339_nanos(start.wall_at(at_ns)).to_string(),
            monotonic_ns: at_ns,
            pid: first.tgid,
            tid: first.tid,
            comm: &first.comm,
            reason,
            exit_code: status.filter(|&s| libc::WIFEXITED(s)).map(|s| libc::WEXITSTATUS(s)),
            signal: status.filter(|&s| libc::WIFSIGNALED(s)).map(|s| libc::WTERMSIG(s)),
            syscall: call.map(|call| decode::name(call.key).into_owned()),
            result: call.and_then(|call| call.left).map(|left| left.result),
            duration_ns: call.and_then(duration_ns),
            reports: match self.reason {
                Reason::Reports(reports) => reports.len(),
                Reason::Request(..) | Reason::End(..) => 0,
            },
            calls: self.calls(),
            calls_in_flight: self.recording.in_flight.len(),
            threads,
            overwritten,
            cut,
            unrecorded_threads,
        };
        let before = out.len();
        // A vector takes everything, and the object has only keys that are text.
        match json::write(out, &object).and_then(|()| out.write_all(b"\n")) {
            Ok(()) => {}
            Err(_) => out.truncate(before),
        }
    }
}

fn count(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

fn duration_ns(call: &Call) -> Option<u64> {
    Some(call.left?.exit_ns.saturating_sub(call.entry_ns?))
}

/// What happened.
fn text_of(report: &Report) -> String {
    match &report.event.happened {
        Happened::Ended { status, .. } => {
            let ended = decode::ended_text(*status);
            ended.trim_matches(['+', ' ']).to_owned()
        }
        Happened::Call(call) => {
            let name = decode::name(call.key);
            let result = call.left.map_or(0, |left| left.result);
            let ns = duration_ns(call).unwrap_or(0);
            let time = format!("<{}.{:09}>", ns / 1_000_000_000, ns % 1_000_000_000);
            match u16::try_from(-result).ok().filter(|errno| (1..4096).contains(errno)) {
                Some(errno) => format!("{name} failed with {} {time}", errnos::name(errno)),
                None => format!("{name} returned {time}"),
            }
        }
        Happened::Signal(_) => String::new(),
    }
}
