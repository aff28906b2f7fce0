//! The rows of a list: which rows a snapshot has, their order, their figures, and the text of their
//! cells.

mod items;
mod listed;
mod order;

use std::{
    borrow::Cow,
    cmp::Reverse,
    slice,
    sync::{Arc, LazyLock},
};

use profiler_common::call::CallKey;

use self::items::At;
use super::{
    call_sets::CallSet, columns::Column, groups::Group, operations, owner::Owner, shown::Shown,
    sites::Site, view::Selection,
};
use crate::{
    model::{CallRow, Dimension, Figures, OperationRow, Operations, Process, ThreadInFlight},
    names::{
        classes::{Category, Classes},
        waits::waits_by_nature,
    },
    present::columns::Source,
    text::Untrusted,
};

pub(super) use items::{Item, all};
pub(super) use order::{Sort, list};

/// The name of the thread in a row that has all threads of a process.
static ALL_THREADS: LazyLock<Untrusted> = LazyLock::new(|| "(all)".into());

/// The content of a row.
pub(super) struct Row<'a> {
    /// The process, if the row is of one process.
    pub(super) process: Option<&'a Arc<Process>>,
    /// The syscall, if the row is of one syscall.
    pub(super) key: Option<CallKey>,
    /// The set of syscalls, if the row is of a set.
    pub(super) set: Option<CallSet>,
    /// The thread, if the row is of a call in flight.
    in_flight: Option<&'a ThreadInFlight>,
    /// The operations, if the row is of operations of io_uring.
    pub(super) operation: Option<&'a OperationRow>,
    calls: &'a [CallRow],
    selection: Selection,
    /// The process, thread or site that made the calls of the row, if the list tells them apart.
    pub(super) owner: Option<&'a Owner>,
    /// Number of processes or threads that the row stands for.
    pub(super) members: usize,
}

impl<'a> Row<'a> {
    /// The row of `item`. `item` must come from the same `shown`.
    pub(super) fn of(shown: &'a Shown, item: Item, selection: Selection) -> Self {
        let none = Self {
            process: None,
            key: None,
            set: None,
            in_flight: None,
            operation: None,
            calls: &[],
            selection,
            owner: None,
            members: 1,
        };
        let of_group = |group: &'a Group| Self {
            process: group.owner.one_process(),
            owner: Some(&group.owner),
            members: group.members,
            ..none
        };
        match item.at {
            At::Owner(at) => {
                let group = shown.groups.at(at);
                Self { calls: &group.calls, ..of_group(group) }
            }
            At::Call(at) => {
                let row = &shown.snapshot.calls[at];
                Self { key: Some(row.key), calls: slice::from_ref(row), ..none }
            }
            At::CallOf(at, n) => {
                let group = shown.groups.at(at);
                let call = &group.calls[n];
                Self { key: Some(call.key), calls: slice::from_ref(call), ..of_group(group) }
            }
            At::Set(set, None) => Self { set: Some(set), calls: &shown.snapshot.calls, ..none },
            At::Set(set, Some(at)) => {
                let group = shown.groups.at(at);
                Self { set: Some(set), calls: &group.calls, ..of_group(group) }
            }
            At::Operation(at) => {
                let row = &shown.snapshot.io_uring.rows[at];
                Self { process: Some(&row.process), operation: Some(row), ..none }
            }
            At::InFlight(at) => {
                let row = &shown.snapshot.in_flight.oldest[at];
                let in_flight = Some(row);
                Self { process: Some(&row.process), key: Some(row.key), in_flight, ..none }
            }
        }
    }

    /// The figures of the syscalls of the row. A row of one syscall always includes that
    /// call, even if it waits by nature.
    fn parts(&self) -> impl Iterator<Item = (CallKey, &'a Figures)> {
        let (Selection { span, waits }, one, set) = (self.selection, self.key.is_some(), self.set);
        let included = move |row: &&CallRow| {
            let is_in_set = set.is_none_or(|set| set.contains(row.key));
            is_in_set && (one || waits || !waits_by_nature(row.key))
        };
        self.calls.iter().filter(included).map(move |row| (row.key, span.of(row)))
    }

    /// The thread, if the row is of a call in flight.
    pub(super) fn tid_in_flight(&self) -> Option<u32> {
        self.in_flight.map(|call| call.tid)
    }

    /// Whether the process or the thread has ended.
    pub(super) fn has_ended(&self) -> bool {
        self.owner.is_some_and(Owner::has_ended) || self.process.is_some_and(|p| p.ended)
    }

    /// The site, if the list tells sites apart.
    fn site(&self) -> Option<&Site> {
        self.owner?.site.as_ref()
    }

    /// Time in calls, in nanoseconds.
    pub(super) fn total_ns(&self) -> u64 {
        self.sum(Figures::estimated_total_ns)
    }

    /// Whether the row has no figures in this span.
    pub(super) fn idle(&self) -> bool {
        if let Some((_, operations)) = Source::operations(self) {
            return operations.is_empty();
        }
        self.in_flight.is_none() && self.parts().all(|(_, figures)| figures.is_empty())
    }

    /// The syscall with the most calls or errors if `by` is that column, and otherwise with the
    /// most time.
    fn top_call(&self, by: Column) -> Option<CallKey> {
        let counts = |figures: &Figures| match by {
            Column::Calls => figures.calls,
            Column::Errors => figures.errors,
            _ => figures.estimated_total_ns(),
        };
        let active = self.parts().filter(|(_, figures)| match by {
            Column::Errors => figures.errors > 0,
            _ => !figures.is_empty(),
        });
        let top =
            active.max_by_key(|&(key, figures)| (counts(figures), figures.calls, Reverse(key)));
        top.map(|(key, _)| key)
    }
}

