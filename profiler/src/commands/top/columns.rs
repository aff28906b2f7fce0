//! The columns of each list: which there are, how wide, and which give way on a
//! narrow terminal.

use super::view::View;
use crate::model::{SortKey, Span};

/// A column of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Column {
    /// Process id.
    Pid,
    /// Thread id.
    Tid,
    /// The user of a process.
    User,
    /// Process name.
    Comm,
    /// System call.
    Call,
    /// Calls.
    Calls,
    /// Calls that failed.
    Errors,
    /// Time in calls.
    Time,
    /// Share of the time of all rows.
    Share,
    /// Mean latency.
    Mean,
    /// Median latency.
    P50,
    /// 99th percentile of latency.
    P99,
    /// Greatest latency.
    Max,
    /// The call that takes the most time.
    TopCall,
    /// The distribution of latencies, drawn.
    Spread,
    /// For how long a call has been in flight.
    Age,
    /// What a call in flight does while it lasts.
    Kind,
}

/// Cells of [`Column::Spread`], two octaves of latency each.
pub(super) const SPREAD_CELLS: usize = 14;

const PROCESSES: &[Column] = {
    use Column::*;
    &[Pid, User, Comm, Calls, Errors, Time, Share, Mean, P50, P99, Max, TopCall]
};
const CALLS: &[Column] = {
    use Column::*;
    &[Call, Calls, Errors, Time, Share, Mean, P50, P99, Max, Spread]
};
const CALLERS: &[Column] = {
    use Column::*;
    &[Pid, User, Comm, Calls, Errors, Time, Share, Mean, P50, P99, Max, Spread]
};
const IN_FLIGHT: &[Column] = {
    use Column::*;
    &[Age, Pid, Tid, User, Comm, Call, Kind]
};

/// All columns of the list of `view`, none for a view that is no list.
pub(super) fn of(view: &View) -> &'static [Column] {
    match view {
        View::Processes => PROCESSES,
        View::Calls | View::CallsOf(_) => CALLS,
        View::CallersOf(_) => CALLERS,
        View::InFlight => IN_FLIGHT,
        View::Latency(_) => &[],
    }
}

/// The column of `view` that `--sort` means.
pub(super) fn for_sort_key(view: &View, key: SortKey) -> Column {
    let wanted = match key {
        SortKey::Total => Column::Time,
        SortKey::Calls => Column::Calls,
        SortKey::Errors => Column::Errors,
        SortKey::Mean => Column::Mean,
        SortKey::P50 => Column::P50,
        SortKey::P99 => Column::P99,
        SortKey::Max => Column::Max,
        SortKey::Name => match view {
            View::Calls | View::CallsOf(_) => Column::Call,
            _ => Column::Comm,
        },
    };
    if of(view).contains(&wanted) { wanted } else { Column::Kind }
}

impl Column {
    /// Whether one can sort by it.
    pub(super) fn sortable(self) -> bool {
        !matches!(self, Self::Spread | Self::User)
    }

    /// Whether its greatest come first when it is chosen.
    pub(super) fn descends(self) -> bool {
        !matches!(self, Self::Pid | Self::Tid | Self::Comm | Self::Call | Self::TopCall)
    }

    /// Whether it is text, and so begins at the left.
    pub(super) fn is_text(self) -> bool {
        matches!(
            self,
            Self::User | Self::Comm | Self::Call | Self::TopCall | Self::Spread | Self::Kind
        )
    }

