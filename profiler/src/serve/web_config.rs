//! The web configuration file, as the daemon uses it: who may connect, and how.
//!
//! The module `web` implements it. The feature `tls` decides whether that module is compiled.

use std::{convert::Infallible, fmt, io, path::PathBuf, pin::Pin, sync::Arc};

use axum::Router;

use super::sockets::Listeners;
use crate::text::{self, Untrusted};

#[cfg(feature = "tls")]
pub use super::web::open;

/// Refuses the file, because this build cannot use it.
///
/// # Errors
/// Always [`WebError::NotBuilt`].
#[cfg(not(feature = "tls"))]
pub fn open(_path: &std::path::Path) -> Result<Arc<dyn WebConfig>, WebError> {
    Err(WebError::NotBuilt)
}

/// Serves for as long as it is polled.
pub type Serving = Pin<Box<dyn Future<Output = Infallible>>>;

/// The settings of a web configuration file, which can change while the daemon serves.
pub trait WebConfig: fmt::Debug + Send + Sync {
    /// Answers requests by `router`, with the settings in effect.
    fn serve(self: Arc<Self>, listeners: Listeners, router: Router) -> Serving;

    /// Reads the files again. The settings in effect stay the same until the change is applied.
    ///
    /// # Errors
    /// [`WebError`] if a file cannot be read or used.
    fn read_again(self: Arc<Self>) -> Result<Change, WebError>;

    /// Applies changes of the files on a thread of its own. If a new file is not valid, the old
    /// settings stay in effect, and the log says why.
    ///
    /// # Errors
    /// [`WebError::Prepare`] if the thread cannot start.
    fn begin_watch(self: Arc<Self>) -> Result<(), WebError>;

    /// Whether files have changed, and the change could not be applied.
    fn has_failed(&self) -> bool;

    /// Returns warnings for the operator.
    fn warnings(&self) -> Vec<String>;

    /// Whether clients have to use TLS.
    fn is_tls(&self) -> bool;

    /// Whether clients need a password, or a certificate of an authority.
    fn authenticates(&self) -> bool;

    /// Returns the paths of the web configuration file and of the files that it names.
    fn files(&self) -> Vec<PathBuf>;
}

/// Settings that were read again, and are not in effect yet.
pub struct Change {
    warnings: Vec<String>,
    apply: Box<dyn FnOnce() -> Result<(), WebError> + Send>,
}

impl Change {
    /// A change that `apply` puts into effect. `warnings` are for the operator.
    pub fn new(
        warnings: Vec<String>,
        apply: impl FnOnce() -> Result<(), WebError> + Send + 'static,
    ) -> Self {
        Self { warnings, apply: Box::new(apply) }
    }

    /// Puts the settings into effect. Returns warnings for the operator.
    ///
    /// # Errors
    /// [`WebError::NeedsRestart`]. The old settings then stay in effect.
    pub fn apply(self) -> Result<Vec<String>, WebError> {
        (self.apply)()?;
        Ok(self.warnings)
    }
}

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
