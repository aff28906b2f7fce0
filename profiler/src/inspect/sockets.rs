//! Finds what sockets of a process are, and the sockets at their other ends.

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    net::SocketAddr,
    os::fd::AsFd as _,
    path::Path,
    time::Duration,
};

use netlink_packet_core::{NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    unix::{ShowFlags, StateFlags, UnixRequest, nlas::Nla},
};
use nix::sched::{CloneFlags, setns};
use socket2::{Domain, Protocol, Socket, Type};

use super::{
    bounded,
    net::{InetSocket, LISTEN, UnixSocket},
};

/// Bytes that are read of a list of sockets. A socket has about 150.
const MOST_BYTES: u64 = 32 << 20;

/// How long the kernel may take to answer.
const ANSWER: Duration = Duration::from_millis(500);

/// What a socket is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Described {
    /// As `profiler trace` prints it, such as `TCP:[127.0.0.1:1->127.0.0.1:2]`.
    pub(super) name: String,
    /// Its state.
    pub(super) detail: String,
    /// The other end.
    pub(super) other: OtherEnd,
}

/// The other end of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OtherEnd {
    /// The socket with this inode.
    Inode(u64),
    /// There is none, or it cannot be found, for this reason.
    None(&'static str),
}

/// Describes the sockets with these inodes, in the network namespace of a process. Sockets of other
/// families are missing.
pub(super) fn describe(process: &Path, wanted: &HashSet<u64>) -> HashMap<u64, Described> {
    let mut found = HashMap::new();
    for (name, protocol) in [("tcp", "TCP"), ("tcp6", "TCP"), ("udp", "UDP"), ("udp6", "UDP")] {
        if found.len() == wanted.len() {
            return found;
        }
        let mut own = Vec::new();
        let list = process.join("net").join(name);
        each_line(&list, |line| {
            let socket = inet(line);
            own.extend(socket.filter(|socket| wanted.contains(&socket.inode)));
        });
        // The other end has the same addresses, swapped.
        let ends: HashSet<(SocketAddr, SocketAddr)> =
            own.iter().map(|socket| (socket.remote, socket.local)).collect();
        let mut others = HashMap::new();
        if own.iter().any(has_peer) {
            for list in
                [name.trim_end_matches('6').to_owned(), format!("{}6", name.trim_end_matches('6'))]
            {
                each_line(&process.join("net").join(list), |line| {
                    if let Some(socket) = inet(line)
                        && socket.inode != 0
                        && ends.contains(&(socket.local, socket.remote))
                    {
                        others.insert((socket.local, socket.remote), socket.inode);
                    }
                });
            }
        }
        for socket in own {
            let other = others.get(&(socket.remote, socket.local)).copied();
            found.insert(socket.inode, of_inet(&socket, protocol, other));
        }
    }
    let mut unix = Vec::new();
    if found.len() < wanted.len() {
        each_line(&process.join("net/unix"), |line| {
            unix.extend(UnixSocket::parse(line).filter(|socket| wanted.contains(&socket.inode)));
        });
    }
    if !unix.is_empty() {
        let peers = unix_peers(process, &unix).unwrap_or_default();
        for socket in unix {
            let peer = peers.get(&socket.inode).copied();
            found.insert(socket.inode, of_unix(&socket, peer));
        }
    }
    found
}

fn inet(line: &[u8]) -> Option<InetSocket> {
    InetSocket::parse(str::from_utf8(line).ok()?)
}

fn has_peer(socket: &InetSocket) -> bool {
    socket.remote.port() != 0 && socket.state != LISTEN
}

fn of_inet(socket: &InetSocket, protocol: &str, other: Option<u64>) -> Described {
    let InetSocket { local, remote, send_queue, receive_queue, .. } = socket;
    let mut detail = match protocol {
        "TCP" => socket.tcp_state().to_owned(),
        _ => String::new(),
    };
    let has_peer = has_peer(socket);
    if has_peer && *send_queue > 0 {
        detail += &format!(", {send_queue} bytes sent and not acknowledged");
    }
    if has_peer && *receive_queue > 0 {
        detail += &format!(", {receive_queue} bytes received and not read");
    }
    let (name, other) = match (has_peer, other) {
        (true, Some(inode)) => (format!("{protocol}:[{local}->{remote}]"), OtherEnd::Inode(inode)),
        (true, None) => (
            format!("{protocol}:[{local}->{remote}]"),
            OtherEnd::None("on another host, in another network namespace, or closed"),
        ),
        (false, _) => (format!("{protocol}:[{local}]"), OtherEnd::None("")),
    };
    Described { name, detail: detail.trim_start_matches(", ").to_owned(), other }
}

fn of_unix(socket: &UnixSocket, peer: Option<u64>) -> Described {
    let UnixSocket { inode, listens, is_connected, path, .. } = socket;
    let kind = socket.kind_name();
    let mut details: Vec<String> = Vec::new();
    if *listens {
        details.push("listening".into());
    }
    if !path.raw().is_empty() {
        details.push(format!("bound to {}", path.raw()));
    }
    let (name, other) = match peer {
        Some(peer) => (format!("{kind}:[{inode}->{peer}]"), OtherEnd::Inode(peer)),
        None if *listens => (format!("{kind}:[{inode}]"), OtherEnd::None("")),
        None if *is_connected => (format!("{kind}:[{inode}]"), OtherEnd::None(UNKNOWN)),
        None => (format!("{kind}:[{inode}]"), OtherEnd::None("not connected, or closed")),
    };
    Described { name, detail: details.join(", "), other }
}

