//! Answers to requests for a format or a coding.

use std::{
    collections::BTreeMap,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use flate2::read::GzDecoder;
use profiler::present::metrics::Format;

use crate::{
    decoder,
    http::{publish, serve},
};

const PROTOBUF: &str = "application/vnd.google.protobuf;\
     proto=io.prometheus.client.MetricFamily;encoding=delimited";
const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0";

struct Answer {
    status: u16,
    fields: BTreeMap<String, String>,
    body: Vec<u8>,
}

fn ask(address: SocketAddr, method: &str, path: &str, fields: &str) -> Answer {
    let mut stream = TcpStream::connect(address).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let request = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
    stream.write_all(request.as_bytes()).expect("sent");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("answered");
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").expect("a header");
    let header = str::from_utf8(&answer[..end]).expect("text");
    let mut lines = header.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
    let fields = lines.filter_map(|line| line.split_once(": "));
    Answer {
        status: status.expect("a status"),
        fields: fields.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
        body: answer[end + 4..].to_vec(),
    }
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(String::as_str)
    }
}

fn serve_one() -> (SocketAddr, profiler::serve::feed::Publisher) {
    let (address, publisher) = serve();
    publish(&publisher, Instant::now() + Duration::from_secs(60));
    (address, publisher)
}

#[test]
fn each_format_is_served_under_its_content_type() {
    let (address, _publisher) = serve_one();
    let get = |accept: &str| ask(address, "GET", "/metrics", &format!("Accept: {accept}\r\n"));
    let text = get("text/plain;version=0.0.4");
    assert_eq!(text.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    let samples = decoder::text(str::from_utf8(&text.body).expect("text"));
    assert!(samples.len() > 100);

    let openmetrics = get(OPENMETRICS);
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(openmetrics.field("content-type"), Some(content_type));
    let body = str::from_utf8(&openmetrics.body).expect("text");
    assert_eq!(decoder::openmetrics(body), samples);

    let protobuf = get(PROTOBUF);
    let content_type = "application/vnd.google.protobuf; \
         proto=io.prometheus.client.MetricFamily; encoding=delimited";
    assert_eq!(protobuf.field("content-type"), Some(content_type));
    assert_eq!(decoder::classic_samples(&decoder::protobuf(&protobuf.body)), samples);

    for answer in [&text, &openmetrics, &protobuf] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("vary"), Some("Accept, Accept-Encoding"));
        assert_eq!(answer.field("content-encoding"), None);
        assert_eq!(answer.field("content-length"), Some(&*answer.body.len().to_string()));
    }
    // Without `Accept`, with an unknown format, and with several fields.
    let plain = ask(address, "GET", "/metrics", "");
    assert_eq!(plain.body, text.body);
    assert_eq!(get("image/png").body, text.body);
    let fields = format!("Accept: text/plain;q=0.5\r\nAccept: {OPENMETRICS}\r\n");
    assert_eq!(ask(address, "GET", "/metrics", &fields).body, openmetrics.body);
}

#[test]
fn each_format_is_compressed_on_request() {
    let (address, _publisher) = serve_one();
    for accept in ["text/plain", OPENMETRICS, PROTOBUF] {
        let get = |coding: &str| {
            let fields = format!("Accept: {accept}\r\nAccept-Encoding: {coding}\r\n");
            ask(address, "GET", "/metrics", &fields)
        };
        let plain = get("identity");
        assert_eq!(plain.field("content-encoding"), None);
        let compressed = get("gzip");
        assert_eq!(compressed.field("content-encoding"), Some("gzip"));
        assert_eq!(compressed.field("content-type"), plain.field("content-type"));
        assert_eq!(compressed.field("vary"), Some("Accept, Accept-Encoding"));
        assert!(compressed.body.len() < plain.body.len() / 2);
        let mut decoded = Vec::new();
        GzDecoder::new(&*compressed.body).read_to_end(&mut decoded).expect("gzip");
        assert!(decoded == plain.body);
        assert_eq!(get("br, gzip;q=0").body, plain.body);
    }
    // Small answers are never compressed.
    let small = ask(address, "GET", "/-/healthy", "Accept-Encoding: gzip\r\n");
    assert_eq!((small.field("content-encoding"), &*small.body), (None, &b"healthy\n"[..]));
}

#[test]
fn head_has_the_fields_of_get_and_no_body() {
    let (address, _publisher) = serve_one();
    for accept in ["text/plain", OPENMETRICS, PROTOBUF] {
        for coding in ["identity", "gzip"] {
            let fields = format!("Accept: {accept}\r\nAccept-Encoding: {coding}\r\n");
            let get = ask(address, "GET", "/metrics", &fields);
            let head = ask(address, "HEAD", "/metrics", &fields);
            assert_eq!((head.status, head.body.len()), (200, 0));
            for name in ["content-type", "content-encoding", "content-length", "vary"] {
                assert_eq!(head.field(name), get.field(name), "{name}");
            }
        }
    }
}

#[test]
fn formats_have_content_types_of_their_own() {
    let types = Format::ALL.map(Format::content_type);
    assert!(types.iter().all(|one| types.iter().filter(|other| one == *other).count() == 1));
}
