//! `cargo xtask test-kernels`: runs the kernel tests on other kernels, each in a virtual machine.

mod archive;
mod cpio;
mod host;
mod image;
mod machine;
mod skip;
mod table;
mod transcript;

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow, bail, ensure};

pub(crate) use self::archive::{source_package, unstable_program};
use self::{
    archive::Kernel,
    image::Built,
    machine::End,
    skip::Prepared,
    table::{Cell, Column, Table},
    transcript::Transcript,
};
use crate::{
    case::Ran,
    debian, test,
    workspace::{cargo, find_program, output, root, target_dir},
};

/// The oldest supported kernel, later kernels with long-term support, and the newest kernel.
const SERIES: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", archive::NEWEST];

/// The target for statically linked executables, so that the machines need no libraries for them.
const TARGET: &str = "x86_64-unknown-linux-gnu";

/// The maximum duration of a case. On an emulated processor, the longest case, which attaches fifty
/// times under load, takes ten minutes.
const PATIENCE: Duration = Duration::from_secs(1200);

/// The maximum time to boot, or to continue after a case that was ended.
const SLACK: Duration = Duration::from_secs(60);

/// Run the kernel tests on other kernels: Debian's, each in QEMU
#[derive(clap::Args)]
pub(crate) struct Args {
    /// A series, as 5.10, or `newest`; may be repeated
    #[arg(long = "kernel", value_name = "SERIES", default_values = SERIES, value_parser = series)]
    kernels: Vec<String>,
    /// Run only the cases whose name contains this; may be repeated
    #[arg(long = "filter", value_name = "TEXT")]
    filters: Vec<String>,
    /// Leave out the cases whose name contains this; may be repeated
    #[arg(long = "without", value_name = "TEXT")]
    without: Vec<String>,
    /// List the cases, and run nothing
    #[arg(long)]
    list: bool,
    /// Install what is missing first (Debian, as root)
    #[arg(long)]
    install: bool,
}

