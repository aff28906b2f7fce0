//! The calls since [`Aggregate::take_owned`](super::Aggregate::take_owned), by owner. An owner is a
//! name of processes, a cgroup, or both.
//!
//! Memory is bounded by the owners that make calls between two readings, and by [`MAX_OWNERS`].

use std::collections::HashMap;

use profiler_common::{call::CallKey, limits::COMM_LEN};

use super::Aggregate;
use crate::{
    model::{Counts, Figures, NO_CGROUP, OVERFLOW_COMM, OwnedCalls},
    text::Untrusted,
};

/// The maximum number of owners between two readings. Calls of further owners are counted without
/// an owner.
const MAX_OWNERS: usize = 16_384;

/// The dimensions of owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnerKind {
    /// The name of the process.
    pub comm: bool,
    /// The cgroup.
    pub cgroup: bool,
}

impl OwnerKind {
    /// Whether all calls have the same owner.
    pub fn is_nothing(self) -> bool {
        self == Self::default()
    }
}

/// The name of the process, as a number that is quick to compare, and the id of the cgroup.
type Key = (u128, u64);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Owners {
    kind: OwnerKind,
    /// The index of each owner in `calls`.
    known: HashMap<Key, usize>,
    calls: Vec<(Key, Vec<(CallKey, Counts)>)>,
    /// The owner and the row of the last call. They are cached, because a reading adds all calls of a
    /// thread in succession, and threads of one owner often make the same calls.
    last: Option<(usize, usize)>,
}

impl Owners {
    pub(super) fn of(kind: OwnerKind) -> Self {
        Self { kind, ..Self::default() }
    }

    pub(super) fn kind(&self) -> OwnerKind {
        self.kind
    }

    /// Adds the figures of a reading. `key` is a key of
    /// [`fold_unknown`](crate::names::syscalls::fold_unknown).
    pub(super) fn add(
        &mut self,
        owner: Option<(&[u8; COMM_LEN], u64)>,
        key: CallKey,
        new: &Figures,
    ) {
        let (comm, cgroup) = owner.map_or((&OVERFLOW, NO_CGROUP), |(comm, id)| (comm, id));
        let owner = (
            if self.kind.comm { u128::from_ne_bytes(*comm) } else { 0 },
            if self.kind.cgroup { cgroup } else { NO_CGROUP },
        );
        let at = self.place(owner);
        let next = self.last.filter(|&(last, _)| last == at).map_or(0, |(_, row)| row + 1);
        let calls = &mut self.calls[at].1;
        let row = match calls.get(next) {
            Some(&(known, _)) if known == key => Ok(next),
            _ => calls.binary_search_by_key(&key, |&(key, _)| key),
        };
        match row {
            Ok(row) => calls[row].1.merge(&Counts::of(new)),
            Err(row) => calls.insert(row, (key, Counts::of(new))),
        }
        self.last = Some((at, row.unwrap_or_else(|row| row)));
    }

    fn place(&mut self, owner: Key) -> usize {
        if let Some((last, _)) = self.last
            && self.calls[last].0 == owner
        {
            return last;
        }
        if let Some(&at) = self.known.get(&owner) {
            return at;
        }
        let is_full = self.calls.len() >= MAX_OWNERS;
        let overflow = (u128::from_ne_bytes(OVERFLOW), NO_CGROUP);
        let owner = if is_full { overflow } else { owner };
        *self.known.entry(owner).or_insert_with(|| {
            self.calls.push((owner, Vec::new()));
            self.calls.len() - 1
        })
    }

    /// The cgroups of the owners.
    pub(super) fn cgroups(&self) -> impl Iterator<Item = u64> {
        self.calls.iter().map(|&((_, cgroup), _)| cgroup)
    }

