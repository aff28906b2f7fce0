//! A client that speaks TLS, and a server with a web configuration file.

use std::{
    fs,
    io::{self, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use profiler::{
    present::metrics::Exposition,
    serve::{
        feed::{self, Publisher, Reading},
        http,
        web::Live,
        web_config::WebConfig,
    },
};
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject as _},
    version::{TLS12, TLS13},
};

use super::certificates::{Authority, Identity};
use crate::fake;

/// The stream of a client after its handshake.
pub(crate) type Stream = StreamOwned<ClientConnection, TcpStream>;

/// A directory with a web configuration file, certificates and keys.
pub(crate) struct Files {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) authority: Authority,
}

impl Files {
    /// `server.crt`, `server.key` and `ca.crt`.
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let authority = Authority::new();
        authority.server().write(directory.path(), "server");
        fs::write(directory.path().join("ca.crt"), authority.pem()).expect("written");
        Self { directory, authority }
    }

    pub(crate) fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Writes the web configuration file.
    pub(crate) fn web(&self, text: &str) -> PathBuf {
        let path = self.path().join("web.yml");
        fs::write(&path, text).expect("written");
        path
    }

    /// Serves with a web configuration file until the test ends.
    pub(crate) fn serve(&self, text: &str) -> (SocketAddr, Publisher, Arc<Live>) {
        let live = Live::open(&self.web(text)).expect("valid");
        let listener = http::bind("127.0.0.1:0".parse().expect("an address")).expect("a port");
        let address = listener.local_addr().expect("an address");
        let (publisher, feed) = feed::feed();
        publish(&publisher);
        let web: Arc<dyn WebConfig> = Arc::<Live>::clone(&live);
        http::spawn(listener, feed, Vec::new(), Some(web)).expect("a thread");
        (address, publisher, live)
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.authority.pem())
    }
}

/// Publishes a reading that stays fresh.
pub(crate) fn publish(publisher: &Publisher) {
    let exposition = Exposition { snapshot: Arc::new(fake::snapshot()), ..Exposition::default() };
    let due = Instant::now() + Duration::from_secs(600);
    publisher.publish(Reading::now(exposition, due, Duration::from_secs(600)));
}

/// How a client connects.
pub(crate) struct Client {
    roots: RootCertStore,
    identity: Option<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)>,
    versions: Vec<&'static SupportedProtocolVersion>,
    alpn: Vec<Vec<u8>>,
}

impl Client {
    pub(crate) fn new(authority: &str) -> Self {
        let mut roots = RootCertStore::empty();
        let certificate = CertificateDer::from_pem_slice(authority.as_bytes()).expect("PEM");
        roots.add(certificate).expect("an authority");
        Self { roots, identity: None, versions: vec![&TLS13, &TLS12], alpn: Vec::new() }
    }

    pub(crate) fn with(mut self, identity: &Identity) -> Self {
        let chain = CertificateDer::pem_slice_iter(identity.cert.as_bytes());
        let chain = chain.collect::<Result<_, _>>().expect("PEM");
        let key = PrivateKeyDer::from_pem_slice(identity.key.as_bytes()).expect("PEM");
        self.identity = Some((chain, key));
        self
    }

    pub(crate) fn version(mut self, version: &'static SupportedProtocolVersion) -> Self {
        self.versions = vec![version];
        self
    }

    pub(crate) fn http2(mut self) -> Self {
        self.alpn = vec![b"h2".to_vec()];
        self
    }

    pub(crate) fn config(&self) -> Arc<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&self.versions)
            .expect("versions")
            .with_root_certificates(self.roots.clone());
        let mut config = match &self.identity {
            Some((chain, key)) => {
                builder.with_client_auth_cert(chain.clone(), key.clone_key()).expect("an identity")
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols.clone_from(&self.alpn);
        Arc::new(config)
    }

    /// Connects and finishes the handshake.
    pub(crate) fn connect(&self, address: SocketAddr) -> io::Result<Stream> {
        connect(&self.config(), address)
    }

    /// The answer to a request for the metrics, with these credentials.
    pub(crate) fn scrape(
        &self,
        address: SocketAddr,
        credentials: Option<&str>,
    ) -> io::Result<String> {
        let mut stream = self.connect(address)?;
        let field = credentials.map_or_else(String::new, basic);
        ask(&mut stream, &format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{field}\r\n"))
    }
}

/// Connects and finishes the handshake.
pub(crate) fn connect(config: &Arc<ClientConfig>, address: SocketAddr) -> io::Result<Stream> {
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::clone(config), name).expect("a connection");
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut stream = StreamOwned::new(connection, socket);
    while stream.conn.is_handshaking() {
        stream.conn.complete_io(&mut stream.sock)?;
    }
    Ok(stream)
}

/// Sends a request, and reads to the end.
pub(crate) fn ask(stream: &mut Stream, request: &str) -> io::Result<String> {
    stream.write_all(request.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The field of a request with a user and a password.
pub(crate) fn basic(credentials: &str) -> String {
    let encoded = base64(credentials.as_bytes());
    format!("Authorization: Basic {encoded}\r\n")
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let mut word = [0; 4];
        word[1..=chunk.len()].copy_from_slice(chunk);
        let word = u32::from_be_bytes(word);
        for place in 0..4 {
            let digit = DIGITS[(word >> (18 - 6 * place)) as usize & 63] as char;
            text.push(if place <= chunk.len() { digit } else { '=' });
        }
    }
    text
}

/// Waits until `condition` is true.
#[track_caller]
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "{what}: not within a minute");
        thread::sleep(Duration::from_millis(50));
    }
}
