//! Figures from measurements, as Markdown and as JSON.

use std::{fmt, fs, process::Command};

use anyhow::Result;
use serde::Serialize;

use crate::workspace::output;

/// All that one run found.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: Machine,
    pub(super) calls: u64,
    pub(super) rounds: u32,
    pub(super) cpu: usize,
    pub(super) sections: Vec<Section>,
}

/// Where and when it was.
#[derive(Serialize)]
pub(super) struct Machine {
    pub(super) kernel: String,
    pub(super) cpu_model: String,
    pub(super) cpus: usize,
    pub(super) date: String,
}

impl Machine {
    pub(super) fn this() -> Result<Self> {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo")?;
        let model = cpuinfo.lines().find(|line| line.starts_with("model name"));
        let model = model.and_then(|line| line.split_once(": ")).map_or("unknown", |(_, m)| m);
        Ok(Self {
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease")?.trim_end().to_owned(),
            cpu_model: model.to_owned(),
            cpus: std::thread::available_parallelism()?.get(),
            date: output(Command::new("date").arg("+%F"))?,
        })
    }
}

/// One workload, under each probe.
#[derive(Serialize)]
pub(super) struct Section {
    workload: &'static str,
    rows: Vec<Row>,
}

/// Nanoseconds a call.
#[derive(Serialize)]
struct Row {
    attached: &'static str,
    min: f64,
    median: f64,
    /// Of the minimum, above that of the first row: nothing attached.
    added: f64,
    /// Of what is added to what the third row, the clock pair, adds.
    ratio_to_floor: f64,
    samples: Vec<f64>,
}

/// Positions of the probes that others are measured against.
const NOTHING: usize = 0;
const FLOOR: usize = 2;

impl Section {
    /// Measurements by what was attached: first nothing, third the clock pair.
    pub(super) fn new(workload: &'static str, samples: Vec<(&'static str, Vec<f64>)>) -> Self {
        let minimum = |samples: &[f64]| samples.iter().copied().fold(f64::INFINITY, f64::min);
        let nothing = minimum(&samples[NOTHING].1);
        let floor = minimum(&samples[FLOOR].1) - nothing;
        let row = |(attached, samples): (_, Vec<f64>)| {
            let min = minimum(&samples);
            let median = median(&samples);
            let added = min - nothing;
            Row { attached, min, median, added, ratio_to_floor: added / floor, samples }
        };
        Self { workload, rows: samples.into_iter().map(row).collect() }
    }
}

fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { kernel, cpu_model, cpus, date } = &self.machine;
        writeln!(
            f,
            "Linux {kernel}, {cpu_model}, {cpus} CPUs, {date}. Nanoseconds a call: {} runs of {} \
             calls on CPU {}, everything in turn. Added is above the minimum with nothing attached.",
            self.rounds, self.calls, self.cpu
        )?;
        for section in &self.sections {
            writeln!(f, "\n### {}\n", section.workload)?;
            writeln!(f, "| attached | min | median | added | to the floor |")?;
            writeln!(f, "| --- | ---: | ---: | ---: | ---: |")?;
            for (position, row) in section.rows.iter().enumerate() {
                let Row { attached, min, median, added, ratio_to_floor, .. } = row;
                write!(f, "| {attached} | {min:.1} | {median:.1} |")?;
                if position == NOTHING {
                    writeln!(f, " – | – |")?;
                } else {
                    writeln!(f, " {added:+.1} | {ratio_to_floor:.2} |")?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_relative_to_nothing_and_to_the_clock_pair() {
        let report = Report {
            machine: Machine {
                kernel: "6.18.0".into(),
                cpu_model: "A CPU".into(),
                cpus: 2,
                date: "2026-01-02".into(),
            },
            calls: 1000,
            rounds: 3,
            cpu: 1,
            sections: vec![Section::new(
                "getppid",
                vec![
                    ("nothing", vec![101.0, 100.0, 180.0]),
                    ("empty pair", vec![150.0, 152.0, 151.0]),
                    ("clock pair", vec![200.0, 210.0, 220.0]),
                    ("profiler", vec![230.0, 225.0, 220.0]),
                ],
            )],
        };
        assert_eq!(
            report.to_string(),
            "\
Linux 6.18.0, A CPU, 2 CPUs, 2026-01-02. Nanoseconds a call: 3 runs of 1000 calls on CPU 1, \
everything in turn. Added is above the minimum with nothing attached.

### getppid

| attached | min | median | added | to the floor |
| --- | ---: | ---: | ---: | ---: |
| nothing | 100.0 | 101.0 | – | – |
| empty pair | 150.0 | 151.0 | +50.0 | 0.50 |
| clock pair | 200.0 | 210.0 | +100.0 | 1.00 |
| profiler | 220.0 | 225.0 | +120.0 | 1.20 |
"
        );
    }

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 3.0, 2.0]), 2.5);
    }
}
