//! The listening sockets of the daemon: TCP or Unix, its own or passed by systemd.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener as StdTcpListener},
    os::fd::{BorrowedFd, FromRawFd as _, OwnedFd, RawFd},
    pin::Pin,
    task::{Context, Poll},
};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
};

use super::{connections, hosts::Local, places::Peer, socket_file::SocketFile};
use crate::address::Listen;

/// First descriptor that systemd passes (sd_listen_fds(3)).
const FIRST_INHERITED: RawFd = 3;

/// Listening sockets.
#[derive(Debug)]
pub struct Sockets(Vec<Socket>);

impl From<StdTcpListener> for Sockets {
    fn from(listener: StdTcpListener) -> Self {
        Self(vec![listener.into()])
    }
}

impl Sockets {
    /// Listens on `listen`. The file of a Unix socket belongs to `owner`, a user and a group.
    pub(super) fn open(
        listen: &Listen,
        owner: (u32, u32),
    ) -> io::Result<(Self, Option<SocketFile>)> {
        match listen {
            Listen::Tcp(address) => Ok((connections::listen(*address)?.into(), None)),
            Listen::Unix(path) => {
                let (socket, file) = SocketFile::bind(path, owner)?;
                connections::set_up(&socket)?;
                Ok((Self(vec![socket]), Some(file)))
            }
        }
    }

    /// The sockets that systemd passes to this process, if it passes any.
    ///
    /// # Errors
    /// If a descriptor is not a listening stream socket.
    pub fn inherited() -> io::Result<Option<Self>> {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        let is_ours = number("LISTEN_PID") == Some(std::process::id());
        let Some(count @ 1..) = number("LISTEN_FDS").filter(|_| is_ours) else { return Ok(None) };
        (FIRST_INHERITED..first_after(count))
            .map(adopt)
            .collect::<io::Result<_>>()
            .map(Self)
            .map(Some)
    }

    /// The addresses of TCP.
    pub fn tcp_addresses(&self) -> Vec<SocketAddr> {
        self.0.iter().filter_map(|socket| socket.local_addr().ok()?.as_socket()).collect()
    }

    /// Where the sockets listen.
    pub fn addresses(&self) -> Vec<Listen> {
        let address = |socket: &Socket| {
            let address = socket.local_addr().ok()?;
            let path = || address.as_pathname().map(|path| Listen::Unix(path.to_owned()));
            address.as_socket().map(Listen::Tcp).or_else(path)
        };
        self.0.iter().filter_map(address).collect()
    }

    /// Registers the sockets with the event loop of the calling thread.
    pub(super) fn register(self) -> io::Result<Listeners> {
        self.0.into_iter().map(Listener::register).collect::<io::Result<_>>().map(Listeners)
    }
}

/// The number after the last of `count` descriptors. [`adopt`] refuses invalid numbers.
fn first_after(count: u32) -> RawFd {
    RawFd::try_from(count).map_or(RawFd::MAX, |count| FIRST_INHERITED.saturating_add(count))
}

/// Takes over a descriptor that systemd passed.
fn adopt(fd: RawFd) -> io::Result<Socket> {
    let invalid = || {
        let what = format!(
            "descriptor {fd} of LISTEN_FDS is not a TCP or Unix stream socket that listens"
        );
        io::Error::new(io::ErrorKind::InvalidInput, what)
    };
    // Before it is ours: with a wrong LISTEN_FDS, the descriptor is that of something else.
    // SAFETY: a number that is no descriptor makes the calls fail with EBADF.
    let borrowed = unsafe { libc::fcntl(fd, libc::F_GETFD) != -1 }
        // SAFETY: it is open, and nothing closes it before the end of this function.
        .then(|| unsafe { BorrowedFd::borrow_raw(fd) })
        .ok_or_else(invalid)?;
    let socket = SockRef::from(&borrowed);
    if !is_usable(&socket).unwrap_or(false) {
        return Err(invalid());
    }
    fcntl(borrowed, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).map_err(io::Error::from)?;
    // SAFETY: a socket that listens, which this process did not make: it has one thread, and no
    // other socket yet. systemd passed it, and it is taken over once.
    let socket = Socket::from(unsafe { OwnedFd::from_raw_fd(fd) });
    connections::set_up(&socket)?;
    Ok(socket)
}

