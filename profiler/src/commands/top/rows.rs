//! The rows of a list: which rows a snapshot has, their order, and the text of their cells.

use std::{
    borrow::Cow,
    cmp::Reverse,
    collections::BTreeSet,
    slice,
    sync::{Arc, LazyLock},
};

use profiler_common::call::CallKey;

use super::{
    call_sets::CallSet,
    columns::Column,
    groups::Group,
    operations,
    owner::Owner,
    people::Who,
    shown::Shown,
    sites::Site,
    table::List,
    view::{ItemId, ProcessId, Selection, View},
};
use crate::{
    model::{
        CallRow, Dimension, Figures, Kind, OperationRow, Operations, Process, Span, ThreadInFlight,
        nanoseconds,
    },
    names::{
        classes::{Category, Classes},
        waits::waits_by_nature,
    },
    present::columns::{Form, Source, Whole},
    text::Untrusted,
};

/// The name of the thread in a row that has all threads of a process.
static ALL_THREADS: LazyLock<Untrusted> = LazyLock::new(|| "(all)".into());

/// The order of a list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Sort {
    /// The column.
    pub(super) column: Column,
    /// Whether the usual direction of the column is reversed.
    pub(super) reversed: bool,
}

impl Sort {
    /// Whether the order is descending.
    pub(super) fn descends(self) -> bool {
        self.column.descends() != self.reversed
    }
}

/// A row of a list: its identity, and its indexes in the snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Item {
    /// The identity of the row.
    pub(super) id: ItemId,
    at: At,
}

/// Indexes into a snapshot.
#[derive(Clone, Copy, Debug)]
enum At {
    Owner(usize),
    Call(usize),
    CallOf(usize, usize),
    /// A set of the system calls of a group, given by its index, or of all processes.
    Set(CallSet, Option<usize>),
    InFlight(usize),
    Operation(usize),
}

/// The content of a row.
pub(super) struct Row<'a> {
    /// The process, if the row is of one process.
    pub(super) process: Option<&'a Arc<Process>>,
    /// The system call, if the row is of one system call.
    pub(super) key: Option<CallKey>,
    /// The set of system calls, if the row is of a set.
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

/// The value that rows are sorted by. All rows of a list have the same variant.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum SortValue {
    Number(u64),
    Text(String),
}

