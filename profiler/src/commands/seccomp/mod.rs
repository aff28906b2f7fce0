//! `profiler seccomp`: writes, checks, compares and explains seccomp profiles.

mod check;
mod compare;
mod explain;
mod files;
mod generate;
mod run;
mod watch;

pub use files::SeccompError;

use super::{
    cli::{MergeArgs, SeccompArgs, SeccompCommand},
    error::Error,
};
use crate::seccomp::Observation;

/// Runs `profiler seccomp`. Returns the exit code, which is that of the command if there is one.
///
/// # Errors
/// If a profile cannot be used, or the profiler cannot watch or print.
pub fn run(args: &SeccompArgs) -> Result<u8, Error> {
    match &args.command {
        SeccompCommand::Generate(args) => generate::run(args),
        SeccompCommand::Check(args) => check::run(args),
        SeccompCommand::Run(args) => run::run(args),
        SeccompCommand::Diff(args) => compare::run(args).map(|()| 0),
        SeccompCommand::Explain(args) => explain::run(args).map(|()| 0),
        SeccompCommand::Merge(args) => merge(args).map(|()| 0),
    }
}

fn merge(args: &MergeArgs) -> Result<(), Error> {
    let all = args.files.iter().map(|path| files::observation(path));
    let merged = Observation::merge(&all.collect::<Result<Vec<_>, _>>()?);
    files::print(args.output.as_deref(), &files::observation_text(&merged))
}
