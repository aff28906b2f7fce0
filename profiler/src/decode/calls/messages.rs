//! Messages of sockets: `struct msghdr`, and arrays of them.

use profiler_common::trace::{AT_ENTRY, AT_SUCCESS, MAX_MESSAGES, PARTS_PER_MESSAGE};

use super::{control::control_data, note, waits};
use crate::decode::{
    Decoded, Value,
    context::{Context, Memory},
    kinds,
    signature::word,
    structs,
};

/// A `struct msghdr`, of which `bytes` are the header.
pub(in crate::decode) fn message(
    context: &Context<'_>,
    bytes: &[u8],
    at: usize,
    when: u8,
) -> Value {
    let used = match when {
        AT_SUCCESS => context.success().and_then(|result| u64::try_from(result).ok()).unwrap_or(0),
        _ => u64::MAX,
    };
    header(context, bytes, (at, when, 0), used).unwrap_or_else(|| kinds::address(context.arg(at)))
}

/// The messages of an array, which has `count` of them. The kernel side copied the first ones.
pub(in crate::decode) fn messages(context: &Context<'_>, at: usize, when: u8, count: u64) -> Value {
    let pointer = context.arg(at);
    let size = 8 * word(context.abi);
    let length = |bytes: &[u8]| kinds::number(bytes.get(7 * word(context.abi)..)?, 4);
    // How many bytes of each message were sent.
    let sent = match when {
        AT_ENTRY => context.memory(at, AT_SUCCESS, usize::MAX).bytes().unwrap_or_default(),
        _ => &[],
    };
    let there = usize::try_from(count).unwrap_or(usize::MAX);
    let most = if context.style.is_verbose { there } else { context.style.string_limit };
    let mut items = Vec::new();
    for index in 0..there.min(most).min(MAX_MESSAGES as usize) {
        let first = index * PARTS_PER_MESSAGE as usize;
        let bytes = match context.part(at, when, first) {
            Memory::Bytes(bytes, _) if bytes.len() >= size => bytes,
            Memory::Fault if index == 0 => return Value::Fault(pointer),
            _ if index == 0 => return kinds::address(pointer),
            Memory::Fault => {
                items.push(Value::Unread(pointer.wrapping_add((index * size) as u64)));
                return Value::Array { items, is_cut: false };
            }
            // There was no space for more.
            _ => break,
        };
        let length = match when {
            AT_ENTRY => sent.chunks_exact(size).nth(index).and_then(length),
            _ => length(bytes),
        };
        let used = if when == AT_ENTRY { u64::MAX } else { length.unwrap_or(0) };
        let Some(message) = header(context, bytes, (at, when, first), used) else { break };
        let mut fields = vec![message.named("msg_hdr")];
        fields.extend(length.map(|length| Value::Unsigned(length).named("msg_len")));
        items.push(Value::Struct { fields, is_cut: false });
    }
    let is_cut = items.len() < there;
    Value::Array { items, is_cut }
}

/// The time that was left when the call returned.
pub(super) fn recvmmsg(context: &Context<'_>, decoded: &mut Decoded) {
    if context.success() == Some(0) {
        if context.arg(4) != 0 {
            note(decoded, "Timeout".to_owned());
        }
        return;
    }
    if let Some(left) = waits::time_left(context, 4, &decoded.name) {
        note(decoded, left);
    }
}

/// A `struct msghdr` whose parts start at index `first`. Its vectors have `used` bytes of data.
/// `None` if there are too few bytes.
fn header(
    context: &Context<'_>,
    bytes: &[u8],
    (at, when, first): (usize, u8, usize),
    used: u64,
) -> Option<Value> {
    let width = word(context.abi);
    let field = |offset: usize, width| {
        bytes.get(offset..).and_then(|rest| kinds::number(rest, width)).unwrap_or(0)
    };
    if bytes.len() < 6 * width + 4 {
        return None;
    }
    let (name, length) = (field(0, width), field(width, 4));
    let (vectors, count) = (field(2 * width, width), field(3 * width, width));
    let (control, control_length) = (field(4 * width, width), field(5 * width, width));
    let flags = field(6 * width, 4);
    let address = match (context.part(at, when, first + 1), structs::find("sockaddr")) {
        _ if name == 0 => Value::Null,
        (Memory::Bytes(bytes, _), Some(found)) if bytes.len() >= 2 && length >= 2 => {
            let there = usize::try_from(length).unwrap_or(0).min(bytes.len());
            (found.decode)(&bytes[..there], context.abi, context.style)
        }
        _ => kinds::address(name),
    };
    let data = match context.part(at, when, first + 2) {
        _ if vectors == 0 => Value::Null,
        Memory::Bytes(bytes, _) => {
            kinds::vectors_from(context, bytes, (at, when, first + 4), count, used)
        }
        _ => kinds::address(vectors),
    };
    let mut fields = vec![
        address.named("msg_name"),
        Value::Signed(i64::from(kinds::low(length).cast_signed())).named("msg_namelen"),
        data.named("msg_iov"),
        Value::Unsigned(count).named("msg_iovlen"),
    ];
    if control_length > 0 {
        let value = match context.part(at, when, first + 3) {
            Memory::Bytes(bytes, _) if control != 0 => {
                control_data(context, bytes, control, control_length)
            }
            _ => kinds::address(control),
        };
        fields.push(value.named("msg_control"));
    }
    fields.push(Value::Unsigned(control_length).named("msg_controllen"));
    fields.push(kinds::flags("message_flags", flags).named("msg_flags"));
    Some(Value::Struct { fields, is_cut: false })
}
