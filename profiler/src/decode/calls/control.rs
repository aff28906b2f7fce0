//! The control data of messages.

use super::kinds;
use crate::decode::{
    Value,
    context::Context,
    kinds::number,
    signature::word,
    structs::{self, Structure},
};

/// Bytes of control data that the kernel side copies, at most.
const COPIED: u64 = 1024;

/// Control data at an address: `[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS,
/// cmsg_data=[3]}]`.
pub(super) fn control_data(
    context: &Context<'_>,
    bytes: &[u8],
    pointer: u64,
    length: u64,
) -> Value {
    let width = word(context.abi);
    let header = width + 8;
    let there = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    // Some of it could not be read, or it is too short.
    if bytes.len() < header || there < length.min(COPIED) {
        return kinds::address(pointer);
    }
    let mut items = Vec::new();
    let mut rest = bytes;
    while rest.len() >= header {
        let length = number(rest, width).unwrap_or(0);
        let all = usize::try_from(length).unwrap_or(usize::MAX);
        let used = all.min(rest.len());
        let data = rest.get(header..used).unwrap_or_default();
        items.push(item(context, rest, length, data));
        if used < header {
            rest = &rest[header..];
            break;
        }
        let aligned = all.div_ceil(width).saturating_mul(width);
        rest = rest.get(aligned..).unwrap_or_default();
    }
    if !rest.is_empty() {
        let at = there - u64::try_from(rest.len()).unwrap_or(0);
        items.push(Value::Unread(pointer.wrapping_add(at)));
    }
    let is_cut = rest.is_empty() && there < length;
    Value::Array { items, is_cut }
}

/// A message of the control data: its header and the data.
fn item(context: &Context<'_>, header: &[u8], length: u64, data: &[u8]) -> Value {
    let width = word(context.abi);
    let field = |at: usize| header.get(at..).and_then(|rest| number(rest, 4)).unwrap_or(0);
    let (level, kind) = (field(width), field(width + 4));
    let named = match level {
        1 if kind < 29 => kinds::name("scm_type", kind),
        // The times have the names of the options that request them.
        1 => match kinds::name("socket_option", kind) {
            Value::Name { name: Some(name), number, .. } if name.contains("STAMP") => {
                Value::Name { name: Some(name), number, prefix: "SCM_" }
            }
            _ => kinds::name("scm_type", kind),
        },
        0 => kinds::name("ip_option", kind),
        _ => Value::Hex(kind),
    };
    let mut fields = vec![
        Value::Unsigned(length).named("cmsg_len"),
        kinds::name("socket_level", level).named("cmsg_level"),
        named.named("cmsg_type"),
    ];
    let data = match level {
        1 => of_socket(context, kind, data),
        0 => of_ip(context, kind, data),
        _ => None,
    };
    fields.extend(data.map(|data| data.named("cmsg_data")));
    Value::Struct { fields, is_cut: false }
}

/// An array of numbers.
fn numbers(
    context: &Context<'_>,
    data: &[u8],
    width: usize,
    value: impl Fn(u64) -> Value,
) -> Value {
    let all = data.len() / width;
    let shown = if context.style.is_verbose { all } else { all.min(context.style.string_limit) };
    let items = data.chunks_exact(width).take(shown);
    let items = items.map(|item| value(number(item, width).unwrap_or(0))).collect();
    Value::Array { items, is_cut: shown < all }
}

fn structure(context: &Context<'_>, name: &str, data: &[u8]) -> Option<Value> {
    let found: &Structure = structs::find(name)?;
    let bytes = data.get(..(found.bytes)(context.abi))?;
    Some((found.decode)(bytes, context.abi, context.style))
}

fn of_socket(context: &Context<'_>, kind: u64, data: &[u8]) -> Option<Value> {
    let fd = |number: u64| Value::File {
        number: i64::from(kinds::low(number).cast_signed()),
        name: None,
    };
    // A structure, or the bytes if there are too few.
    let time = |name: &str| structure(context, name, data).unwrap_or_else(|| all_text(data));
    match kind {
        // SCM_RIGHTS
        1 if data.len() >= 4 => Some(numbers(context, data, 4, fd)),
        // SCM_CREDENTIALS
        2 => structure(context, "ucred", data),
        _ if data.is_empty() => None,
        // SCM_SECURITY
        3 => Some(all_text(data)),
        // SO_TIMESTAMP_OLD, SO_TIMESTAMPNS_OLD, SO_TIMESTAMP_NEW, SO_TIMESTAMPNS_NEW
        29 => Some(time("timeval")),
        35 => Some(time("timespec")),
        63 => Some(time("timeval64")),
        64 => Some(time("timespec64")),
        // SO_TIMESTAMPING_OLD, SO_TIMESTAMPING_NEW
        37 | 65 => {
            let name = if kind == 37 { "timespec" } else { "timespec64" };
            let found = structs::find(name)?;
            let size = (found.bytes)(context.abi);
            if data.len() < 3 * size {
                return Some(all_text(data));
            }
            let items = data.chunks_exact(size).take(3);
            let items = items.map(|item| (found.decode)(item, context.abi, context.style));
            Some(Value::Array { items: items.collect(), is_cut: false })
        }
        _ => None,
    }
}

fn all_text(data: &[u8]) -> Value {
    Value::Text { bytes: data.to_vec(), is_cut: false }
}

fn of_ip(context: &Context<'_>, kind: u64, data: &[u8]) -> Option<Value> {
    match kind {
        // IP_TOS, IP_RECVOPTS, IP_RETOPTS
        1 | 6 | 7 if !data.is_empty() => Some(numbers(context, data, 1, Value::Hex)),
        // IP_TTL, IP_CHECKSUM
        2 | 23 if data.len() >= 4 => Some(numbers(context, data, 4, Value::Unsigned)),
        // SCM_SECURITY
        3 if !data.is_empty() => Some(all_text(data)),
        // IP_PKTINFO
        8 => structure(context, "in_pktinfo", data),
        // IP_RECVERR
        11 => structure(context, "sock_extended_err", data),
        // IP_ORIGDSTADDR
        20 if data.len() >= 16 => {
            let found = structs::find("sockaddr")?;
            Some((found.decode)(&data[..data.len().min(128)], context.abi, context.style))
        }
        _ => None,
    }
}