    /// Its heading.
    pub(super) fn heading(self, span: Span) -> &'static str {
        match (self, span) {
            (Self::Pid, _) => "PID",
            (Self::Tid, _) => "TID",
            (Self::User, _) => "USER",
            (Self::Comm, _) => "COMM",
            (Self::Call, _) => "SYSCALL",
            (Self::Calls, Span::Recent) => "CALLS/S",
            (Self::Calls, Span::Total) => "CALLS",
            (Self::Errors, Span::Recent) => "ERR/S",
            (Self::Errors, Span::Total) => "ERRORS",
            (Self::Time, Span::Recent) => "TIME/S",
            (Self::Time, Span::Total) => "TIME",
            (Self::Share, _) => "TIME%",
            (Self::Mean, _) => "MEAN",
            (Self::P50, _) => "P50",
            (Self::P99, _) => "P99",
            (Self::Max, _) => "MAX",
            (Self::TopCall, _) => "TOP SYSCALL",
            (Self::Spread, _) => "LATENCIES",
            (Self::Age, _) => "AGE",
            (Self::Kind, _) => "KIND",
        }
    }

    /// The least and the greatest width that are of use. A figure has room for
    /// seven characters, and for the sort arrow after its heading.
    fn widths(self, commands: bool) -> (usize, usize) {
        match self {
            Self::Comm if commands => (16, 60),
            Self::User => (8, 8),
            Self::Pid | Self::Tid => (7, 7),
            // TASK_COMM_LEN without its NUL.
            Self::Comm => (10, 15),
            // The longest name has 23 characters, the longest ABI shown 7 with
            // its parentheses and space.
            Self::Call => (14, 30),
            Self::Calls | Self::Time => (8, 8),
            Self::Errors | Self::Share | Self::Mean | Self::P50 | Self::P99 | Self::Max => (7, 7),
            Self::TopCall => (12, 30),
            Self::Spread => (SPREAD_CELLS, SPREAD_CELLS),
            Self::Age | Self::Kind => (8, 8),
        }
    }

    /// The greater, the sooner it gives way.
    fn expendable(self) -> u8 {
        match self {
            Self::Comm | Self::Call | Self::Age => 0,
            Self::Calls | Self::Kind => 1,
            Self::Time => 2,
            Self::Pid => 3,
            Self::Errors => 4,
            Self::Mean => 5,
            Self::P99 => 6,
            Self::TopCall => 7,
            Self::Max => 8,
            Self::P50 => 9,
            Self::Tid => 10,
            Self::Spread => 11,
            Self::Share => 12,
            Self::User => 13,
        }
    }
}

/// The columns out of `all` that fit in `width` with a space between, each with
/// its width. The one `sorted` by stays as long as anything does. With `commands`, the column of
/// names has room for command lines.
pub(super) fn arrange(
    all: &[Column],
    sorted: Column,
    width: usize,
    commands: bool,
) -> Vec<(Column, usize)> {
    let mut kept: Vec<(Column, usize)> = all.iter().map(|&c| (c, c.widths(commands).0)).collect();
    while needed(&kept) > width && kept.len() > 1 {
        let cost = |&(c, _): &(Column, usize)| if c == sorted { 0 } else { c.expendable() };
        let Some(at) = (0..kept.len()).max_by_key(|&at| cost(&kept[at])) else { break };
        kept.remove(at);
    }
    let mut spare = width.saturating_sub(needed(&kept));
    for (column, width) in &mut kept {
        let more = (column.widths(commands).1 - *width).min(spare);
        *width += more;
        spare -= more;
    }
    kept
}

fn needed(columns: &[(Column, usize)]) -> usize {
    columns.iter().map(|(_, width)| width + 1).sum::<usize>().saturating_sub(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[Column], sorted: Column, width: usize) -> Vec<Column> {
        arrange(all, sorted, width, false).into_iter().map(|(column, _)| column).collect()
    }

    #[test]
    fn everything_fits_in_a_wide_terminal() {
        for all in [PROCESSES, CALLS, CALLERS, IN_FLIGHT] {
            assert_eq!(names(all, all[1], 200), all);
        }
    }

    #[test]
    fn eighty_columns_show_what_the_lists_are_for() {
        use Column::*;
        let processes = names(PROCESSES, Time, 80);
        assert_eq!(processes, [Pid, Comm, Calls, Errors, Time, Mean, P99, TopCall]);
        let calls = names(CALLS, Time, 80);
        assert_eq!(calls, [Call, Calls, Errors, Time, Mean, P50, P99, Max]);
    }

    #[test]
    fn the_sort_column_outlasts_the_others() {
        use Column::*;
        assert_eq!(names(PROCESSES, Share, 30), [Comm, Calls, Share]);
        assert_eq!(names(PROCESSES, Time, 30), [Comm, Calls, Time]);
        assert_eq!(names(PROCESSES, Share, 18), [Comm, Share]);
        // The third column of a narrow terminal is that of the sort key.
        assert_eq!(names(PROCESSES, Errors, 40), [Comm, Calls, Errors, Time]);
        assert_eq!(names(PROCESSES, P99, 40), [Comm, Calls, Time, P99]);
        assert_eq!(names(CALLS, Errors, 32), [Call, Calls, Errors]);
    }

    #[test]
    fn columns_never_exceed_the_width() {
        for all in [PROCESSES, CALLS, CALLERS, IN_FLIGHT] {
            for width in 18..250 {
                assert!(needed(&arrange(all, all[2], width, false)) <= width, "{all:?} in {width}");
            }
        }
    }

    #[test]
    fn every_sort_key_finds_a_column_of_the_list() {
        use clap::ValueEnum;
        for view in [View::Processes, View::Calls, View::InFlight] {
            for key in SortKey::value_variants() {
                assert!(of(&view).contains(&for_sort_key(&view, *key)), "{view:?} {key:?}");
            }
        }
    }
}
