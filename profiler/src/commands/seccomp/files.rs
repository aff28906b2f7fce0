//! The files of `profiler seccomp`: profiles and observations.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    commands::{destination, error::Error},
    regular_file,
    seccomp::{self, CompileError, Container, Observation, Profile, ProfileError},
    streams::Stream,
    text::{self, Untrusted},
};

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SeccompError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}", text::path(path))]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The file is no profile.
    #[error("{}: {place}: {problem}", text::path(path))]
    Profile {
        /// The path of the file.
        path: PathBuf,
        /// Where the mistake is.
        place: Untrusted,
        /// What is wrong, and what was expected.
        problem: Untrusted,
    },
    /// The profile cannot be enforced here.
    #[error("cannot enforce {}: {problem}", text::path(path))]
    Compile {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong.
        problem: Untrusted,
    },
    /// The file is no observation.
    #[error("{}: this is not an observation of version 1: {problem}", text::path(path))]
    Observation {
        /// The path of the file.
        path: PathBuf,
        /// What is wrong.
        problem: Untrusted,
    },
}

impl SeccompError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Read { .. } => None,
            Self::Compile { .. } => Some(
                "`profiler seccomp check` says what it would deny, without enforcing it".into(),
            ),
            Self::Profile { .. } => Some(
                "a profile is JSON as Docker and OCI define it, or a unit file with \
                 SystemCallFilter="
                    .into(),
            ),
            Self::Observation { .. } => Some(
                "`profiler seccomp generate -o FILE -- COMMAND` writes FILE.observation.json"
                    .into(),
            ),
        }
    }
}

fn read(path: &Path) -> Result<String, SeccompError> {
    regular_file::read(path).map_err(|source| SeccompError::Read { path: path.to_owned(), source })
}

/// Reads a profile, of Docker and OCI or of systemd. Prints a warning for each unknown name.
///
/// # Errors
/// [`SeccompError`].
pub(super) fn profile(path: &Path) -> Result<Profile, Error> {
    let text = read(path)?;
    let failed = |error: ProfileError| SeccompError::Profile {
        path: path.to_owned(),
        place: error.place.into(),
        problem: error.problem.into(),
    };
    let is_json = text.trim_start().starts_with('{');
    let profile = if is_json { seccomp::read_oci(&text) } else { seccomp::read_systemd(&text) };
    let profile = profile.map_err(failed)?;
    for unknown in profile.check().map_err(failed)? {
        let line = format!(
            "profiler: {}: {}: {}; the rule has no effect here\n",
            text::path(path),
            Untrusted::from(unknown.place),
            Untrusted::from(unknown.problem),
        );
        Stream::Error.print(line.as_bytes())?;
    }
    Ok(profile)
}

/// The error of a profile that cannot be enforced here.
pub(super) fn cannot_compile(path: &Path, error: &CompileError) -> SeccompError {
    SeccompError::Compile { path: path.to_owned(), problem: error.to_string().into() }
}

/// The container of the flag `--cap`.
pub(super) fn container(caps: &[String]) -> Container {
    let name = |cap: &String| {
        let upper = cap.to_uppercase();
        if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") }
    };
    Container { caps: caps.iter().map(name).collect() }
}

/// Reads an observation.
///
/// # Errors
/// [`SeccompError`].
pub(super) fn observation(path: &Path) -> Result<Observation, SeccompError> {
    let text = read(path)?;
    let failed = |problem: String| SeccompError::Observation {
        path: path.to_owned(),
        problem: problem.into(),
    };
    let found: Observation = serde_json::from_str(&text).map_err(|e| failed(e.to_string()))?;
    match found.schema {
        1 => Ok(found),
        other => Err(failed(format!("it has version {other}"))),
    }
}

/// An observation as text.
pub(super) fn observation_text(observation: &Observation) -> String {
    // Only maps with keys that are no strings cannot be written.
    let mut text = serde_json::to_string_pretty(observation).unwrap_or_default();
    text.push('\n');
    text
}

/// Prints to a file, or to standard output.
///
/// # Errors
/// [`Error::Output`].
pub(super) fn print(path: Option<&Path>, text: &str) -> Result<(), Error> {
    match path {
        Some(path) if path != Path::new("-") => {
            let mut file = destination::create(path)?;
            io::Write::write_all(&mut file, text.as_bytes()).map_err(|source| {
                Error::Output(crate::streams::OutputError { path: path.to_owned(), source })
            })
        }
        _ => Ok(Stream::Output.print(text.as_bytes())?),
    }
}
