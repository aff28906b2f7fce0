//! Which rows a snapshot has in a view, and where the snapshot has them.

use std::collections::BTreeSet;

use crate::{
    commands::top::{
        call_sets::CallSet,
        groups::Group,
        operations,
        owner::Owner,
        shown::Shown,
        view::{ItemId, ProcessId, Selection, View},
    },
    model::{CallRow, Kind},
    names::waits::waits_by_nature,
};

/// A row of a list: its identity, and its indexes in the snapshot.
#[derive(Clone, Copy, Debug)]
pub(in crate::commands::top) struct Item {
    /// The identity of the row.
    pub(in crate::commands::top) id: ItemId,
    pub(super) at: At,
}

/// Indexes into a snapshot.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    Owner(usize),
    Call(usize),
    CallOf(usize, usize),
    /// A set of the syscalls of a group, given by its index, or of all processes.
    Set(CallSet, Option<usize>),
    InFlight(usize),
    Operation(usize),
}

/// All rows of `view`, in no order. Omits syscalls that wait by nature unless the selection
/// includes them. The list of callers of such a call is not affected.
pub(in crate::commands::top) fn all(shown: &Shown, view: &View, selection: Selection) -> Vec<Item> {
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
        View::Latency(_) | View::Failures(_) | View::Operation(..) => Vec::new(),
    }
}

/// The syscalls of `owner`, or of all processes, with their indexes.
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
