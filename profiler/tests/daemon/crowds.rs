//! Many idle, half-sent and unread connections. Meanwhile, another client is always served within a
//! second.

use std::{
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use profiler::{
    model::{CallRow, Snapshot},
    present::metrics::Exposition,
    serve::feed::Reading,
};
use profiler_common::call::{Abi, CallKey};

use crate::{
    fake,
    http::{get, serve, status},
    quiet,
};

/// Maximum duration of an answer.
const IN_TIME: Duration = Duration::from_secs(1);
const METRICS: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Raises the limit of open files for both ends of every connection, because the server is in this
/// process too.
pub(crate) fn allow_many_descriptors() {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1 << 16), hard).expect("below the hard limit");
}

/// Serves an answer that is larger than the kernel's buffers, until the test ends. Makes a reading
/// on request, as the drain loop does.
fn serve_much() -> SocketAddr {
    let (address, publisher) = serve();
    let one = fake::snapshot();
    let calls = (0..100)
        .map(|nr| CallRow { key: CallKey::of(Abi::X86_64, nr), ..one.calls[0].clone() })
        .collect();
    let snapshot = Arc::new(Snapshot { calls, ..one });
    let publish = move || {
        let exposition = Exposition { snapshot: Arc::clone(&snapshot), ..Exposition::default() };
        Reading::now(exposition, Instant::now() + Duration::from_secs(1), Duration::ZERO)
    };
    publisher.publish(publish());
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        loop {
            runtime.block_on(publisher.wanted());
            publisher.publish(publish());
        }
    });
    address
}

/// A client that does not read more than a few KiB of its answer.
fn deaf(address: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(1).expect("the least is taken");
    socket.connect(&address.into()).expect("connects");
    let mut stream = TcpStream::from(socket);
    stream.write_all(METRICS).expect("sent");
    stream
}

fn half_sent(address: SocketAddr) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(&METRICS[..METRICS.len() - 2]).expect("sent");
    stream
}

/// Whether the server has closed a connection.
fn is_closed(stream: &mut TcpStream) -> bool {
    stream.set_nonblocking(true).expect("non-blocking");
    // Check this first, because data that arrived before a reset can still be read.
    if stream.take_error().expect("the socket's state").is_some() {
        return true;
    }
    match stream.read(&mut [0]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    }
}

/// Requests every path, and returns the duration of the slowest answer.
#[track_caller]
fn served(address: SocketAddr) -> Duration {
    let times = ["/-/healthy", "/-/ready", "/metrics"].map(|path| {
        let asked = Instant::now();
        let answer = get(address, path);
        let took = asked.elapsed();
        assert_eq!(status(&answer), "200", "{path}");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
        let length = format!("content-length: {}", body.len());
        assert!(head.contains(&length), "{path}: {head}");
        took
    });
    times.into_iter().max().expect("some")
}

#[track_caller]
fn assert_served(address: SocketAddr) {
    in_time(|| served(address));
}

/// Fails if `attempt` takes too long on a quiet host.
#[track_caller]
pub(crate) fn in_time(mut attempt: impl FnMut() -> Duration) {
    let attempted = quiet::wait_for(|| {
        let took = attempt();
        if took < IN_TIME { Ok(()) } else { Err(format!("an answer took {took:?}")) }
    });
    if let Err(busy) = attempted {
        println!("note: answers were not timed: {busy}");
    }
}

#[test]
fn no_crowd_keeps_a_good_client_out() {
    allow_many_descriptors();
    let address = serve_much();
    let (mut idle, mut sent) = (Vec::new(), Vec::new());
    for round in 0..3 {
        idle.extend((0..500).map(|_| TcpStream::connect(address).expect("connects")));
        assert_served(address);
        sent.extend((0..500).map(|_| half_sent(address)));
        assert_served(address);
        sent.extend((0..200).map(|_| deaf(address)));
        for _ in 0..20 {
            assert_served(address);
        }
        // Other connections wait in the kernel for the first byte of their request.
        let open = sent.iter_mut().map(|stream| !is_closed(stream)).filter(|&open| open).count();
        assert!(open <= 1024, "round {round}: {open} connections are open");
    }
}

#[test]
fn a_stream_of_new_connections_keeps_nobody_out() {
    allow_many_descriptors();
    let address = serve_much();
    // On a busy host, the kernel's queue can fill, and the client tries again after a second. It is
    // still answered.
    in_time(|| {
        let mut times = served_beside_new_connections(address);
        times.sort_unstable();
        times[times.len() * 9 / 10]
    });
    assert_served(address);
}

/// The durations of answers while other clients connect as fast as they can.
fn served_beside_new_connections(address: SocketAddr) -> Vec<Duration> {
    let until = Instant::now() + Duration::from_secs(3);
    let attackers: Vec<_> = (0..4)
        .map(|kind| {
            thread::spawn(move || {
                let mut kept = std::collections::VecDeque::new();
                while Instant::now() < until {
                    match kind {
                        0 => kept.push_back(TcpStream::connect(address).expect("connects")),
                        1 => kept.push_back(half_sent(address)),
                        2 => {
                            kept.push_back(deaf(address));
                            // A pause, because in a debug build, a loop that only sends requests
                            // would use a whole CPU.
                            thread::sleep(Duration::from_millis(2));
                        }
                        _ => drop(TcpStream::connect(address)),
                    }
                    kept.truncate(kept.len().min(600));
                    if kept.len() == 600 {
                        kept.drain(..100);
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    while Instant::now() < until {
        times.push(served(address));
    }
    for attacker in attackers {
        attacker.join().expect("only connects");
    }
    times
}

/// The kernel must not keep unread data long after the connection was closed.
#[test]
fn an_answer_that_is_not_read_is_given_up() {
    let address = serve_much();
    let deaf = deaf(address);
    let asked = Instant::now();
    // A reset discards unread data.
    let ended = loop {
        thread::sleep(Duration::from_millis(100));
        assert!(asked.elapsed() < Duration::from_secs(10), "it is still open");
        if let Some(error) = deaf.take_error().expect("the socket's state") {
            break error;
        }
    };
    assert_eq!(ended.kind(), ErrorKind::ConnectionReset);
}

/// Empty lines before a request, which the server skips, are not a request: their connections give
/// way to others.
#[test]
fn empty_lines_keep_no_place() {
    allow_many_descriptors();
    let address = serve_much();
    let empty: Vec<_> = (0..1_100)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("connects");
            stream.write_all(b"\r\n\r\n").expect("sent");
            stream
        })
        .collect();
    assert_served(address);
    drop(empty);
}
