//! TLS from the client's view: versions, certificates, passwords, headers, HTTP/2.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use tokio_rustls::rustls::{
    ProtocolVersion,
    version::{TLS12, TLS13},
};

use super::{
    certificates::{self, Authority},
    client::{Files, ask},
};
use crate::http::status;

pub(super) const TLS: &str =
    "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n";

pub(super) fn users(password: &str) -> String {
    format!("basic_auth_users:\n  alice: {}\n", hash(password, 4))
}

/// A bcrypt hash.
pub(super) fn hash(password: &str, cost: u32) -> String {
    bcrypt::hash(password, cost).expect("a hash")
}

#[test]
fn only_modern_versions_and_suites_are_spoken() {
    let files = Files::new();
    let (address, _publisher, _) = files.serve(TLS);
    for (version, spoken) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let mut stream = files.client().version(version).connect(address).expect("connects");
        assert_eq!(stream.conn.protocol_version(), Some(spoken));
        let suite = stream.conn.negotiated_cipher_suite().expect("a suite").suite();
        let name = suite.as_str().expect("a name");
        assert!(name.contains("GCM") || name.contains("CHACHA20"), "{name}");
        let answer = ask(&mut stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(status(&answer.expect("an answer")), "200");
    }
    // Clients of TLS 1.0 and 1.1, and of TLS 1.2 with RSA key exchange or CBC.
    for (version, suites) in
        [(1, [0xc0, 0x13]), (2, [0xc0, 0x13]), (3, [0x00, 0x9c]), (3, [0xc0, 0x13])]
    {
        let answer = hello(address, version, suites);
        let [21, 3, _, 0, 2, 2, description] = answer[..] else {
            panic!("version 3.{version}: no alert, but {answer:?}");
        };
        // protocol_version or handshake_failure, RFC 8446, 6.2.
        assert!(description == 70 || description == 40, "version 3.{version}: alert {description}");
    }
    // A client that speaks HTTP gets no answer.
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

/// Sends a first message of TLS 1.2 or older, and returns what the server answers.
fn hello(address: std::net::SocketAddr, minor: u8, suite: [u8; 2]) -> Vec<u8> {
    let groups = [0, 10, 0, 4, 0, 2, 0, 23];
    let signatures = [0, 13, 0, 6, 0, 4, 4, 3, 4, 1];
    let extensions = [&groups[..], &signatures].concat();
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 2, suite[0], suite[1], 1, 0, 0, extensions.len() as u8]);
    body.extend(extensions);
    let mut message = vec![22, 3, 1, 0, body.len() as u8 + 4, 1, 0, 0, body.len() as u8];
    message.extend(body);
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    stream.write_all(&message).expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    answer
}

