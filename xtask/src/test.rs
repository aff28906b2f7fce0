//! `cargo xtask test`: every test, with root for those that load into the kernel.

use std::{
    ffi::OsStr,
    fmt,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::{
    debian, ebpf, privilege,
    workspace::{cargo, output, root, shown},
};

/// What kernel tests run beside the profiler, and the Debian packages that have it.
const PROGRAMS: [(&str, &str); 1] = [("prometheus", "prometheus")];

/// The test target, of the package `profiler`, that needs root.
pub(crate) const KERNEL: &str = "kernel";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave out the tests that load into the running kernel, as root
    #[arg(long)]
    no_kernel: bool,
    /// Run only the tests whose name contains this
    filter: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.no_kernel {
        debian::install_missing(&PROGRAMS)?;
    }
    let packages = packages()?;
    let filter = args.filter.as_deref();
    let mut stages = vec![
        Stage::run("unit, golden, property", || Ok(host_tests(&packages, filter))),
        Stage::run("documentation", || Ok(doc_tests(filter))),
    ];
    if !args.no_kernel {
        stages.push(Stage::run("kernel", || kernel_tests(&packages, filter, None)));
        if let Some(objects) = ebpf::objects_of_another_toolchain()? {
            stages.push(Stage::run("kernel, objects built here", || {
                kernel_tests(&packages, filter, Some(&objects))
            }));
        }
    }
    println!("\n== summary");
    for stage in &stages {
        println!("{stage}");
    }
    if args.no_kernel {
        println!("kernel tests were left out, as asked");
    }
    let ran: u64 = stages.iter().map(|stage| stage.counts.passed + stage.counts.failed).sum();
    ensure!(ran > 0, "no test was run");
    let failed: Vec<_> = stages.iter().filter(|s| s.failure.is_some()).map(|s| s.name).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(ExitCode::SUCCESS)
}

/// The same selection of packages and features for all that is built here: with
/// another, cargo would compile what they depend on anew.
fn cargo_test() -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--features", "xtask/bench"]);
    command
}

fn host_tests(packages: &[Package], filter: Option<&str>) -> Command {
    let mut command = cargo_test();
    // With the feature, since what measures has tests of its own.
    command.args(["--no-fail-fast", "--lib", "--bins", "--features", "xtask/bench"]);
    // By name, since cargo cannot leave one out.
    let targets = packages.iter().flat_map(|package| &package.targets);
    for target in targets.filter(|target| target.is_test() && target.name != KERNEL) {
        command.args(["--test", &target.name]);
    }
    command.args(filter);
    command
}

fn doc_tests(filter: Option<&str>) -> Command {
    let mut command = cargo_test();
    command.args(["--no-fail-fast", "--doc"]).args(filter);
    command
}

/// The kernel tests, on the embedded objects or on those in a directory.
fn kernel_tests(
    packages: &[Package],
    filter: Option<&str>,
    objects: Option<&Path>,
) -> Result<Command> {
    let exists = packages
        .iter()
        .any(|p| p.name == "profiler" && p.targets.iter().any(|t| t.is_test() && t.name == KERNEL));
    ensure!(exists, "profiler has no test target `{KERNEL}`");
    let mut command = kernel_tests_as_root(&built_kernel_tests()?, objects)?;
    command.args(filter);
    Ok(command)
}

/// The executable of the kernel tests, to be run as root.
pub(crate) fn kernel_tests_as_root(executable: &Path, objects: Option<&Path>) -> Result<Command> {
    let package_dir = root().join("profiler");
    // As cargo does for the tests that it runs.
    let mut vars: Vec<(&str, &OsStr)> = vec![("CARGO_MANIFEST_DIR", package_dir.as_os_str())];
    if let Some(objects) = objects {
        vars.push(("PROFILER_OBJECT_DIR", objects.as_os_str()));
    }
    let mut command = privilege::as_root(executable, &vars)?;
    command.current_dir(&package_dir);
    Ok(command)
}

