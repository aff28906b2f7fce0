//! `cargo xtask compare`: counts the same runs of real programs with the profiler and with strace
//! or perf, and explains every difference.

mod ender;
mod explain;
mod ours;
mod perf;
mod programs;
mod report;
mod strace;

use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use anyhow::{Context, Result, bail, ensure};

use self::{
    explain::{Prelude, WithPerf, WithStrace},
    ours::Counted,
    programs::Program,
    report::{Report, Section},
};
use crate::{
    debian, privilege,
    workspace::{cargo, find_program, output, succeed, target_dir},
};

/// Compare with strace and perf on real programs, and explain every difference
///
/// Prints Markdown. Fails if a difference remains unexplained.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install what is missing first (Debian, as root)
    #[arg(long)]
    install: bool,
    /// Number of rounds; all rounds are checked, and the last is printed
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// The required Debian packages, each with a program from it.
const NEEDED: [(&str, &str); 6] = [
    ("gcc", "cc"),
    ("strace", "strace"),
    ("linux-perf", "perf"),
    ("redis-server", "redis-server"),
    ("redis-tools", "redis-benchmark"),
    ("dash", "dash"),
];

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    let missing: Vec<_> = NEEDED
        .into_iter()
        .filter(|(_, program)| find_program(&[program]).is_none())
        .map(|(package, _)| package)
        .collect();
    if args.install {
        debian::install(&missing)?;
    } else if !missing.is_empty() {
        bail!(
            "missing: {}. On Debian:\n  apt-get install --no-install-recommends {0}\n\
             or, as root, `cargo xtask compare --install`",
            missing.join(" ")
        );
    }
    succeed(cargo().args(["build", "--release", "--package", "profiler"]))?;
    let tools = Tools::find()?;
    let directory = tempfile::tempdir()?;
    let programs = programs::prepare(directory.path())?;
    let ender = ender::write(directory.path())?;
    let mut report = None;
    for round in 1..=args.rounds {
        eprintln!("round {round} of {}", args.rounds);
        let this = compare(&tools, &programs, &ender, directory.path())?;
        if !this.is_explained() {
            println!("{this}");
            bail!("round {round}: the table has an unexplained difference");
        }
        report = Some(this);
    }
    println!("{}", report.context("--rounds is 0")?);
    Ok(ExitCode::SUCCESS)
}

fn compare(tools: &Tools, programs: &[Program], ender: &Path, directory: &Path) -> Result<Report> {
    // Measures the calls that each tool's child makes before its execve, with a program that only
    // ends.
    let ender = [ender.to_owned().into_os_string()];
    let (counted, traced) = tools.beside_strace(&ender, directory)?;
    let strace_prelude = Prelude::of_strace(&counted, &traced);
    let (counted, entries) = tools.beside_perf(&ender, directory)?;
    let perf_prelude = Prelude::of_perf(&counted, entries)?;
    let mut sections = Vec::new();
    for program in programs {
        eprintln!("  {}", program.name);
        let (counted, traced) = tools.beside_strace(&program.command, directory)?;
        let with_strace = WithStrace::new(&counted, &traced, &strace_prelude);
        let (counted, entries) = tools.beside_perf(&program.command, directory)?;
        let with_perf = WithPerf::new(&counted, entries, &perf_prelude);
        sections.push(Section { program: program.clone(), with_strace, with_perf });
    }
    Report::new(sections, strace_prelude, perf_prelude, &tools.versions()?)
}

/// The paths of the tools that count.
struct Tools {
    profiler: PathBuf,
    strace: PathBuf,
    perf: PathBuf,
}

impl Tools {
    fn find() -> Result<Self> {
        let find = |name| find_program(&[name]).with_context(|| format!("no {name} on PATH"));
        Ok(Self {
            profiler: target_dir().join("release/profiler"),
            strace: find(strace::NAME)?,
            perf: find(perf::NAME)?,
        })
    }

    fn versions(&self) -> Result<Vec<String>> {
        let first_line = |program: &Path, flag: &str| -> Result<String> {
            let text = output(Command::new(program).arg(flag))?;
            Ok(text.lines().next().unwrap_or_default().to_owned())
        };
        Ok(vec![
            first_line(&self.profiler, "--version")?,
            first_line(&self.strace, "-V")?.replace(" -- version", ""),
            first_line(&self.perf, "--version")?.replace(" version", ""),
        ])
    }

    /// Runs a command under strace, with strace itself under the profiler.
    fn beside_strace(
        &self,
        command: &[std::ffi::OsString],
        directory: &Path,
    ) -> Result<(Counted, strace::Summary)> {
        let summary = directory.join("strace");
        let mut words = vec![self.strace.clone().into_os_string()];
        words.extend(["-f", "-c", "-w", "-o"].map(Into::into));
        words.push(summary.clone().into());
        words.push("--".into());
        words.extend_from_slice(command);
        let counted = self.profile(&words, directory, strace::NAME)?;
        Ok((counted, strace::Summary::parse(&std::fs::read_to_string(summary)?)?))
    }

    /// Runs a command under perf, with perf itself under the profiler.
    fn beside_perf(
        &self,
        command: &[std::ffi::OsString],
        directory: &Path,
    ) -> Result<(Counted, u64)> {
        let counts = directory.join("perf");
        let mut words = vec![self.perf.clone().into_os_string()];
        words.extend(["stat", "-x", ",", "-e", perf::EVENT, "-o"].map(Into::into));
        words.push(counts.clone().into());
        words.push("--".into());
        words.extend_from_slice(command);
        let counted = self.profile(&words, directory, perf::NAME)?;
        Ok((counted, perf::entries(&std::fs::read_to_string(counts)?)?))
    }

    /// Runs a command under the profiler. Returns the calls of all its processes except those named
    /// `tool`.
    fn profile(
        &self,
        command: &[std::ffi::OsString],
        directory: &Path,
        tool: &str,
    ) -> Result<Counted> {
        let report = directory.join("report");
        let mut profiler = privilege::as_root(&self.profiler, &[])?;
        profiler.args(["stat", "--by", "process,syscall", "--format", "json", "--output"]);
        profiler.arg(&report).arg("--").args(command);
        // The measured compiler must not use cargo's jobserver.
        profiler.env_remove("MAKEFLAGS").env_remove("CARGO_MAKEFLAGS");
        let ended = profiler.output()?;
        ensure!(
            ended.status.success(),
            "{} failed ({}):\n{}",
            crate::workspace::shown(&profiler),
            ended.status,
            String::from_utf8_lossy(&ended.stderr)
        );
        Counted::parse(&std::fs::read_to_string(report)?, tool)
    }
}
