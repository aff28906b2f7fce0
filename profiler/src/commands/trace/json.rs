//! Events as JSON, one object per line.

use std::io::Write as _;

use serde::Serialize;

use super::lines::Start;
use crate::{
    decode::{self, Decoded, Style},
    model::{Event, Happened},
    text::{Untrusted, json},
};

/// The version of the format.
const SCHEMA: u32 = 1;

#[derive(Serialize)]
struct Line<'a> {
    schema: u32,
    event: &'static str,
    /// When a call entered, or when it left if the entry is unknown.
    time: String,
    monotonic_ns: u64,
    pid: u32,
    tid: u32,
    comm: &'a Untrusted,
    #[serde(skip_serializing_if = "is_zero")]
    dropped_before: u64,
    #[serde(flatten)]
    what: What<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum What<'a> {
    Call {
        abi: &'static str,
        #[serde(flatten)]
        decoded: &'a Decoded,
        duration_ns: Option<u64>,
        denied: bool,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        args_cut: bool,
        in_flight: bool,
        thread_ended: bool,
    },
    Signal {
        signal: std::borrow::Cow<'static, str>,
        number: u32,
        code: i32,
        sender_pid: u32,
        sender_uid: u32,
        address: u64,
    },
    End {
        exit_code: Option<i32>,
        signal: Option<i32>,
        core_dumped: bool,
        last_thread: bool,
    },
}

/// Writes the object of an event, and a newline.
pub(super) fn write(event: &Event, style: &Style, start: Start, out: &mut Vec<u8>) {
    let decoded = match &event.happened {
        Happened::Call(call) => Some(decode::decode(call, style)),
        Happened::Signal(_) | Happened::Ended { .. } => None,
    };
    let (kind, at_ns, what) = match (&event.happened, &decoded) {
        (Happened::Call(call), Some(decoded)) => {
            let left = call.left.map(|left| left.exit_ns);
            let duration = left.zip(call.entry_ns).map(|(exit, entry)| exit.saturating_sub(entry));
            let what = What::Call {
                abi: call.key.abi().map_or("unknown", |abi| abi.name()),
                decoded,
                duration_ns: duration,
                denied: call.is_denied,
                args_cut: call.is_cut,
                in_flight: call.over_ns().is_none(),
                thread_ended: call.thread_ended_ns.is_some(),
            };
            ("call", call.entry_ns.or(call.over_ns()).unwrap_or(start.monotonic_ns), what)
        }
        (Happened::Signal(signal), _) => {
            let what = What::Signal {
                signal: decode::signal_name(signal.number),
                number: signal.number,
                code: signal.code,
                sender_pid: signal.pid,
                sender_uid: signal.uid,
                address: signal.address,
            };
            ("signal", signal.at_ns, what)
        }
        (Happened::Ended { at_ns, status, is_last }, _) => {
            let status = *status;
            let what = What::End {
                exit_code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
                signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
                core_dumped: libc::WCOREDUMP(status),
                last_thread: *is_last,
            };
            ("end", *at_ns, what)
        }
        (Happened::Call(_), None) => return,
    };
    let line = Line {
        schema: SCHEMA,
        event: kind,
        time: humantime::format_rfc3339_nanos(start.wall_at(at_ns)).to_string(),
        monotonic_ns: at_ns,
        pid: event.tgid,
        tid: event.tid,
        comm: &event.comm,
        dropped_before: event.dropped,
        what,
    };
    let before = out.len();
    // A vector takes everything, and the object has only keys that are text.
    match json::write(out, &line).and_then(|()| out.write_all(b"\n")) {
        Ok(()) => {}
        Err(_) => out.truncate(before),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
