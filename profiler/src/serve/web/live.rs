//! The settings of a web configuration file, and how they are replaced while the daemon serves.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Instant,
};

use axum::{
    Router,
    http::{HeaderName, HeaderValue},
};
use tokio_rustls::rustls::ServerConfig;

use super::{
    file::{File, Pem, TlsSection},
    names::ClientAuth,
    rate::Bucket,
    tls::{self, Pems},
    transport::Tls,
    users::Checker,
    watch::{self, Looked},
};
use crate::{
    regular_file,
    serve::{
        connections,
        sockets::Listeners,
        transport::Plain,
        web_config::{Change, Serving, WebConfig, WebError},
    },
};

/// The settings of a web configuration file.
pub struct Web {
    /// The TLS configuration, if the file asks for TLS.
    pub(super) tls: Option<Arc<ServerConfig>>,
    /// Headers of every response.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    /// User names and bcrypt hashes. If empty, no password is required.
    pub(super) users: Vec<(String, String)>,
    /// Whether a client without a certificate of an authority is refused.
    requires_certificate: bool,
    /// Whether a client without one of certain names in its certificate is refused.
    requires_name: bool,
    /// The rate limit, if there is one.
    pub(super) bucket: Option<Bucket>,
    /// The web configuration file, and the files that it names.
    files: Vec<PathBuf>,
    warnings: Vec<String>,
}

impl Web {
    /// Reads the file at `path`, and the files that it names. Also returns the paths of these
    /// files, as far as they are known.
    pub(super) fn read(path: &Path) -> (Vec<PathBuf>, Result<Self, WebError>) {
        let mut files = vec![path.to_owned()];
        let web = Self::read_noting(path, &mut files);
        (files, web)
    }

    fn read_noting(path: &Path, files: &mut Vec<PathBuf>) -> Result<Self, WebError> {
        let text = read("web configuration file", path)?;
        let file = parse(&text, path)?;
        let mut warnings = Vec::new();
        let mut tls = None;
        if let Some(section) = &file.tls {
            let pems = [Some(&section.cert), Some(&section.key), section.client_ca.as_ref()];
            for pem in pems.into_iter().flatten() {
                if let Pem::File(path) = pem {
                    files.push(path.clone());
                }
            }
            let pems = Pems {
                cert: pem("certificate", &section.cert)?,
                key: pem("private key", &section.key)?,
                client_ca: section.client_ca.as_ref().map(|ca| pem("client CA", ca)).transpose()?,
            };
            let config = tls::server_config(section, &pems, file.http2, &mut warnings)
                .map_err(|what| WebError::Tls { path: path.to_owned(), what })?;
            tls = Some(Arc::new(config));
        }
        if tls.is_none() && !file.users.is_empty() {
            warnings.push(
                "basic_auth_users without tls_server_config: passwords cross the network in clear \
                 text"
                    .into(),
            );
        }
        let requires = |what: fn(&TlsSection) -> bool| file.tls.as_ref().is_some_and(what);
        Ok(Self {
            tls,
            requires_certificate: requires(|tls| tls.client_auth == ClientAuth::RequireAndVerify),
            requires_name: requires(|tls| tls.client_allowed_sans.is_some()),
            headers: file.headers,
            users: file.users,
            bucket: file.rate.map(|rate| Bucket::new(rate, Instant::now())),
            files: files.clone(),
            warnings,
        })
    }

    /// Warnings for the operator.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

fn read(what: &'static str, path: &Path) -> Result<String, WebError> {
    let failed = |source| WebError::Read { what, path: path.to_owned(), source };
    regular_file::read(path).map_err(failed)
}

fn pem(what: &'static str, pem: &Pem) -> Result<String, WebError> {
    match pem {
        Pem::Inline(text) => Ok(text.clone()),
        Pem::File(path) => read(what, path),
    }
}

/// Checks `text` as a web configuration file at `path`, without the files that it names.
///
/// # Errors
/// [`WebError::Content`] with the line of the mistake.
pub fn check(text: &str, path: &Path) -> Result<(), WebError> {
    parse(text, path).map(drop)
}

fn parse(text: &str, path: &Path) -> Result<File, WebError> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::parse(text, directory).map_err(|mistake| WebError::Content {
        path: path.to_owned(),
        line: mistake.line,
        what: mistake.what.into_owned().into(),
    })
}