/// Why the peer of a connected Unix socket is not known.
const UNKNOWN: &str = "not known: the kernel did not say, or it requires CAP_SYS_ADMIN to ask in another \
                       network namespace";

/// Calls `with` for each line of a file.
fn each_line(path: &Path, mut with: impl FnMut(&[u8])) {
    let Ok(file) = File::open(path) else { return };
    let mut reader = BufReader::with_capacity(1 << 16, file.take(MOST_BYTES));
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        with(&line);
        line.clear();
    }
}

/// The inodes of the peers of Unix sockets, by the inodes of the sockets. For this, the calling thread
/// enters the network namespace of the process for a moment.
fn unix_peers(process: &Path, sockets: &[UnixSocket]) -> io::Result<HashMap<u64, u64>> {
    let open = || {
        let protocol = Protocol::from(libc::NETLINK_SOCK_DIAG);
        Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM.cloexec(), Some(protocol))
    };
    let (own, namespace) = (Path::new("/proc/thread-self/ns/net"), process.join("ns/net"));
    let mut socket = if std::fs::read_link(&namespace)? == std::fs::read_link(own)? {
        open()?
    } else {
        let own = File::open(own)?;
        setns(File::open(&namespace)?.as_fd(), CloneFlags::CLONE_NEWNET)?;
        let socket = open();
        // A socket stays in the namespace in which it was made.
        setns(own.as_fd(), CloneFlags::CLONE_NEWNET)?;
        socket?
    };
    socket.set_read_timeout(Some(ANSWER))?;
    let mut peers = HashMap::new();
    for of in sockets.iter().filter(|of| !of.listens) {
        let Ok(inode) = u32::try_from(of.inode) else { continue };
        if let Ok(Some(peer)) = unix_peer(&mut socket, inode) {
            peers.insert(of.inode, peer.into());
        }
    }
    Ok(peers)
}

/// Asks the kernel for the peer of a Unix socket (sock_diag(7)).
fn unix_peer(socket: &mut Socket, inode: u32) -> io::Result<Option<u32>> {
    let request = UnixRequest {
        state_flags: StateFlags::all(),
        inode,
        show_flags: ShowFlags::PEER,
        // Any socket with this inode.
        cookie: [0xff; 8],
    };
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST;
    let mut message = NetlinkMessage::new(header, SockDiagMessage::UnixRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.write_all(&bytes)?;
    let mut answer = vec![0; 8192];
    let length = socket.read(&mut answer)?;
    let answer = NetlinkMessage::<SockDiagMessage>::deserialize(&answer[..length])
        .map_err(io::Error::other)?;
    Ok(match answer.payload {
        NetlinkPayload::InnerMessage(SockDiagMessage::UnixResponse(response)) => {
            response.nlas.iter().find_map(|nla| match nla {
                Nla::Peer(peer) if *peer != 0 => Some(*peer),
                _ => None,
            })
        }
        NetlinkPayload::Error(error) => return Err(error.to_io()),
        _ => None,
    })
}

/// The longest that [`describe`] may take.
pub(super) const LIMIT: Duration = bounded::LIMIT;

#[cfg(test)]
mod tests {
    use std::{
        net::{TcpListener, TcpStream},
        os::{
            fd::AsRawFd,
            unix::net::{UnixListener, UnixStream},
        },
    };

    use super::*;

    fn inode(socket: &impl AsRawFd) -> u64 {
        let link = std::fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd()));
        let link = link.expect("a link").into_os_string().into_string().expect("text");
        let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inode.expect("a socket").parse().expect("a number")
    }

    fn one(socket: &impl AsRawFd) -> Described {
        let inode = inode(socket);
        let mut all = describe("/proc/self".as_ref(), &[inode].into());
        all.remove(&inode).expect("a description")
    }

    #[test]
    fn the_other_end_of_a_connection_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("it listens");
        let (server, from) = listener.accept().expect("a connection");
        let described = one(&client);
        assert_eq!(described.name, format!("TCP:[{from}->{address}]"));
        assert_eq!(described.other, OtherEnd::Inode(inode(&server)));
        assert_eq!(described.detail, "established");
        let described = one(&listener);
        assert_eq!(described.name, format!("TCP:[{address}]"));
        assert_eq!((described.detail.as_str(), described.other), ("listening", OtherEnd::None("")));
    }

    #[test]
    fn the_other_end_of_a_unix_socket_is_found() {
        let (one_end, other_end) = UnixStream::pair().expect("a pair");
        let described = one(&one_end);
        assert_eq!(described.other, OtherEnd::Inode(inode(&other_end)));
        let (own, other) = (inode(&one_end), inode(&other_end));
        assert_eq!(described.name, format!("UNIX-STREAM:[{own}->{other}]"));
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("a socket");
        let listener = UnixListener::bind(&path).expect("a path");
        let described = one(&listener);
        assert_eq!(described.detail, format!("listening, bound to {}", crate::text::path(&path)));
        assert!(describe("/proc/self".as_ref(), &[u64::MAX].into()).is_empty());
    }
}
