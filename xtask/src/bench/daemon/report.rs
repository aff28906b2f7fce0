//! Prints figures with their goals, as Markdown and JSON.

use std::{fmt, time::Duration};

use serde::Serialize;

/// The results of a run.
#[derive(Serialize)]
pub(super) struct Report {
    pub(super) machine: String,
    pub(super) sections: Vec<Section>,
}

/// A group of figures.
#[derive(Serialize)]
pub(super) struct Section {
    pub(super) title: String,
    pub(super) figures: Vec<Figure>,
}

/// A figure, in the unit in which it is printed.
#[derive(Serialize)]
pub(super) struct Figure {
    what: &'static str,
    value: f64,
    unit: Unit,
    /// The goal: an upper bound.
    goal: Option<f64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Unit {
    #[serde(rename = "% of a core")]
    Core,
    MiB,
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "ns")]
    Nanoseconds,
    #[serde(rename = "")]
    Count,
}

impl Figure {
    pub(super) fn core(what: &'static str, share: f64) -> Self {
        Self { what, value: 100.0 * share, unit: Unit::Core, goal: None }
    }

    pub(super) fn bytes(what: &'static str, bytes: u64) -> Self {
        Self { what, value: bytes as f64 / f64::from(1 << 20), unit: Unit::MiB, goal: None }
    }

    pub(super) fn time(what: &'static str, time: Duration) -> Self {
        Self { what, value: 1e3 * time.as_secs_f64(), unit: Unit::Milliseconds, goal: None }
    }

    pub(super) fn nanoseconds(what: &'static str, ns: f64) -> Self {
        Self { what, value: ns, unit: Unit::Nanoseconds, goal: None }
    }

    pub(super) fn count(what: &'static str, count: f64) -> Self {
        Self { what, value: count, unit: Unit::Count, goal: None }
    }

    /// Adds a goal.
    pub(super) fn goal(self, goal: f64) -> Self {
        Self { goal: Some(goal), ..self }
    }

    /// Sets the goal.
    pub(super) fn set_goal(&mut self, goal: f64) {
        self.goal = Some(goal);
    }
}

impl Unit {
    fn show(self, value: f64) -> String {
        match self {
            Self::Core => format!("{value:.2} %"),
            Self::MiB => format!("{value:.1} MiB"),
            Self::Milliseconds => format!("{value:.2} ms"),
            Self::Nanoseconds => format!("{value:.0} ns"),
            Self::Count => format!("{value}"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.machine)?;
        for Section { title, figures } in &self.sections {
            writeln!(f, "\n### {title}\n")?;
            writeln!(f, "| what | figure | goal | |")?;
            writeln!(f, "| --- | ---: | ---: | --- |")?;
            for &Figure { what, value, unit, goal } in figures {
                write!(f, "| {what} | {} |", unit.show(value))?;
                match goal {
                    None => writeln!(f, " | |")?,
                    Some(goal) => {
                        let verdict = if value <= goal { "met" } else { "**missed**" };
                        writeln!(f, " {} | {verdict} |", unit.show(goal))?;
                    }
                }
            }
        }
        Ok(())
    }
}

/// The median and the 99th percentile.
pub(super) fn quantiles(mut times: Vec<Duration>) -> [Duration; 2] {
    times.sort_unstable();
    let last = times.len().saturating_sub(1) as f64;
    [0.5, 0.99].map(|q| times.get((q * last).ceil() as usize).copied().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_stand_beside_their_goals() {
        let report = Report {
            machine: "A machine.".into(),
            sections: vec![Section {
                title: "At rest".into(),
                figures: vec![
                    Figure::core("daemon", 0.004).goal(0.5),
                    Figure::bytes("resident", 50 << 20).goal(40.0),
                    Figure::time("drain", Duration::from_micros(1_500)),
                    Figure::count("lost", 0.0).goal(0.0),
                ],
            }],
        };
        assert_eq!(
            report.to_string(),
            "\
A machine.

### At rest

| what | figure | goal | |
| --- | ---: | ---: | --- |
| daemon | 0.40 % | 0.50 % | met |
| resident | 50.0 MiB | 40.0 MiB | **missed** |
| drain | 1.50 ms | | |
| lost | 0 | 0 | met |
"
        );
    }

    #[test]
    fn the_worst_of_few_is_the_99th_percentile() {
        let times = (1..=20).rev().map(Duration::from_millis).collect();
        assert_eq!(quantiles(times), [11, 20].map(Duration::from_millis));
    }
}
