//! The attacks on the daemon.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use socket2::{Domain, Socket, Type};

const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Connections of one kind. A connection that the daemon closes is replaced.
pub(super) struct Crowd {
    address: SocketAddr,
    size: usize,
    connect: fn(SocketAddr) -> std::io::Result<TcpStream>,
    /// Whether to send a byte from time to time.
    trickles: bool,
    /// Whether to read the answer.
    reads: bool,
    open: Vec<TcpStream>,
}

impl Crowd {
    fn new(
        address: SocketAddr,
        size: usize,
        connect: fn(SocketAddr) -> std::io::Result<TcpStream>,
    ) -> Self {
        Self { address, size, connect, trickles: false, reads: true, open: Vec::new() }
    }

    /// Connections over which nothing is sent.
    pub(super) fn idle(address: SocketAddr, size: usize) -> Self {
        Self::new(address, size, TcpStream::connect::<SocketAddr>)
    }

    /// Requests that never end.
    pub(super) fn half_sent(address: SocketAddr, size: usize) -> Self {
        let connect = |address| {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(&METRICS[..METRICS.len() - 2])?;
            Ok(stream)
        };
        Self { trickles: true, ..Self::new(address, size, connect) }
    }

    /// Requests whose answers are not read.
    pub(super) fn unread(address: SocketAddr, size: usize) -> Self {
        let connect = |address: SocketAddr| {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            // The minimum of the kernel.
            socket.set_recv_buffer_size(1)?;
            socket.connect(&address.into())?;
            let mut stream = TcpStream::from(socket);
            stream.write_all(METRICS)?;
            Ok(stream)
        };
        Self { reads: false, ..Self::new(address, size, connect) }
    }

    /// Replaces closed connections. Returns the number of new connections.
    pub(super) fn keep_up(&mut self) -> u64 {
        let (trickles, reads) = (self.trickles, self.reads);
        self.open.retain_mut(|stream| {
            let alive = matches!(stream.take_error(), Ok(None));
            let trickled = !trickles || stream.write_all(b"X").is_ok();
            alive && trickled && (!reads || is_silent(stream))
        });
        let mut made = 0;
        while self.open.len() < self.size {
            // A failed connection is not an error.
            let Ok(stream) = (self.connect)(self.address) else { break };
            if stream.set_nonblocking(true).is_ok() {
                self.open.push(stream);
                made += 1;
            }
        }
        thread::sleep(Duration::from_millis(200));
        made
    }
}

/// Whether a connection is open and nothing came over it.
fn is_silent(stream: &mut TcpStream) -> bool {
    matches!(stream.read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Connects and disconnects.
pub(super) fn churn(address: SocketAddr) -> u64 {
    thread::sleep(Duration::from_millis(1));
    u64::from(TcpStream::connect(address).is_ok())
}

/// Sends requests that are too long or for another host, and does not read the answers.
pub(super) fn abuse(address: SocketAddr) -> u64 {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let requests = [
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 << 10)),
        format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(500)),
        "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\nx".into(),
        "POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n"
            .into(),
        "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n".into(),
        "\x16\x03\x01\x02\0\x01\0\x01\u{fc}\x03\x03".into(),
        METRICS.repeat(50).iter().map(|&byte| char::from(byte)).collect(),
    ];
    thread::sleep(Duration::from_millis(5));
    let request = &requests[NEXT.fetch_add(1, Ordering::Relaxed) % requests.len()];
    let Ok(mut stream) = TcpStream::connect(address) else { return 0 };
    let _ = stream.set_write_timeout(Some(Duration::from_millis(100)));
    u64::from(stream.write_all(request.as_bytes()).is_ok())
}

/// Tries to read the daemon's memory as its user.
pub(super) fn trace(pid: u32) -> u64 {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    command.args(["head", "-c", "1", &format!("/proc/{pid}/maps")]);
    let output = command.stdin(Stdio::null()).output().expect("setpriv of util-linux");
    // This also fails if the daemon has ended.
    assert!(!output.status.success() || output.stdout.is_empty(), "it could be looked into");
    thread::sleep(Duration::from_millis(500));
    1
}

/// A configuration that the daemon accepts.
pub(super) fn write_good(path: &Path) {
    // Each drain is logged, so that an unread log fills.
    fs::write(path, "log_level = \"trace\"\n").expect("written");
}

/// Makes the daemon reload invalid configurations.
pub(super) struct Reloads {
    config: PathBuf,
    targets: [PathBuf; 5],
    pid: libc::pid_t,
    next: AtomicUsize,
}

impl Reloads {
    pub(super) fn new(directory: &Path, pid: u32) -> Self {
        let path = |name: &str| directory.join(name);
        nix::unistd::mkfifo(&path("fifo"), nix::sys::stat::Mode::all()).expect("a FIFO");
        fs::write(path("huge"), vec![b'#'; 10 << 20]).expect("written");
        fs::write(path("wrong"), "interval = \"never\"\n").expect("written");
        let targets =
            [path("fifo"), "/dev/zero".into(), path("huge"), path("wrong"), path("absent")];
        let config = path("profiler.toml");
        Self { config, targets, pid: pid.cast_signed(), next: AtomicUsize::new(0) }
    }

    pub(super) fn send(&self) -> u64 {
        let target = &self.targets[self.next.fetch_add(1, Ordering::Relaxed) % self.targets.len()];
        let _ = fs::remove_file(&self.config);
        symlink(target, &self.config).expect("a link");
        self.hang_up();
        thread::sleep(Duration::from_millis(20));
        fs::remove_file(&self.config).expect("the link");
        write_good(&self.config);
        self.hang_up();
        thread::sleep(Duration::from_millis(20));
        1
    }

    fn hang_up(&self) {
        // SAFETY: a child of ours that has not been waited for.
        assert_eq!(unsafe { libc::kill(self.pid, libc::SIGHUP) }, 0, "the daemon lives");
    }
}
