//! Many connections over TLS: idle, with half a handshake, or with wrong passwords. Meanwhile,
//! another client is always served within a second.

use std::{
    io::Write as _,
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use tokio_rustls::rustls::{ClientConnection, pki_types::ServerName};

use super::{
    client::{Client, Files, Stream, basic},
    tls::{PREFACE, TLS, frame, hash, users},
};
use crate::{
    crowds::{allow_many_descriptors, in_time},
    http::status,
};

/// A client that sends the first message of its handshake, and no more.
fn half_handshake(client: &Client, address: SocketAddr) -> TcpStream {
    let name = ServerName::try_from("localhost").expect("a name");
    let mut connection = ClientConnection::new(client.config(), name).expect("a connection");
    let mut hello = Vec::new();
    connection.write_tls(&mut hello).expect("a message");
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(&hello).expect("sent");
    stream
}

#[track_caller]
fn scraped(client: &Client, address: SocketAddr, credentials: &str) -> Duration {
    let asked = Instant::now();
    let answer = client.scrape(address, Some(credentials)).expect("an answer");
    assert_eq!(status(&answer), "200");
    asked.elapsed()
}

#[test]
fn no_crowd_over_tls_keeps_a_good_client_out() {
    allow_many_descriptors();
    let files = Files::new();
    let (address, _publisher, _) = files.serve(&format!("{TLS}{}", users("s3cret")));
    let client = files.client();
    let serve_well = || {
        in_time(|| {
            let times = (0..20).map(|_| scraped(&client, address, "alice:s3cret"));
            times.max().expect("some")
        });
    };
    serve_well();
    // More connections than the limit, half of each kind.
    let idle: Vec<Stream> = (0..500).filter_map(|_| files.client().connect(address).ok()).collect();
    assert!(idle.len() > 400, "{} are idle", idle.len());
    serve_well();
    let half: Vec<_> = (0..500).map(|_| half_handshake(&client, address)).collect();
    serve_well();
    let silent: Vec<_> = (0..500).map(|_| TcpStream::connect(address).expect("connects")).collect();
    serve_well();
    drop((idle, half, silent));
}

/// A password that was accepted before is accepted at once, even if many wrong passwords wait.
#[test]
fn wrong_passwords_do_not_delay_a_good_client() {
    let files = Files::new();
    let text = format!("{TLS}basic_auth_users:\n  alice: {}\n", hash("s3cret", 10));
    let (address, _publisher, _) = files.serve(&text);
    let client = files.client();
    scraped(&client, address, "alice:s3cret");
    let until = Instant::now() + Duration::from_secs(3);
    thread::scope(|scope| {
        for attacker in 0..20 {
            let files = &files;
            scope.spawn(move || {
                let client = files.client();
                let mut attempt = 0;
                while Instant::now() < until {
                    attempt += 1;
                    let credentials = format!("alice:{attacker}-{attempt}");
                    let answer = client.scrape(address, Some(&credentials)).unwrap_or_default();
                    assert_ne!(status(&answer), "200");
                }
            });
        }
        while Instant::now() < until {
            in_time(|| scraped(&client, address, "alice:s3cret"));
        }
    });
}

/// An HTTP/2 connection whose request waits for the check of a password when the client resets its
/// stream. The client does not answer the ping that comes before the end, so the connection stays
/// open.
fn abandoned(files: &Files, address: SocketAddr, attempt: usize) -> Option<Stream> {
    let mut stream = files.client().http2().connect(address).ok()?;
    let field = basic(&format!("alice:wrong-{attempt}"));
    let credentials = field.trim_end().strip_prefix("Authorization: ").expect("a value");
    // As in `http2_request`, and `authorization`, which is field 23 of the static table.
    let mut fields = vec![0x82, 0x87, 0x04, 8];
    fields.extend(b"/metrics");
    fields.extend([0x01, 9]);
    fields.extend(b"localhost");
    fields.extend([0x0f, 8, credentials.len() as u8]);
    fields.extend(credentials.as_bytes());
    let request = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 0x05, 1, &fields)].concat();
    stream.write_all(&request).ok()?;
    // Separate from the packet of the request, so that the server begins the request.
    thread::sleep(Duration::from_millis(1));
    stream.write_all(&frame(3, 0, 1, &8_u32.to_be_bytes())).ok()?;
    Some(stream)
}

/// More connections than the limit, each with a request that was reset before its answer.
#[test]
fn abandoned_requests_keep_no_place() {
    allow_many_descriptors();
    let files = Files::new();
    let text = format!("{TLS}basic_auth_users:\n  alice: {}\n", hash("s3cret", 8));
    let (address, _publisher, _) = files.serve(&text);
    let client = files.client();
    scraped(&client, address, "alice:s3cret");
    let abandoned: Vec<_> =
        (0..1_100).filter_map(|attempt| abandoned(&files, address, attempt)).collect();
    assert_eq!(abandoned.len(), 1_100, "a new connection finds no place");
    scraped(&client, address, "alice:s3cret");
}
