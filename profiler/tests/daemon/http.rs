//! HTTP over real connections.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use profiler::{
    present::metrics::Exposition,
    serve::{
        feed::{self, Publisher, Reading},
        http,
        stream::ClientStream,
        transport::{Plain, Transport},
    },
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufStream};

use crate::fake;

/// Serves a feed on a free port until the test ends.
pub(crate) fn serve() -> (SocketAddr, Publisher) {
    serve_over(Plain)
}

fn serve_over(transport: impl Transport) -> (SocketAddr, Publisher) {
    let listener = http::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (publisher, feed) = feed::feed();
    thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("registers");
            match http::serve_over(transport, listener, feed, Vec::new()).await {}
        })
    });
    (address, publisher)
}

pub(crate) fn publish(publisher: &Publisher, next_due: Instant) {
    let exposition = Exposition { snapshot: Arc::new(fake::snapshot()), ..Exposition::default() };
    publisher.publish(Reading::now(exposition, next_due, Duration::ZERO));
}

fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = String::new();
    // A server that refuses a request may reset the connection.
    let _ = stream.read_to_string(&mut answer);
    answer
}

pub(crate) fn get(address: SocketAddr, path: &str) -> String {
    ask(address, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"))
}

pub(crate) fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or("none")
}

#[test]
fn nothing_is_ready_before_the_first_reading() {
    let (address, publisher) = serve();
    for (path, code) in [("/metrics", "503"), ("/-/ready", "503"), ("/-/healthy", "200")] {
        assert_eq!(status(&get(address, path)), code, "{path}");
    }
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    for path in ["/metrics", "/-/ready", "/-/healthy"] {
        assert_eq!(status(&get(address, path)), "200", "{path}");
    }
}

#[test]
fn metrics_come_with_their_content_type() {
    let (address, publisher) = serve();
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    let answer = get(address, "/metrics");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"));
    assert!(answer.contains("\nprofiler_syscalls_total{abi=\"x86_64\",syscall=\"read\"} 1234\n"));
}

#[test]
fn the_landing_page_names_every_endpoint() {
    let (address, _publisher) = serve();
    let answer = get(address, "/");
    assert_eq!(status(&answer), "200");
    for path in ["/metrics", "/-/healthy", "/-/ready"] {
        assert!(answer.contains(&format!("href=\"{path}\"")), "{path}");
    }
}

#[test]
fn only_what_is_there_can_be_had_and_only_by_get() {
    let (address, publisher) = serve();
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    assert_eq!(status(&get(address, "/metrics/")), "404");
    assert_eq!(status(&get(address, "/../etc/passwd")), "404");
    for method in ["POST", "PUT", "DELETE"] {
        let request =
            format!("{method} /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(status(&ask(address, &request)), "405", "{method}");
    }
    assert_eq!(status(&ask(address, "nonsense\r\n\r\n")), "400");
}

/// DNS rebinding: a page in a browser has a name that resolves to this server.
#[test]
fn another_s_host_name_is_refused_everywhere() {
    let (address, publisher) = serve();
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    for path in ["/metrics", "/-/healthy", "/", "/nothing"] {
        let of = |host: &str| ask(address, &format!("GET {path} HTTP/1.1\r\n{host}\r\n"));
        assert_eq!(status(&of("Host: evil.example:9494\r\n")), "421", "{path}");
        assert_eq!(status(&of("")), "400", "{path}");
        assert_ne!(status(&of(&format!("Host: {address}\r\n"))), "421", "{path}");
    }
}

#[test]
fn a_request_that_is_too_long_is_refused() {
    let (address, _publisher) = serve();
    let request =
        format!("GET / HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(64 << 10));
    assert!(matches!(status(&ask(address, &request)), "431" | "none"));
    let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(500));
    assert!(matches!(status(&ask(address, &request)), "431" | "none"));
}

#[test]
fn a_request_that_never_ends_is_cut_off_and_disturbs_nobody() {
    let (address, _publisher) = serve();
    let started = Instant::now();
    let mut idle: Vec<_> = (0..8)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("connects");
            stream.write_all(b"GET / HTTP/1.1\r\n").expect("sent");
            stream
        })
        .collect();
    assert_eq!(status(&get(address, "/")), "200");
    assert!(started.elapsed() < Duration::from_secs(4));
    for stream in &mut idle {
        stream.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    }
    assert!(started.elapsed() < Duration::from_secs(15));
}

