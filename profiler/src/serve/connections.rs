//! Accepts connections, and limits the places, time and memory that clients can use.

use std::{
    convert::Infallible,
    future::poll_fn,
    io,
    mem::MaybeUninit,
    net::{SocketAddr, TcpListener as StdTcpListener},
    os::fd::AsRawFd as _,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum::{Router, body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{AbortHandle, Id, JoinSet, yield_now},
    time::{Instant, sleep, timeout},
};

use super::{
    hosts::Local,
    places::{Client, Peer, Places, Progress},
    sockets::{ClientSocket, Listeners},
    stream::{ClientStream, micros_since, refuse},
    transport::Transport,
};

/// Maximum number of connections at one time, if there are enough descriptors. A further connection
/// replaces another one: see [`Places::evict`].
const MAX_CONNECTIONS: usize = 1024;
/// Minimum of this limit, whatever the number of descriptors.
const MIN_CONNECTIONS: usize = 8;
/// Descriptors kept free for other purposes: files of `/proc`, the configuration.
const SPARE_DESCRIPTORS: usize = 16;
/// Timeout for the whole header of a request.
pub(super) const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Timeout for a whole connection.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Maximum size of a request's header in bytes. Hyper accepts no lower limit.
pub(super) const MAX_HEADER_BYTES: usize = 8192;
/// Maximum number of fields in a request's header.
const MAX_HEADER_FIELDS: usize = 64;
/// Length of the kernel's queue of connections, which `net.core.somaxconn` limits.
const BACKLOG: i32 = 4096;
/// Size of the kernel's buffers for the unread part of an answer and of a request, bytes. The
/// kernel doubles both (`sk_setsockopt`, net/core/sock.c).
pub(super) const SEND_BUFFER: usize = 32 << 10;
const RECEIVE_BUFFER: usize = 8 << 10;
/// Maximum size of a segment in bytes. A client acknowledges every second full segment at once, and
/// others after 40 ms (`__tcp_ack_snd_check`, net/ipv4/tcp_input.c). On the loopback interface, a
/// segment can be as large as the send buffer, so that the daemon waits for the client.
const SEGMENT: u32 = 8 << 10;
/// Number of connections that are accepted or end before the connections' tasks run again.
const EVENTS_PER_TURN: usize = 64;
/// Of these, the number of admitted connections whose request is incomplete. Others are reset,
/// which is cheap: if the kernel's queue were full, a client would try again only after a second.
const INCOMPLETE_PER_TURN: usize = 16;
/// Pause when there is no descriptor for a new connection: closing others takes a turn
/// of the event loop, and without a pause we would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Listens on the address.
///
/// # Errors
/// The kernel's error if the socket cannot be made, bound or set up.
pub fn listen(address: SocketAddr) -> io::Result<StdTcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // As in the standard library: a port is free again as soon as its process has ended.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    set_up(&socket)?;
    Ok(socket.into())
}

/// Sets the options of a socket that is bound, and listens.
pub(super) fn set_up(socket: &Socket) -> io::Result<()> {
    // TCP connections inherit all of these.
    socket.set_send_buffer_size(SEND_BUFFER)?;
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    if socket.local_addr()?.as_socket().is_some() {
        // This also bounds an answer that is not acknowledged after the descriptor is closed.
        socket.set_tcp_user_timeout(Some(CONNECTION_TIMEOUT))?;
        socket.set_tcp_mss(SEGMENT)?;
        defer_accept(socket)?;
    }
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)
}

