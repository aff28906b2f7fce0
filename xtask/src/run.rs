//! `cargo xtask run`: builds the profiler as the user, and runs it as root.

use std::{ffi::OsString, os::unix::process::CommandExt, process::Command, process::ExitCode};

use anyhow::{Result, anyhow};

use crate::{
    privilege,
    workspace::{cargo, shown, succeed, target_dir},
};

/// Build the profiler and run it, as root where it needs that
#[derive(clap::Args)]
#[command(override_usage = "cargo xtask run <top|stat|daemon|doctor> [ARGS]...")]
pub(crate) struct Args {
    /// What `profiler` is given, as `stat -a -d 1s` or `stat -- ls -l`
    // One list: were the subcommand apart, clap would take a `--` that follows it.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    profiler_args: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    succeed(cargo().args(["build", "--quiet", "--release", "--package", "profiler"]))?;
    let profiler = target_dir().join("release/profiler");
    let mut command = if needs_root(&args.profiler_args) {
        privilege::as_root(profiler, &[])?
    } else {
        Command::new(profiler)
    };
    command.args(&args.profiler_args);
    // Takes this process's place, so that signals and the exit code are the profiler's.
    let error = command.exec();
    Err(anyhow!(error).context(format!("cannot run {}", shown(&command))))
}

/// Everything does but `doctor`, whose answer depends on who asks, and help.
fn needs_root(profiler_args: &[OsString]) -> bool {
    let own: Vec<_> = profiler_args.iter().take_while(|arg| *arg != "--").collect();
    let first_is = |name: &str| own.first().is_some_and(|arg| *arg == name);
    !first_is("doctor")
        && !first_is("help")
        && !own.iter().any(|arg| ["-h", "--help", "-V", "--version"].iter().any(|flag| arg == flag))
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{Cli, Command as Xtask};

    /// What `profiler` is given for `cargo xtask run` and these words. Cargo's own
    /// `--` is in the alias, so it takes none of the words.
    fn given(words: &str) -> Vec<String> {
        let line = ["xtask", "run"].into_iter().chain(words.split_whitespace());
        match Cli::try_parse_from(line).expect("a valid command line").command {
            Xtask::Run(args) => {
                args.profiler_args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect()
            }
            _ => panic!("not run"),
        }
    }

    #[test]
    fn arguments_pass_as_they_are() {
        for words in [
            "stat -- ls -l",
            "stat -a -d 1s",
            "stat --by process -- sh -c true -- x",
            "stat --help",
            "top",
            "top -n 1 --batch",
            "daemon --listen 127.0.0.1:0",
            "doctor --format json",
        ] {
            assert_eq!(given(words).join(" "), words);
        }
    }

    #[test]
    fn nothing_to_run_is_a_usage_error() {
        assert!(Cli::try_parse_from(["xtask", "run"]).is_err());
    }

    #[test]
    fn root_only_where_the_profiler_needs_it() {
        let needs = |words: &str| {
            needs_root(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
        };
        assert!(needs("stat -a"));
        assert!(needs("stat -- ls --help"), "the help is the command's");
        assert!(!needs("stat --help"));
        assert!(!needs("doctor"));
        assert!(!needs("--version"));
    }
}
