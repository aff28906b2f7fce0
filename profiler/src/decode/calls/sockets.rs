//! Calls on sockets.

use profiler_common::trace::AT_ENTRY;

use super::{boxed, set};
use crate::decode::{
    Argument, Decoded, Known, Value,
    context::{Context, Memory},
    kinds,
    signature::word,
    structs,
};

/// What the protocol means depends on the family.
pub(super) fn socket(context: &Context<'_>, decoded: &mut Decoded) {
    let protocol = context.uint(2);
    let value = match context.uint(0) {
        // AF_INET, AF_INET6
        2 | 10 => kinds::name("ip_protocol", u64::from(protocol)),
        // AF_NETLINK
        16 => kinds::name("netlink_protocol", u64::from(protocol)),
        // AF_PACKET: in network byte order
        17 => match kinds::low(u64::from(protocol)) {
            port @ ..=0xffff => {
                let host = u64::from(u16::try_from(port).unwrap_or(0).swap_bytes());
                match kinds::name("ethernet_protocol", host) {
                    Value::Name { name: Some(name), .. } => {
                        Value::Macro(format!("htons({name})").into())
                    }
                    _ => Value::Macro(format!("htons({})", Value::Hex(host)).into()),
                }
            }
            other => Value::Hex(u64::from(other)),
        },
        // AF_BLUETOOTH
        31 => kinds::name("bluetooth_protocol", u64::from(protocol)),
        _ => Value::Signed(i64::from(protocol.cast_signed())),
    };
    set(decoded, 2, value);
}

/// The set that has the names of the options of a level.
fn options(level: u32) -> &'static str {
    match level {
        0 => "ip_option",
        1 => "socket_option",
        6 => "tcp_option",
        17 => "udp_option",
        41 => "ipv6_option",
        263 => "packet_option",
        270 => "netlink_option",
        _ => "",
    }
}

fn option_value(context: &Context<'_>, bytes: &[u8], length: u64) -> Value {
    let kind = match (context.uint(1), context.uint(2)) {
        // SO_LINGER
        (1, 13) => Some("linger"),
        // SO_PEERCRED
        (1, 17) => Some("ucred"),
        // SO_RCVTIMEO, SO_SNDTIMEO
        (1, 20 | 21) => Some("timeval"),
        // SO_ATTACH_FILTER
        (1, 26 | 51) => Some("sock_fprog"),
        _ => None,
    };
    if let Some(found) = kind.and_then(structs::find) {
        let size = (found.bytes)(context.abi);
        let there = bytes.len().min(usize::try_from(length).unwrap_or(0));
        if let Some(bytes) = bytes.get(..size).filter(|_| there >= size) {
            return (found.decode)(bytes, context.abi, context.style);
        }
    }
    match (length, kinds::number(bytes, 4)) {
        (4.., Some(number)) if is_number(context, length) => {
            boxed(Value::Signed(i64::from(kinds::low(number).cast_signed())))
        }
        _ => kinds::text(bytes, length, context.style.string_limit),
    }
}

