//! `cargo xtask oracle`: runs strace's own test programs under `profiler trace`. Each of them prints
//! the lines that strace has to print of it.
//!
//! The programs are built from Debian's source package, below `target/`. None of their code is in
//! this repository.

mod agreement;
mod programs;
mod source;
mod table;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt::Write as _,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
};

use anyhow::{Context, Result, ensure};

use self::{agreement::Agreement, table::Test};
use crate::{
    privilege,
    workspace::{cargo, succeed, target_dir},
};

/// Compare the lines of `profiler trace` with those that strace's test programs expect
///
/// Downloads and builds the programs first, which takes some minutes. Prints how many lines agree,
/// by syscall.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only the programs whose name contains this
    filter: Option<String>,
    /// Print the lines that differ, at most this many of each program
    #[arg(long, value_name = "N", default_value_t = 0)]
    differences: usize,
    /// Fail if less than this share of the lines agrees, percent
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    at_least: f64,
    /// Compare with `strace -f` on real programs instead, and fail if a line differs
    #[arg(long)]
    programs: bool,
    /// Follow with this binary instead of a release build of this workspace
    #[arg(long, value_name = "FILE")]
    profiler: Option<PathBuf>,
}

/// The user that runs the programs.
const USER: &str = "nobody";

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    ensure!(privilege::is_root(), "run this as root: it follows programs of another user");
    let profiler = match &args.profiler {
        Some(path) => fs::canonicalize(path).context("--profiler")?,
        None => {
            succeed(cargo().args(["build", "--release", "--package", "profiler"]))?;
            target_dir().join("release/profiler")
        }
    };
    if args.programs {
        return programs::run(&profiler, args.filter.as_deref());
    }
    let programs = source::built()?;
    let wanted = |test: &Test| args.filter.as_ref().is_none_or(|text| test.name.contains(text));
    let (tests, skipped) = table::of(&programs)?;
    let tests: Vec<_> = tests.into_iter().filter(|test| wanted(test)).collect();
    ensure!(!tests.is_empty(), "no test program has this name");
    let mut calls: BTreeMap<String, Agreement> = BTreeMap::new();
    let mut all = Agreement::default();
    // The string limit holds for a whole run, so there is one run for each.
    let mut by_options: BTreeMap<(u32, bool, bool), Vec<&Test>> = BTreeMap::new();
    for test in &tests {
        by_options
            .entry((test.string_limit, test.is_verbose, test.with_paths))
            .or_default()
            .push(test);
    }
    let mut ran = 0;
    for ((string_limit, is_verbose, with_paths), tests) in by_options {
        let directory = tempfile::tempdir()?;
        let results = follow(
            &profiler,
            &programs,
            &tests,
            directory.path(),
            (string_limit, is_verbose, with_paths),
        )?;
        for (test, (expected, found)) in tests.iter().zip(results) {
            let Some(expected) = expected else { continue };
            ran += 1;
            let mut differing = Vec::new();
            for (name, of) in agreement::compare(&expected, &found, test, &mut differing) {
                calls.entry(name).or_default().add(of);
                all.add(of);
            }
            if args.differences > 0 && !differing.is_empty() {
                println!("== {}", test.name);
                differing.iter().take(args.differences).for_each(|line| println!("{line}"));
            }
        }
    }
    println!("{:<28} {:>8} {:>8} {:>7}", "syscall", "expected", "agree", "percent");
    let mut rows: Vec<_> = calls.iter().collect();
    rows.sort_by_key(|(_, of)| std::cmp::Reverse(of.expected - of.agreed));
    for (name, of) in rows {
        println!("{name:<28} {:>8} {:>8} {:>6.1}%", of.expected, of.agreed, of.percent());
    }
    println!("{:<28} {:>8} {:>8} {:>6.1}%", "all", all.expected, all.agreed, all.percent());
    println!("{ran} programs ran; tests that were left out:");
    for (reason, count) in skipped {
        println!("{count:>6}  {reason}");
    }
    ensure!(all.percent() >= args.at_least, "less than {} % of the lines agree", args.at_least);
    Ok(ExitCode::SUCCESS)
}

/// What a program expects, unless it could not run here, and what the profiler printed of it.
type Lines = (Option<String>, String);

/// Runs the tests one after another under one `profiler trace`, as an unprivileged user in a
/// directory of its own.
fn follow(
    profiler: &Path,
    programs: &Path,
    tests: &[&Test],
    directory: &Path,
    (string_limit, is_verbose, with_paths): (u32, bool, bool),
) -> Result<Vec<Lines>> {
    let mode = fs::Permissions::from_mode(0o777);
    fs::set_permissions(directory, mode.clone())?;
    let (lines, work) = (directory.join("lines"), directory.join("work"));
    for path in [&lines, &work] {
        fs::create_dir(path)?;
        fs::set_permissions(path, mode.clone())?;
    }
    // Each program writes what it expects, and its process id. `exec` keeps the id.
    let mut script = String::from("umask 022\n");
    for (at, test) in tests.iter().enumerate() {
        let program = programs.join(&test.program);
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            script,
            "mkdir {work}/{at} && cd {work}/{at}\n\
             timeout -s KILL 20 sh -c 'echo $$ >../../{at}.pid; exec {} {}' \
             >../../{at}.exp 2>/dev/null </dev/null 9>>/dev/full\n\
             echo $? >../../{at}.code",
            program.display(),
            test.arguments,
            work = work.display(),
        );
    }
    let _ = writeln!(script, "true");
    fs::write(directory.join("script"), script)?;
    let mut command = Command::new(profiler);
    command
        .args(["trace", "-ff", "--columns", "call", "--buffer", "256", "--user", USER])
        .arg("--string-limit")
        .arg(string_limit.to_string())
        .arg("--output")
        .arg(lines.join("of"));
    if is_verbose {
        command.arg("--verbose");
    }
    if !with_paths {
        command.arg("--no-paths");
    }
    let shell: [OsString; 2] = ["sh".into(), directory.join("script").into()];
    command.arg("--").args(shell).stdout(Stdio::null());
    let status = command.status().context("cannot run the profiler")?;
    ensure!(status.success(), "the profiler failed: {status}");
    let read = |at: usize, suffix: &str| fs::read(directory.join(format!("{at}.{suffix}")));
    let result = |at: usize| -> Lines {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let code = read(at, "code").map(text).unwrap_or_default();
        let expected = (code.trim() == "0").then(|| read(at, "exp").map(text).ok()).flatten();
        let pid = read(at, "pid").map(text).unwrap_or_default();
        let found = source::lines_of(&lines, pid.trim());
        (expected, found)
    };
    Ok((0..tests.len()).map(result).collect())
}
