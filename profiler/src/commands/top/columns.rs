//! The columns of each list, their widths, and which columns are hidden on a narrow terminal.

use super::{call_sets::SetsBy, owner::Owner, view::View};
use crate::model::{Dimension, SortKey, Span};
pub(super) use crate::present::columns::Column;

const PROCESSES: &[Column] = {
    use Column::*;
    &[Pid, User, Comm, Calls, Errors, Time, Where, Share, Mean, P50, P99, Max, TopCall]
};
const CALLS: &[Column] = {
    use Column::*;
    &[Call, Calls, Errors, Time, Where, Share, Mean, P50, P99, Max, Spread]
};
const CATEGORIES: &[Column] = {
    use Column::*;
    &[Category, Calls, Errors, Time, Where, Share, Mean, P50, P99, Max, TopCall]
};
const CLASSES: &[Column] = {
    use Column::*;
    &[Class, Calls, Errors, Time, Where, Share, Mean, P50, P99, Max, TopCall]
};
const CALLERS: &[Column] = {
    use Column::*;
    &[Pid, User, Comm, Calls, Errors, Time, Where, Share, Mean, P50, P99, Max, Spread]
};
const IN_FLIGHT: &[Column] = {
    use Column::*;
    &[Age, Pid, Tid, User, Comm, Call, Kind]
};

const THREADS: &[Column] = {
    use Column::*;
    &[Tid, Thread, Pid, User, Comm, Calls, Errors, Time, Where, Share, Mean, P50, P99, Max, TopCall]
};

const OPERATIONS: &[Column] = {
    use Column::*;
    &[
        Pid, User, Comm, Operation, Submitted, Completed, Errors, Posted, Time, Mean, P50, P99,
        Spread,
    ]
};

/// The columns of a list of sites: `first`, and the same for all.
macro_rules! sites {
    ($first:ident) => {{
        use Column::*;
        &[$first, Calls, Errors, Denied, Time, Where, Share, Mean, P50, P99, Max, TopCall]
    }};
}
const CONTAINERS: &[Column] = sites!(Container);
const PODS: &[Column] = sites!(Pod);
const UNITS: &[Column] = sites!(Unit);
const CGROUPS: &[Column] = sites!(Cgroup);
const PROCESSES_IN_SITE: &[Column] = {
    use Column::*;
    &[Pid, User, Comm, Calls, Errors, Denied, Time, Where, Share, Mean, P50, P99, Max, TopCall]
};
const CALLS_IN_SITE: &[Column] = {
    use Column::*;
    &[Call, Calls, Errors, Denied, Time, Where, Share, Mean, P50, P99, Max, Spread]
};

/// All columns of the list of `view`. Empty if the view is not a list.
pub(super) fn of(view: &View) -> &'static [Column] {
    match view {
        View::Sites(Dimension::Container) => CONTAINERS,
        View::Sites(Dimension::Pod) => PODS,
        View::Sites(Dimension::Unit) => UNITS,
        View::Sites(_) => CGROUPS,
        View::Processes(None) => PROCESSES,
        View::Processes(Some(_)) => PROCESSES_IN_SITE,
        View::Threads(_) => THREADS,
        View::CallsOf(Owner { site: Some(_), .. })
        | View::CallsIn(_, Some(Owner { site: Some(_), .. })) => CALLS_IN_SITE,
        View::Calls | View::CallsOf(_) | View::CallsIn(..) => CALLS,
        View::Sets(SetsBy::Category, _) => CATEGORIES,
        View::Sets(SetsBy::Class, _) => CLASSES,
        View::CallersOf(_) => CALLERS,
        View::InFlight => IN_FLIGHT,
        View::Operations => OPERATIONS,
        View::Latency(_) | View::Failures(_) | View::Operation(..) => &[],
    }
}

/// The column of `view` that `--sort` means.
pub(super) fn for_sort_key(view: &View, key: SortKey) -> Column {
    if matches!((view, key), (View::Threads(_), SortKey::Name)) {
        return Column::Thread;
    }
    let sorts = |column: &Column| column.spec().sort == Some(key);
    // Of operations, the exact maximum is not known.
    let other = if *view == View::Operations { Column::P99 } else { Column::Kind };
    of(view).iter().copied().find(sorts).unwrap_or(other)
}

/// Whether a list can be sorted by `column`.
pub(super) fn is_sortable(column: Column) -> bool {
    !matches!(column, Column::Spread | Column::User | Column::Where)
}

/// The heading of `column`.
pub(super) fn heading(column: Column, span: Span) -> &'static str {
    match span {
        Span::Total => column.spec().heading,
        Span::Recent => column.spec().per_second,
    }
}

