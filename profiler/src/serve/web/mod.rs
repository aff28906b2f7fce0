//! The web configuration file: TLS, client certificates, basic authentication, headers, HTTP/2.
//!
//! The file has the keys of Prometheus's exporter-toolkit. It is read before privileges are
//! dropped, and again when it changes ([`Live`]).

#[cfg(not(feature = "tls"))]
mod absent;
#[cfg(feature = "tls")]
mod answer;
#[cfg(feature = "tls")]
mod clients;
#[cfg(feature = "tls")]
mod duration;
#[cfg(feature = "tls")]
mod file;
#[cfg(feature = "tls")]
mod live;
#[cfg(feature = "tls")]
mod names;
#[cfg(feature = "tls")]
mod rate;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod transport;
#[cfg(feature = "tls")]
mod users;
#[cfg(feature = "tls")]
mod watch;
#[cfg(feature = "tls")]
mod yaml;

use std::{io, path::PathBuf};

#[cfg(not(feature = "tls"))]
pub use self::absent::{Live, Web, check};
#[cfg(feature = "tls")]
pub use self::{
    live::{Live, Web, check},
    transport::Tls,
};
use crate::text::{self, Untrusted};

/// Why a web configuration file cannot be used. No message contains a secret.
#[derive(Debug, thiserror::Error)]
pub enum WebError {
    /// A file cannot be read.
    #[error("cannot read the {what} {}: {source}", text::path(path))]
    Read {
        /// What the file contains: a noun.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
    /// The file has a mistake.
    #[error("{}, line {line}: {what}", text::path(path))]
    Content {
        /// The path of the file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        what: Untrusted,
    },
    /// The certificate, the key or the client CA cannot be used.
    #[error("{}, tls_server_config: {what}", text::path(path))]
    Tls {
        /// The path of the web configuration file.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// The new file would remove protection that the daemon started with.
    #[error(
        "{}: {section} was added or removed; restart the daemon to apply the change",
        text::path(path)
    )]
    NeedsRestart {
        /// The path of the web configuration file.
        path: PathBuf,
        /// The section of the file.
        section: &'static str,
    },
    /// The kernel has no random numbers, or the thread that watches the file cannot start.
    #[error("cannot prepare TLS: {0}")]
    Prepare(io::Error),
    /// The profiler was built without the feature.
    #[error(
        "this profiler was built without the feature `tls`, which the web configuration file requires"
    )]
    NotBuilt,
}
