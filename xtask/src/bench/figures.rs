//! Computes figures from the samples: ratios to the cost of minimal programs, goals and slow-downs.

use serde::Serialize;

use super::{
    results::{Results, Row},
    statistics::{greatest, least, median, slow_down, slow_downs},
};

/// Keys of the rows with which other rows are compared.
pub(super) const NOTHING: &str = "nothing";
pub(super) const EMPTY: &str = "empty";
pub(super) const CLOCK: &str = "clock";
pub(super) const SYSCOUNT: &str = "syscount-latency";

/// A goal for a row: an upper bound of its added time, as a multiple of the added time of another
/// row.
struct Goal {
    row: &'static str,
    at_most: f64,
    of: &'static str,
    /// The name of the other subject in tables.
    called: &'static str,
}

const GOALS: [Goal; 6] = [
    Goal { row: "profiler", at_most: 1.15, of: CLOCK, called: "clock pair" },
    Goal { row: "profiler", at_most: 0.40, of: SYSCOUNT, called: "syscount -L -P" },
    Goal { row: "no-latency", at_most: 1.10, of: EMPTY, called: "empty pair" },
    Goal { row: "out-of-scope", at_most: 1.10, of: EMPTY, called: "empty pair" },
    Goal { row: "trace-filtered", at_most: 1.15, of: EMPTY, called: "empty pair" },
    Goal { row: "trace-last", at_most: 1.60, of: CLOCK, called: "clock pair" },
];

/// Nanoseconds per call.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct CallFigures {
    pub(super) min: f64,
    pub(super) median: f64,
    /// The minimum, minus the minimum with nothing attached.
    pub(super) added: Option<f64>,
    /// The ratio of the added time to the time that the clock pair adds.
    pub(super) to_clock: Option<f64>,
    pub(super) to_empty: Option<f64>,
    pub(super) to_syscount: Option<f64>,
    pub(super) goals: Vec<GoalFigure>,
}

#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct GoalFigure {
    pub(super) at_most: f64,
    pub(super) of: String,
    pub(super) ratio: f64,
    pub(super) met: bool,
}

/// How much longer a unit of work takes than with nothing attached, in percent.
#[derive(Serialize, Clone, Debug, PartialEq)]
pub(super) struct WorkFigures {
    /// The slow-down of the quickest round, relative to the quickest round without a tool.
    pub(super) of_best: f64,
    /// The median of the slow-downs of each round, relative to the same round without a tool. The
    /// minimum and the maximum follow.
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) greatest: f64,
}

impl CallFigures {
    /// The figures of `row`, relative to `rows` of the same workload. `None` without samples.
    pub(super) fn of(row: &Row, rows: &[Row]) -> Option<Self> {
        if row.absent.is_some() || row.samples.is_empty() {
            return None;
        }
        let added = |row: &Row| Some(least(&row.samples) - least(&Row::of(rows, NOTHING)?.samples));
        let to = |base: &str| Some(added(row)? / added(Row::of(rows, base)?)?);
        let is_bare = row.key == NOTHING;
        let to_other = |base: &str| if is_bare { None } else { to(base) };
        let goals = GOALS.iter().filter(|goal| goal.row == row.key).filter_map(|goal| {
            let ratio = to(goal.of)?;
            let of = goal.called.to_owned();
            Some(GoalFigure { at_most: goal.at_most, of, ratio, met: ratio <= goal.at_most })
        });
        Some(Self {
            min: least(&row.samples),
            median: median(&row.samples),
            added: added(row).filter(|_| !is_bare),
            to_clock: to_other(CLOCK),
            to_empty: to_other(EMPTY),
            to_syscount: to_other(SYSCOUNT),
            goals: goals.collect(),
        })
    }
}

impl WorkFigures {
    /// Returns whether all rounds agree that the tool slows the work down, or that it speeds
    /// the work up. Otherwise the median is noise.
    pub(super) fn shows_difference(&self) -> bool {
        self.least > 0.0 || self.greatest < 0.0
    }

