//! Measures how the cost of the kernel side grows with the number of active tasks, and the cost of
//! a drain with the number of tasks.

use std::{
    env,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use profiler::{
    aggregate::KeepEnded,
    engine::{
        Engine as _,
        kernel::{Options, Profiler},
    },
    model::Detail,
};

use super::{
    child,
    hot_path::Loop,
    rows::Turns,
    subjects::{OURS, Subject},
};
use crate::bench::{
    Measure,
    crowd::Kind,
    figures::{CLOCK, NOTHING},
    results::{Dimension, Drain, Growth, Point, Quiet},
    workload::Workload,
};

/// Calls before a task yields its CPU. The number is small, so that the caches have the data of
/// other tasks when a task continues.
const TURN: u64 = 32;

/// Numbers of processes, and of threads per process, for the measurement of drains.
const CROWDS: [(u32, u32); 7] =
    [(1, 1), (100, 1), (1_000, 1), (10_000, 1), (1, 1_000), (100, 100), (100, 200)];

/// Extents for the figures of all tasks: 160 MiB, which is four times the default.
const EXTENTS: u32 = 160 * 1024;

/// Maximum number of drains until all tasks have a record.
const SETTLING: usize = 8;

/// Number of drains of each crowd, idle and active.
const READINGS: usize = 5;

pub(super) fn run(args: &Measure) -> Result<Growth> {
    let (quiet, kernel) = kernel(args)?;
    let mut drain = Vec::new();
    for (processes, threads) in CROWDS {
        child::check()?;
        eprint!("\rdrain: {processes} processes of {threads} threads   ");
        let mut point = Drain {
            processes: processes.into(),
            threads: u64::from(processes) * u64::from(threads),
            idle: Vec::new(),
            active: Vec::new(),
            absent: None,
        };
        if let Err(error) = drained(processes, threads, &mut point) {
            child::check()?;
            eprintln!("\n{error:#}");
            point.absent = Some(format!("{error:#}"));
        }
        drain.push(point);
    }
    eprintln!();
    Ok(Growth { quiet, kernel, drain })
}

/// Measures every count in each round, with each subject in turn. Also returns how quiet the
/// machine was.
fn kernel(args: &Measure) -> Result<(Quiet, Vec<Dimension>)> {
    let is_wanted = |subject: &&Subject| [NOTHING, CLOCK, "profiler"].contains(&subject.key);
    let mut turns = Turns::new(OURS.iter().filter(is_wanted).collect())?;
    let dimensions = dimensions(args)?;
    turns.rounds(args.rounds, |_, attached| {
        let points = dimensions.iter().flat_map(|(_, points)| points);
        let timed = points.map(|(_, timed)| {
            child::check()?;
            timed.timed(attached).map(Some)
        });
        timed.collect()
    })?;
    let mut places = 0..;
    let dimensions = dimensions.into_iter().map(|(of, points)| {
        let points = points.into_iter().zip(&mut places);
        let points = points.map(|((count, _), place)| Point { count, rows: turns.rows(place) });
        Dimension { of: of.to_owned(), points: points.collect() }
    });
    let dimensions = dimensions.collect();
    Ok((turns.quiet, dimensions))
}

type Points = Vec<(u64, Loop)>;

fn dimensions(args: &Measure) -> Result<Vec<(&'static str, Points)>> {
    let cpu = args.cpu.map_or_else(super::last_cpu, Ok)?;
    let cpus: Vec<_> = std::iter::once(cpu).chain(super::another_cpu(cpu)?).collect();
    let many = |kind: Kind| {
        [1, 10, 100, 1_000].map(|tasks| {
            let simple = Loop::simple(Workload::Getppid, args.calls, cpu);
            (u64::from(tasks), Loop { tasks, kind, turn: Some(TURN), ..simple })
        })
    };
    let different = [
        (1, Workload::Failing),
        (4, Workload::Alternating),
        (16, Workload::Sixteen),
        (64, Workload::SixtyFour),
    ]
    .map(|(count, workload)| (count, Loop::simple(workload, args.calls, cpu)));
    let cores = (1..=cpus.len()).map(|count| {
        let simple = Loop::simple(Workload::Getppid, args.calls * count as u64, cpu);
        (count as u64, Loop { cpus: cpus[..count].to_vec(), tasks: count as u32, ..simple })
    });
    Ok(vec![
        ("processes that take turns on a core, 32 calls at a time", many(Kind::Processes).into()),
        (
            "threads of a process that take turns on a core, 32 calls at a time",
            many(Kind::Threads).into(),
        ),
        ("different calls of a thread", different.into()),
        ("cores, a process on each", cores.collect()),
    ])
}

/// Drains the tables with this many tasks, as the daemon does.
fn drained(processes: u32, threads: u32, point: &mut Drain) -> Result<()> {
    let options = Options { max_extents: EXTENTS, ..Options::default() };
    let mut profiler = Profiler::attach(&options, KeepEnded::Always)?;
    let mut crowd = Gathered::start(processes, threads)?;
    // Each drain enlarges the pools if necessary.
    let mut settled = profiler.snapshot(Detail::Calls);
    for _ in 0..SETTLING {
        crowd.go()?;
        settled = profiler.snapshot(Detail::Calls);
        if settled.health.pool_usage("records").used >= point.threads {
            break;
        }
    }
    for _ in 0..READINGS {
        child::check()?;
        crowd.go()?;
        let start = Instant::now();
        let snapshot = profiler.snapshot(Detail::Calls);
        point.active.push(start.elapsed().as_secs_f64());
        let health = &snapshot.health;
        ensure!(
            health.pool_usage("records").used >= point.threads,
            "only {} of {} threads have a record",
            health.pool_usage("records").used,
            point.threads
        );
        let overflowed = health.overflowed - settled.health.overflowed;
        ensure!(overflowed == 0, "the tables had no space for {overflowed} calls");
        let start = Instant::now();
        profiler.snapshot(Detail::Calls);
        point.idle.push(start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Tasks of another process, which make calls on command. Dropping this value ends the process and
/// its tasks.
struct Gathered {
    process: Child,
    orders: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Gathered {
    fn start(processes: u32, threads: u32) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.arg("bench-crowd").args([processes.to_string(), threads.to_string()]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let orders = process.stdin.take().context("the tasks have no input pipe")?;
        let answers =
            BufReader::new(process.stdout.take().context("the tasks have no output pipe")?);
        let mut gathered = Self { process, orders, answers };
        gathered.hear().context("the tasks did not start")?;
        Ok(gathered)
    }

    /// Lets all tasks make their calls, and waits for them.
    fn go(&mut self) -> Result<()> {
        self.orders.write_all(b"\n").context("the tasks have ended")?;
        self.hear()
    }

    fn hear(&mut self) -> Result<()> {
        let mut line = String::new();
        ensure!(self.answers.read_line(&mut line)? > 0, "they ended");
        Ok(())
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