/// Whether the option is a number, which is the first four bytes of any longer value.
fn is_number(context: &Context<'_>, length: u64) -> bool {
    context.uint(1) == 1 && i32::try_from(length).is_ok() || length == 4
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

pub(super) fn setsockopt(context: &Context<'_>, decoded: &mut Decoded) {
    name_option(context, decoded);
    let length = u64::from(context.uint(4));
    let wanted = usize::try_from(length).unwrap_or(0);
    if let Memory::Bytes(bytes, _) = context.memory(3, AT_ENTRY, wanted) {
        set(decoded, 3, option_value(context, bytes, length));
    }
}

pub(super) fn getsockopt(context: &Context<'_>, decoded: &mut Decoded) {
    name_option(context, decoded);
    if context.success().is_none() {
        return;
    }
    let length = |memory: Memory<'_>| memory.bytes().and_then(|bytes| kinds::number(bytes, 4));
    let (before, after) = (length(context.entry(4)), length(context.exit(4)));
    if let (Memory::Bytes(bytes, _), Some(length)) = (context.exit(3), before.zip(after)) {
        set(decoded, 3, option_value(context, bytes, length.0.min(length.1)));
    }
}

/// The calls of socketcall(2), by number (include/uapi/linux/net.h), and how many arguments they
/// have.
const CALLS: [(&str, usize); 20] = [
    ("SYS_SOCKET", 3),
    ("SYS_BIND", 3),
    ("SYS_CONNECT", 3),
    ("SYS_LISTEN", 2),
    ("SYS_ACCEPT", 3),
    ("SYS_GETSOCKNAME", 3),
    ("SYS_GETPEERNAME", 3),
    ("SYS_SOCKETPAIR", 4),
    ("SYS_SEND", 4),
    ("SYS_RECV", 4),
    ("SYS_SENDTO", 6),
    ("SYS_RECVFROM", 6),
    ("SYS_SHUTDOWN", 2),
    ("SYS_SETSOCKOPT", 5),
    ("SYS_GETSOCKOPT", 5),
    ("SYS_SENDMSG", 3),
    ("SYS_RECVMSG", 3),
    ("SYS_ACCEPT4", 4),
    ("SYS_RECVMMSG", 5),
    ("SYS_SENDMMSG", 4),
];

/// The arguments are in memory. strace shows the call that socketcall(2) makes. The memory to which
/// its arguments point was not copied.
pub(super) fn socketcall(context: &Context<'_>, decoded: &mut Decoded) {
    let at = usize::try_from(context.uint(0)).ok().and_then(|number| number.checked_sub(1));
    let Some(&(name, count)) = at.and_then(|at| CALLS.get(at)) else { return };
    let Some(bytes) = context.memory(1, AT_ENTRY, 4 * count).bytes() else { return };
    if bytes.len() < 4 * count {
        return;
    }
    let lower = name.trim_start_matches("SYS_").to_lowercase();
    let args: Vec<_> = bytes.chunks_exact(4).filter_map(|word| kinds::number(word, 4)).collect();
    decoded.name = lower.into();
    let names = ["arg1", "arg2", "arg3", "arg4", "arg5", "arg6"];
    let first = |number: u64| Value::Signed(i64::from(kinds::low(number).cast_signed()));
    let values = args.iter().take(count).enumerate().map(|(at, &number)| match (name, at) {
        ("SYS_SOCKET" | "SYS_SOCKETPAIR", 0) => kinds::name("address_family", number),
        ("SYS_SOCKET" | "SYS_SOCKETPAIR", 1) => kinds::flags("socket_type", number),
        (_, 0) => first(number),
        ("SYS_LISTEN", _) | ("SYS_SOCKET" | "SYS_SOCKETPAIR", 2) => first(number),
        ("SYS_SHUTDOWN", 1) => kinds::name("shutdown_how", number),
        _ => kinds::address(number),
    });
    decoded.arguments = values
        .zip(names)
        .map(|(value, name)| Argument { name, label: None, value, known: Known::AtEntry })
        .collect();
}

/// A `struct msghdr`, of which `bytes` are the header.
pub(in crate::decode) fn message(
    context: &Context<'_>,
    bytes: &[u8],
    at: usize,
    when: u8,
) -> Value {
    let width = word(context.abi);
    let field = |offset: usize, width| {
        bytes.get(offset..).and_then(|rest| kinds::number(rest, width)).unwrap_or(0)
    };
    if bytes.len() < 6 * width + 4 {
        return kinds::address(context.arg(at));
    }
    let (name, length) = (field(0, width), field(width, 4));
    let (vectors, count) = (field(2 * width, width), field(3 * width, width));
    let (control, control_length) = (field(4 * width, width), field(5 * width, width));
    let flags = field(6 * width, 4);
    let address = match (context.part(at, when, 1), structs::find("sockaddr")) {
        _ if name == 0 => Value::Null,
        (Memory::Bytes(bytes, _), Some(found)) if bytes.len() >= 2 && length >= 2 => {
            let there = usize::try_from(length).unwrap_or(0).min(bytes.len());
            (found.decode)(&bytes[..there], context.abi, context.style)
        }
        _ => kinds::address(name),
    };
    let data = match context.part(at, when, 2) {
        _ if vectors == 0 => Value::Null,
        Memory::Bytes(bytes, _) => kinds::vectors_from(context, bytes, at, when, count, 4),
        _ => kinds::address(vectors),
    };
    let mut fields = vec![
        address.named("msg_name"),
        Value::Signed(i64::from(kinds::low(length).cast_signed())).named("msg_namelen"),
        data.named("msg_iov"),
        Value::Unsigned(count).named("msg_iovlen"),
    ];
    if control_length > 0 {
        let value = match context.part(at, when, 3) {
            Memory::Bytes(bytes, _) if control != 0 => self::control(context, bytes),
            _ => kinds::address(control),
        };
        fields.push(value.named("msg_control"));
    }
    fields.push(Value::Unsigned(control_length).named("msg_controllen"));
    fields.push(kinds::flags("message_flags", flags).named("msg_flags"));
    Value::Struct { fields, is_cut: false }
}

/// Control data: `[{cmsg_len=20, cmsg_level=SOL_SOCKET, cmsg_type=SCM_RIGHTS, cmsg_data=[3]}]`.
fn control(context: &Context<'_>, bytes: &[u8]) -> Value {
    let width = word(context.abi);
    let mut items = Vec::new();
    let mut rest = bytes;
    while let Some(length) = kinds::number(rest, width) {
        let Ok(all) = usize::try_from(length) else { break };
        if all < width + 8 || rest.len() < width + 8 {
            break;
        }
        let level = kinds::number(&rest[width..], 4).unwrap_or(0);
        let kind = kinds::number(&rest[width + 4..], 4).unwrap_or(0);
        let data = &rest[width + 8..all.min(rest.len())];
        let named = |set: &str| kinds::name(set, kind);
        let kind_value = match level {
            1 => named("scm_type"),
            0 => named("ip_option"),
            41 => named("ipv6_option"),
            _ => Value::Hex(kind),
        };
        let mut fields = vec![
            Value::Unsigned(length).named("cmsg_len"),
            kinds::name("socket_level", level).named("cmsg_level"),
            kind_value.named("cmsg_type"),
        ];
        if !data.is_empty() {
            let value = match (level, kind) {
                (1, 1) => {
                    let fds = data.chunks_exact(4).filter_map(|fd| kinds::number(fd, 4));
                    let fds = fds.map(|fd| {
                        let number = i64::from(kinds::low(fd).cast_signed());
                        Value::File { number, name: None }
                    });
                    Value::Array { items: fds.collect(), is_cut: false }
                }
                (1, 2) => match structs::find("ucred") {
                    Some(found) if data.len() >= (found.bytes)(context.abi) => {
                        let size = (found.bytes)(context.abi);
                        (found.decode)(&data[..size], context.abi, context.style)
                    }
                    _ => kinds::text(data, data.len() as u64, context.style.string_limit),
                },
                _ => kinds::text(data, data.len() as u64, context.style.string_limit),
            };
            fields.push(value.named("cmsg_data"));
        }
        items.push(Value::Struct { fields, is_cut: false });
        let aligned = all.div_ceil(width).saturating_mul(width);
        if aligned >= rest.len() {
            break;
        }
        rest = &rest[aligned..];
    }
    Value::Array { items, is_cut: false }
}
