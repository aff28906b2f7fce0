//! The content of a web configuration file, with the keys of Prometheus's exporter-toolkit.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use axum::http::{HeaderName, HeaderValue, header};
use bcrypt::HashParts;

use super::{
    duration,
    names::{self, ClientAuth, Versions},
    yaml::{self, Map, Mistake, Node},
};

/// Headers that the file may set, and the values of those that have a list of them.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY, &[]),
    ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY, &[]),
    ("X-Content-Type-Options", header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-Frame-Options", header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-XSS-Protection", header::X_XSS_PROTECTION, &[]),
];

/// A web configuration file. It has secrets, and so no `Debug`.
pub(super) struct File {
    /// TLS, if any key asks for it.
    pub(super) tls: Option<TlsSection>,
    /// Whether HTTP/2 is offered.
    pub(super) http2: bool,
    /// Headers of every response.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// User names and bcrypt hashes.
    pub(super) users: Vec<(String, String)>,
    /// Limit of requests, if there is one.
    pub(super) rate: Option<Rate>,
}

/// PEM text, or the file that contains it.
pub(super) enum Pem {
    /// The text.
    Inline(String),
    /// The path of the file.
    File(PathBuf),
}

/// `tls_server_config`.
pub(super) struct TlsSection {
    /// The certificate chain of the server.
    pub(super) cert: Pem,
    /// The private key of the server.
    pub(super) key: Pem,
    /// The authorities that sign certificates of clients.
    pub(super) client_ca: Option<Pem>,
    /// Whether clients need a certificate.
    pub(super) client_auth: ClientAuth,
    /// Names of which the certificate of a client must have one.
    pub(super) client_allowed_sans: Option<Vec<String>>,
    /// Protocol versions.
    pub(super) versions: Versions,
    /// Names of cipher suites for TLS 1.2. If empty, all that are supported.
    pub(super) cipher_suites: Vec<String>,
    /// Names of curves, the most preferred first. If empty, all that are supported.
    pub(super) curves: Vec<String>,
    /// Whether the order of the server decides.
    pub(super) prefer_server_order: bool,
}

/// `rate_limit`: a token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rate {
    /// Time between two requests.
    pub(super) interval: Duration,
    /// Most requests at once.
    pub(super) burst: u32,
}

impl File {
    /// Reads `text`. Relative paths in the file start at `directory`.
    pub(super) fn parse(text: &str, directory: &Path) -> Result<Self, Mistake> {
        let mut file =
            Self { tls: None, http2: true, headers: Vec::new(), users: Vec::new(), rate: None };
        for (key, node) in yaml::read(text)?.into_entries() {
            let line = node.line;
            let Some(node) = node.given() else {
                known(&key, &SECTIONS, line)?;
                continue;
            };
            match key.as_str() {
                "tls_server_config" => file.tls = tls_section(node, directory)?,
                "http_server_config" => file.http_section(node.into_map()?)?,
                "basic_auth_users" => file.users = users(node.into_map()?)?,
                "rate_limit" => file.rate = rate(node.into_map()?)?,
                _ => known(&key, &SECTIONS, line)?,
            }
        }
        Ok(file)
    }

    fn http_section(&mut self, section: Map) -> Result<(), Mistake> {
        const KEYS: [&str; 2] = ["headers", "http2"];
        for (key, node) in section.into_entries() {
            let line = node.line;
            known(&key, &KEYS, line)?;
            let Some(node) = node.given() else {
                // As in exporter-toolkit: null is the zero value, and not the default.
                self.http2 &= key != "http2";
                continue;
            };
            match key.as_str() {
                "http2" => self.http2 = node.as_bool()?,
                _ => self.headers = headers(node.into_map()?)?,
            }
        }
        Ok(())
    }
}

const SECTIONS: [&str; 4] =
    ["basic_auth_users", "http_server_config", "rate_limit", "tls_server_config"];