#[test]
fn the_file_restricts_versions_suites_and_curves() {
    let files = Files::new();
    let only = "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384]\n  curve_preferences: [CurveP384]\n";
    let (address, _publisher, _) = files.serve(&format!("{TLS}{only}"));
    assert!(files.client().version(&TLS13).connect(address).is_err());
    let stream = files.client().connect(address).expect("connects");
    assert_eq!(stream.conn.protocol_version(), Some(ProtocolVersion::TLSv1_2));
    let suite = stream.conn.negotiated_cipher_suite().expect("a suite").suite();
    assert_eq!(suite.as_str(), Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    let group = stream.conn.negotiated_key_exchange_group().expect("a group").name();
    assert_eq!(format!("{group:?}"), "secp384r1");
}

#[test]
fn a_wrong_expired_or_missing_client_certificate_is_refused() {
    let files = Files::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n";
    let (address, _publisher, _) = files.serve(&format!("{TLS}{demand}"));
    for version in [&TLS12, &TLS13] {
        let client = || files.client().version(version);
        let good = client().with(&files.authority.client(&["a"])).scrape(address, None);
        assert_eq!(status(&good.expect("an answer")), "200");
        for (what, client) in [
            ("none", client()),
            ("expired", client().with(&files.authority.expired())),
            ("of another authority", client().with(&Authority::new().client(&["a"]))),
            ("self-signed", client().with(&certificates::self_signed())),
            ("of a server", client().with(&files.authority.server_only())),
        ] {
            let answer = client.scrape(address, None);
            assert!(answer.is_err(), "{what}: {answer:?}");
        }
    }
}

#[test]
fn the_names_of_a_client_certificate_decide() {
    let files = Files::new();
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n  client_allowed_sans: [prometheus.example, 192.0.2.7]\n";
    let (address, _publisher, _) = files.serve(&format!("{TLS}{demand}"));
    let of = |names: &[&str]| {
        files.client().with(&files.authority.client(names)).scrape(address, None).is_ok()
    };
    assert!(of(&["prometheus.example"]));
    assert!(of(&["other.example", "192.0.2.7"]));
    assert!(!of(&["other.example"]));
    assert!(!of(&["x.prometheus.example"]));
    assert!(!of(&[]));
}

#[test]
fn unverified_kinds_of_client_certificates_do_as_they_say() {
    let files = Files::new();
    let with = |kind: &str| files.serve(&format!("{TLS}  client_auth_type: {kind}\n"));
    let other = || files.client().with(&certificates::self_signed());
    let (address, _a, _) = with("RequireAnyClientCert");
    assert!(other().scrape(address, None).is_ok());
    assert!(files.client().scrape(address, None).is_err());
    let (address, _b, _) = with("RequestClientCert");
    assert!(other().scrape(address, None).is_ok());
    assert!(files.client().scrape(address, None).is_ok());
    // Without an authority, no certificate is valid.
    let (address, _c, _) = with("VerifyClientCertIfGiven");
    assert!(other().scrape(address, None).is_err());
    assert!(files.client().scrape(address, None).is_ok());
}

/// A self-signed certificate that is listed as its own authority. Go accepts this.
#[test]
fn a_self_signed_client_certificate_can_be_its_own_authority() {
    let files = Files::new();
    let client = certificates::self_signed();
    client.write(files.path(), "client");
    let demand = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: client.crt\n";
    let (address, _publisher, _) = files.serve(&format!("{TLS}{demand}"));
    assert!(files.client().with(&client).scrape(address, None).is_ok());
    assert!(files.client().with(&certificates::self_signed()).scrape(address, None).is_err());
}

#[test]
fn a_password_is_required_everywhere() {
    let files = Files::new();
    let (address, _publisher, _) = files.serve(&format!("{TLS}{}", users("s3cret")));
    let client = files.client();
    for (credentials, code) in [
        (None, "401"),
        (Some("alice:wrong"), "401"),
        (Some("bob:s3cret"), "401"),
        (Some("alice:s3cret"), "200"),
        (Some("alice:s3cret"), "200"),
    ] {
        let answer = client.scrape(address, credentials).expect("an answer");
        assert_eq!(status(&answer), code, "{credentials:?}");
        assert_eq!(answer.contains("www-authenticate: Basic"), code == "401", "{answer}");
        assert_eq!(answer.contains("profiler_syscalls_total"), code == "200");
    }
    for path in ["/", "/-/healthy", "/-/ready", "/nothing"] {
        let mut stream = client.connect(address).expect("connects");
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        assert_eq!(status(&ask(&mut stream, &request).expect("an answer")), "401", "{path}");
    }
}

/// The duration of an answer does not reveal which users exist.
#[test]
fn an_unknown_user_takes_as_long_as_a_known_one() {
    let files = Files::new();
    let text = format!("{TLS}basic_auth_users:\n  alice: {}\n", hash("s3cret", 9));
    let (address, _publisher, _) = files.serve(&text);
    let client = files.client();
    let times = |user: &str| {
        let mut times: Vec<_> = (0..5)
            .map(|n| {
                let asked = Instant::now();
                client.scrape(address, Some(&format!("{user}:{n}"))).expect("an answer");
                asked.elapsed()
            })
            .collect();
        times.sort_unstable();
        times[0]
    };
    let (known, unknown) = (times("alice"), times("mallory"));
    assert!(unknown * 3 > known && known * 3 > unknown, "{known:?} and {unknown:?}");
}

#[test]
fn headers_are_set_on_every_answer() {
    let files = Files::new();
    let text = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=1\n    X-Frame-Options: deny\n    Content-Security-Policy: default-src 'self'\n";
    let (address, _publisher, _) = files.serve(&format!("{TLS}{text}{}", users("x")));
    for credentials in [None, Some("alice:x")] {
        let answer = files.client().scrape(address, credentials).expect("an answer");
        for field in [
            "strict-transport-security: max-age=1\r\n",
            "x-frame-options: deny\r\n",
            "content-security-policy: default-src 'self'\r\n",
        ] {
            assert_eq!(answer.matches(field).count(), 1, "{answer}");
        }
    }
}

#[test]
fn a_rate_is_limited() {
    let files = Files::new();
    let (address, _publisher, _) =
        files.serve(&format!("{TLS}rate_limit: {{interval: 1h, burst: 2}}\n"));
    let codes: Vec<_> = (0..4)
        .map(|_| status(&files.client().scrape(address, None).expect("an answer")).to_owned())
        .collect();
    assert_eq!(codes, ["200", "200", "429", "429"]);
}

/// A settings frame, and a request for the metrics on stream `id` (RFC 9113; the fields are from
/// the static table of RFC 7541, appendix A).
fn http2_request(id: u32) -> Vec<u8> {
    let mut fields = vec![0x82, 0x87, 0x04, 8];
    fields.extend(b"/metrics");
    fields.extend([0x01, 9]);
    fields.extend(b"localhost");
    frame(1, 0x05, id, &fields)
}

pub(super) fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut bytes = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(id.to_be_bytes());
    bytes.extend(payload);
    bytes
}

pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The kinds, streams and lengths of the frames in `bytes`.
fn frames(mut bytes: &[u8]) -> Vec<(u8, u32, usize)> {
    let mut found = Vec::new();
    while let [a, b, c, kind, _flags, i, j, k, l, rest @ ..] = bytes {
        let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
        found.push((*kind, u32::from_be_bytes([*i, *j, *k, *l]), length));
        bytes = rest.get(length..).unwrap_or_default();
    }
    found
}

#[test]
fn http2_serves_a_scrape_and_ends() {
    let files = Files::new();
    let (address, _publisher, _) = files.serve(TLS);
    let mut stream = files.client().http2().connect(address).expect("connects");
    assert_eq!(stream.conn.alpn_protocol(), Some(&b"h2"[..]));
    let request = [PREFACE, &frame(4, 0, 0, &[]), &http2_request(1), &http2_request(3)].concat();
    stream.write_all(&request).expect("sent");
    let (mut answer, mut bytes, mut has_shut_down) = (Vec::new(), [0; 4096], false);
    let asked = Instant::now();
    while let Ok(read @ 1..) = stream.read(&mut bytes) {
        answer.extend(&bytes[..read]);
        // Answer the ping that comes before the end of the connection.
        if !has_shut_down && frames(&answer).iter().any(|&(kind, ..)| kind == 6) {
            has_shut_down = true;
            let at = answer.windows(5).position(|part| part == [8, 6, 0, 0, 0]).expect("a ping");
            stream.write_all(&frame(6, 1, 0, &answer[at + 7..at + 15])).expect("sent");
        }
    }
    let frames = frames(&answer);
    for id in [1, 3] {
        assert!(frames.iter().any(|&(kind, of, _)| (kind, of) == (1, id)), "no head: {frames:?}");
        let body = frames.iter().filter(|&&(kind, of, _)| (kind, of) == (0, id));
        assert!(body.map(|&(.., length)| length).sum::<usize>() > 1_000, "no body: {frames:?}");
    }
    assert!(frames.iter().any(|&(kind, ..)| kind == 7), "no GOAWAY: {frames:?}");
    assert!(asked.elapsed() < Duration::from_secs(15), "it stayed open");
}

#[test]
fn http2_can_be_switched_off() {
    let files = Files::new();
    let (address, _publisher, _) =
        files.serve(&format!("{TLS}http_server_config: {{http2: off}}\n"));
    assert!(files.client().http2().connect(address).is_err(), "no protocol in common");
    assert!(files.client().scrape(address, None).is_ok());
}

/// CVE-2023-44487: streams that are opened and reset at once.
#[test]
fn a_client_that_resets_its_streams_is_cut_off() {
    let files = Files::new();
    let (address, _publisher, _) = files.serve(TLS);
    let mut stream = files.client().http2().connect(address).expect("connects");
    stream.write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat()).expect("sent");
    let asked = Instant::now();
    let mut sent = 0;
    for id in (1..1_000_000).step_by(2) {
        let reset = frame(3, 0, id, &8_u32.to_be_bytes());
        if stream.write_all(&[http2_request(id), reset].concat()).is_err() {
            break;
        }
        sent += 1;
        assert!(asked.elapsed() < Duration::from_secs(15), "{sent} streams, and it goes on");
    }
    assert!(files.client().scrape(address, None).is_ok());
}