/// A client that writes a request in pieces.
#[test]
fn a_request_in_pieces_is_answered_however_many_came_before() {
    let (address, _publisher) = serve();
    for number in 0..100 {
        let mut stream = TcpStream::connect(address).expect("connects");
        for piece in ["GET /-/healthy HTTP/1.1\r\n", "Host: localhost\r\n", "\r\n"] {
            stream.write_all(piece.as_bytes()).expect("sent");
            thread::sleep(Duration::from_millis(1));
        }
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        assert_eq!(status(&answer), "200", "request {number}");
    }
}

#[test]
fn drains_that_do_not_come_are_no_health() {
    let (address, publisher) = serve();
    let due = Instant::now().checked_sub(Duration::from_secs(6)).expect("up for six seconds");
    publish(&publisher, due);
    assert_eq!(status(&get(address, "/-/healthy")), "503");
    // The last reading is still served.
    assert_eq!(status(&get(address, "/-/ready")), "200");
}

#[test]
fn a_drain_that_does_not_come_does_not_hold_a_scrape_up() {
    let (address, publisher) = serve();
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    thread::sleep(feed::FRESH * 2);
    let started = Instant::now();
    assert_eq!(status(&get(address, "/metrics")), "200");
    assert!(started.elapsed() < Duration::from_secs(3));
}

/// A transport below HTTP, like TLS: it begins with a handshake, and has its own stream.
#[derive(Clone)]
struct Greeting;

impl Transport for Greeting {
    type Stream = BufStream<ClientStream>;

    async fn begin(self, mut client: ClientStream) -> io::Result<Self::Stream> {
        if client.read_u8().await? != b'?' {
            return Err(io::ErrorKind::InvalidData.into());
        }
        client.write_all(b"!").await?;
        Ok(BufStream::new(client))
    }
}

#[test]
fn http_is_spoken_over_any_stream() {
    let (address, publisher) = serve_over(Greeting);
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    let answer = ask(address, "?GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(answer.starts_with("!HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\nprofiler_build_info{version="), "{answer}");
    // Headers arrive at the router.
    let refused = ask(address, "?GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    assert!(refused.starts_with("!HTTP/1.1 421 "), "{refused}");
}

#[test]
fn a_handshake_that_fails_or_never_ends_is_cut_off() {
    let (address, publisher) = serve_over(Greeting);
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    assert_eq!(get(address, "/metrics"), "", "without the greeting there is no answer");
    let mut silent = TcpStream::connect(address).expect("connects");
    silent.set_read_timeout(Some(Duration::from_secs(15))).expect("a timeout");
    let began = Instant::now();
    let mut said = Vec::new();
    // The connection is reset or closed.
    let _ = silent.read_to_end(&mut said);
    assert!(said.is_empty() && began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
}

/// The drain's thread only swaps a pointer. The HTTP thread encodes and writes.
#[test]
fn clients_that_do_not_read_hold_no_drain_up() {
    let listener = http::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
    let address = listener.local_addr().expect("an address");
    let (publisher, feed) = feed::feed();
    let ended = http::spawn(listener, feed, Vec::new(), None).expect("a thread");
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    let deaf: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(address).expect("connects");
            let request = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";
            stream.write_all(request).expect("sent");
            stream
        })
        .collect();
    let mut took: Vec<Duration> = (0..50)
        .map(|_| {
            let began = Instant::now();
            publish(&publisher, Instant::now() + Duration::from_secs(60));
            publisher.scrapes();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    // Most of this time is for the snapshot of the test.
    assert!(took[took.len() / 2] < Duration::from_millis(50), "{took:?}");
    drop((deaf, ended));
}