/// Checks that `key` is one of `keys`.
fn known(key: &str, keys: &[&str], line: usize) -> Result<(), Mistake> {
    if keys.contains(&key) {
        return Ok(());
    }
    let (key, keys) = (names::shown(key), keys.join(", "));
    Err(Mistake::new(line, format!("unknown key{key}: expected one of {keys}")))
}

fn headers(section: Map) -> Result<Vec<(HeaderName, HeaderValue)>, Mistake> {
    let mut headers = Vec::new();
    for (key, node) in section.into_entries() {
        let line = node.line;
        let Some((_, name, values)) = HEADERS.into_iter().find(|(name, ..)| *name == key) else {
            let (key, names) = (names::shown(&key), HEADERS.map(|(name, ..)| name).join(", "));
            let what = format!("the header{key} cannot be set: expected one of {names}");
            return Err(Mistake::new(line, what));
        };
        let text = node.given().map_or_else(|| Ok(String::new()), Node::into_text)?;
        if !values.is_empty() && !values.contains(&text.as_str()) {
            let what = format!("invalid value of {key}: expected {}", values.join(" or "));
            return Err(Mistake::new(line, what));
        }
        let value = HeaderValue::from_str(&text).map_err(|_| {
            Mistake::new(line, format!("the value of {key} has control characters"))
        })?;
        if !text.is_empty() {
            headers.push((name, value));
        }
    }
    Ok(headers)
}

fn users(section: Map) -> Result<Vec<(String, String)>, Mistake> {
    let user = |(name, node): (String, Node)| {
        let line = node.line;
        let hash = node.into_text()?;
        // Go's bcrypt has the same bounds.
        let is_valid =
            hash.parse::<HashParts>().is_ok_and(|hash| (4..=31).contains(&hash.get_cost()));
        if is_valid {
            return Ok((name, hash));
        }
        const WHAT: &str = "the password is not a bcrypt hash: expected the hash that \
                            `htpasswd -nBC 10 USER` prints";
        Err(Mistake::new(line, WHAT))
    };
    section.into_entries().into_iter().map(user).collect()
}

fn rate(section: Map) -> Result<Option<Rate>, Mistake> {
    let (mut interval, mut burst) = (0, 0);
    for (key, node) in section.into_entries() {
        let line = node.line;
        known(&key, &["burst", "interval"], line)?;
        let Some(node) = node.given() else { continue };
        let number = node.as_int();
        if key == "burst" {
            burst = number.ok_or_else(|| Mistake::new(line, "expected a whole number"))?;
        } else {
            let parsed = number.or_else(|| duration::parse(&node.into_text().ok()?));
            interval = parsed.ok_or_else(|| {
                Mistake::new(line, "expected a duration, for example 1s or 500ms")
            })?;
        }
    }
    // As in Go's rate.Every, a negative interval is no limit.
    let interval = u64::try_from(interval).unwrap_or(0);
    let burst = u32::try_from(burst.max(0)).unwrap_or(u32::MAX);
    Ok((interval > 0).then_some(Rate { interval: Duration::from_nanos(interval), burst }))
}

/// The section as it is in the file, before it is known whether it asks for TLS at all.
#[derive(Default)]
struct RawTls {
    inline: [String; 3],
    files: [String; 3],
    client_auth: Option<(usize, String)>,
    sans: Option<Vec<String>>,
    versions: Versions,
    cipher_suites: Vec<String>,
    curves: Vec<String>,
    prefer_client_order: bool,
}

const TLS_KEYS: [&str; 13] = [
    "cert",
    "cert_file",
    "cipher_suites",
    "client_allowed_sans",
    "client_auth_type",
    "client_ca",
    "client_ca_file",
    "curve_preferences",
    "key",
    "key_file",
    "max_version",
    "min_version",
    "prefer_server_cipher_suites",
];

fn tls_section(section: Node, directory: &Path) -> Result<Option<TlsSection>, Mistake> {
    let start = section.line;
    let mut raw = RawTls::default();
    for (key, node) in section.into_map()?.into_entries() {
        let line = node.line;
        known(&key, &TLS_KEYS, line)?;
        if let Some(node) = node.given() {
            raw.set(&key, node)?;
        } else if key == "prefer_server_cipher_suites" {
            raw.prefer_client_order = true;
        }
    }
    raw.finish(start, directory)
}

