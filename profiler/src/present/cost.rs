//! The profiler's own cost, for `profiler stat --self`: in the table and in JSON.

use std::{io, time::Duration};

use serde::Serialize;

use super::{
    OwnCost, Report,
    grid::{Grid, Place},
    paint::{BAD, HEADING, PLAIN},
    table::Style,
    units,
};
use crate::model::{Health, Program, Runs, Timing, nanoseconds};

const COLUMNS: [Place; 8] = [
    Place { title: "% CPUs", right: true, expendable: 1 },
    Place { title: "total", right: true, expendable: 2 },
    Place { title: "runs", right: true, expendable: 4 },
    Place { title: "mean", right: true, expendable: 3 },
    Place { title: "skipped", right: true, expendable: 5 },
    Place { title: "code", right: true, expendable: 6 },
    Place { title: "verified", right: true, expendable: 7 },
    Place { title: "program", right: false, expendable: 0 },
];

/// Writes the profiler's own cost for people.
///
/// # Errors
/// If `out` cannot be written.
pub(super) fn write(
    out: &mut impl io::Write,
    own: OwnCost<'_>,
    report: &Report<'_>,
    style: Style,
) -> io::Result<()> {
    let OwnCost { spent, cpus } = own;
    writeln!(out, "\n{HEADING}What the profiler cost:{HEADING:#}")?;
    let programs = programs(own);
    let paint = match spent.timing {
        Timing::No(_) => BAD,
        Timing::Of { .. } => PLAIN,
    };
    writeln!(out, "programs  {paint}{programs}{paint:#}")?;
    let time = |duration: Duration| units::time(nanoseconds(duration));
    let percent = |share: Option<f64>| share.map_or_else(|| units::NONE.into(), units::percent);
    writeln!(
        out,
        "process   {} of a CPU: {} user, {} system; {} to attach",
        percent(spent.own_cpus()),
        time(spent.cpu.user),
        time(spent.cpu.system),
        time(spent.cpu_to_attach.total()),
    )?;
    writeln!(
        out,
        "memory    {} resident, {} at most; {} in the kernel",
        units::bytes(spent.resident_bytes),
        units::bytes(spent.peak_resident_bytes),
        units::bytes(report.health.kernel_memory_bytes()),
    )?;
    let drains = &spent.drains;
    writeln!(
        out,
        "drains    {} in {}: median {}, longest {}, last {}",
        units::grouped(drains.count()),
        time(drains.total),
        time(drains.median()),
        time(drains.longest),
        time(drains.last),
    )?;
    let cells = spent
        .by_program()
        .map(|(program, runs)| cells(program, runs, report.health, &spent.timing, cpus))
        .collect();
    let grid = Grid::new(COLUMNS.into(), cells, style.width);
    writeln!(out, "\n{HEADING}{}{HEADING:#}", grid.title().trim_end())?;
    for line in grid.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// The cost of all programs, in a sentence.
fn programs(OwnCost { spent, cpus }: OwnCost<'_>) -> String {
    let runs = match (&spent.timing, spent.all_runs()) {
        (Timing::No(why), _) => return format!("not timed: {why}"),
        (_, runs) => runs.unwrap_or_default(),
    };
    let share = spent.programs_cpus().map(|busy| units::percent(busy / cpus.max(1) as f64));
    format!(
        "{} of {cpus} CPUs, {} a call; {} runs in {}",
        share.unwrap_or_else(|| units::NONE.into()),
        spent.ns_a_call().map_or_else(|| units::NONE.into(), fine),
        units::grouped(runs.count),
        units::time(nanoseconds(runs.time)),
    )
}

fn cells(
    program: &Program,
    runs: Option<Runs>,
    health: &Health,
    timing: &Timing,
    cpus: usize,
) -> Vec<String> {
    let share = |runs: Runs| match timing {
        Timing::Of { time, .. } if !time.is_zero() => {
            let share = runs.time.as_secs_f64() / time.as_secs_f64() / cpus.max(1) as f64;
            format!("{:.2}", 100.0 * share)
        }
        _ => String::new(),
    };
    let of = |text: fn(Runs) -> String| runs.map(text).unwrap_or_default();
    let skipped = skipped(health, &program.name).filter(|&skipped| skipped > 0);
    vec![
        runs.map(share).unwrap_or_default(),
        of(|runs| units::time(nanoseconds(runs.time))),
        of(|runs| units::grouped(runs.count)),
        of(|runs| mean(runs).map_or_else(|| units::NONE.into(), fine)),
        skipped.map(units::grouped).unwrap_or_default(),
        units::bytes(program.jited_bytes),
        program.verified_instructions.map(|n| units::grouped(n.into())).unwrap_or_default(),
        program.name.clone(),
    ]
}

/// Mean time of a run, nanoseconds.
fn mean(runs: Runs) -> Option<f64> {
    (runs.count > 0).then(|| runs.time.as_nanos() as f64 / runs.count as f64)
}

/// A time as text, with tenths of a nanosecond below 100 ns.
fn fine(ns: f64) -> String {
    if ns < 99.95 { format!("{ns:.1}ns") } else { units::time(ns.round() as u64) }
}

/// How often the kernel skipped a program since it was attached.
fn skipped(health: &Health, name: &str) -> Option<u64> {
    health.kernel()?.misses_of(name)
}

/// The profiler's own cost in JSON. Figures of the kernel's statistics are null if the statistics
/// are off.
#[derive(Serialize)]
pub(super) struct Object<'a> {
    /// CPUs of the host.
    cpus: usize,
    /// Why the kernel did not time the programs; null if it did.
    programs_untimed: Option<String>,
    /// Time in the programs, of all CPUs together.
    programs_ns: Option<u64>,
    /// Time in the programs as a share of the time of all CPUs.
    programs_share: Option<f64>,
    /// Time in the two programs that run at every call.
    ns_per_call: Option<f64>,
    programs: Vec<ProgramObject<'a>>,
    cpu_user_ns: u64,
    cpu_system_ns: u64,
    /// CPU time of the process as a share of one CPU.
    cpu_share: Option<f64>,
    /// CPU time from the start of the process until the programs were attached. No other figure
    /// includes it.
    cpu_to_attach_ns: u64,
    resident_bytes: u64,
    peak_resident_bytes: u64,
    kernel_memory_bytes: u64,
    drains: u64,
    drain_total_ns: u64,
    drain_median_ns: u64,
    drain_max_ns: u64,
    drain_last_ns: u64,
}