/// Builds the kernel tests as the user.
pub(crate) fn built_kernel_tests() -> Result<PathBuf> {
    let mut build = cargo_test();
    build.args(["--test", KERNEL, "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let messages = output(&mut build)?;
    messages.lines().find_map(executable_of_kernel_tests).context("cargo built no kernel tests")
}

/// The executable, if a message of cargo's says that it has built it.
pub(crate) fn executable_of_kernel_tests(message: &str) -> Option<PathBuf> {
    let built: Built = serde_json::from_str(message).ok()?;
    (built.target.is_test() && built.target.name == KERNEL).then_some(built.executable?)
}

#[derive(Deserialize)]
struct Built {
    target: Target,
    executable: Option<PathBuf>,
}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    targets: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    name: String,
    kind: Vec<String>,
}

impl Target {
    fn is_test(&self) -> bool {
        self.kind.iter().any(|kind| kind == "test")
    }
}

fn packages() -> Result<Vec<Package>> {
    let json = output(cargo().args(["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata: Metadata = serde_json::from_str(&json)?;
    Ok(metadata.packages)
}

/// What became of one part of the tests.
struct Stage {
    name: &'static str,
    counts: Counts,
    took: Duration,
    failure: Option<String>,
}

impl Stage {
    fn run(name: &'static str, command: impl FnOnce() -> Result<Command>) -> Self {
        println!("\n== {name}");
        let start = Instant::now();
        let mut counts = Counts::default();
        let outcome = command().and_then(|command| pass_through(command, &mut counts));
        let failure = outcome.err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("{failure}");
        }
        Self { name, counts, took: start.elapsed(), failure }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failure.is_some() { "FAILED" } else { "ok" };
        let Counts { passed, failed, ignored } = self.counts;
        write!(
            f,
            "{verdict:<7} {:<28} {passed:>4} passed, {failed} failed, {ignored} ignored, {:.1} s",
            self.name,
            self.took.as_secs_f64()
        )?;
        if let Some(failure) = &self.failure {
            write!(f, "\n        {failure}")?;
        }
        Ok(())
    }
}

#[derive(Default, Clone, Copy, Debug, PartialEq, Eq)]
struct Counts {
    passed: u64,
    failed: u64,
    ignored: u64,
}

impl Counts {
    /// Adds what a line of a test executable reports, if it is its last.
    fn add(&mut self, line: &str) {
        let Some(result) = line.strip_prefix("test result: ") else { return };
        let words: Vec<_> = result.split([' ', ';', '.']).filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let Ok(number) = pair[0].parse::<u64>() else { continue };
            match pair[1] {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }
}

/// Runs tests, showing what they print, and counts them.
fn pass_through(mut command: Command, counts: &mut Counts) -> Result<()> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {}", shown(&command)))?;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            counts.add(&line);
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "{} failed ({status})", shown(&command));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_add_up_over_executables() {
        let mut counts = Counts::default();
        counts.add("test result: ok. 7 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s");
        counts.add("test passed ... ok");
        counts.add("test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.01s");
        assert_eq!(counts, Counts { passed: 10, failed: 2, ignored: 1 });
    }

    #[test]
    fn the_kernel_tests_are_found_among_what_cargo_built() {
        let message = |name: &str, kind: &str| {
            format!(
                r#"{{"reason":"compiler-artifact","target":{{"name":"{name}","kind":["{kind}"]}},"executable":"/t/{name}-1"}}"#
            )
        };
        assert_eq!(executable_of_kernel_tests(&message("profiler", "bin")), None);
        assert_eq!(executable_of_kernel_tests(r#"{"reason":"build-finished"}"#), None);
        assert_eq!(
            executable_of_kernel_tests(&message("kernel", "test")),
            Some(PathBuf::from("/t/kernel-1"))
        );
    }
}
