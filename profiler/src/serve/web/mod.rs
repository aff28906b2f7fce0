//! Implements [`WebConfig`]: TLS, client certificates, basic authentication, headers, HTTP/2.
//!
//! The file has the keys of Prometheus's exporter-toolkit. It is read before privileges are
//! dropped, and again when it changes ([`Live`]).

mod answer;
mod clients;
mod duration;
mod file;
mod http2;
mod live;
mod names;
mod rate;
mod tls;
mod transport;
mod users;
mod watch;
mod yaml;

use std::{path::Path, sync::Arc};

use super::web_config::{WebConfig, WebError};

pub use self::{
    live::{Live, Web, check},
    transport::Tls,
};

/// Reads the web configuration file at `path`, and the files that it names.
///
/// # Errors
/// [`WebError`] if a file cannot be read or used.
pub fn open(path: &Path) -> Result<Arc<dyn WebConfig>, WebError> {
    Ok(Live::open(path)?)
}
