//! Sockets: addresses, options, credentials.

use std::net::{Ipv4Addr, Ipv6Addr};

use profiler_common::call::Abi;

use super::{
    super::{Style, Value, constants},
    Structure,
    read::{Reader, address, of},
};

pub(super) static ALL: &[Structure] = &[
    Structure { name: "sockaddr", bytes: |_| 128, decode: socket_address },
    Structure { name: "ucred", bytes: |_| 12, decode: credentials },
    Structure { name: "linger", bytes: |_| 8, decode: linger },
    Structure {
        name: "sock_fprog",
        bytes: |abi| if abi == Abi::X86_64 { 16 } else { 8 },
        decode: filter,
    },
    Structure { name: "ip_mreq", bytes: |_| 8, decode: membership },
    Structure { name: "ipv6_mreq", bytes: |_| 20, decode: membership6 },
    Structure {
        name: "group_req",
        bytes: |abi| if abi == Abi::I386 { 132 } else { 136 },
        decode: group_request,
    },
    Structure { name: "packet_mreq", bytes: |_| 16, decode: packet_membership },
    Structure { name: "tpacket_req", bytes: |_| 16, decode: ring_request },
    Structure { name: "in_pktinfo", bytes: |_| 12, decode: packet_info },
    Structure { name: "sock_extended_err", bytes: |_| 32, decode: extended_error },
];

const UNIX: u64 = 1;
const INET: u64 = 2;
const INET6: u64 = 10;
const NETLINK: u64 = 16;
const PACKET: u64 = 17;
const VSOCK: u64 = 40;

fn socket_address(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let family = reader.u16();
    reader.put("sa_family", constants::one("address_family", family));
    match (family, bytes.len()) {
        (_, ..=2) => return reader.done(false),
        (UNIX, 3..) => reader.put("sun_path", path(&bytes[2..bytes.len().min(110)])),
        (INET, 16..) => inet(&mut reader),
        (INET6, 24..) => inet6(&mut reader, bytes.len()),
        (NETLINK, 12..) => {
            reader.skip(2);
            let pid = reader.i32();
            reader.put("nl_pid", Value::Signed(pid));
            let groups = reader.u32();
            reader.put("nl_groups", of(padded(groups, 6)));
        }
        (PACKET, 20..) => packet(&mut reader),
        (VSOCK, 16..) => {
            reader.skip(2);
            let port = reader.u32();
            let cid = reader.u32();
            let flags = reader.u8();
            let name = constants::name("vsock_cids", cid);
            reader.put("svm_cid", name.map_or(Value::Hex(cid), of));
            reader.put("svm_port", Value::Hex(port));
            reader.put("svm_flags", Value::Hex(flags));
        }
        _ => {
            let data = bytes[2..bytes.len().min(128)].to_vec();
            reader.put("sa_data", Value::Text { bytes: data, is_cut: false });
        }
    }
    reader.done(false)
}

/// A number in hexadecimal with leading zeros, as `%#0*x` of printf(3) does: zero has no prefix.
fn padded(number: u64, digits: usize) -> String {
    if number == 0 { "0".repeat(digits + 2) } else { format!("0x{number:0digits$x}") }
}

/// A path, or the name of an abstract socket: `@"name"`.
fn path(bytes: &[u8]) -> Value {
    match bytes.split_first() {
        Some((0, name)) => {
            let name = Value::Text { bytes: name.to_vec(), is_cut: false };
            of(format!("@{name}"))
        }
        _ => {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            Value::Text { bytes: bytes[..end].to_vec(), is_cut: false }
        }
    }
}

fn inet(reader: &mut Reader<'_>) {
    let port = reader.be16();
    reader.put("sin_port", of(format!("htons({port})")));
    let host = Ipv4Addr::from_bits(reader.be32() as u32);
    reader.put("sin_addr", of(format!("inet_addr(\"{host}\")")));
}

fn inet6(reader: &mut Reader<'_>, length: usize) {
    let port = reader.be16();
    reader.put("sin6_port", of(format!("htons({port})")));
    let flow = reader.be32();
    reader.put("sin6_flowinfo", of(format!("htonl({flow})")));
    let words = [reader.be32(), reader.be32(), reader.be32(), reader.be32()];
    let bits = words.iter().fold(0_u128, |bits, word| bits << 32 | u128::from(*word));
    let host = Ipv6Addr::from_bits(bits);
    reader.put("", of(format!("inet_pton(AF_INET6, \"{host}\", &sin6_addr)")));
    if length >= 28 {
        let scope = reader.u32();
        // The scope of a link-local address is an interface.
        let is_local = host.is_unicast_link_local() || bits >> 112 & 0xff0f == 0xff02;
        let scope = if is_local { interface(scope) } else { Value::Unsigned(scope) };
        reader.put("sin6_scope_id", scope);
    }
}

/// An interface. Only the name of `lo` is known: its index is 1 in every network namespace
/// (`LOOPBACK_IFINDEX`, include/net/flow.h).
fn interface(index: u64) -> Value {
    if index == 1 { of("if_nametoindex(\"lo\")") } else { Value::Unsigned(index) }
}

