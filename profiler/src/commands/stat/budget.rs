//! The flags `--budget` and `--write-budget`: checks a run, and writes a budget.

use std::{
    fs::File,
    io::Write as _,
    path::{Path, PathBuf},
};

use crate::{
    budget::{Budget, Doubt, Margin, Verdict},
    commands::{
        cli::StatArgs,
        error::Error,
        toml_file::{self, TomlFileError},
    },
    filter::Filter,
    model::{Snapshot, Timed},
    present::budget,
    streams::{OutputError, Stream},
    text::{self, Untrusted},
};

/// The exit code of a run that is not within its budget.
pub(super) const EXCEEDED: u8 = 10;

/// Why a budget cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum BudgetError {
    /// The file cannot be used.
    #[error(transparent)]
    Toml(#[from] TomlFileError),
    /// The budget limits a syscall that the filters exclude.
    #[error("the budget limits {pattern}, which the filters exclude")]
    LeftOut {
        /// The syscall, as the budget names it.
        pattern: String,
    },
    /// The budget limits times, and no call is timed.
    #[error("the budget limits times, but --no-latency does not measure times")]
    Untimed,
}

impl BudgetError {
    /// What the user can do.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Toml(error) if error.is_missing() => {
                Some("`profiler stat --write-budget FILE -- COMMAND` writes one".into())
            }
            Self::Toml(TomlFileError::Read { .. }) => None,
            Self::Toml(TomlFileError::Content { .. }) => {
                Some("`profiler stat --help` lists the keys of a budget".into())
            }
            Self::LeftOut { .. } => Some("remove the limit from the budget, or change the filters --syscall and --exclude-syscall".into()),
            Self::Untimed => Some("remove the time limits from the budget, or omit --no-latency".into()),
        }
    }
}

/// The budgets of a run.
#[derive(Default)]
pub(super) struct Budgets {
    check: Option<(PathBuf, Budget)>,
    write: Option<(PathBuf, File, Option<Margin>)>,
}

impl Budgets {
    /// Reads the budget to check, and opens the file to write, so that neither fails after a
    /// long run.
    ///
    /// # Errors
    /// [`Error::Budget`], and [`Error::Output`] if the file cannot be written.
    pub(super) fn open(args: &StatArgs, filter: &Filter, timed: Timed) -> Result<Self, Error> {
        let check = match &args.budget.budget {
            Some(path) => Some((path.clone(), read(path, filter, timed)?)),
            None => None,
        };
        let write = match &args.budget.write_budget {
            Some(path) => {
                // Do not truncate the file before there is a budget to write.
                let open = File::options().write(true).create(true).truncate(false).open(path);
                let file = open.map_err(|source| OutputError { path: path.clone(), source })?;
                Some((path.clone(), file, args.budget.time_margin))
            }
            None => None,
        };
        Ok(Self { check, write })
    }

    /// Writes a budget from the figures of the run.
    ///
    /// # Errors
    /// [`Error::Output`].
    pub(super) fn write(&mut self, args: &StatArgs, snapshot: &Snapshot) -> Result<(), Error> {
        let Some((path, file, margin)) = &mut self.write else { return Ok(()) };
        let text = text_of(args, &Budget::of_run(&snapshot.calls, *margin));
        let written = file.set_len(0).and_then(|()| file.write_all(text.as_bytes()));
        written.map_err(|source| OutputError { path: path.clone(), source }.into())
    }

    /// Compares the run with its budget, if it has one.
    pub(super) fn verdict(&self, snapshot: &Snapshot, has_ended: bool) -> Option<Verdict> {
        let (_, budget) = self.check.as_ref()?;
        let mut verdict = budget.check(&snapshot.calls, &snapshot.health);
        if !has_ended {
            verdict.doubt = Some(Doubt::CutShort);
        }
        Some(verdict)
    }

    /// Prints the verdict on standard error.
    pub(super) fn tell(&self, verdict: &Verdict) {
        if let Some((path, _)) = &self.check {
            let text = budget::text(verdict, &text::path(path).to_string());
            // If the verdict cannot be written, the exit code still reports it.
            let _ = Stream::Error.tell(&format!("profiler: {text}"));
        }
    }

    /// If there is a budget, prints that it was not checked, and returns the exit code for that.
    pub(super) fn unchecked(&self) -> Option<u8> {
        let (path, _) = self.check.as_ref()?;
        let path = text::path(path);
        let text =
            format!("profiler: budget {path}: not checked, because nobody reads the report\n");
        let _ = Stream::Error.tell(&text);
        Some(EXCEEDED)
    }
}

fn read(path: &Path, filter: &Filter, timed: Timed) -> Result<Budget, BudgetError> {
    let text = toml_file::read("budget", path)?;
    let budget =
        Budget::from_toml(&text).map_err(|error| TomlFileError::content(path, &text, &error))?;
    if let Some(calls) = &filter.calls
        && let Some(pattern) = budget.first_left_out(calls)
    {
        return Err(BudgetError::LeftOut { pattern: pattern.to_string() });
    }
    if timed == Timed::None && budget.has_times() {
        return Err(BudgetError::Untimed);
    }
    Ok(budget)
}

/// The text of the file: an explanation, and the budget.
fn text_of(args: &StatArgs, budget: &Budget) -> String {
    let words = args.command.iter().map(|word| Untrusted::from(word.as_os_str()).to_string());
    let command = words.collect::<Vec<_>>().join(" ");
    let of = if command.is_empty() { String::new() } else { format!(" of: {command}") };
    let head = format!("# The syscalls{of}\n");
    format!("{head}{HEAD}\n{}", text::escaped_toml(&budget.to_toml()))
}

/// The explanation at the beginning of the file.
const HEAD: &str = "\
# `profiler stat --write-budget` wrote this. `profiler stat --budget` exits with 10 if a run does
# more than a number here allows, or calls a syscall that is not listed here.
";
