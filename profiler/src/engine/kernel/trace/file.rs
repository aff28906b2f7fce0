//! Names open files from what the kernel side copied, as strace does: a path, or the kind of the
//! file and its inode, or the addresses of a socket.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use profiler_common::trace::{OpenFile, OpenSocket};

/// Types of file systems (include/uapi/linux/magic.h).
const PIPEFS: u32 = 0x5049_5045;
const SOCKFS: u32 = 0x534f_434b;
const ANON_INODE_FS: u32 = 0x0904_1934;
const PIDFS: u32 = 0x5049_4446;
const NSFS: u32 = 0x6e73_6673;

/// Types of files (include/uapi/linux/stat.h).
const S_IFMT: u16 = 0o170_000;
const S_IFSOCK: u16 = 0o140_000;

/// Address families (include/linux/socket.h).
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The name of an open file. `bytes` has an [`OpenFile`] and what follows it; they are untrusted. The
/// name is empty if the file cannot be named.
pub(super) fn name(bytes: &[u8]) -> Vec<u8> {
    parse(bytes).unwrap_or_default()
}

/// The name of an open file of which only the beginning of the bytes is there: as much of the end of
/// its path as is known.
pub(super) fn cut_name(bytes: &[u8]) -> Vec<u8> {
    let names = bytes.get(size_of::<OpenFile>()..).unwrap_or_default();
    let Some(end) = names.iter().rposition(|&byte| byte == 0) else { return Vec::new() };
    let mut bytes = bytes[..=size_of::<OpenFile>() + end].to_vec();
    let flags = std::mem::offset_of!(OpenFile, flags);
    let Some(place) = bytes.get_mut(flags..flags + 2) else { return Vec::new() };
    let cut = u16::from_ne_bytes([place[0], place[1]]) | OpenFile::CUT;
    place.copy_from_slice(&cut.to_ne_bytes());
    name(&bytes)
}

fn parse(bytes: &[u8]) -> Option<Vec<u8>> {
    let (magic, rest) = bytes.split_first_chunk()?;
    let (mode, rest) = rest.split_first_chunk()?;
    let (flags, rest) = rest.split_first_chunk()?;
    let (inode, rest) = rest.split_first_chunk()?;
    let file = OpenFile {
        magic: u32::from_ne_bytes(*magic),
        mode: u16::from_ne_bytes(*mode),
        flags: u16::from_ne_bytes(*flags),
        inode: u64::from_ne_bytes(*inode),
    };
    Some(match file.magic {
        PIPEFS => format!("pipe:[{}]", file.inode).into_bytes(),
        SOCKFS if file.mode & S_IFMT == S_IFSOCK => socket(file.inode, rest).into_bytes(),
        ANON_INODE_FS => [b"anon_inode:", names(rest).next().unwrap_or_default()].concat(),
        PIDFS => b"anon_inode:[pidfd]".to_vec(),
        // The name has the kind of the namespace, which is not known.
        NSFS => Vec::new(),
        _ => path(file.flags, rest),
    })
}

/// The names of a path, beginning with the last one.
fn names(bytes: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    let is_empty = bytes.is_empty();
    bytes.split(|&byte| byte == 0).filter(move |_| !is_empty)
}

/// The path of the file with these names. `...` stands for a beginning that is not known.
fn path(flags: u16, bytes: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(bytes.len() + 10);
    if flags & OpenFile::CUT != 0 {
        path.extend(b"...");
    }
    for name in names(bytes).rev() {
        path.push(b'/');
        path.extend(name);
    }
    if path.is_empty() {
        path.push(b'/');
    }
    if flags & (OpenFile::DELETED | OpenFile::WITHOUT_DIRECTORY) != 0 {
        path.extend(b" (deleted)");
    }
    path
}

/// The name of a socket: its protocol, and its addresses or its inode.
fn socket(inode: u64, bytes: &[u8]) -> String {
    let Some(socket) = parse_socket(bytes) else { return format!("socket:[{inode}]") };
    let end = socket.protocol.iter().position(|&byte| byte == 0);
    let protocol = &socket.protocol[..end.unwrap_or(socket.protocol.len())];
    let is_plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_/".contains(byte);
    let protocol = match str::from_utf8(protocol) {
        Ok(protocol) if !protocol.is_empty() && protocol.bytes().all(|byte| is_plain(&byte)) => {
            protocol
        }
        _ => return format!("socket:[{inode}]"),
    };
    match (socket.family, addresses(&socket)) {
        (_, Some((local, Some(remote)))) => format!("{protocol}:[{local}->{remote}]"),
        (_, Some((local, None))) => format!("{protocol}:[{local}]"),
        (AF_UNIX, _) if socket.peer != 0 => format!("{protocol}:[{inode}->{}]", socket.peer),
        _ => format!("{protocol}:[{inode}]"),
    }
}

/// The local address of an IP socket, and that of its peer if it has one. `None` if the socket has no
/// port, or no longer.
fn addresses(socket: &OpenSocket) -> Option<(SocketAddr, Option<SocketAddr>)> {
    let address = |bytes: [u8; 16], port: u16| {
        let ip = match socket.family {
            AF_INET => IpAddr::V4(Ipv4Addr::from(*bytes.first_chunk::<4>()?)),
            AF_INET6 => IpAddr::V6(Ipv6Addr::from(bytes)),
            _ => return None,
        };
        Some(SocketAddr::new(ip, port))
    };
    let local = address(socket.local, socket.local_port)?;
    let remote = address(socket.remote, u16::from_be(socket.remote_port))?;
    let is_set = |address: &SocketAddr| address.port() != 0 || !address.ip().is_unspecified();
    (local.port() != 0).then(|| (local, is_set(&remote).then_some(remote)))
}