/// Makes the kernel deliver connections when their request begins to arrive, or after a second
/// (tcp(7), `TCP_DEFER_ACCEPT`). So a client that is preempted between connecting and sending does
/// not count as incomplete.
fn defer_accept(socket: &Socket) -> io::Result<()> {
    let seconds: libc::c_int = 1;
    // SAFETY: the kernel reads `size_of::<c_int>()` bytes of a live `c_int`.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_DEFER_ACCEPT,
            (&raw const seconds).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Answers by `router`, over `transport`, for as long as it is polled.
pub async fn serve<T: Transport>(
    listeners: impl Into<Listeners>,
    transport: T,
    router: Router,
) -> Infallible {
    let mut listeners = listeners.into();
    let limit = limit_by_descriptors();
    let mut server = Server {
        places: Places::new(limit),
        tasks: JoinSet::new(),
        transport,
        router,
        epoch: Instant::now(),
        events: 0,
        incomplete: 0,
    };
    loop {
        match server.next_event(&mut listeners).await {
            Happened::Ended(id) => drop(server.places.leave(id)),
            Happened::Accepted(Ok((socket, peer))) => server.admit(socket, peer),
            Happened::Accepted(Err(error)) if is_of_one_connection(&error) => {
                tracing::debug!("a connection ended before it was accepted: {error}");
            }
            Happened::Accepted(Err(error)) => {
                server.evict();
                tracing::warn!("cannot accept a connection: {error}");
                sleep(ACCEPT_PAUSE).await;
            }
        }
        server.events += 1;
        if server.events >= EVENTS_PER_TURN {
            yield_now().await;
            server.tasks_had_their_turn();
        }
    }
}

/// An event of the loop that accepts connections.
enum Happened {
    /// A connection's task ended.
    Ended(Id),
    Accepted(io::Result<(ClientSocket, Peer)>),
}

struct Server<T> {
    places: Places<Id, AbortHandle>,
    tasks: JoinSet<()>,
    transport: T,
    router: Router,
    epoch: Instant,
    /// How many events were handled since the connections' tasks last ran.
    events: usize,
    /// How many connections with an incomplete request were admitted since then.
    incomplete: usize,
}

impl<T: Transport> Server<T> {
    async fn next_event(&mut self, listeners: &mut Listeners) -> Happened {
        let (tasks, mut waited) = (&mut self.tasks, false);
        let happened = poll_fn(|cx| {
            if let Poll::Ready(Some(ended)) = tasks.poll_join_next_with_id(cx) {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                return Poll::Ready(Happened::Ended(id));
            }
            let accepted = listeners.poll_accept(cx).map(Happened::Accepted);
            waited |= accepted.is_pending();
            accepted
        })
        .await;
        if waited {
            self.tasks_had_their_turn();
        }
        happened
    }

    fn tasks_had_their_turn(&mut self) {
        (self.events, self.incomplete) = (0, 0);
    }

    fn admit(&mut self, socket: ClientSocket, peer: Peer) {
        let local = socket.local();
        let progress = Arc::<Progress>::default();
        match arrived(&socket) {
            Arrived::Request => progress.answer(),
            Arrived::Hello => {}
            Arrived::Part if self.incomplete == INCOMPLETE_PER_TURN => return refuse(socket),
            Arrived::Part => self.incomplete += 1,
        }
        if self.places.is_full() && !self.evict() {
            return refuse(socket);
        }
        let client = match ClientStream::new(socket, Arc::clone(&progress), self.epoch) {
            Ok(client) => client,
            Err(error) => return tracing::debug!("cannot set up a connection: {error}"),
        };
        let answers = Answers {
            router: TowerToHyperService::new(self.router.clone()),
            progress: Arc::clone(&progress),
            epoch: self.epoch,
            local,
            client: Client { peer, places: self.places.limit() },
        };
        let task = self.tasks.spawn(connection(self.transport.clone(), client, answers));
        self.places.enter(task.id(), peer, progress, task);
    }

    /// Frees a place, if possible.
    fn evict(&mut self) -> bool {
        let victim = self.places.evict();
        victim.as_ref().map(AbortHandle::abort).is_some()
    }
}

/// Serves one request and its answer. A scrape every few seconds gains nothing from an open
/// connection, and a connection that ends can be limited as a whole.
async fn connection<T: Transport>(transport: T, client: ClientStream, answers: Answers) {
    let answered = async {
        let stream = match timeout(HEADER_TIMEOUT, transport.begin(client)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!("handshake failed: {error}"),
            Err(_) => return tracing::debug!("handshake timed out"),
        };
        let served = T::serve(stream, answers).await;
        if let Err(error) = served {
            tracing::debug!("connection failed: {error}");
        }
    };
    if timeout(CONNECTION_TIMEOUT, answered).await.is_err() {
        tracing::debug!("connection timed out");
    }
}

/// Answers one request over HTTP/1.1.
pub(super) async fn serve_http1<S>(stream: S, answers: Answers) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADER_FIELDS)
        .serve_connection(TokioIo::new(stream), answers)
        .await
}

/// Answers by the router and records the progress.
pub struct Answers {
    router: TowerToHyperService<Router>,
    progress: Arc<Progress>,
    epoch: Instant,
    /// The local address of the connection.
    local: Option<Local>,
    client: Client,
}

/// An answer that is being made.
pub(super) type Answer =
    Pin<Box<dyn Future<Output = Result<axum::response::Response, Infallible>> + Send>>;

impl Service<Request<Incoming>> for Answers {
    type Response = axum::response::Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        self.progress.answer();
        request.extensions_mut().insert(self.client);
        if let Some(local) = self.local {
            request.extensions_mut().insert(local);
        }
        let answer = self.router.call(request.map(Body::new));
        let answering = Answering { progress: Arc::clone(&self.progress), epoch: self.epoch };
        Box::pin(async move {
            let _answering = answering;
            answer.await
        })
    }
}

/// An answer that is being made, until this is dropped: also if a client of HTTP/2 resets its
/// stream. Otherwise, its connection could not be evicted any more.
struct Answering {
    progress: Arc<Progress>,
    epoch: Instant,
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.progress.write(micros_since(self.epoch));
    }
}

/// What a client has sent when its connection is accepted. Since the kernel defers the connection
/// until bytes arrive, a well-behaved client has usually sent everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arrived {
    /// A whole request.
    Request,
    /// The whole first message of a TLS handshake.
    Hello,
    /// Less.
    Part,
}

