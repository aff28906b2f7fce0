//! `cargo xtask bench switch`: measures the cost of `--where` per context switch and per call,
//! compared with other tools that follow the scheduler.
//!
//! Two threads on one CPU take turns through two pipes. Each turn is two syscalls and a context
//! switch. Their CPU time is measured, which includes the programs that run at each switch, and
//! excludes other processes. All subjects are measured in turn, in rounds. The result is the
//! minimum.

use std::{
    env, fs,
    io::Write as _,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Stdio},
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, ensure};
use nix::{
    sched::{CpuSet, sched_setaffinity},
    sys::signal::{Signal, killpg},
    time::{ClockId, clock_gettime},
    unistd::Pid,
};

use super::{
    start::{become_root, executable},
    statistics::least,
};
use crate::{
    debian,
    workspace::{find_program, output},
};

/// Measure what --where costs per context switch, compared with perf, bpftrace and offcputime
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Install other tools first (Debian, as root)
    #[arg(long)]
    install: bool,
    /// Number of rounds; each round measures everything once
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Context switches in each measurement
    #[arg(long, value_name = "N", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    switches: u64,
    /// Measure this executable [default: build one]
    #[arg(long, value_name = "FILE")]
    profiler: Option<PathBuf>,
}

/// Times context switches (`bench switch` starts this)
#[derive(clap::Args)]
pub(crate) struct LoopArgs {
    /// Number of switches
    #[arg(long)]
    switches: u64,
    /// The CPU to run on
    #[arg(long)]
    cpu: usize,
    /// Instead, call getppid, which never leaves the CPU
    #[arg(long)]
    calls: bool,
}

/// Something that runs while switches are measured.
struct Subject {
    title: &'static str,
    /// The Debian package of another tool.
    package: Option<&'static str>,
    program: &'static str,
    args: &'static [&'static str],
    /// The kind of descriptor that the tool has open once it is attached.
    holds: &'static str,
}

const PROGRAM: &str = "anon_inode:bpf-prog";
const EVENT: &str = "anon_inode:[perf_event]";

/// The index of the baseline for the cost of `--where`.
const PLAIN: usize = 0;
const WHERE: usize = 1;
const OFFCPUTIME: usize = 2;

const SUBJECTS: [Subject; 6] = [
    Subject {
        title: "**profiler** stat -a",
        package: None,
        program: "profiler",
        args: &["stat", "-a", "-f", "json", "-o", "/dev/null"],
        holds: PROGRAM,
    },
    Subject {
        title: "**profiler** stat -a --where",
        package: None,
        program: "profiler",
        args: &["stat", "-a", "--where", "-f", "json", "-o", "/dev/null"],
        holds: PROGRAM,
    },
    Subject {
        title: "`offcputime` (libbpf-tools)",
        package: Some("libbpf-tools"),
        program: "offcputime",
        args: &[],
        holds: PROGRAM,
    },
    Subject {
        title: "`offcputime-bpfcc` (bcc)",
        package: Some("bpfcc-tools"),
        program: "offcputime-bpfcc",
        args: &[],
        holds: PROGRAM,
    },
    Subject {
        title: "`bpftrace`: time off the CPU by name",
        package: Some("bpftrace"),
        program: "bpftrace",
        args: &[
            "-e",
            "tracepoint:sched:sched_switch { @out[args->prev_pid] = nsecs; \
             $out = @out[args->next_pid]; \
             if ($out) { @ns[args->next_comm] = sum(nsecs - $out); } \
             delete(@out[args->next_pid]); }",
        ],
        holds: PROGRAM,
    },
    Subject {
        title: "`perf sched record`",
        package: Some("linux-perf"),
        program: "perf",
        args: &["sched", "record", "-o", "/dev/null"],
        holds: EVENT,
    },
];

/// How long a tool may take to attach.
const PATIENCE: Duration = Duration::from_secs(30);

/// The time from loading to the measurement. By then, a tool has attached its programs.
const SETTLE: Duration = Duration::from_secs(1);

/// The samples with a subject attached, or with nothing attached, in nanoseconds.
#[derive(Default)]
struct Samples {
    switch: Vec<f64>,
    call: Vec<f64>,
    absent: Option<String>,
}