fn parse_socket(bytes: &[u8]) -> Option<OpenSocket> {
    let (protocol, rest) = bytes.split_first_chunk()?;
    let (local, rest) = rest.split_first_chunk()?;
    let (remote, rest) = rest.split_first_chunk()?;
    let (local_port, rest) = rest.split_first_chunk()?;
    let (remote_port, rest) = rest.split_first_chunk()?;
    let (family, rest) = rest.split_first_chunk()?;
    let (reserved, rest) = rest.split_first_chunk()?;
    let (peer, _) = rest.split_first_chunk()?;
    Some(OpenSocket {
        protocol: *protocol,
        local: *local,
        remote: *remote,
        local_port: u16::from_ne_bytes(*local_port),
        remote_port: u16::from_ne_bytes(*remote_port),
        family: u16::from_ne_bytes(*family),
        reserved: u16::from_ne_bytes(*reserved),
        peer: u64::from_ne_bytes(*peer),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn described(magic: u32, mode: u16, flags: u16, rest: &[u8]) -> Vec<u8> {
        let mut bytes = magic.to_ne_bytes().to_vec();
        bytes.extend(mode.to_ne_bytes());
        bytes.extend(flags.to_ne_bytes());
        bytes.extend(77_u64.to_ne_bytes());
        bytes.extend(rest);
        bytes
    }

    fn text(magic: u32, flags: u16, rest: &[u8]) -> String {
        String::from_utf8(name(&described(magic, 0o100_644, flags, rest))).expect("ASCII")
    }

    const EXT4: u32 = 0xef53;

    #[test]
    fn a_path_begins_at_the_root() {
        assert_eq!(text(EXT4, 0, b"passwd\0etc\0"), "/etc/passwd");
        assert_eq!(text(EXT4, 0, b""), "/");
        assert_eq!(text(EXT4, OpenFile::DELETED, b"a b\0tmp\0"), "/tmp/a b (deleted)");
        assert_eq!(text(EXT4, OpenFile::CUT, b"c\0b\0"), ".../b/c");
        let without = OpenFile::WITHOUT_DIRECTORY | OpenFile::DELETED;
        assert_eq!(text(0x0102_1994, without, b"memfd:x\0"), "/memfd:x (deleted)");
    }

    #[test]
    fn files_without_a_path_have_their_kind() {
        assert_eq!(text(PIPEFS, OpenFile::WITHOUT_DIRECTORY, b"\0"), "pipe:[77]");
        assert_eq!(text(ANON_INODE_FS, 2, b"[eventfd]\0"), "anon_inode:[eventfd]");
        assert_eq!(text(ANON_INODE_FS, 2, b""), "anon_inode:");
        assert_eq!(text(NSFS, 2, b"\0"), "");
    }

    struct Socket {
        protocol: &'static str,
        family: u16,
        local: ([u8; 16], u16),
        remote: ([u8; 16], u16),
        peer: u64,
    }

    fn socket_text(socket: &Socket) -> String {
        let mut rest = socket.protocol.as_bytes().to_vec();
        rest.resize(32, 0);
        rest.extend(socket.local.0);
        rest.extend(socket.remote.0);
        rest.extend(socket.local.1.to_ne_bytes());
        rest.extend(socket.remote.1.to_be_bytes());
        rest.extend(socket.family.to_ne_bytes());
        rest.extend([0; 2]);
        rest.extend(socket.peer.to_ne_bytes());
        assert_eq!(rest.len(), size_of::<OpenSocket>());
        String::from_utf8(name(&described(SOCKFS, S_IFSOCK, 0, &rest))).expect("ASCII")
    }

    #[test]
    fn sockets_have_their_addresses_or_their_inode() {
        let v4 = [127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let v6 = Ipv6Addr::LOCALHOST.octets();
        let none = ([0; 16], 0);
        let tcp = |local, remote| {
            socket_text(&Socket { protocol: "TCP", family: AF_INET, local, remote, peer: 0 })
        };
        assert_eq!(tcp((v4, 1234), (v4, 80)), "TCP:[127.0.0.1:1234->127.0.0.1:80]");
        assert_eq!(tcp((v4, 80), none), "TCP:[127.0.0.1:80]");
        assert_eq!(tcp(([0; 16], 80), none), "TCP:[0.0.0.0:80]");
        assert_eq!(tcp(none, none), "TCP:[77]");
        assert_eq!(tcp((v4, 0), (v4, 80)), "TCP:[77]");
        let (local, remote) = ((v6, 1), (v6, 2));
        let udp = Socket { protocol: "UDPv6", family: AF_INET6, local, remote, peer: 0 };
        assert_eq!(socket_text(&udp), "UDPv6:[[::1]:1->[::1]:2]");
        let unix = |peer| {
            let protocol = "UNIX-STREAM";
            socket_text(&Socket { protocol, family: AF_UNIX, local: none, remote: none, peer })
        };
        assert_eq!(unix(0), "UNIX-STREAM:[77]");
        assert_eq!(unix(78), "UNIX-STREAM:[77->78]");
    }

    #[test]
    fn bytes_that_end_anywhere_are_no_panic() {
        let socket = described(SOCKFS, S_IFSOCK, 0, &[b'a'; size_of::<OpenSocket>()]);
        for end in 0..=socket.len() {
            let name = name(&socket[..end]);
            assert!(end < 16 || name.starts_with(b"socket:[77]") || end == socket.len(), "{end}");
        }
        assert!(name(&described(EXT4, 0, 0xffff, &[0; 9])).starts_with(b"..."));
    }
}