/// The minimum and the maximum useful width of `column`. `commands` says whether command lines are
/// shown instead of names.
fn widths(column: Column, commands: bool) -> (usize, usize) {
    if column == Column::Comm && commands { (16, 60) } else { column.spec().widths }
}

/// Which columns of a narrow list are hidden first: those with the greatest value. In a list of
/// threads, the thread matters most, and then its process.
fn expendable(column: Column, all: &[Column]) -> u8 {
    let spec = |column: Column| column.spec().expendable_on_screen;
    match column {
        Column::Tid if all == THREADS => spec(Column::Pid),
        Column::Comm if all == THREADS => spec(Column::Errors),
        column => spec(column),
    }
}

/// The columns of `all` that fit in `width`, each with its width. One space separates two columns.
/// The column `sorted` is hidden last. With `commands`, the column of names is wide enough for
/// command lines. `off_cpu` says whether the engine measures the time off the CPU.
pub(super) fn arrange(
    all: &[Column],
    sorted: Column,
    width: usize,
    (commands, off_cpu): (bool, bool),
) -> Vec<(Column, usize)> {
    let known = all.iter().filter(|&&column| off_cpu || column != Column::Where);
    let mut kept: Vec<(Column, usize)> = known.map(|&c| (c, widths(c, commands).0)).collect();
    while needed(&kept) > width && kept.len() > 1 {
        let cost = |&(c, _): &(Column, usize)| if c == sorted { 0 } else { expendable(c, all) };
        let Some(at) = (0..kept.len()).max_by_key(|&at| cost(&kept[at])) else { break };
        kept.remove(at);
    }
    let mut spare = width.saturating_sub(needed(&kept));
    for (column, width) in &mut kept {
        let more = (widths(*column, commands).1 - *width).min(spare);
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
    use crate::commands::top::sites;

    /// The columns of all lists.
    const ALL: [&[Column]; 14] = [
        OPERATIONS,
        PROCESSES,
        THREADS,
        CALLS,
        CATEGORIES,
        CLASSES,
        CALLERS,
        IN_FLIGHT,
        CONTAINERS,
        PODS,
        UNITS,
        CGROUPS,
        PROCESSES_IN_SITE,
        CALLS_IN_SITE,
    ];

    fn names(all: &[Column], sorted: Column, width: usize) -> Vec<Column> {
        with_where(all, sorted, width, false)
    }

    fn with_where(all: &[Column], sorted: Column, width: usize, off_cpu: bool) -> Vec<Column> {
        let arranged = arrange(all, sorted, width, (false, off_cpu));
        arranged.into_iter().map(|(column, _)| column).collect()
    }

    #[test]
    fn everything_fits_in_a_wide_terminal() {
        for all in ALL {
            assert_eq!(with_where(all, all[1], 220, true), all);
        }
    }

    #[test]
    fn eighty_columns_show_what_the_lists_are_for() {
        use Column::*;
        let processes = names(PROCESSES, Time, 80);
        assert_eq!(processes, [Pid, Comm, Calls, Errors, Time, Mean, P99, TopCall]);
        let threads = names(THREADS, Time, 80);
        assert_eq!(threads, [Tid, Thread, Pid, Comm, Calls, Errors, Time, Mean, P99]);
        let calls = names(CALLS, Time, 80);
        assert_eq!(calls, [Call, Calls, Errors, Time, Mean, P50, P99, Max]);
        let containers = names(CONTAINERS, Time, 80);
        assert_eq!(containers, [Container, Calls, Errors, Denied, Time, Mean, P99, TopCall]);
    }

    #[test]
    fn eighty_columns_show_where_the_time_went_if_that_is_known() {
        use Column::*;
        let calls = with_where(CALLS, Time, 80, true);
        assert_eq!(calls, [Call, Calls, Errors, Time, Where, Mean, P99, Max]);
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
        for all in ALL {
            for width in 18..250 {
                let arranged = arrange(all, all[2], width, (false, true));
                assert!(needed(&arranged) <= width, "{all:?} in {width}");
            }
        }
    }

    #[test]
    fn every_sort_key_finds_a_column_of_the_list() {
        use clap::ValueEnum;
        let sites = sites::DIMENSIONS.map(View::Sites);
        let others = [
            View::Processes(None),
            View::Threads(None),
            View::Calls,
            View::InFlight,
            View::Operations,
        ];
        for view in sites.into_iter().chain(others) {
            for key in SortKey::value_variants() {
                assert!(of(&view).contains(&for_sort_key(&view, *key)), "{view:?} {key:?}");
            }
        }
    }
}
