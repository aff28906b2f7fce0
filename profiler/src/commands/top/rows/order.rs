//! The order of a list, and the rows that its filter matches.

use profiler_common::call::CallKey;

use super::{Item, Row, all, thread_comm};
use crate::{
    commands::top::{
        call_sets::CallSet,
        columns::Column,
        shown::Shown,
        sites::Site,
        view::{Selection, View},
    },
    model::{Kind, OperationRow, Process, ThreadInFlight, nanoseconds},
    names::{operations, syscalls::name_with_abi},
    present::columns::Source as _,
};

/// The order of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::commands::top) struct Sort {
    /// The column.
    pub(in crate::commands::top) column: Column,
    /// Whether the usual direction of the column is reversed.
    pub(in crate::commands::top) reversed: bool,
}

impl Sort {
    /// Whether the order is descending.
    pub(in crate::commands::top) fn descends(self) -> bool {
        self.column.descends() != self.reversed
    }
}

/// The value that rows are sorted by. All rows of a list have the same variant.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Number(u64),
    Text(String),
}

/// The sorted rows of `view` that contain `filter`. Equal rows are in the order of their ids, so
/// they keep their places from one refresh to the next.
pub(in crate::commands::top) fn list(
    shown: &Shown,
    view: &View,
    selection: Selection,
    sort: Sort,
    filter: &str,
) -> Vec<Item> {
    let filter = filter.to_lowercase();
    let mut items: Vec<(SortValue, Item)> = all(shown, view, selection)
        .into_iter()
        .filter_map(|item| {
            let row = Row::of(shown, item, selection);
            let shown = filter.is_empty() || row.text(view).to_lowercase().contains(&filter);
            shown.then(|| (row.sort_value(sort.column), item))
        })
        .collect();
    items.sort_unstable_by(|(a, left), (b, right)| {
        let order = if sort.descends() { b.cmp(a) } else { a.cmp(b) };
        order.then_with(|| left.id.cmp(&right.id))
    });
    items.into_iter().map(|(_, item)| item).collect()
}

impl Row<'_> {
    /// The text that a filter searches: the names and ids of the row.
    fn text(&self, view: &View) -> String {
        let process = || {
            let pid = |p: &Process| p.tgid.map_or_else(String::new, |tgid| tgid.to_string());
            self.process.map_or_else(String::new, |p| format!("{} {}", pid(p), p.comm))
        };
        let call = || self.key.map_or_else(String::new, name_with_abi);
        match (view, self.in_flight) {
            (View::Calls | View::CallsOf(_) | View::CallsIn(..), _) => call(),
            (View::Sets(..), _) => self.set.map_or_else(String::new, CallSet::title),
            (View::Operations, _) => {
                let opcode = self.operation.and_then(|row| row.opcode);
                format!("{} {}", process(), operations::name(opcode))
            }
            (View::Sites(_), _) => self.site().map_or_else(String::new, Site::text),
            (View::Threads(_), _) => {
                let tid = self.tid().map_or_else(String::new, |tid| tid.to_string());
                format!("{tid} {} {}", thread_comm(self.owner), process())
            }
            (_, Some(thread)) => format!("{} {} {}", process(), thread.tid, call()),
            _ => process(),
        }
    }

    /// The value that a sort by `column` compares.
    fn sort_value(&self, column: Column) -> SortValue {
        let name =
            |key: Option<CallKey>| SortValue::Text(key.map_or_else(String::new, name_with_abi));
        SortValue::Number(match column {
            Column::Comm => {
                return SortValue::Text(
                    self.process.map_or_else(String::new, |p| p.comm.to_string()),
                );
            }
            Column::Thread => return SortValue::Text(thread_comm(self.owner).to_string()),
            Column::Call => return name(self.key),
            Column::Category | Column::Class => {
                return SortValue::Text(self.set.map_or_else(String::new, CallSet::title));
            }
            Column::Container | Column::Pod | Column::Unit | Column::Cgroup => {
                return SortValue::Text(self.site().and_then(Site::name).unwrap_or_default());
            }
            Column::Operation => {
                let name = |row: &OperationRow| operations::name(row.opcode).into();
                return SortValue::Text(self.operation.map_or_else(String::new, name));
            }
            Column::TopCall => return name(self.top_call(column)),
            Column::Pid => self.process.and_then(|p| p.tgid).map_or(0, u64::from),
            Column::Tid => self.tid().map_or(0, u64::from),
            Column::Kind => self.in_flight.map_or(0, concern),
            // The users of rows that are not visible are unknown.
            column => column.figure(self).unwrap_or(0),
        })
    }
}

/// The order of concern: first calls that work, then calls that may wait, then calls that wait.
/// Within each kind, the oldest call is first.
fn concern(thread: &ThreadInFlight) -> u64 {
    // 2^62 ns are 146 years.
    const KIND_FROM: u32 = 62;
    let rank = Kind::Waits as u64 - thread.kind as u64;
    rank << KIND_FROM | nanoseconds(thread.age).min((1 << KIND_FROM) - 1)
}
