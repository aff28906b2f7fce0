//! `cargo xtask run`: builds the profiler as the user, and runs it as root.

use std::{
    convert::Infallible,
    ffi::{OsStr, OsString},
    os::unix::process::CommandExt,
    process::Command,
};

use crate::{
    failure::Failure,
    privilege,
    workspace::{cargo, shown, succeed, target_dir},
};

/// The profile in Cargo.toml. Packages and measurements use `dist` instead.
const PROFILE: &str = "quick";

/// What `cargo xtask run` without arguments prints.
pub const USAGE: &str = "\
Build the profiler, and run it, as root if necessary

Usage: cargo xtask run <COMMAND> [ARGS]...

Commands: top, stat, trace, explain, flame, daemon, doctor, syscalls, seccomp, metrics, completions

`cargo xtask run help` explains the commands, and `cargo xtask run COMMAND --help` one command.

Examples:
  cargo xtask run top              the syscalls of the whole host, live
  cargo xtask run stat -a -d 1s    the syscalls of one second
  cargo xtask run stat -- ls -l    every syscall of a command and its children
  cargo xtask run doctor           what this host offers, and what is missing
";

/// Builds the profiler, and executes it with these arguments. So the profiler gets all signals, and
/// its exit code is that of this command.
///
/// # Errors
/// If it cannot be built or started, or needs root and there is no sudo.
pub fn run(profiler_args: &[OsString]) -> Result<Infallible, Failure> {
    let profiler = target_dir().join(PROFILE).join("profiler");
    if !profiler.exists() {
        eprintln!(
            "Building {}: about 90 s on two CPUs the first time, seconds from then on.",
            profiler.display()
        );
    }
    // Without --quiet, so that cargo shows its progress, and whether it waits for a lock.
    let mut build = cargo();
    build.args(["build", "--profile", PROFILE, "--package", "profiler"]);
    // TLS has many dependencies, and the first build should be short.
    build.args(["--no-default-features", "--features", features(profiler_args)]);
    succeed(&mut build)?;
    let mut command = if needs_root(profiler_args) {
        privilege::as_root(profiler, &[])?
    } else {
        Command::new(profiler)
    };
    command.args(profiler_args);
    let error = command.exec();
    Err(Failure::new(format!("cannot run {}: {error}", shown(&command))))
}

/// The cargo features that the command needs: `daemon` can serve metrics over TLS, and `flame` names
/// functions.
fn features(profiler_args: &[OsString]) -> &'static str {
    match profiler_args.first().and_then(|command| command.to_str()) {
        Some("daemon") => "tls",
        Some("flame") => "symbols",
        _ => "",
    }
}

/// Whether to run the profiler as root: for everything except help, `syscalls`, `metrics`,
/// `completions`, and what only reads profiles of seccomp. `doctor` runs as root too, because it reports whether the other commands work
/// here.
fn needs_root(profiler_args: &[OsString]) -> bool {
    let own: Vec<&OsStr> =
        profiler_args.iter().map(OsString::as_os_str).take_while(|arg| *arg != "--").collect();
    let is_help = |arg: &&OsStr| ["-h", "--help", "-V", "--version"].iter().any(|f| arg == f);
    let needs_none = |first: &&OsStr| {
        ["help", "syscalls", "metrics", "completions"].iter().any(|name| first == name)
    };
    let reads_profiles = own.first().is_some_and(|first| *first == "seccomp")
        && own.get(1).is_some_and(|what| ["diff", "explain", "merge"].iter().any(|of| what == of));
    !own.first().is_some_and(needs_none) && !reads_profiles && !own.iter().any(is_help)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_are_built_for_the_commands_that_need_them() {
        assert_eq!(features(&["daemon".into(), "--check-config".into()]), "tls");
        assert_eq!(features(&["flame".into(), "-a".into()]), "symbols");
        assert_eq!(features(&["top".into()]), "");
        assert_eq!(features(&["stat".into(), "--".into(), "daemon".into()]), "");
        assert_eq!(features(&[]), "");
    }

    #[test]
    fn root_only_where_the_profiler_needs_it() {
        let needs = |words: &str| {
            needs_root(&words.split_whitespace().map(OsString::from).collect::<Vec<_>>())
        };
        assert!(needs("stat -a"));
        assert!(needs("stat -- ls --help"), "the help is the command's");
        assert!(needs("doctor --format json"));
        assert!(!needs("stat --help"));
        assert!(!needs("help stat"));
        assert!(!needs("syscalls openat"));
        assert!(!needs("metrics --explain"));
        assert!(!needs("completions bash"));
        assert!(!needs("seccomp explain app.json"));
        assert!(needs("seccomp generate -- ls"));
        assert!(!needs("--version"));
    }
}
