//! Options of sockets.

use profiler_common::trace::AT_ENTRY;

use super::{boxed, kinds, set};
use crate::decode::{
    Decoded, Value,
    context::{Context, Memory},
    structs,
};

/// Levels of options.
const IP: u32 = 0;
const SOCKET: u32 = 1;
const IPV6: u32 = 41;
const RAW: u32 = 255;
const PACKET: u32 = 263;
const NETLINK: u32 = 270;

/// The set that has the names of the options of a level.
fn options(level: u32) -> &'static str {
    match level {
        IP => "ip_option",
        SOCKET => "socket_option",
        6 => "tcp_option",
        17 => "udp_option",
        IPV6 => "ipv6_option",
        RAW => "raw_option",
        PACKET => "packet_option",
        NETLINK => "netlink_option",
        _ => "",
    }
}

fn name_option(context: &Context<'_>, decoded: &mut Decoded) {
    let number = u64::from(context.uint(2));
    let set_name = options(context.uint(1));
    let value = match set_name {
        "" => Value::Hex(number),
        _ => kinds::name(set_name, number),
    };
    set(decoded, 2, value);
}

/// How strace shows the value of an option.
enum Shape {
    /// A structure that exists if the length is at least its size.
    Struct(&'static str),
    /// A structure that exists if the length is its size.
    ExactStruct(&'static str),
    /// A number that exists if there are four bytes. A longer value has further bytes.
    Number,
    /// A number if the length is four, otherwise bytes.
    Any,
}

fn shape(level: u32, option: u32) -> Shape {
    match (level, option) {
        // SO_LINGER
        (SOCKET, 13) => Shape::Struct("linger"),
        // SO_ATTACH_FILTER, SO_ATTACH_REUSEPORT_CBPF
        (SOCKET, 26 | 51) => Shape::ExactStruct("sock_fprog"),
        // All that strace knows as numbers.
        (
            SOCKET,
            1
            | 2
            | 5..=12
            | 14..=16
            | 18
            | 19
            | 27
            | 29
            | 30
            | 32..=37
            | 40..=46
            | 49
            | 53
            | 56
            | 60
            | 63..=65
            | 68..=70
            | 73
            | 75,
        ) => Shape::Number,
        // IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP
        (IP, 35 | 36) => Shape::Struct("ip_mreq"),
        // MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP
        (IP | IPV6, 42 | 45) => Shape::Struct("group_req"),
        // IPV6_ADD_MEMBERSHIP, IPV6_DROP_MEMBERSHIP, IPV6_JOIN_ANYCAST, IPV6_LEAVE_ANYCAST
        (IPV6, 20 | 21 | 27 | 28) => Shape::Struct("ipv6_mreq"),
        // PACKET_ADD_MEMBERSHIP, PACKET_DROP_MEMBERSHIP
        // PACKET_RX_RING, PACKET_TX_RING
        (PACKET, 5 | 13) => Shape::ExactStruct("tpacket_req"),
        (PACKET, 1 | 2) => Shape::ExactStruct("packet_mreq"),
        (NETLINK, _) => Shape::Number,
        _ => Shape::Any,
    }
}

fn int(bytes: &[u8]) -> Option<Value> {
    let number = kinds::number(bytes, 4)?;
    Some(boxed(Value::Signed(i64::from(kinds::low(number).cast_signed()))))
}

fn structure(context: &Context<'_>, name: &str, bytes: &[u8], length: usize) -> Option<Value> {
    let found = structs::find(name)?;
    let size = (found.bytes)(context.abi);
    let bytes = bytes.get(..size).filter(|_| length >= size)?;
    Some((found.decode)(bytes, context.abi, context.style))
}

pub(super) fn setsockopt(context: &Context<'_>, decoded: &mut Decoded) {
    name_option(context, decoded);
    let pointer = kinds::address(context.arg(3));
    // A negative length is none.
    let length = usize::try_from(context.uint(4).cast_signed()).ok();
    let bytes = |wanted: usize| context.memory(3, AT_ENTRY, wanted).bytes().unwrap_or_default();
    let value = match (shape(context.uint(1), context.uint(2)), length) {
        (_, None) => None,
        _ if context.arg(3) == 0 => None,
        (Shape::Struct(name), Some(length)) => structure(context, name, bytes(136), length),
        (Shape::ExactStruct(name), Some(length)) => {
            let size = structs::find(name).map_or(0, |found| (found.bytes)(context.abi));
            structure(context, name, bytes(size), length).filter(|_| length == size)
        }
        (Shape::Number, Some(length)) => int(bytes(4)).filter(|_| length >= 4),
        (Shape::Any, Some(4)) => int(bytes(4)),
        (Shape::Any, Some(length)) => {
            let shown = length.min(context.style.string_limit);
            let bytes = bytes(shown);
            (bytes.len() >= shown).then(|| kinds::text(bytes, u64::from(context.uint(4)), shown))
        }
    };
    set(decoded, 3, value.unwrap_or(pointer));
}

pub(super) fn getsockopt(context: &Context<'_>, decoded: &mut Decoded) {
    name_option(context, decoded);
    if context.success().is_none() {
        return;
    }
    let length = |memory: Memory<'_>| memory.bytes().and_then(|bytes| kinds::number(bytes, 4));
    let lengths = length(context.entry(4)).zip(length(context.exit(4)));
    let int_of = |length: u64| usize::try_from(kinds::low(length).cast_signed()).unwrap_or(0);
    let (asked, length) = lengths.map_or((0, 0), |(asked, after)| (int_of(asked), int_of(after)));
    let (level, option) = (context.uint(1), context.uint(2));
    let bytes = context.exit(3).bytes().unwrap_or_default();
    let bytes = &bytes[..bytes.len().min(asked)];
    if length == 0 || asked == 0 || bytes.is_empty() {
        return set(decoded, 3, kinds::address(context.arg(3)));
    }
    let hex = || {
        let bytes = bytes[..bytes.len().min(length)].to_vec();
        Value::HexText { bytes, is_cut: false }
    };
    let value = match (level, option) {
        // SO_PEERCRED
        (SOCKET, 17) => credentials(&bytes[..bytes.len().min(length)]),
        // SO_ERROR
        (SOCKET, 4) if length >= 4 => error(bytes).unwrap_or_else(hex),
        (SOCKET, 4) => hex(),
        // SO_LINGER
        (SOCKET, 13) => {
            structure(context, "linger", bytes, length).unwrap_or_else(|| linger(bytes, length))
        }
        // NETLINK_LIST_MEMBERSHIPS
        (NETLINK, 9) => {
            let items = bytes[..bytes.len().min(length)].chunks_exact(4);
            let items = items.map(|item| Value::Unsigned(kinds::number(item, 4).unwrap_or(0)));
            Value::Array { items: items.collect(), is_cut: false }
        }
        (NETLINK, _) => int(bytes).unwrap_or(kinds::address(context.arg(3))),
        _ => match shape(level, option) {
            Shape::Number if length >= 4 => int(bytes).unwrap_or_else(hex),
            Shape::Number => hex(),
            _ if length == 4 => int(bytes).unwrap_or_else(hex),
            _ => {
                let all = u64::try_from(length.min(asked)).unwrap_or(0);
                kinds::text(bytes, all, context.style.string_limit)
            }
        },
    };
    set(decoded, 3, value);
}

/// An error, by its name.
fn error(bytes: &[u8]) -> Option<Value> {
    let number = kinds::low(kinds::number(bytes, 4)?).cast_signed();
    let name = u16::try_from(number).ok().and_then(crate::decode::errors::name);
    Some(boxed(match name {
        Some(name) if number != 0 => Value::Macro(name),
        _ => Value::Signed(i64::from(number)),
    }))
}

/// The name of a field, and its value as a number.
type NamedField = (&'static str, fn(u32) -> Value);

/// Fields of four bytes, of which the last one can be incomplete.
fn fields(bytes: &[u8], names: &[NamedField]) -> Value {
    let mut all = Vec::new();
    for (field, (name, value)) in bytes.chunks(4).zip(names) {
        let value = match kinds::number(field, 4) {
            Some(number) => value(kinds::low(number)),
            None => Value::HexText { bytes: field.to_vec(), is_cut: false },
        };
        all.push(value.named(name));
    }
    Value::Struct { fields: all, is_cut: false }
}

fn signed(number: u32) -> Value {
    Value::Signed(i64::from(number.cast_signed()))
}

fn id(number: u32) -> Value {
    if number == u32::MAX { Value::Signed(-1) } else { Value::Unsigned(u64::from(number)) }
}

fn credentials(bytes: &[u8]) -> Value {
    fields(bytes, &[("pid", signed), ("uid", id), ("gid", id)])
}

fn linger(bytes: &[u8], length: usize) -> Value {
    let bytes = &bytes[..bytes.len().min(length)];
    fields(bytes, &[("l_onoff", signed), ("l_linger", signed)])
}
