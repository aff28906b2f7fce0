//! An HTTP client of a daemon, over TCP or over a layer on top of TCP.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result};

/// How long a client waits for bytes.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request of a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    path: &'a str,
    accept: &'static str,
    gzip: bool,
}

impl<'a> Request<'a> {
    /// Requests the text format.
    pub(super) const fn text(path: &'a str) -> Self {
        Self { path, accept: "text/plain;version=0.0.4", gzip: false }
    }

    /// Requests the protobuf format.
    pub(super) const fn protobuf(path: &'a str) -> Self {
        const ACCEPT: &str = "application/vnd.google.protobuf;\
                              proto=io.prometheus.client.MetricFamily;encoding=delimited";
        Self { path, accept: ACCEPT, gzip: false }
    }

    /// Also requests compression, as Prometheus does.
    pub(super) const fn compressed(self) -> Self {
        Self { gzip: true, ..self }
    }
}

/// A stream of bytes in both directions.
pub(super) trait Stream: Read + Write + Send {}

impl<T: Read + Write + Send> Stream for T {}

/// Makes a stream from a TCP connection.
pub(super) type Layer = Arc<dyn Fn(TcpStream) -> io::Result<Box<dyn Stream>> + Send + Sync>;

/// An HTTP client of a daemon.
#[derive(Clone)]
pub(super) struct Client {
    address: SocketAddr,
    layer: Layer,
    /// A further header field of each request, with its line break.
    field: &'static str,
}

impl Client {
    /// A client over TCP.
    pub(super) fn plain(address: SocketAddr) -> Self {
        Self { address, layer: Arc::new(|socket| Ok(Box::new(socket))), field: "" }
    }

    /// A client over `layer`, whose requests have a further `field`.
    #[cfg(feature = "bench")]
    pub(super) fn over(address: SocketAddr, layer: Layer, field: &'static str) -> Self {
        Self { address, layer, field }
    }

    /// Connects.
    pub(super) fn connect(&self) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect(self.address)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        (self.layer)(socket)
    }

    /// Sends a request, and returns the status and the body of the response.
    pub(super) fn ask(&self, request: &Request<'_>) -> Result<(u16, Vec<u8>)> {
        let Request { path, accept, gzip } = request;
        let mut head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n");
        if *gzip {
            head += "Accept-Encoding: gzip\r\n";
        }
        head += self.field;
        let mut stream = self.connect()?;
        stream.write_all(format!("{head}Connection: close\r\n\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        let end = answer
            .windows(4)
            .position(|end| end == b"\r\n\r\n")
            .context("the response has no head")?;
        let body = answer.split_off(end + 4);
        let head = String::from_utf8(answer)?;
        let status = head.split(' ').nth(1).context("the response has no status")?.parse()?;
        Ok((status, body))
    }
}