#[derive(Serialize)]
struct ProgramObject<'a> {
    program: &'a str,
    copies: usize,
    runs: Option<u64>,
    run_ns: Option<u64>,
    mean_ns: Option<f64>,
    /// Runs that the kernel skipped since the program was attached; null for a program that does
    /// not run at a tracepoint.
    skipped: Option<u64>,
    jited_bytes: u64,
    verified_instructions: Option<u32>,
}

impl<'a> Object<'a> {
    pub(super) fn new(own: OwnCost<'a>, health: &Health) -> Self {
        let OwnCost { spent, cpus } = own;
        let program = |(program, runs): (&'a Program, Option<Runs>)| ProgramObject {
            program: &program.name,
            copies: program.copies,
            runs: runs.map(|runs| runs.count),
            run_ns: runs.map(|runs| nanoseconds(runs.time)),
            mean_ns: runs.and_then(mean),
            skipped: skipped(health, &program.name),
            jited_bytes: program.jited_bytes,
            verified_instructions: program.verified_instructions,
        };
        Self {
            cpus,
            programs_untimed: match &spent.timing {
                Timing::No(why) => Some(why.to_string()),
                Timing::Of { .. } => None,
            },
            programs_ns: spent.all_runs().map(|runs| nanoseconds(runs.time)),
            programs_share: spent.programs_cpus().map(|busy| busy / cpus.max(1) as f64),
            ns_per_call: spent.ns_a_call(),
            programs: spent.by_program().map(program).collect(),
            cpu_user_ns: nanoseconds(spent.cpu.user),
            cpu_system_ns: nanoseconds(spent.cpu.system),
            cpu_share: spent.own_cpus(),
            cpu_to_attach_ns: nanoseconds(spent.cpu_to_attach.total()),
            resident_bytes: spent.resident_bytes,
            peak_resident_bytes: spent.peak_resident_bytes,
            kernel_memory_bytes: health.kernel_memory_bytes(),
            drains: spent.drains.count(),
            drain_total_ns: nanoseconds(spent.drains.total),
            drain_median_ns: nanoseconds(spent.drains.median()),
            drain_max_ns: nanoseconds(spent.drains.longest),
            drain_last_ns: nanoseconds(spent.drains.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Cost, CpuTime, EngineDetail, KernelDetail, Times, Untimed},
        present::testing,
    };

    fn program(name: &str, jited_bytes: u64, verified: u32) -> Program {
        let verified_instructions = Some(verified);
        Program { name: name.into(), copies: 1, jited_bytes, verified_instructions }
    }

    fn runs(count: u64, ns: u64) -> Runs {
        Runs { count, events: count, time: Duration::from_nanos(ns) }
    }

    fn spent() -> Cost {
        let mut drains = Times::default();
        [1_200, 1_100, 2_310].map(Duration::from_micros).into_iter().for_each(|t| drains.add(t));
        Cost {
            elapsed: Duration::from_secs(2),
            cpu: CpuTime { user: Duration::from_micros(1_250), system: Duration::from_millis(5) },
            cpu_to_attach: CpuTime { user: Duration::from_millis(95), ..CpuTime::default() },
            resident_bytes: 19_084_083,
            peak_resident_bytes: 20_971_520,
            drains,
            programs: vec![
                program("sys_enter", 1_234, 1_034),
                program("sys_exit", 3_321, 12_345),
                program("task_rename", 512, 96),
            ],
            timing: Timing::Of {
                period: 1,
                time: Duration::from_secs(2),
                runs: vec![runs(1_200_061, 37_441_903), runs(1_200_060, 44_402_220), runs(0, 0)],
            },
        }
    }

    fn text(spent: &Cost, width: Option<usize>) -> String {
        let kernel = KernelDetail {
            memory_bytes: 52 << 20,
            program_misses: vec![
                ("sys_enter".into(), 0),
                ("sys_exit".into(), 3),
                ("task_rename".into(), 0),
            ],
            ..KernelDetail::default()
        };
        let health = Health { engine: EngineDetail::Kernel(kernel), ..Health::default() };
        let own = OwnCost { spent, cpus: 2 };
        let report = Report { health: &health, own: Some(own), ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, own, &report, Style { width, ..Style::PLAIN }).expect("a vector");
        testing::unstyled(out)
    }

    #[test]
    fn it_fits_in_eighty_columns() {
        let text = text(&spent(), Some(80));
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }

    #[test]
    fn a_narrow_terminal_keeps_what_each_program_takes() {
        let text = text(&spent(), Some(30));
        let table: Vec<&str> = text.lines().skip(7).collect();
        insta::assert_snapshot!(table.join("\n"));
    }

    #[test]
    fn what_the_kernel_did_not_time_is_said_and_not_nothing() {
        let untimed = Cost { timing: Timing::No(Untimed::Privilege), ..spent() };
        let text = text(&untimed, Some(80));
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