pub(crate) fn run(args: &Args) -> Result<ExitCode> {
    become_root()?;
    if args.install {
        let packages: Vec<_> = SUBJECTS.iter().filter_map(|subject| subject.package).collect();
        debian::install(&packages)?;
    }
    let profiler = executable(args.profiler.as_deref())?;
    let cpu = thread::available_parallelism()?.get() - 1;
    let mut nothing = Samples::default();
    let mut all: [Samples; SUBJECTS.len()] = Default::default();
    for round in 1..=args.rounds {
        eprintln!("round {round} of {} ...", args.rounds);
        measure(&mut nothing, args.switches, cpu)?;
        for (subject, samples) in SUBJECTS.iter().zip(&mut all) {
            if samples.absent.is_some() {
                continue;
            }
            let measured = Tool::start(subject, &profiler).and_then(|mut tool| {
                measure(samples, args.switches, cpu)?;
                tool.still_runs()
            });
            if let Err(error) = measured {
                samples.absent = Some(format!("{error:#}"));
            }
        }
    }
    print(&mut std::io::stdout(), args, &nothing, &all)?;
    Ok(ExitCode::SUCCESS)
}

/// Measures a context switch, and a call that does not sleep.
fn measure(samples: &mut Samples, switches: u64, cpu: usize) -> Result<()> {
    let (switches, cpu) = (switches.to_string(), cpu.to_string());
    let args = ["bench-switch", "--switches", &switches, "--cpu", &cpu];
    let switch = output(Command::new(env::current_exe()?).args(args))?;
    let call = output(Command::new(env::current_exe()?).args(args).arg("--calls"))?;
    samples.switch.push(switch.parse().context("the loop printed no number")?);
    samples.call.push(call.parse().context("the loop printed no number")?);
    Ok(())
}

fn print(
    out: &mut impl std::io::Write,
    args: &Args,
    nothing: &Samples,
    all: &[Samples; SUBJECTS.len()],
) -> Result<()> {
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let date = output(Command::new("date").arg("+%F"))?;
    writeln!(
        out,
        "Two threads on one CPU take turns through pipes. A turn is a `write`, a `read` that waits, \
         and a context switch. The figures are CPU time: the minimum of {} rounds of {} switches. \
         Linux {}, {date}.\n",
        args.rounds,
        args.switches,
        kernel.trim_end()
    )?;
    writeln!(out, "| attached | ns per switch | added | ns per getppid | added |")?;
    writeln!(out, "| --- | ---: | ---: | ---: | ---: |")?;
    let base = (least(&nothing.switch), least(&nothing.call));
    writeln!(out, "| nothing | {:.0} | | {:.0} | |", base.0, base.1)?;
    for (subject, samples) in SUBJECTS.iter().zip(all) {
        if let Some(why) = &samples.absent {
            let why = why.lines().next_back().unwrap_or_default().replace('|', "/");
            writeln!(out, "| {} | not measured: {why} | | | |", subject.title)?;
            continue;
        }
        let (switch, call) = (least(&samples.switch), least(&samples.call));
        let added = (switch - base.0, call - base.1);
        let title = subject.title;
        writeln!(out, "| {title} | {switch:.0} | {:.0} | {call:.0} | {:.0} |", added.0, added.1)?;
    }
    let of = |index: usize| least(&all[index].switch);
    let own = of(WHERE) - of(PLAIN);
    writeln!(out, "\n`--where` adds {own:.0} ns to a switch and its wake-up.")?;
    if all[OFFCPUTIME].absent.is_none() {
        let theirs = of(OFFCPUTIME) - base.0;
        writeln!(
            out,
            "`offcputime` adds {theirs:.0} ns, which is {:.1} times as much.",
            theirs / own
        )?;
    }
    Ok(())
}

/// A running tool. Dropping this value ends the tool.
struct Tool(Child, fs::File);