    /// The figures of `row`, relative to `rows` of the same load. `None` without samples, and for
    /// the row with nothing attached.
    fn of(row: &Row, rows: &[Row]) -> Option<Self> {
        if row.absent.is_some() || row.samples.is_empty() || row.key == NOTHING {
            return None;
        }
        let bare = Row::of(rows, NOTHING)?;
        let paired = slow_downs(&row.samples, &bare.samples);
        Some(Self {
            of_best: slow_down(least(&row.samples), least(&bare.samples)),
            median: median(&paired),
            least: least(&paired),
            greatest: greatest(&paired),
        })
    }
}

impl Results {
    /// Recomputes the figures from the samples.
    pub(super) fn with_figures(mut self) -> Self {
        let calls = self.hot_path.iter_mut().flat_map(|hot_path| &mut hot_path.sections);
        let calls = calls.map(|section| &mut section.rows);
        let growth = self.growth.iter_mut().flat_map(|growth| &mut growth.kernel);
        let growth = growth.flat_map(|dimension| &mut dimension.points);
        for rows in calls.chain(growth.map(|point| &mut point.rows)) {
            let figures: Vec<_> = rows.iter().map(|row| CallFigures::of(row, rows)).collect();
            rows.iter_mut().zip(figures).for_each(|(row, figures)| row.figures = figures);
        }
        for load in self.work.iter_mut().flat_map(|work| &mut work.loads) {
            let rows = &mut load.rows;
            let figures: Vec<_> = rows.iter().map(|row| WorkFigures::of(row, rows)).collect();
            rows.iter_mut().zip(figures).for_each(|(row, figures)| row.slow_down = figures);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(key: &str, samples: &[f64]) -> Row {
        Row { key: key.into(), title: key.into(), samples: samples.into(), ..Row::default() }
    }

    fn rows() -> Vec<Row> {
        vec![
            row(NOTHING, &[101.0, 100.0, 180.0]),
            row(EMPTY, &[150.0, 152.0, 151.0]),
            row(CLOCK, &[200.0, 210.0, 220.0]),
            row("profiler", &[230.0, 225.0, 220.0]),
            row(SYSCOUNT, &[400.0, 410.0, 405.0]),
        ]
    }

    #[test]
    fn figures_are_relative_to_nothing_and_to_the_others_of_the_same_workload() {
        let rows = rows();
        let ours = CallFigures::of(&rows[3], &rows).expect("figures");
        assert_eq!((ours.min, ours.median, ours.added), (220.0, 225.0, Some(120.0)));
        assert_eq!(
            (ours.to_clock, ours.to_empty, ours.to_syscount),
            (Some(1.2), Some(2.4), Some(0.4))
        );
        let goals: Vec<_> = ours.goals.iter().map(|goal| (goal.ratio, goal.met)).collect();
        assert_eq!(goals, [(1.2, false), (0.4, true)]);
    }

    #[test]
    fn nothing_adds_nothing_and_has_no_ratio() {
        let rows = rows();
        let bare = CallFigures::of(&rows[0], &rows).expect("figures");
        assert_eq!((bare.min, bare.added, bare.to_clock), (100.0, None, None));
    }

    #[test]
    fn what_was_not_measured_has_no_figures_and_no_one_s_ratio_is_to_it() {
        let mut rows = rows();
        rows[4] = Row { absent: Some("not installed".into()), ..row(SYSCOUNT, &[]) };
        assert_eq!(CallFigures::of(&rows[4], &rows), None);
        let ours = CallFigures::of(&rows[3], &rows).expect("figures");
        assert_eq!(ours.to_syscount, None);
        assert_eq!(ours.goals.len(), 1, "a goal is omitted if its subject is absent");
    }

    #[test]
    fn work_is_compared_round_by_round() {
        let rows = [row(NOTHING, &[1.0, 2.0, 1.0]), row("profiler", &[1.1, 2.1, 1.25])];
        let figures = WorkFigures::of(&rows[1], &rows).expect("figures");
        let rounded = [figures.of_best, figures.median, figures.least, figures.greatest];
        assert_eq!(rounded.map(|figure| figure.round()), [10.0, 10.0, 5.0, 25.0]);
        assert_eq!(WorkFigures::of(&rows[0], &rows), None);
    }
}
