//! Calls that wait for descriptors.

use profiler_common::trace::AT_SUCCESS;

use super::{Outcome, note, set};
use crate::decode::{Decoded, Value, context::Context, kinds, structs};

/// The descriptors in an array of `struct pollfd`: the requested events at the entry, or the
/// descriptors with events at the exit.
fn descriptors(context: &Context<'_>, bytes: &[u8], is_exit: bool) -> Value {
    let all = usize::try_from(context.uint(1)).unwrap_or(usize::MAX);
    let limit = if context.style.is_verbose { all } else { context.style.string_limit.min(all) };
    let mut items = Vec::new();
    let mut is_cut = false;
    for item in bytes.chunks_exact(8).take(all) {
        let field = |at: usize, width| item.get(at..).and_then(|rest| kinds::number(rest, width));
        let fd = i64::from(kinds::low(field(0, 4).unwrap_or(0)).cast_signed());
        let (name, events) =
            if is_exit { ("revents", field(6, 2)) } else { ("events", field(4, 2)) };
        let events = events.unwrap_or(0);
        if is_exit && events == 0 {
            continue;
        }
        if items.len() >= limit {
            is_cut = true;
            break;
        }
        let mut fields = vec![Value::File { number: fd, name: None }.named("fd")];
        if is_exit || fd >= 0 {
            fields.push(kinds::flags("poll_events", events).named(name));
        }
        items.push(Value::Struct { fields, is_cut: false });
    }
    let is_cut = is_cut || !is_exit && items.len() < all;
    Value::Array { items, is_cut }
}

pub(super) fn poll(context: &Context<'_>, decoded: &mut Decoded) {
    let is_ppoll = decoded.name != "poll";
    if context.arg(0) != 0 && context.uint(1) > 0 {
        match context.entry(0).bytes().filter(|bytes| bytes.len() >= 8) {
            Some(bytes) => set(decoded, 0, descriptors(context, bytes, false)),
            None => set(decoded, 0, kinds::address(context.arg(0))),
        }
    }
    if !is_ppoll {
        set(decoded, 2, Value::Signed(i64::from(context.uint(2).cast_signed())));
    }
    match context.success() {
        Some(0) => note(decoded, "Timeout".into()),
        Some(_) => {
            let wanted = usize::try_from(context.uint(1)).unwrap_or(0).saturating_mul(8);
            let bytes = context.memory(0, AT_SUCCESS, wanted).bytes().unwrap_or_default();
            let mut text = descriptors(context, bytes, true).to_string();
            if let Some(left) = is_ppoll.then(|| time_left(context, 2, &decoded.name)).flatten() {
                text.push_str(&format!(", {left}"));
            }
            note(decoded, text);
        }
        None => {}
    }
}

/// The time that was left when the call returned.
pub(super) fn time_left(context: &Context<'_>, at: usize, name: &str) -> Option<String> {
    if context.arg(at) == 0 {
        return None;
    }
    let kind = match name {
        "select" | "_newselect" => "timeval",
        "ppoll_time64" | "pselect6_time64" | "recvmmsg_time64" => "timespec64",
        _ => "timespec",
    };
    let found = structs::find(kind)?;
    let size = (found.bytes)(context.abi);
    let bytes = context.memory(at, AT_SUCCESS, size).bytes()?.get(..size)?;
    Some(format!("left {}", (found.decode)(bytes, context.abi, context.style)))
}

/// A set of descriptors: `[3 4]`.
fn members(context: &Context<'_>, bytes: &[u8]) -> Vec<String> {
    let end = usize::try_from(context.uint(0).cast_signed().max(0)).unwrap_or(0);
    let bits = (0..end.min(8 * bytes.len())).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1);
    bits.map(|bit| bit.to_string()).collect()
}

pub(super) fn select(context: &Context<'_>, decoded: &mut Decoded) {
    for at in 1..=3 {
        if context.arg(at) == 0 {
            set(decoded, at, Value::Null);
        } else if let Some(bytes) = context.entry(at).bytes() {
            let members = members(context, bytes).into_iter().map(Into::into).collect();
            set(decoded, at, Value::Set { members, is_complement: false });
        }
    }
    match context.success() {
        Some(0) => note(decoded, "Timeout".into()),
        Some(_) => {
            let mut texts = Vec::new();
            for (at, name) in [(1, "in"), (2, "out"), (3, "except")] {
                let bytes = context.exit(at).bytes();
                let set = bytes.map(|bytes| members(context, bytes)).unwrap_or_default();
                if !set.is_empty() {
                    texts.push(format!("{name} [{}]", set.join(" ")));
                }
            }
            texts.extend(time_left(context, 4, &decoded.name));
            if let Some(Outcome::Returned { note, .. }) = &mut decoded.outcome {
                *note = Some(texts.join(", "));
            }
        }
        None => {
            if let Some(Outcome::Failed { .. }) = decoded.outcome
                && context.uint(0).cast_signed() < 0
            {
                for at in 1..=3 {
                    set(decoded, at, kinds::address(context.arg(at)));
                }
            }
        }
    }
}

/// The event is not read with `EPOLL_CTL_DEL`.
pub(super) fn epoll_ctl(context: &Context<'_>, decoded: &mut Decoded) {
    if context.uint(1) == 2 {
        set(decoded, 3, kinds::address(context.arg(3)));
    }
}