    /// Removes and returns the calls of all owners.
    pub(super) fn take(&mut self) -> Vec<OwnedCalls> {
        let taken = std::mem::replace(self, Self::of(self.kind));
        let owned = |((comm, cgroup), calls): (Key, _)| OwnedCalls {
            comm: if taken.kind.comm {
                Untrusted::from_comm(&comm.to_ne_bytes())
            } else {
                "".into()
            },
            cgroup,
            calls,
        };
        taken.calls.into_iter().map(owned).collect()
    }
}

impl Aggregate {
    /// Sets the dimensions of owners for [`Self::take_owned`]. Before that, no calls are kept by
    /// owner.
    pub fn keep_owners(&mut self, kind: OwnerKind) {
        if self.owners.as_ref().map(Owners::kind).unwrap_or_default() != kind {
            self.owners = (!kind.is_nothing()).then(|| Owners::of(kind));
        }
    }

    /// Removes and returns the calls since the last call of this function, by owner. Their sum is
    /// the increase of [`Self::calls`]. Empty without [`Self::keep_owners`].
    pub fn take_owned(&mut self) -> Vec<OwnedCalls> {
        self.owners.as_mut().map(Owners::take).unwrap_or_default()
    }

    /// The cgroups of the owners that [`Self::take_owned`] will return.
    pub fn owned_cgroups(&self) -> impl Iterator<Item = u64> {
        self.owners.iter().flat_map(Owners::cgroups)
    }
}

/// The name of calls that were counted without their process.
const OVERFLOW: [u8; COMM_LEN] = {
    let (name, mut comm) = (OVERFLOW_COMM.as_bytes(), [0; COMM_LEN]);
    let mut at = 0;
    while at < name.len() {
        comm[at] = name[at];
        at += 1;
    }
    comm
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Counter;

    const READ: CallKey = CallKey(0);

    fn calls(calls: u64) -> Figures {
        Figures { calls, returned: calls, ..Figures::default() }
    }

    fn comm(n: u32) -> [u8; COMM_LEN] {
        let mut comm = [0; COMM_LEN];
        comm[..4].copy_from_slice(&n.to_be_bytes());
        comm[0] = b'c';
        comm
    }

    #[test]
    fn an_owner_is_what_its_kind_tells_apart() {
        let owners = |comm_too, cgroup| {
            let mut owners = Owners::of(OwnerKind { comm: comm_too, cgroup });
            owners.add(Some((b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 7)), READ, &calls(1));
            owners.add(Some((b"b\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 7)), READ, &calls(2));
            owners.add(Some((b"a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 9)), READ, &calls(4));
            owners.add(None, READ, &calls(8));
            let taken = owners.take();
            assert!(owners.take().is_empty());
            let row = |owned: &OwnedCalls| {
                let calls = owned.calls.iter().map(|(_, n)| n.get(Counter::Calls)).sum::<u64>();
                (owned.comm.to_string(), owned.cgroup, calls)
            };
            taken.iter().map(row).collect::<Vec<_>>()
        };
        let row = |comm: &str, cgroup, calls| (comm.to_owned(), cgroup, calls);
        assert_eq!(owners(false, true), [row("", 7, 3), row("", 9, 4), row("", 0, 8)]);
        assert_eq!(owners(true, false), [row("a", 0, 5), row("b", 0, 2), row("(overflow)", 0, 8)]);
        assert_eq!(owners(true, true).len(), 4);
    }

    #[test]
    fn owners_are_bounded_and_no_call_is_lost() {
        let mut owners = Owners::of(OwnerKind { comm: true, cgroup: true });
        for n in 0..2 * MAX_OWNERS as u32 {
            owners.add(Some((&comm(n), 1)), READ, &calls(1));
        }
        let taken = owners.take();
        assert_eq!(taken.len(), MAX_OWNERS + 1);
        let all = taken.iter().flat_map(|owned| &owned.calls);
        let all: u64 = all.map(|(_, n)| n.get(Counter::Calls)).sum();
        assert_eq!(all, 2 * MAX_OWNERS as u64);
    }
}
