//! `cargo xtask test`: runs every test. Tests that load programs into the kernel run as root.

mod load;
mod progress;

use std::{
    ffi::OsStr,
    fmt, fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, ensure};
use serde::Deserialize;

use self::{
    load::Load,
    progress::{Counts, Progress},
};

use crate::{
    debian, ebpf, kernels, privilege,
    workspace::{cargo, output, root, shown},
};

/// Programs that kernel tests run, and their Debian packages.
const PROGRAMS: [(&str, &str); 1] = [("prometheus", "prometheus")];

/// The test target, of the package `profiler`, that needs root.
pub(crate) const KERNEL: &str = "kernel";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Skip the tests that load programs into the running kernel, as root
    #[arg(long)]
    no_kernel: bool,
    /// Run a compiler, a package manager and programs that fork beside the tests
    #[arg(long)]
    beside_load: bool,
    /// Let Prometheus of Debian's unstable release scrape, instead of the installed one
    #[arg(long, conflicts_with = "no_kernel")]
    new_prometheus: bool,
    /// Run only the tests whose name contains this
    filter: Option<String>,
}

/// Number of slow tests in the summary.
const SLOWEST: usize = 10;

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    if !args.no_kernel {
        debian::install_missing(&PROGRAMS)?;
    }
    let start = Instant::now();
    let packages = packages()?;
    let filter = args.filter.as_deref();
    println!("== build");
    // Build everything at once, so that cargo uses every CPU.
    let kernel_tests = build(&packages)?;
    println!("built in {:.0} s", start.elapsed().as_secs_f64());
    let load = args.beside_load.then(|| {
        let kernel_tests = (!args.no_kernel).then_some(kernel_tests.as_path());
        Load::start(kernel_tests)
    });
    let load = load.transpose()?;
    let mut stages =
        vec![Stage::run("unit, golden, property", || Ok(host_tests(&packages, filter)))];
    if has_doc_tests()? {
        stages.push(Stage::run("documentation", || Ok(doc_tests(filter))));
    }
    if !args.no_kernel {
        let new_prometheus = args.new_prometheus.then(|| kernels::unstable_program("prometheus"));
        let new_prometheus = new_prometheus.transpose()?;
        let prometheus = new_prometheus.as_ref().map(|path| ("PROMETHEUS", path.as_os_str()));
        let of_objects = |objects: Option<&Path>| {
            let vars = Vec::from_iter(prometheus);
            let mut command = kernel_tests_as_root(&kernel_tests, objects, &vars)?;
            command.args(filter);
            Ok(command)
        };
        stages.push(Stage::run("kernel", || of_objects(None)));
        if let Some(objects) = ebpf::objects_of_another_toolchain()? {
            stages.push(Stage::run("kernel, objects built here", || of_objects(Some(&objects))));
        }
    }
    drop(load);
    summarise(&stages, args);
    println!("total time: {:.0} s", start.elapsed().as_secs_f64());
    let ran = |stage: &Stage| stage.progress.counts.passed + stage.progress.counts.failed;
    ensure!(stages.iter().map(ran).sum::<u64>() > 0, "no test was run");
    let failed: Vec<_> = stages.iter().filter(|s| s.failure.is_some()).map(|s| s.name).collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join("; "));
    Ok(ExitCode::SUCCESS)
}

fn summarise(stages: &[Stage], args: &Args) {
    println!("\n== summary");
    for note in stages.iter().flat_map(|stage| &stage.progress.notes) {
        println!("{note}");
    }
    for (seconds, name) in stages.iter().flat_map(|stage| stage.progress.slowest(SLOWEST)) {
        println!("slow    {seconds:>6.1} s  {name}");
    }
    for stage in stages {
        println!("{stage}");
    }
    for failed in stages.iter().flat_map(|stage| &stage.progress.failed) {
        println!("FAILED  {failed}");
    }
    if args.no_kernel {
        println!("kernel tests were left out, as requested");
    }
}

/// All builds use the same packages and features. Otherwise, cargo would compile the dependencies
/// again.
fn cargo_test() -> Command {
    let mut command = cargo();
    command.args(["test", "--workspace", "--features", "xtask/bench"]);
    command
}