/// The sorted rows of `view` that contain `filter`. Equal rows are in the order of their ids, so
/// they keep their places from one refresh to the next.
pub(super) fn list(
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

/// All rows of `view`, in no order. Omits system calls that wait by nature unless the selection
/// includes them. The list of callers of such a call is not affected.
pub(super) fn all(shown: &Shown, view: &View, selection: Selection) -> Vec<Item> {
    let snapshot = &shown.snapshot;
    let of_owner = |row: &Group| ItemId::Owner(row.owner.id());
    let owners = |rows: &mut dyn Iterator<Item = (usize, &Group)>| {
        rows.map(|(at, row)| Item { id: of_owner(row), at: At::Owner(at) }).collect()
    };
    let includes = |row: &CallRow| selection.waits || !waits_by_nature(row.key);
    match view {
        View::Sites(_) => owners(&mut shown.groups.sites()),
        View::Processes(site) => owners(&mut shown.groups.processes(site.as_ref())),
        View::Threads(site) => owners(&mut shown.groups.threads(site.as_ref())),
        View::Calls => calls_of(shown, None)
            .filter(|(_, row)| includes(row))
            .map(|(at, row)| Item { id: ItemId::Call(row.key), at })
            .collect(),
        View::CallsIn(set, owner) => calls_of(shown, owner.as_ref())
            .filter(|(_, row)| includes(row) && set.contains(row.key))
            .map(|(at, row)| Item { id: ItemId::Call(row.key), at })
            .collect(),
        View::Sets(by, owner) => {
            let group = owner.as_ref().and_then(|owner| shown.groups.position(owner));
            let calls = calls_of(shown, owner.as_ref()).filter(|(_, row)| includes(row));
            let sets: BTreeSet<CallSet> = calls.map(|(_, row)| by.set_of(row.key)).collect();
            let item = |set| Item { id: ItemId::Set(set), at: At::Set(set, group) };
            sets.into_iter().map(item).collect()
        }
        View::InFlight => (snapshot.in_flight.oldest.iter().enumerate())
            .filter(|(_, row)| selection.waits || row.kind != Kind::Waits)
            .map(|(at, row)| {
                let id = ItemId::InFlight(ProcessId::from(&*row.process), row.tid);
                Item { id, at: At::InFlight(at) }
            })
            .collect(),
        View::CallsOf(owner) => calls_of(shown, Some(owner))
            .filter(|(_, row)| includes(row))
            .map(|(at, row)| Item { id: ItemId::Call(row.key), at })
            .collect(),
        View::CallersOf(key) => (shown.groups.processes(None))
            .filter_map(|(at, row)| {
                let n = row.calls.iter().position(|call| call.key == *key)?;
                let is_over = row.owner.has_ended() && selection.span.of(&row.calls[n]).is_empty();
                let item = Item { id: of_owner(row), at: At::CallOf(at, n) };
                (!is_over).then_some(item)
            })
            .collect(),
        View::Operations => (snapshot.io_uring.rows.iter().enumerate())
            .filter(|(_, row)| {
                !row.process.ended || !operations::of(row, selection.span).is_empty()
            })
            .map(|(at, row)| {
                let id = ItemId::Operation(ProcessId::from(&*row.process), row.opcode);
                Item { id, at: At::Operation(at) }
            })
            .collect(),
        View::Latency(_) | View::Operation(..) => Vec::new(),
    }
}

/// The system calls of `owner`, or of all processes, with their indexes.
fn calls_of<'a>(
    shown: &'a Shown,
    owner: Option<&Owner>,
) -> impl Iterator<Item = (At, &'a CallRow)> {
    let group = owner.map(|owner| shown.groups.position(owner));
    let calls = match group {
        None => &shown.snapshot.calls[..],
        Some(group) => group.map_or(&[][..], |at| &shown.groups.at(at).calls),
    };
    let at = move |n| match group.flatten() {
        Some(group) => At::CallOf(group, n),
        None => At::Call(n),
    };
    calls.iter().enumerate().map(move |(n, row)| (at(n), row))
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

    /// The figures of the system calls of the row. A row of one system call always includes that
    /// call, even if it waits by nature.
    fn parts(&self) -> impl Iterator<Item = (CallKey, &'a Figures)> {
        let (Selection { span, waits }, one, set) = (self.selection, self.key.is_some(), self.set);
        let included = move |row: &&CallRow| {
            let is_in_set = set.is_none_or(|set| set.contains(row.key));
            is_in_set && (one || waits || !waits_by_nature(row.key))
        };
        self.calls.iter().filter(included).map(move |row| (row.key, span.of(row)))
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

    /// The system call with the most calls or errors if `by` is that column, and otherwise with the
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

    /// The text that a filter searches: the names and ids of the row.
    fn text(&self, view: &View) -> String {
        let process = || {
            let pid = |p: &Process| p.tgid.map_or_else(String::new, |tgid| tgid.to_string());
            self.process.map_or_else(String::new, |p| format!("{} {}", pid(p), p.comm))
        };
        let call = || self.key.map_or_else(String::new, crate::names::syscalls::name_with_abi);
        match (view, self.in_flight) {
            (View::Calls | View::CallsOf(_) | View::CallsIn(..), _) => call(),
            (View::Sets(..), _) => self.set.map_or_else(String::new, CallSet::title),
            (View::Operations, _) => {
                let opcode = self.operation.and_then(|row| row.opcode);
                format!("{} {}", process(), crate::names::operations::name(opcode))
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

    fn sort_value(&self, column: Column) -> SortValue {
        let name = |key: Option<CallKey>| {
            SortValue::Text(key.map_or_else(String::new, crate::names::syscalls::name_with_abi))
        };
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
                let name = |row: &OperationRow| crate::names::operations::name(row.opcode).into();
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

    /// The text of the cell in `column` of `list`. `whole` is the sum of all rows of the list.
    pub(super) fn cell(&self, column: Column, whole: Whole, list: &List<'_>) -> String {
        let seconds = || self.selection.span.length(&list.shown.snapshot).as_secs_f64();
        let per_second = (self.selection.span == Span::Recent).then(seconds);
        let form = Form::Short { per_second, unicode: list.look.unicode };
        list.look.printable(&column.cell(&Listed { row: self, list }, whole, form))
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

/// A row, with the command lines and users that the list knows.
struct Listed<'a> {
    row: &'a Row<'a>,
    list: &'a List<'a>,
}

impl Listed<'_> {
    fn who(&self) -> Option<&Who> {
        self.row.process.and_then(|process| self.list.people.of(process))
    }
}

impl Source for Listed<'_> {
    fn process(&self) -> Option<&Process> {
        Source::process(self.row)
    }

    fn comm(&self) -> Option<&Untrusted> {
        let command = self.who().and_then(|who| who.command.as_ref());
        command.filter(|_| self.list.commands).or(self.row.process.map(|process| &process.comm))
    }

    fn call(&self) -> Option<CallKey> {
        self.row.call()
    }

    fn category(&self) -> Option<&'static str> {
        self.row.category()
    }

    fn classes(&self) -> Option<Classes> {
        self.row.classes()
    }

    fn thread(&self) -> Option<&ThreadInFlight> {
        self.row.thread()
    }

    fn place(&self, dimension: Dimension) -> Option<String> {
        self.row.place(dimension)
    }

    fn operations(&self) -> Option<(Option<u8>, &Operations)> {
        Source::operations(self.row)
    }

    fn user(&self) -> Option<String> {
        self.who().map(|who| who.user.to_string())
    }

    fn tid(&self) -> Option<u32> {
        self.row.tid()
    }

    fn thread_comm(&self) -> Option<&Untrusted> {
        self.row.thread_comm()
    }

    fn members(&self) -> usize {
        self.row.members()
    }

    fn top_call(&self) -> Option<CallKey> {
        self.row.top_call(self.list.sort.column)
    }

    fn sum(&self, of: fn(&Figures) -> u64) -> u64 {
        self.row.sum(of)
    }

    fn figures(&self) -> Cow<'_, Figures> {
        self.row.figures()
    }

    fn max_ns(&self) -> u64 {
        self.row.max_ns()
    }
}

/// The name of a thread, or [`ALL_THREADS`].
fn thread_comm(owner: Option<&Owner>) -> &Untrusted {
    owner.and_then(Owner::thread_comm).unwrap_or(&ALL_THREADS)
}

/// The order of concern: first calls that work, then calls that may wait, then calls that wait.
/// Within each kind, the oldest call is first.
fn concern(thread: &ThreadInFlight) -> u64 {
    // 2^62 ns are 146 years.
    const KIND_FROM: u32 = 62;
    let rank = Kind::Waits as u64 - thread.kind as u64;
    rank << KIND_FROM | nanoseconds(thread.age).min((1 << KIND_FROM) - 1)
}
