//! Groups the calls of a snapshot into rows, and sorts the rows.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use profiler_common::call::{Abi, CallKey};

use super::{columns::Column, errors, key::Owner, units};
pub use super::{
    key::{User, Value},
    place::Place,
};
use crate::{
    model::{
        CallRow, CgroupRow, Detail, Dimension, Figures, Grouping, Kind, Process, Snapshot, SortKey,
        Span, Thread, ThreadRow,
    },
    names::{
        classes::{Category, Classes},
        syscalls, waits,
    },
    text::Untrusted,
};

/// A row of a table: the sum of all calls with the same key.
#[derive(Clone, Debug, Default)]
pub struct Row {
    /// The key: a value for each dimension of the grouping.
    pub key: Vec<Value>,
    /// Its figures.
    pub figures: Figures,
    /// Calls in flight at the end of the span. Includes calls that entered before the span, which
    /// the figures of an interval do not include.
    pub in_flight: u64,
}

/// Finds the value of a kind in a key.
macro_rules! value {
    ($row:expr, $kind:path) => {
        $row.key.iter().find_map(|value| match value {
            $kind(value) => Some(value),
            _ => None,
        })
    };
}

impl Row {
    /// A row of a syscall.
    pub fn of_syscall(key: CallKey, figures: Figures) -> Self {
        Self { key: vec![Value::Syscall(key)], figures, in_flight: 0 }
    }

    /// The syscall, if the row is of one.
    pub fn call(&self) -> Option<CallKey> {
        value!(self, Value::Syscall).copied()
    }

    /// The name of the syscall, if the row is of one.
    pub fn syscall(&self) -> Option<&'static str> {
        self.call().map(syscalls::name)
    }

    /// The ABI, if the row is of one.
    pub fn abi(&self) -> Option<Abi> {
        let of_rows = || value!(self, Value::Abi).copied().flatten();
        self.call().and_then(CallKey::abi).or_else(of_rows)
    }

    /// The category, if rows are grouped by category. `Some(None)` for numbers without a name.
    pub fn category(&self) -> Option<Option<Category>> {
        value!(self, Value::Category).copied()
    }

    /// The classes, if rows are grouped by class.
    pub fn classes(&self) -> Option<Classes> {
        value!(self, Value::Class).copied()
    }

    /// The process, if the row is of one.
    pub fn process(&self) -> Option<&Arc<Process>> {
        value!(self, Value::Process)
    }

    /// The name of the process or processes, if the row has one.
    pub fn comm(&self) -> Option<&Untrusted> {
        let of_process = || self.process().map(|process| &process.comm);
        of_process().or_else(|| value!(self, Value::Comm))
    }

    /// The user, if the row is of one.
    pub fn user(&self) -> Option<&User> {
        value!(self, Value::User)?.as_ref()
    }

    /// Whether rows are grouped by user.
    pub fn is_by_user(&self) -> bool {
        value!(self, Value::User).is_some()
    }

    /// Whether rows are grouped by thread.
    pub fn is_by_thread(&self) -> bool {
        value!(self, Value::Thread).is_some()
    }

    /// The thread, if the row is of one.
    pub fn thread(&self) -> Option<&Arc<Thread>> {
        value!(self, Value::Thread)?.as_ref()
    }

    /// The value of a dimension that follows from the cgroup, if rows are grouped by it.
    pub fn place(&self, dimension: Dimension) -> Option<&Place> {
        self.key.iter().find_map(|value| match value {
            Value::Place(of, place) if *of == dimension => Some(place),
            _ => None,
        })
    }

    /// Whether the row is of a syscall that waits by nature.
    pub fn waits(&self) -> bool {
        self.call().is_some_and(|key| waits::kind(key) == Kind::Waits)
    }

    /// The order of rows that are otherwise equal: by owner first.
    fn order(&self) -> Vec<(String, u64)> {
        let of_call = |value: &&Value| {
            use Value::{Abi, Category, Class, Syscall};
            matches!(value, Syscall(_) | Abi(_) | Category(_) | Class(_))
        };
        let owners = self.key.iter().filter(|value| !of_call(value));
        owners.chain(self.key.iter().filter(of_call)).map(Value::order).collect()
    }
}

/// The rows of a snapshot. Empty rows are omitted.
pub fn rows(snapshot: &Snapshot, by: Grouping, span: Span, sort: SortKey) -> Vec<Row> {
    let mut rows = grouped(snapshot, by, span, |_| true);
    self::sort(&mut rows, sort);
    rows
}

