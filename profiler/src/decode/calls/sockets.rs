//! Calls on sockets.

use profiler_common::trace::AT_ENTRY;

use super::set;
use crate::decode::{Argument, Decoded, Known, Value, context::Context, kinds};

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