/// The settings in effect. Replacing them affects the next connection and the next request.
pub struct Live {
    path: PathBuf,
    current: RwLock<Arc<Web>>,
    /// Checks passwords.
    pub(super) checker: Arc<Checker>,
    /// The files at the start, for the thread that watches them.
    opened: Mutex<Option<Looked>>,
    /// Whether the last change could not be applied.
    failed: AtomicBool,
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The rest has secrets.
        f.debug_struct("Live").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Live {
    /// Reads the file at `path`, and the files that it names.
    ///
    /// # Errors
    /// [`WebError`] if a file cannot be read or used.
    pub fn open(path: &Path) -> Result<Arc<Self>, WebError> {
        let (opened, web) = watch::read(path, Vec::new());
        let checker = Checker::new().map_err(|error| {
            WebError::Prepare(io::Error::other(format!("no random numbers: {error}")))
        })?;
        Ok(Arc::new(Self {
            path: path.to_owned(),
            current: RwLock::new(Arc::new(web?)),
            checker: Arc::new(checker),
            opened: Mutex::new(Some(opened)),
            failed: AtomicBool::new(false),
        }))
    }

    /// Reads the files again, and changes nothing.
    ///
    /// # Errors
    /// [`WebError`] if a file cannot be read or used.
    pub fn read(&self) -> Result<Web, WebError> {
        Web::read(&self.path).1
    }

    /// Replaces the settings.
    ///
    /// # Errors
    /// [`WebError::NeedsRestart`] if TLS is switched on or off, or if passwords, certificates or
    /// names in certificates would no longer be required: a file that was cut off or emptied by
    /// mistake must not remove protection. The old settings then stay in effect.
    pub fn replace(&self, new: Web) -> Result<(), WebError> {
        let old = self.current();
        let needs_restart = |section| WebError::NeedsRestart { path: self.path.clone(), section };
        if new.tls.is_some() != old.tls.is_some() {
            return Err(needs_restart("tls_server_config"));
        }
        if new.users.is_empty() && !old.users.is_empty() {
            return Err(needs_restart("basic_auth_users"));
        }
        if old.requires_certificate && !new.requires_certificate {
            return Err(needs_restart("client_auth_type: RequireAndVerifyClientCert"));
        }
        if old.requires_name && !new.requires_name {
            return Err(needs_restart("client_allowed_sans"));
        }
        self.failed.store(false, Relaxed);
        self.checker.retain(&new.users);
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(())
    }

    /// Notes that a change of the files could not be applied.
    pub(super) fn fail(&self) {
        self.failed.store(true, Relaxed);
    }

    /// The files at the start. `None` the second time.
    pub(super) fn take_opened(&self) -> Option<Looked> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The settings in effect.
    pub(super) fn current(&self) -> Arc<Web> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The path of the web configuration file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl WebConfig for Live {
    fn serve(self: Arc<Self>, listeners: Listeners, router: Router) -> Serving {
        let router = self.protect(router);
        Box::pin(async move {
            if self.is_tls() {
                connections::serve(listeners, Tls(self), router).await
            } else {
                connections::serve(listeners, Plain, router).await
            }
        })
    }

    fn read_again(self: Arc<Self>) -> Result<Change, WebError> {
        let new = self.read()?;
        Ok(Change::new(new.warnings.clone(), move || self.replace(new)))
    }

    fn begin_watch(self: Arc<Self>) -> Result<(), WebError> {
        self.watch()
    }

    fn has_failed(&self) -> bool {
        self.failed.load(Relaxed)
    }

    fn warnings(&self) -> Vec<String> {
        self.current().warnings.clone()
    }

    fn is_tls(&self) -> bool {
        self.current().tls.is_some()
    }

    fn authenticates(&self) -> bool {
        let web = self.current();
        !web.users.is_empty() || web.requires_certificate
    }

    fn files(&self) -> Vec<PathBuf> {
        self.current().files.clone()
    }
}