fn arrived(socket: &ClientSocket) -> Arrived {
    let mut bytes = [MaybeUninit::uninit(); 4096];
    let peeked = socket.as_ref().peek(&mut bytes).unwrap_or(0);
    // SAFETY: `peek` has initialised as many bytes as it returned.
    let arrived = unsafe { bytes[..peeked].assume_init_ref() };
    Arrived::of(arrived)
}

impl Arrived {
    fn of(bytes: &[u8]) -> Self {
        /// Content type of a record with a handshake, RFC 8446, 5.1.
        const HANDSHAKE: u8 = 22;
        if let [HANDSHAKE, _, _, high, low, message @ ..] = bytes {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            return if message.len() >= length { Self::Hello } else { Self::Part };
        }
        // A connection with a request is not evicted. So nothing may pass for one that the next
        // layer waits to see more of: empty lines before a request (RFC 9112, 2.2), or a record
        // of TLS.
        let is_begun = bytes.first().is_some_and(u8::is_ascii_alphabetic);
        if is_begun && bytes.windows(4).any(|end| end == b"\r\n\r\n") {
            Self::Request
        } else {
            Self::Part
        }
    }
}

/// Whether accept(2) failed for one connection only, so that the next may be accepted at
/// once. Linux passes errors that are pending on the new connection (accept(2), "Error
/// handling").
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::ECONNABORTED
                | libc::EPERM
                | libc::EPROTO
                | libc::ENOPROTOOPT
                | libc::ENETDOWN
                | libc::ENETUNREACH
                | libc::EHOSTDOWN
                | libc::EHOSTUNREACH
                | libc::ENONET
                | libc::EOPNOTSUPP
        )
    )
}

/// How many connections the limit of open files allows.
fn limit_by_descriptors() -> usize {
    let allowed = getrlimit(Resource::RLIMIT_NOFILE)
        .map_or(MAX_CONNECTIONS, |(soft, _)| usize::try_from(soft).unwrap_or(usize::MAX));
    let open = std::fs::read_dir("/proc/self/fd").map_or(SPARE_DESCRIPTORS, Iterator::count);
    let limit = limit_of(allowed, open);
    if limit < MAX_CONNECTIONS {
        tracing::info!(
            "serving at most {limit} connections at a time, because the limit of open files is {allowed}"
        );
    }
    limit
}

/// An evicted connection's descriptor is open until its task has had its turn, so a fifth
/// of the room is left free.
fn limit_of(allowed: usize, open: usize) -> usize {
    let room = allowed.saturating_sub(open + SPARE_DESCRIPTORS);
    (room * 4 / 5).clamp(MIN_CONNECTIONS, MAX_CONNECTIONS)
}

/// Raises the limit of open files to what the connections need, if that is allowed.
pub fn raise_descriptor_limit() {
    const ENOUGH: u64 = 2 * MAX_CONNECTIONS as u64;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return };
    if soft < ENOUGH && soft < hard {
        // Without it, fewer connections are served.
        if let Err(error) = setrlimit(Resource::RLIMIT_NOFILE, ENOUGH.min(hard), hard) {
            tracing::debug!("cannot raise the limit of open files: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_request_or_hello_is_recognised() {
        for (bytes, expected) in [
            (&b"GET / HTTP/1.1\r\n\r\n"[..], Arrived::Request),
            (b"GET / HTTP/1.1\r\n", Arrived::Part),
            (b"", Arrived::Part),
            (b"\r\n\r\n", Arrived::Part),
            (b"\r\n\r\nGET / HTTP/1.1\r\n", Arrived::Part),
            (b"\x15\x03\x03\x40\x00\r\n\r\n", Arrived::Part),
            (b"\x16\x03\x01\x00\x03abc", Arrived::Hello),
            (b"\x16\x03\x01\x00\x03ab", Arrived::Part),
            (b"\x16\x03\x01\x00", Arrived::Part),
        ] {
            assert_eq!(Arrived::of(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn many_segments_fit_into_the_send_buffer() {
        let listener = listen(([127, 0, 0, 1], 0).into()).expect("a port");
        let address = listener.local_addr().expect("an address");
        let mut client = std::net::TcpStream::connect(address).expect("it listens");
        // The kernel hands it over once it has sent something.
        io::Write::write_all(&mut client, b"GET").expect("it listens");
        let accepted = loop {
            match listener.accept() {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                accepted => break accepted.expect("a connection").0,
            }
        };
        let accepted = Socket::from(accepted);
        let segment = accepted.tcp_mss().expect("a socket") as usize;
        let buffer = accepted.send_buffer_size().expect("a socket");
        assert!(4 * segment <= buffer, "{segment} of {buffer}");
    }

    #[test]
    fn connections_fit_into_the_limit_of_open_files() {
        assert_eq!(limit_of(2048, 80), MAX_CONNECTIONS);
        assert_eq!(limit_of(1024, 80), 742);
        assert_eq!(limit_of(256, 80), 128);
        assert_eq!(limit_of(20, 80), MIN_CONNECTIONS);
    }
}