fn series(text: &str) -> Result<String, String> {
    let is_series = text.split('.').count() == 2
        && text.split('.').all(|part| !part.is_empty() && part.parse::<u32>().is_ok());
    if is_series || text == archive::NEWEST {
        return Ok(text.to_owned());
    }
    Err(format!("a series is two numbers, as 5.10, or `{}`", archive::NEWEST))
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let missing = missing_packages();
    if args.install {
        debian::install(&missing)?;
    } else if !missing.is_empty() && !args.list {
        bail!(
            "missing: {}. On Debian:\n  apt-get install --no-install-recommends {0}\n\
             or, as root, `cargo xtask test-kernels --install`",
            missing.join(" ")
        );
    }
    let built = build()?;
    let cases = cases(&built, args)?;
    let prepared = Prepared { i386_program: built.i386_program.is_some() };
    if args.list {
        for case in &cases {
            match skip::reason(case, prepared) {
                Some(reason) => println!("{case}  (skipped: {reason})"),
                None => println!("{case}"),
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let to_run: Vec<_> = cases
        .iter()
        .map(String::as_str)
        .filter(|case| skip::reason(case, prepared).is_none())
        .collect();
    let kernels = archive::kernels(&args.kernels)?;
    let initramfs = tempfile::NamedTempFile::new_in(archive::cache())?;
    std::fs::write(initramfs.path(), image::archive(&built, &to_run, PATIENCE)?)?;
    let mut columns = columns(&kernels, initramfs.path(), &cases, prepared)?;
    columns.extend(host::column(&built.tests, &cases, &columns)?);
    let table = Table { cases, columns };
    println!("\n{table}");
    ensure!(table.is_success(), "some cases did not pass");
    Ok(ExitCode::SUCCESS)
}

fn missing_packages() -> Vec<&'static str> {
    let programs = [
        ("qemu-system-x86", machine::QEMU),
        ("busybox-static", "busybox"),
        ("util-linux", "setpriv"),
    ];
    let missing = programs.into_iter().filter(|(_, program)| find_program(&[program]).is_none());
    missing.map(|(package, _)| package).collect()
}

/// Builds the profiler and the kernel tests, linked statically.
fn build() -> Result<Built> {
    let target_dir = target_dir().join("static");
    let mut build = cargo();
    build.args(["test", "--release", "--package", "profiler", "--test", test::KERNEL]);
    build.args(["--no-run", "--target", TARGET, "--message-format=json-render-diagnostics"]);
    build.env("CARGO_TARGET_DIR", &target_dir).env("RUSTFLAGS", "-C target-feature=+crt-static");
    // This variable would take precedence over RUSTFLAGS.
    build.env_remove("CARGO_ENCODED_RUSTFLAGS");
    let messages = output(&mut build)?;
    let tests = messages.lines().find_map(test::executable_of_kernel_tests);
    let tests = tests.context("cargo built no kernel tests")?;
    let profiler = target_dir.join(TARGET).join("release/profiler");
    ensure!(profiler.is_file(), "cargo built no {}", profiler.display());
    let i386_program = i386_program(&tests, target_dir.join("i386-program"));
    Ok(Built { profiler, tests, i386_program })
}

/// Lets the tests compile the 32-bit program that one of them runs.
fn i386_program(tests: &Path, program: PathBuf) -> Option<PathBuf> {
    let built = Command::new(tests).arg("build-i386-program").arg(&program).output().ok()?;
    built.status.success().then_some(program)
}

/// The names of the selected kernel tests, in their order.
fn cases(built: &Built, args: &Args) -> Result<Vec<String>> {
    let listed = output(Command::new(&built.tests).arg("--list").current_dir(root()))?;
    let all: Vec<_> = listed
        .lines()
        .filter_map(|line| line.strip_suffix(": test"))
        .map(|name| name.trim().to_owned())
        .collect();
    let stale = skip::stale(&all);
    ensure!(stale.is_empty(), "these are skipped, and are no tests: {}", stale.join(", "));
    let has_one_of = |case: &str, texts: &[String]| texts.iter().any(|text| case.contains(text));
    let is_wanted = |case: &String| {
        (args.filters.is_empty() || has_one_of(case, &args.filters))
            && !has_one_of(case, &args.without)
            && !skip::is_nowhere(case)
    };
    let wanted: Vec<_> = all.into_iter().filter(is_wanted).collect();
    ensure!(!wanted.is_empty(), "no case has such a name");
    Ok(wanted)
}

/// Runs the cases on as many kernels at a time as the host has processors: an emulated
/// machine uses one.
fn columns(
    kernels: &[Kernel],
    initramfs: &Path,
    cases: &[String],
    prepared: Prepared,
) -> Result<Vec<Column>> {
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    let mut columns = Vec::new();
    for some in kernels.chunks(at_once) {
        thread::scope(|scope| {
            let spawned: Vec<_> = some
                .iter()
                .map(|kernel| scope.spawn(|| column(kernel, initramfs, cases, prepared)))
                .collect();
            for machine in spawned {
                let column = machine.join().map_err(|_| anyhow!("a thread panicked"))?;
                columns.push(column?);
            }
            Ok::<_, anyhow::Error>(())
        })?;
    }
    Ok(columns)
}

/// Runs the cases on a kernel.
fn column(
    kernel: &Kernel,
    initramfs: &Path,
    cases: &[String],
    prepared: Prepared,
) -> Result<Column> {
    let series = &kernel.series;
    let start = Instant::now();
    let console = kernel.image.with_file_name("console.log");
    let mut last = start;
    let show = |heard: &Transcript| {
        let Some((case, ran)) = heard.cases.last() else { return };
        let took = last.elapsed().as_secs_f64();
        last = Instant::now();
        match ran {
            Ran::Passed | Ran::PassedWithLoss => {
                println!("{series:>6} {took:>6.1} s  {:<8}{case}", ran.verdict());
            }
            Ran::Ignored(why) => println!("{series:>6} {took:>6.1} s  ignored {case}: {why}"),
            Ran::Failed(said) => println!("{series:>6} {took:>6.1} s  FAILED  {case}\n{said}"),
        }
    };
    let (heard, end) = machine::boot(&kernel.image, initramfs, &console, PATIENCE + SLACK, show)?;
    if let End::Broken { how, console } = end {
        let place =
            heard.running.as_deref().map_or("between cases".to_owned(), |c| format!("in {c}"));
        println!("{series:>6} BROKEN, {place}: {how}. Its console:\n{console}");
    }
    let name = heard.release.as_deref().unwrap_or(series);
    println!("{series:>6} {name}: {:.0} s", start.elapsed().as_secs_f64());
    let cell = |case: &String| match heard.cases.iter().find(|(name, _)| name == case) {
        Some((_, ran)) => Cell::Ran(ran.clone()),
        None if heard.running.as_ref() == Some(case) => Cell::Hung,
        None => skip::reason(case, prepared).map_or(Cell::NotReached, Cell::Skipped),
    };
    Ok(Column { name: short(name).to_owned(), cells: cases.iter().map(cell).collect() })
}

/// A release without the suffix that all of these kernels share.
fn short(release: &str) -> &str {
    release.strip_suffix(archive::FLAVOUR).unwrap_or(release)
}
