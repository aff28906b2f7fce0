//! Reads TOML files. Errors have the line and the key.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    regular_file,
    text::{self, Untrusted},
};

/// Why a TOML file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TomlFileError {
    /// The file cannot be read.
    #[error("cannot read the {what} {}: {source}", text::path(path))]
    Read {
        /// What the file contains: a noun.
        what: &'static str,
        /// The path of the file.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The file is not TOML, or has a key or a value that is not valid.
    #[error("{place}: {message}")]
    Content {
        /// Where the mistake is.
        place: Place,
        /// What is wrong, and what was expected.
        message: Untrusted,
    },
}

impl TomlFileError {
    /// The error of a parser, for `text` from the file at `path`.
    pub fn content(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        Self::Content {
            place: Place::new(path, text, error),
            message: error.message().trim_end().replace('\n', ", ").into(),
        }
    }

    /// Whether there is no such file.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// Reads the text of the file at `path`. `what` is a noun for the content, for errors.
///
/// # Errors
/// [`TomlFileError::Read`] if the path is not a regular file of bounded size with UTF-8 text.
pub fn read(what: &'static str, path: &Path) -> Result<String, TomlFileError> {
    regular_file::read(path).map_err(|source| {
        let path = path.to_owned();
        TomlFileError::Read { what, path, source }
    })
}

/// A place in a TOML file.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Line number from 1. `None` if the parser does not report the place.
    line: Option<usize>,
    /// The key: the text before the `=` of the line.
    key: Option<Untrusted>,
}

impl Place {
    fn new(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map(|span| span.start.min(text.len()));
        let before = start.and_then(|start| text.get(..start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let key = line
            .and_then(|line| text.lines().nth(line - 1))
            .and_then(|line| line.split_once('='))
            .map(|(key, _)| key.trim())
            .filter(|key| !key.is_empty() && !key.starts_with('#'))
            .map(Untrusted::from);
        Self { path: path.to_owned(), line, key }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", text::path(&self.path))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        match &self.key {
            Some(key) => write!(f, ", {key}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> TomlFileError {
        let error = toml::from_str::<toml::Table>(text).expect_err("a mistake");
        TomlFileError::content(Path::new("/etc/x.toml"), text, &error)
    }

    #[test]
    fn a_mistake_has_its_line_and_its_key() {
        let message = parse("a = 1\nkey = oops\n").to_string();
        assert!(message.starts_with("/etc/x.toml, line 2, key: "), "{message}");
        let message = parse("a = 1\n# b = 2\n]\n").to_string();
        assert!(message.starts_with("/etc/x.toml, line 3: "), "{message}");
    }

    #[test]
    fn a_missing_file_is_told_from_others() {
        let directory = tempfile::tempdir().expect("a directory");
        let missing = read("budget", &directory.path().join("none")).expect_err("no file");
        assert!(missing.is_missing());
        assert!(missing.to_string().starts_with("cannot read the budget "), "{missing}");
        assert!(!read("budget", directory.path()).expect_err("a directory").is_missing());
        assert!(!parse("=").is_missing());
    }
}