/// The rows of the syscalls for which `keep` returns true, in no order. Empty rows are omitted.
pub(super) fn grouped(
    snapshot: &Snapshot,
    by: Grouping,
    span: Span,
    keep: impl Fn(&CallRow) -> bool,
) -> Vec<Row> {
    let dimensions = dimensions(by);
    let mut rows: Vec<Row> = Vec::new();
    let mut by_key: HashMap<Vec<Value>, usize> = HashMap::new();
    let mut add = |owner: Option<Owner<'_>>, call: &CallRow| {
        let value = |&dimension: &Dimension| Value::of(dimension, owner, call, snapshot);
        let key: Vec<Value> = dimensions.iter().filter_map(value).collect();
        let at = match by_key.get(&key) {
            Some(&at) => at,
            None => {
                by_key.insert(key.clone(), rows.len());
                rows.push(Row { key, ..Row::default() });
                rows.len() - 1
            }
        };
        rows[at].figures.merge(span.of(call));
        rows[at].in_flight += call.total.in_flight();
    };
    let detail = by.detail();
    if detail == Detail::Calls {
        snapshot.calls.iter().filter(|call| keep(call)).for_each(|call| add(None, call));
    }
    // Adds all calls of an owner, or its calls by cgroup.
    let mut add_all = |owner: Owner<'_>, calls: &[CallRow], cgroups: &[CgroupRow]| {
        if cgroups.is_empty() || !by.is_by_cgroup() {
            calls.iter().filter(|call| keep(call)).for_each(|call| add(Some(owner), call));
        } else {
            for CgroupRow { cgroup, calls } in cgroups {
                let owner = Owner { cgroup: *cgroup, ..owner };
                calls.iter().filter(|call| keep(call)).for_each(|call| add(Some(owner), call));
            }
        }
    };
    for row in snapshot.processes.iter().filter(|_| detail != Detail::Calls) {
        let process = &row.process;
        if detail == Detail::Threads && !row.threads.is_empty() {
            for ThreadRow { thread, calls, cgroup, cgroups } in &row.threads {
                let owner = Owner { process, cgroup: *cgroup, thread: thread.as_ref() };
                add_all(owner, calls, cgroups);
            }
        } else {
            let owner = Owner { process, cgroup: row.cgroup, thread: None };
            add_all(owner, &row.calls, &row.cgroups);
        }
    }
    rows.retain(|row| !row.figures.is_empty());
    rows
}

/// The dimensions of a key: those of `by`, and the process if `by` has threads. Dimensions that
/// follow from others are omitted.
fn dimensions(by: Grouping) -> Vec<Dimension> {
    let by_process = by.has(Dimension::Process) || by.has(Dimension::Thread);
    let is_needed = |dimension: &Dimension| match dimension {
        Dimension::Process => by_process,
        Dimension::Comm => by.has(Dimension::Comm) && !by_process,
        Dimension::Abi => by.has(Dimension::Abi) && !by.has(Dimension::Syscall),
        _ => by.has(*dimension),
    };
    Dimension::ALL.into_iter().filter(is_needed).collect()
}

/// The sum of rows.
pub fn total(rows: &[Row]) -> Figures {
    rows.iter().map(|row| &row.figures).collect()
}

/// The errors of `figures` by name, the most frequent first: `ENOENT 240`. Errors that the kernel
/// side does not count separately come last, as `other`.
pub(super) fn errors_by_name(figures: &Figures) -> Vec<String> {
    let mut errnos = figures.errnos.clone();
    errnos.sort_by_key(|&(errno, count)| (Reverse(count), errno));
    let named = errors::named(&errnos, figures.errors_unlisted);
    named.map(|(name, n)| format!("{name} {}", units::grouped(n))).collect()
}

/// The errors of `figures` by name. Errors that the kernel side does not count separately are
/// `other`.
pub fn errnos(figures: &Figures) -> BTreeMap<String, u64> {
    errors::map(&figures.errnos, figures.errors_unlisted)
}

/// Sorts rows by `sort`.
pub(super) fn sort(rows: &mut [Row], sort: SortKey) {
    // Compute quantiles once per row instead of once per comparison.
    let figure = |row: &Row| Column::sorted_by(sort).figure(row).unwrap_or(0);
    rows.sort_by_cached_key(|row| {
        (Reverse((figure(row), tie_break(sort, &row.figures))), row.order())
    });
}

/// Orders rows with equal values in the sorted column.
fn tie_break(sort: SortKey, figures: &Figures) -> u64 {
    if sort == SortKey::Name { 0 } else { figures.calls }
}

#[cfg(test)]
#[path = "rows_tests.rs"]
mod tests;