impl Tool {
    /// Starts a tool, and returns once it is attached.
    fn start(subject: &Subject, profiler: &Path) -> Result<Self> {
        let program = match subject.package {
            None => profiler.to_owned(),
            Some(package) => find_program(&[subject.program])
                .with_context(|| format!("not installed: Debian's package `{package}`"))?,
        };
        let said = tempfile::tempfile()?;
        let mut command = Command::new(program);
        command.args(subject.args).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(said.try_clone()?);
        let mut tool = Self(command.spawn()?, said);
        let deadline = Instant::now() + PATIENCE;
        while !holds(tool.0.id(), subject.holds) {
            tool.still_runs()?;
            ensure!(Instant::now() < deadline, "not attached after {} s", PATIENCE.as_secs());
            sleep(Duration::from_millis(50));
        }
        sleep(SETTLE);
        tool.still_runs()?;
        Ok(tool)
    }

    /// Fails if the tool has ended, with its last line of output.
    fn still_runs(&mut self) -> Result<()> {
        use std::io::{Read as _, Seek as _};
        let Some(status) = self.0.try_wait()? else { return Ok(()) };
        let mut said = String::new();
        self.1.rewind()?;
        let _ = self.1.read_to_string(&mut said);
        let last = said.lines().rfind(|line| !line.trim().is_empty());
        Err(anyhow!("the tool ended ({status}): {}", last.unwrap_or("no output")))
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        let group = Pid::from_raw(self.0.id().cast_signed());
        let _ = killpg(group, Signal::SIGINT);
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline && matches!(self.0.try_wait(), Ok(None)) {
            sleep(Duration::from_millis(20));
        }
        let _ = killpg(group, Signal::SIGKILL);
        let _ = self.0.wait();
    }
}

/// Whether a process, or a child of it, has a descriptor of this kind.
fn holds(id: u32, kind: &str) -> bool {
    let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
    let links = fs::read_dir(format!("/proc/{id}/fd")).into_iter().flatten();
    let mut links = links.filter_map(|link| fs::read_link(link.ok()?.path()).ok());
    links.any(|link| link.to_str() == Some(kind))
        || children.split(' ').filter_map(|id| id.trim().parse().ok()).any(|id| holds(id, kind))
}

/// Prints nanoseconds per context switch, or per call.
pub(crate) fn switch(args: &LoopArgs) -> Result<ExitCode> {
    let mut cpus = CpuSet::new();
    cpus.set(args.cpu)?;
    sched_setaffinity(Pid::from_raw(0), &cpus)?;
    let work = if args.calls { make_calls } else { take_turns };
    // The first switches fill the caches, and make the profiler create its records.
    work(args.switches / 20)?;
    let took = work(args.switches)?;
    writeln!(std::io::stdout(), "{}", took.as_nanos() as f64 / args.switches as f64)?;
    Ok(ExitCode::SUCCESS)
}

/// Lets two threads take turns, and returns their CPU time.
fn take_turns(switches: u64) -> Result<Duration> {
    let (there, back) = (nix::unistd::pipe()?, nix::unistd::pipe()?);
    let (from, to) = (&there.0, &back.1);
    let turns = switches / 2;
    let start = cpu_time()?;
    thread::scope(|scope| {
        scope.spawn(move || {
            for _ in 0..turns {
                take(from);
                pass(to);
            }
        });
        for _ in 0..turns {
            pass(&there.1);
            take(&back.0);
        }
    });
    Ok(cpu_time()? - start)
}

/// Makes calls that never leave the CPU, and returns their CPU time.
fn make_calls(calls: u64) -> Result<Duration> {
    let start = cpu_time()?;
    for _ in 0..calls {
        // SAFETY: a call without arguments.
        std::hint::black_box(unsafe { libc::syscall(libc::SYS_getppid) });
    }
    Ok(cpu_time()? - start)
}

/// The CPU time of this process.
fn cpu_time() -> Result<Duration> {
    Ok(clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?.into())
}

fn pass(to: &OwnedFd) {
    let byte = 0_u8;
    // SAFETY: writes one byte from a live variable.
    let written = unsafe { libc::write(to.as_raw_fd(), (&raw const byte).cast(), 1) };
    assert_eq!(written, 1, "a byte");
}

fn take(from: &OwnedFd) {
    let mut byte = 0_u8;
    // SAFETY: reads one byte into a live variable.
    let read = unsafe { libc::read(from.as_raw_fd(), (&raw mut byte).cast(), 1) };
    assert_eq!(read, 1, "a byte");
}