impl Source for Row<'_> {
    fn process(&self) -> Option<&Process> {
        self.process.map(|process| &**process)
    }

    fn call(&self) -> Option<CallKey> {
        self.key
    }

    fn category(&self) -> Option<&'static str> {
        match self.set? {
            CallSet::Category(category) => category.map(Category::name),
            CallSet::Class(_) => None,
        }
    }

    fn classes(&self) -> Option<Classes> {
        match self.set? {
            CallSet::Category(_) => None,
            CallSet::Class(classes) => Some(classes),
        }
    }

    fn thread(&self) -> Option<&ThreadInFlight> {
        self.in_flight
    }

    fn place(&self, _dimension: Dimension) -> Option<String> {
        let name = self.site()?.name()?;
        Some(if self.has_ended() { format!("{name} (removed)") } else { name })
    }

    fn tid(&self) -> Option<u32> {
        let thread = self.owner.and_then(Owner::thread).map(|thread| thread.tid);
        thread.or(self.in_flight.map(|thread| thread.tid))
    }

    fn thread_comm(&self) -> Option<&Untrusted> {
        Some(thread_comm(self.owner))
    }

    fn members(&self) -> usize {
        self.members
    }

    fn operations(&self) -> Option<(Option<u8>, &Operations)> {
        let row = self.operation?;
        Some((row.opcode, operations::of(row, self.selection.span)))
    }

    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        if let Some((_, operations)) = Source::operations(self) {
            return of(&operations::figures(operations));
        }
        self.parts().map(|(_, figures)| of(figures)).sum()
    }

    fn figures(&self) -> Cow<'_, Figures> {
        if let Some((_, operations)) = Source::operations(self) {
            return Cow::Owned(operations::figures(operations));
        }
        match (self.calls, self.key) {
            ([one], Some(_)) => Cow::Borrowed(self.selection.span.of(one)),
            _ => Cow::Owned(self.parts().map(|(_, figures)| figures).collect()),
        }
    }

    fn max_ns(&self) -> u64 {
        self.parts().map(|(_, figures)| figures.max_ns()).max().unwrap_or(0)
    }
}

/// The name of a thread, or [`ALL_THREADS`].
fn thread_comm(owner: Option<&Owner>) -> &Untrusted {
    owner.and_then(Owner::thread_comm).unwrap_or(&ALL_THREADS)
}
