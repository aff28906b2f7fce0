//! The names that a web configuration file has for versions, cipher suites and curves: those of
//! Go's crypto/tls. rustls supports the modern ones.

use std::str::FromStr;

use tokio_rustls::rustls::{
    CipherSuite, NamedGroup, SupportedProtocolVersion,
    version::{TLS12, TLS13},
};

/// A protocol version that the file can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    /// TLS 1.0, which the daemon never offers.
    Tls10,
    /// TLS 1.1, which the daemon never offers.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "TLS10" => Self::Tls10,
            "TLS11" => Self::Tls11,
            "TLS12" => Self::Tls12,
            "TLS13" => Self::Tls13,
            _ => return Err(unknown("TLS version", text, "TLS12 or TLS13")),
        })
    }
}

/// The lowest and the highest version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Versions {
    /// The lowest, TLS 1.2 by default.
    pub(super) min: Option<Version>,
    /// The highest, TLS 1.3 by default.
    pub(super) max: Option<Version>,
}

impl Versions {
    /// The versions to offer.
    pub(super) fn offered(self) -> Vec<&'static SupportedProtocolVersion> {
        let all = [(Version::Tls13, &TLS13), (Version::Tls12, &TLS12)];
        let (min, max) = (self.min.unwrap_or(Version::Tls12), self.max.unwrap_or(Version::Tls13));
        all.into_iter()
            .filter(|(v, _)| (min..=max).contains(v))
            .map(|(_, offered)| offered)
            .collect()
    }

    /// Checks that some version is left.
    pub(super) fn check(self) -> Result<(), &'static str> {
        let (min, max) = (self.min.unwrap_or(Version::Tls12), self.max.unwrap_or(Version::Tls13));
        if max < Version::Tls12 {
            return Err("max_version excludes every supported version: expected TLS12 or TLS13");
        }
        if min > max {
            return Err("min_version is above max_version, so no client could connect");
        }
        Ok(())
    }

    /// Whether the file allows versions that the daemon does not offer.
    pub(super) fn allow_old(self) -> bool {
        self.min.is_some_and(|min| min < Version::Tls12)
    }
}

/// `client_auth_type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ClientAuth {
    /// No certificate is requested.
    #[default]
    None,
    /// A certificate is requested, and neither required nor verified.
    Request,
    /// A certificate is required, and not verified.
    RequireAny,
    /// A certificate is verified if the client has one.
    VerifyIfGiven,
    /// A certificate is required and verified.
    RequireAndVerify,
}

impl FromStr for ClientAuth {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "" | "NoClientCert" => Self::None,
            "RequestClientCert" => Self::Request,
            "RequireAnyClientCert" | "RequireClientCert" => Self::RequireAny,
            "VerifyClientCertIfGiven" => Self::VerifyIfGiven,
            "RequireAndVerifyClientCert" => Self::RequireAndVerify,
            _ => {
                let expected = "NoClientCert, RequestClientCert, RequireAnyClientCert, \
                                VerifyClientCertIfGiven or RequireAndVerifyClientCert";
                return Err(unknown("client_auth_type", text, expected));
            }
        })
    }
}

/// Cipher suites of Go, and those of rustls. The others use CBC or have no forward secrecy.
const SUITES: [(&str, Option<CipherSuite>); 17] = [
    (
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384),
    ),
    (
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    (
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        Some(CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256),
    ),
    ("TLS_AES_128_GCM_SHA256", Some(CipherSuite::TLS13_AES_128_GCM_SHA256)),
    ("TLS_AES_256_GCM_SHA384", Some(CipherSuite::TLS13_AES_256_GCM_SHA384)),
    ("TLS_CHACHA20_POLY1305_SHA256", Some(CipherSuite::TLS13_CHACHA20_POLY1305_SHA256)),
    ("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_128_GCM_SHA256", None),
    ("TLS_RSA_WITH_AES_256_GCM_SHA384", None),
    ("TLS_RSA_WITH_AES_128_CBC_SHA", None),
    ("TLS_RSA_WITH_AES_256_CBC_SHA", None),
];

/// Curves of Go, and those of ring, which has no P-521.
const CURVES: [(&str, Option<NamedGroup>); 4] = [
    ("X25519", Some(NamedGroup::X25519)),
    ("CurveP256", Some(NamedGroup::secp256r1)),
    ("CurveP384", Some(NamedGroup::secp384r1)),
    ("CurveP521", None),
];

/// Checks that Go has a cipher suite of this name.
pub(super) fn check_suite(name: &str) -> Result<(), String> {
    let expected = "a name such as TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256";
    find(&SUITES, name).map(drop).ok_or_else(|| unknown("cipher suite", name, expected))
}

/// Checks that exporter-toolkit has a curve of this name.
pub(super) fn check_curve(name: &str) -> Result<(), String> {
    let expected = CURVES.map(|(name, _)| name).join(", ");
    find(&CURVES, name).map(drop).ok_or_else(|| unknown("curve", name, &expected))
}

/// The cipher suite of this name, if rustls has it.
pub(super) fn suite(name: &str) -> Option<CipherSuite> {
    find(&SUITES, name).flatten()
}

/// The curve of this name, if ring has it.
pub(super) fn curve(name: &str) -> Option<NamedGroup> {
    find(&CURVES, name).flatten()
}

fn find<T: Copy>(table: &[(&str, Option<T>)], name: &str) -> Option<Option<T>> {
    table.iter().find(|(known, _)| *known == name).map(|&(_, ours)| ours)
}

fn unknown(what: &str, text: &str, expected: &str) -> String {
    format!("unknown {what}{}: expected {expected}", shown(text))
}

/// A word of the file, with a space before it, or nothing if the text is not a plain word: a secret
/// that is in the wrong place must not appear in messages.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 48;
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if text.is_empty() || text.len() > LONGEST || !text.bytes().all(is_word) {
        return String::new();
    }
    format!(" {text}")
}
