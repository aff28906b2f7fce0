//! The fields of the JSON of `profiler stat` that the tools read.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A report in which every call is counted, with its process.
#[derive(Deserialize)]
pub(crate) struct Report {
    lost: u64,
    overflowed: u64,
    breaches: u64,
    pub(crate) rows: Vec<Row>,
}

/// A row of a report by process and syscall.
#[derive(Deserialize)]
pub(crate) struct Row {
    pub(crate) pid: Option<u32>,
    pub(crate) comm: Option<String>,
    pub(crate) abi: Option<String>,
    pub(crate) syscall: String,
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// The container, in a report by container.
    #[serde(default)]
    pub(crate) container: Option<Value>,
    /// The unit, in a report by unit.
    #[serde(default)]
    pub(crate) unit: Option<Value>,
}

/// The figures of a row.
#[derive(Deserialize, Default, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Figures {
    pub(crate) calls: u64,
    pub(crate) returned: u64,
    pub(crate) restarted: u64,
    pub(crate) errors: u64,
    pub(crate) never_returned: u64,
    pub(crate) in_flight: u64,
    pub(crate) denied: u64,
    /// The time of the calls that left, nanoseconds.
    pub(crate) total_ns: u64,
}

impl Report {
    /// Reads a report.
    ///
    /// # Errors
    /// If `json` is not a report, or if calls were lost or overflowed.
    pub(crate) fn parse(json: &str) -> Result<Self> {
        let report: Self = serde_json::from_str(json)?;
        let Self { lost, overflowed, breaches, .. } = report;
        ensure!(
            (lost, overflowed, breaches) == (0, 0, 0),
            "the profiler lost {lost} calls, counted {overflowed} calls without their process, and \
             found {breaches} accounting equations that do not hold"
        );
        Ok(report)
    }
}

impl Figures {
    /// Adds the figures of another row.
    pub(crate) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.returned += other.returned;
        self.restarted += other.restarted;
        self.errors += other.errors;
        self.never_returned += other.never_returned;
        self.in_flight += other.in_flight;
        self.denied += other.denied;
        self.total_ns += other.total_ns;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_that_is_not_exact_is_refused() {
        let report = |lost, overflowed, breaches| {
            Report::parse(&format!(
                r#"{{"lost":{lost},"overflowed":{overflowed},"breaches":{breaches},"rows":[]}}"#
            ))
        };
        assert!(report(0, 0, 0).is_ok());
        assert!(report(1, 0, 0).is_err() && report(0, 1, 0).is_err() && report(0, 0, 1).is_err());
    }
}
