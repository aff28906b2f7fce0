//! Reads facts about syscalls from their sources. Copies only facts, and no text.

mod docker;
mod io_uring;
mod linux;
mod man;
mod strace;
mod systemd;
mod tracefs;

use std::path::Path;

use anyhow::{Context, Result};

/// A source of facts.
#[derive(clap::ValueEnum, Clone, Copy, Debug)]
pub(super) enum Source {
    /// Names and types of arguments: tracefs of the running kernel, as root
    Tracefs,
    /// Numbers, and arguments that tracefs lacks: the source of Linux
    Linux,
    /// Classes: the filters that the installed strace(1) gives to the kernel
    Strace,
    /// Groups: the installed systemd-analyze(1)
    Systemd,
    /// Docker's default seccomp profile
    Docker,
    /// Opcodes of io_uring: the types of the running kernel
    IoUring,
    /// Numbers of constants: the installed C headers, by the C compiler
    Constants,
    /// Pages, documented errnos, and first versions: the installed man-pages
    Man,
}

/// The path and the version of a source that has no usual place on this machine.
#[derive(Default)]
pub(super) struct Place<'a> {
    pub(super) from: Option<&'a Path>,
    pub(super) edition: Option<&'a str>,
}

impl Place<'_> {
    fn from(&self) -> Result<&Path> {
        self.from.context("missing --from: the path of the source")
    }
}

impl Source {
    /// Sources that need neither `--from` nor `--edition`.
    pub(super) const ON_THIS_MACHINE: [Self; 6] =
        [Self::Tracefs, Self::IoUring, Self::Strace, Self::Systemd, Self::Constants, Self::Man];

    /// Reads the source. Returns facts files: their names without extension, and their texts.
    pub(super) fn read(self, place: &Place<'_>) -> Result<Vec<(&'static str, String)>> {
        match self {
            Self::Tracefs => Ok(vec![("tracefs", tracefs::read()?)]),
            Self::IoUring => Ok(vec![("opcodes", io_uring::read()?)]),
            Self::Linux => linux::read(place.from()?),
            Self::Strace => Ok(vec![("strace", strace::read()?)]),
            Self::Systemd => Ok(vec![("systemd", systemd::read()?)]),
            Self::Docker => {
                let edition =
                    place.edition.context("missing --edition: the version of the source")?;
                Ok(vec![("docker", docker::read(place.from()?, edition)?)])
            }
            Self::Constants => Ok(vec![("constants", super::constants::read()?)]),
            Self::Man => man::read(),
        }
    }
}

/// Splits `const char * name` or `const char *name` into type and name.
pub(super) fn type_and_name(declaration: &str) -> (String, String) {
    let at = declaration.rfind([' ', '*']).map_or(0, |at| at + 1);
    let (kind, name) = declaration.split_at(at);
    (tidy_type(kind), name.to_owned())
}

/// Formats a C type with one space between words, and without `__user`, which only the kernel's
/// checkers read.
fn tidy_type(kind: &str) -> String {
    let kind = kind.replace('*', " * ").replace("__user", " ");
    let words: Vec<_> = kind.split_whitespace().collect();
    words.join(" ").replace("* *", "**")
}

/// Formats a line of a file of signatures.
fn signature(entry: &str, arguments: &[(String, String)]) -> String {
    let arguments: Vec<_> = arguments.iter().map(|(kind, name)| format!("{kind} {name}")).collect();
    format!("{entry}: {}", arguments.join(", ")).trim_end().to_owned()
}