impl RawTls {
    fn set(&mut self, key: &str, node: Node) -> Result<(), Mistake> {
        const PEMS: [&str; 3] = ["cert", "key", "client_ca"];
        const FILES: [&str; 3] = ["cert_file", "key_file", "client_ca_file"];
        let line = node.line;
        if let Some(at) = PEMS.iter().position(|pem| *pem == key) {
            self.inline[at] = node.into_text()?;
            return Ok(());
        }
        if let Some(at) = FILES.iter().position(|file| *file == key) {
            self.files[at] = node.into_text()?;
            return Ok(());
        }
        match key {
            "client_auth_type" => self.client_auth = Some((line, node.into_text()?)),
            "client_allowed_sans" => self.sans = Some(texts(node)?),
            "cipher_suites" => self.cipher_suites = named(node, names::check_suite)?,
            "curve_preferences" => self.curves = named(node, names::check_curve)?,
            "min_version" => self.versions.min = Some(version(node)?),
            "max_version" => self.versions.max = Some(version(node)?),
            _ => self.prefer_client_order = !node.as_bool()?,
        }
        Ok(())
    }

    fn finish(self, line: usize, directory: &Path) -> Result<Option<TlsSection>, Mistake> {
        let client_auth = match &self.client_auth {
            Some((line, text)) => text.parse().map_err(|what| Mistake::new(*line, what))?,
            None => ClientAuth::default(),
        };
        let is_asked_for = self.inline.iter().chain(&self.files).any(|text| !text.is_empty())
            || self.client_auth.is_some_and(|(_, text)| !text.is_empty());
        if !is_asked_for {
            return Ok(None);
        }
        let [cert, key, client_ca] = self.inline;
        let [cert_file, key_file, client_ca_file] = self.files;
        let pem = |file: String, inline: String| match (file.is_empty(), inline.is_empty()) {
            // As in exporter-toolkit, the file has precedence.
            (false, _) => Some(Pem::File(directory.join(file))),
            (true, false) => Some(Pem::Inline(inline)),
            (true, true) => None,
        };
        let missing = |what| move || Mistake::new(line, what);
        let section = TlsSection {
            cert: pem(cert_file, cert).ok_or_else(missing("missing one of cert or cert_file"))?,
            key: pem(key_file, key).ok_or_else(missing("missing one of key or key_file"))?,
            client_ca: pem(client_ca_file, client_ca),
            client_auth,
            client_allowed_sans: self.sans,
            versions: self.versions,
            cipher_suites: self.cipher_suites,
            curves: self.curves,
            prefer_server_order: !self.prefer_client_order,
        };
        if section.client_ca.is_some() && client_auth == ClientAuth::None {
            const WHAT: &str =
                "a client CA requires a client_auth_type, for example RequireAndVerifyClientCert";
            return Err(Mistake::new(line, WHAT));
        }
        if section.client_allowed_sans.is_some() && client_auth == ClientAuth::None {
            const WHAT: &str = "client_allowed_sans has no effect without a client_auth_type: expected RequireAndVerifyClientCert";
            return Err(Mistake::new(line, WHAT));
        }
        section.versions.check().map_err(|what| Mistake::new(line, what))?;
        Ok(Some(section))
    }
}

fn texts(node: Node) -> Result<Vec<String>, Mistake> {
    node.into_list()?.into_iter().map(Node::into_text).collect()
}

fn named(node: Node, check: fn(&str) -> Result<(), String>) -> Result<Vec<String>, Mistake> {
    let name = |node: Node| {
        let line = node.line;
        let text = node.into_text()?;
        check(&text).map_err(|what| Mistake::new(line, what))?;
        Ok(text)
    };
    node.into_list()?.into_iter().map(name).collect()
}

fn version(node: Node) -> Result<names::Version, Mistake> {
    let line = node.line;
    node.into_text()?.parse().map_err(|what| Mistake::new(line, what))
}
