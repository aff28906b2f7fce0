//! Stands in for the web configuration file if the profiler is built without the feature `tls`.

use std::{convert::Infallible, path::Path, sync::Arc};

use super::WebError;

/// The settings of a web configuration file, of which there is none.
pub struct Web(Infallible);

impl Web {
    /// What the operator should know.
    pub fn warnings(&self) -> &[String] {
        match self.0 {}
    }
}

/// Refuses the file.
///
/// # Errors
/// Always [`WebError::NotBuilt`].
pub fn check(_text: &str, _path: &Path) -> Result<(), WebError> {
    Err(WebError::NotBuilt)
}

/// The settings in effect, of which there are none.
#[derive(Debug)]
pub struct Live(Infallible);

impl Live {
    /// Refuses the file.
    ///
    /// # Errors
    /// Always [`WebError::NotBuilt`].
    pub fn open(_path: &Path) -> Result<Arc<Self>, WebError> {
        Err(WebError::NotBuilt)
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn read(&self) -> Result<Web, WebError> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn replace(&self, _new: Web) -> Result<(), WebError> {
        match self.0 {}
    }

    /// Never called.
    ///
    /// # Errors
    /// None.
    pub fn watch(self: &Arc<Self>) -> Result<(), WebError> {
        match self.0 {}
    }

    /// Never called.
    pub fn warnings(&self) -> Vec<String> {
        match self.0 {}
    }

    /// Never called.
    pub fn is_tls(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    pub fn authenticates(&self) -> bool {
        match self.0 {}
    }

    /// Never called.
    pub fn files(&self) -> Vec<std::path::PathBuf> {
        match self.0 {}
    }

    /// Never called.
    pub fn protect(self: &Arc<Self>, _router: axum::Router) -> axum::Router {
        match self.0 {}
    }
}