/// Whether a socket listens for TCP or Unix connections. Other stream sockets can listen too, for
/// example AF_VSOCK or SCTP.
fn is_usable(socket: &Socket) -> io::Result<bool> {
    let is_known = match socket.domain()? {
        Domain::IPV4 | Domain::IPV6 => socket.protocol()? == Some(Protocol::TCP),
        domain => domain == Domain::UNIX,
    };
    Ok(is_known && socket.r#type()? == Type::STREAM && socket.is_listener()?)
}

/// A registered listening socket.
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Listener {
    fn register(socket: Socket) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let is_tcp = socket.local_addr()?.as_socket().is_some();
        Ok(if is_tcp {
            Self::Tcp(TcpListener::from_std(socket.into())?)
        } else {
            Self::Unix(UnixListener::from_std(OwnedFd::from(socket).into())?)
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(ClientSocket, Peer)>> {
        match self {
            Self::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, from)| {
                let peer = Peer::of(from.ip());
                (ClientSocket::Tcp(stream), peer)
            }),
            Self::Unix(listener) => listener.poll_accept(cx).map_ok(|(stream, _)| {
                let peer = stream.peer_cred().map_or(Peer::UNKNOWN, |cred| Peer::user(cred.uid()));
                (ClientSocket::Unix(stream), peer)
            }),
        }
    }
}

/// Registered sockets.
pub struct Listeners(Vec<Listener>);

impl From<TcpListener> for Listeners {
    fn from(listener: TcpListener) -> Self {
        Self(vec![Listener::Tcp(listener)])
    }
}

impl Listeners {
    /// Accepts a connection of any socket.
    pub(super) fn poll_accept(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<(ClientSocket, Peer)>> {
        for at in 0..self.0.len() {
            if let Poll::Ready(accepted) = self.0[at].poll_accept(cx) {
                // The other sockets come first the next time.
                self.0.rotate_left(at + 1);
                return Poll::Ready(accepted);
            }
        }
        Poll::Pending
    }
}

/// A connection.
pub(super) enum ClientSocket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a Unix socket.
    Unix(UnixStream),
}

impl ClientSocket {
    /// The socket.
    pub(super) fn as_ref(&self) -> SockRef<'_> {
        match self {
            Self::Tcp(stream) => SockRef::from(stream),
            Self::Unix(stream) => SockRef::from(stream),
        }
    }

    /// Whether the kernel keeps what a client has not read after the socket is closed.
    pub(super) fn lingers(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }

    /// The local address. No page in a browser can reach a Unix socket, so the check of host names
    /// treats it like an address other than loopback.
    pub(super) fn local(&self) -> Option<Local> {
        match self {
            Self::Tcp(stream) => stream.local_addr().ok().map(|address| Local(address.ip())),
            Self::Unix(_) => Some(Local(IpAddr::V4(Ipv4Addr::UNSPECIFIED))),
        }
    }
}

/// Calls a method of the stream, TCP or Unix.
macro_rules! delegate {
    ($self:ident, $method:ident, $($argument:expr),*) => {
        match $self.get_mut() {
            Self::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            Self::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        delegate!(self, poll_read, cx, buffer)
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write, cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        delegate!(self, poll_write_vectored, cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(self, poll_shutdown, cx)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs::File, net::UdpSocket, os::fd::IntoRawFd as _, os::unix::net::UnixStream};

    use super::*;

    #[test]
    fn only_sockets_that_accept_connections_of_tcp_or_unix_are_taken_over() {
        let unbound = |domain, kind, protocol| Socket::new(domain, kind, protocol).ok();
        let udp = UdpSocket::bind("127.0.0.1:0").expect("a port");
        let (stream, _other) = UnixStream::pair().expect("sockets");
        let packets = unbound(Domain::UNIX, Type::SEQPACKET, None).expect("a socket");
        packets.listen(1).expect_err("it has no address");
        let refused = [
            Some(File::open("/dev/null").expect("a device").into_raw_fd()),
            Some(udp.into_raw_fd()),
            Some(stream.into_raw_fd()),
            Some(packets.into_raw_fd()),
            unbound(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).map(Socket::into_raw_fd),
            // Not every kernel has AF_VSOCK.
            vsock().map(Socket::into_raw_fd),
        ];
        for fd in refused.into_iter().flatten() {
            let error = adopt(fd).expect_err("it is refused");
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{error}");
            // SAFETY: `adopt` did not take it over, and nothing else has it.
            drop(unsafe { OwnedFd::from_raw_fd(fd) });
        }
        assert!(adopt(-1).is_err() && adopt(RawFd::MAX).is_err());
        let tcp = StdTcpListener::bind("127.0.0.1:0").expect("a port");
        assert!(adopt(tcp.into_raw_fd()).is_ok());
    }

    /// A socket of AF_VSOCK that listens.
    fn vsock() -> Option<Socket> {
        let socket = Socket::new(Domain::VSOCK, Type::STREAM, None).ok()?;
        let address = socket2::SockAddr::vsock(libc::VMADDR_CID_ANY, libc::VMADDR_PORT_ANY);
        socket.bind(&address).ok()?;
        socket.listen(1).ok()?;
        Some(socket)
    }

    /// A count that is too large must not become an empty range, or the daemon serves nowhere.
    #[test]
    fn an_impossible_count_is_no_empty_range() {
        assert_eq!(first_after(1), 4);
        for count in [i32::MAX as u32 - 3, i32::MAX as u32, u32::MAX] {
            assert_eq!(first_after(count), RawFd::MAX, "{count}");
        }
    }
}