fn packet(reader: &mut Reader<'_>) {
    let protocol = reader.be16();
    let protocol = constants::one("ethernet_protocol", protocol);
    reader.put("sll_protocol", of(format!("htons({protocol})")));
    let index = reader.u32();
    reader.put("sll_ifindex", interface(index));
    let kind = reader.u16();
    reader.put("sll_hatype", constants::one("sock_hatype", kind));
    let kind = reader.u8();
    reader.put("sll_pkttype", constants::one("sock_pkttype", kind));
    let length = reader.u8();
    reader.put("sll_halen", Value::Unsigned(length));
    if length > 0 {
        let bytes = reader.rest(8);
        let shown = usize::try_from(length).unwrap_or(8).min(bytes.len());
        let items = bytes[..shown].iter().map(|byte| Value::Hex(u64::from(*byte)));
        let items = items.collect();
        reader.put("sll_addr", Value::Array { items, is_cut: length > 8 });
    }
}

fn credentials(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let pid = reader.i32();
    reader.put("pid", Value::Signed(pid));
    for name in ["uid", "gid"] {
        let id = reader.u32();
        reader.put(name, id_value(id));
    }
    reader.done(false)
}

/// A user or a group, where -1 stands for none.
fn id_value(id: u64) -> Value {
    if id == u64::from(u32::MAX) { Value::Signed(-1) } else { Value::Unsigned(id) }
}

fn linger(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["l_onoff", "l_linger"] {
        let number = reader.i32();
        reader.put(name, Value::Signed(number));
    }
    reader.done(false)
}

fn filter(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let length = reader.u16();
    reader.put("len", Value::Unsigned(length));
    let pointer = reader.word();
    reader.put("filter", address(pointer));
    reader.done(false)
}

/// An address of IPv4: `inet_addr("127.0.0.1")`.
fn host(reader: &mut Reader<'_>) -> Value {
    let host = Ipv4Addr::from_bits(reader.be32() as u32);
    of(format!("inet_addr(\"{host}\")"))
}

fn membership(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["imr_multiaddr", "imr_interface"] {
        let host = host(&mut reader);
        reader.put(name, host);
    }
    reader.done(false)
}

fn membership6(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let words = [reader.be32(), reader.be32(), reader.be32(), reader.be32()];
    let bits = words.iter().fold(0_u128, |bits, word| bits << 32 | u128::from(*word));
    let host = Ipv6Addr::from_bits(bits);
    reader.put("", of(format!("inet_pton(AF_INET6, \"{host}\", &ipv6mr_multiaddr)")));
    let index = reader.u32();
    reader.put("ipv6mr_interface", interface(index));
    reader.done(false)
}

fn group_request(bytes: &[u8], abi: Abi, style: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let index = reader.u32();
    reader.put("gr_interface", interface(index));
    let at = if abi == Abi::I386 { 4 } else { 8 };
    let address = bytes.get(at..).unwrap_or_default();
    reader.put("gr_group", socket_address(&address[..address.len().min(128)], abi, style));
    reader.done(false)
}

fn packet_membership(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    // linux/if_packet.h
    const KINDS: [&str; 4] =
        ["PACKET_MR_MULTICAST", "PACKET_MR_PROMISC", "PACKET_MR_ALLMULTI", "PACKET_MR_UNICAST"];
    let mut reader = Reader::new(bytes, abi);
    let index = reader.u32();
    reader.put("mr_ifindex", interface(index));
    let kind = reader.u16();
    let name = usize::try_from(kind).ok().and_then(|kind| KINDS.get(kind));
    let name = name.map(|name| (*name).into());
    reader.put("mr_type", Value::Name { name, number: kind, prefix: "PACKET_MR_" });
    let length = reader.u16();
    reader.put("mr_alen", Value::Unsigned(length));
    let shown = usize::try_from(length).unwrap_or(8).min(8);
    let bytes: Vec<_> = reader.rest(shown).iter().map(|byte| format!("{byte:02x}")).collect();
    reader.put("mr_address", of(bytes.join(":")));
    reader.done(false)
}

fn packet_info(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let index = reader.u32();
    reader.put("ipi_ifindex", interface(index));
    for name in ["ipi_spec_dst", "ipi_addr"] {
        let host = host(&mut reader);
        reader.put(name, host);
    }
    reader.done(false)
}

fn extended_error(bytes: &[u8], abi: Abi, style: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let errno = reader.u32();
    reader.put("ee_errno", Value::Unsigned(errno));
    for name in ["ee_origin", "ee_type", "ee_code"] {
        let number = reader.u8();
        reader.put(name, Value::Unsigned(number));
    }
    reader.skip(1);
    for name in ["ee_info", "ee_data"] {
        let number = reader.u32();
        reader.put(name, Value::Unsigned(number));
    }
    let offender = reader.rest(16);
    reader.put("offender", socket_address(offender, abi, style));
    reader.done(false)
}

fn ring_request(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["tp_block_size", "tp_block_nr", "tp_frame_size", "tp_frame_nr"] {
        let number = reader.u32();
        reader.put(name, Value::Unsigned(number));
    }
    reader.done(false)
}