/// Adds every target with tests, except the kernel tests.
fn select_host_tests(command: &mut Command, packages: &[Package]) {
    command.args(["--lib", "--bins"]);
    // By name, because cargo cannot exclude a target.
    let targets = packages.iter().flat_map(|package| &package.targets);
    for target in targets.filter(|target| target.is_test() && target.name != KERNEL) {
        command.args(["--test", &target.name]);
    }
}

/// Builds all tests as the user, and returns the executable of the kernel tests.
fn build(packages: &[Package]) -> Result<PathBuf> {
    let mut command = cargo_test();
    select_host_tests(&mut command, packages);
    command.args(["--test", KERNEL, "--no-run"]);
    command.arg("--message-format=json-render-diagnostics");
    kernel_tests_among(&output(&mut command)?)
}

fn host_tests(packages: &[Package], filter: Option<&str>) -> Command {
    let mut command = cargo_test();
    command.arg("--no-fail-fast");
    select_host_tests(&mut command, packages);
    command.args(filter);
    command
}

/// Whether any doc comment has an example that is a test. Without examples, rustdoc would only take
/// time.
fn has_doc_tests() -> Result<bool> {
    let sources =
        output(Command::new("git").args(["ls-files", "--", "*/src/*.rs"]).current_dir(root()))?;
    let has_example = |path: &str| {
        fs::read_to_string(root().join(path)).is_ok_and(|text| {
            text.lines().any(|line| {
                let comment = line.trim_start();
                (comment.starts_with("///") || comment.starts_with("//!"))
                    && comment[3..].trim_start().starts_with("```")
            })
        })
    };
    Ok(sources.lines().any(has_example))
}

fn doc_tests(filter: Option<&str>) -> Command {
    let mut command = cargo_test();
    command.args(["--no-fail-fast", "--doc"]).args(filter);
    command
}

/// A command that runs the executable of the kernel tests as root, with further variables.
pub(crate) fn kernel_tests_as_root(
    executable: &Path,
    objects: Option<&Path>,
    further_vars: &[(&str, &OsStr)],
) -> Result<Command> {
    let package_dir = root().join("profiler");
    // The variables that cargo sets for tests.
    let mut vars: Vec<(&str, &OsStr)> = vec![
        ("CARGO_MANIFEST_DIR", package_dir.as_os_str()),
        // Prints how long each test took.
        ("PROFILER_TEST_TIMES", OsStr::new("1")),
    ];
    vars.extend(further_vars);
    let in_ci = std::env::var_os("CI");
    if let Some(value) = &in_ci {
        vars.push(("CI", value));
    }
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
    kernel_tests_among(&output(&mut build)?)
}

/// Builds the kernel tests in release, and executes them as root with these arguments. So they get
/// all signals, and their exit code is that of this command.
pub(crate) fn become_kernel_tests(args: &[String]) -> Result<ExitCode> {
    let mut build = cargo();
    build.args(["test", "--release", "--package", "profiler", "--test", KERNEL, "--no-run"]);
    build.arg("--message-format=json-render-diagnostics");
    let executable = kernel_tests_among(&output(&mut build)?)?;
    let mut command = privilege::as_root(executable, &[])?;
    let error = command.args(args).exec();
    Err(anyhow!(error).context(format!("cannot run {}", shown(&command))))
}

fn kernel_tests_among(messages: &str) -> Result<PathBuf> {
    messages.lines().find_map(executable_of_kernel_tests).context("cargo built no kernel tests")
}

/// The executable of the kernel tests, if this message of cargo names it.
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

/// The result of one part of the tests.
struct Stage {
    name: &'static str,
    progress: Progress,
    took: Duration,
    failure: Option<String>,
}

impl Stage {
    fn run(name: &'static str, command: impl FnOnce() -> Result<Command>) -> Self {
        println!("\n== {name}");
        let start = Instant::now();
        let mut progress = Progress::default();
        let outcome = command().and_then(|command| progress.run(command));
        let failure = outcome.err().map(|error| format!("{error:#}"));
        if let Some(failure) = &failure {
            eprintln!("{failure}");
        }
        Self { name, progress, took: start.elapsed(), failure }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.failure.is_some() { "FAILED" } else { "ok" };
        let Counts { passed, failed, ignored } = self.progress.counts;
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

#[cfg(test)]
mod tests {
    use super::*;

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
