//! The rows of an owner, also by the cgroup in which the calls entered.
//!
//! Most processes stay in one cgroup, so the rows by cgroup begin when the second one appears. The
//! sum of the rows by cgroup is always the sum of the owner.

use std::{borrow::Cow, sync::Arc};

use profiler_common::call::CallKey;

use crate::model::{CallRow, CgroupRow, Figures, NO_CGROUP};

/// The maximum number of cgroups of a process or thread. Calls in further cgroups are counted
/// without a cgroup.
const MAX_OF_OWNER: usize = 64;

/// The maximum number of cgroups of the row of ended processes.
const MAX_OF_ENDED: usize = 1_024;

/// See the module.
#[derive(Debug)]
pub(super) struct Parts {
    /// All rows, by key. Snapshots share the list until it changes.
    calls: Arc<Vec<CallRow>>,
    /// The cgroup of the last calls.
    cgroup: u64,
    /// The rows by cgroup. Empty while all calls are of one cgroup.
    by_cgroup: Vec<CgroupRow>,
    most: usize,
}

impl Default for Parts {
    fn default() -> Self {
        Self { calls: Arc::default(), cgroup: NO_CGROUP, by_cgroup: Vec::new(), most: MAX_OF_OWNER }
    }
}

impl Parts {
    /// An empty part for ended processes.
    pub(super) fn of_ended() -> Self {
        Self { most: MAX_OF_ENDED, ..Self::default() }
    }

    /// All rows, by key.
    pub(super) fn calls(&self) -> &Arc<Vec<CallRow>> {
        &self.calls
    }

    /// The cgroup of the last calls.
    pub(super) fn cgroup(&self) -> u64 {
        self.cgroup
    }

    /// The rows by cgroup; empty if all calls are of one.
    pub(super) fn by_cgroup(&self) -> &[CgroupRow] {
        &self.by_cgroup
    }

    /// The rows by cgroup, also if all calls are of one.
    pub(super) fn iter(&self) -> impl Iterator<Item = Cow<'_, CgroupRow>> {
        let one = || CgroupRow { cgroup: self.cgroup, calls: Arc::clone(&self.calls) };
        let one = self.by_cgroup.is_empty().then(|| Cow::Owned(one()));
        self.by_cgroup.iter().map(Cow::Borrowed).chain(one)
    }

    /// Adds figures of calls in a cgroup.
    pub(super) fn add(&mut self, cgroup: u64, key: CallKey, new: &Figures) {
        if self.calls.is_empty() {
            self.cgroup = cgroup;
        }
        let at = self.place(cgroup);
        row_mut(Arc::make_mut(&mut self.calls), key).total.merge(new);
        if let Some(at) = at {
            let part = &mut self.by_cgroup[at];
            row_mut(Arc::make_mut(&mut part.calls), key).total.merge(new);
        }
    }

    /// Adds all rows of a cgroup.
    pub(super) fn add_all(&mut self, part: &CgroupRow) {
        for row in part.calls.iter() {
            self.add(part.cgroup, row.key, &row.total);
        }
    }

    /// The index of a cgroup in `by_cgroup`. `None` while all calls are of that cgroup.
    fn place(&mut self, cgroup: u64) -> Option<usize> {
        if self.by_cgroup.is_empty() {
            if self.cgroup == cgroup {
                return None;
            }
            let calls = Arc::clone(&self.calls);
            self.by_cgroup.push(CgroupRow { cgroup: self.cgroup, calls });
        }
        self.cgroup = cgroup;
        if let Some(at) = self.position(cgroup) {
            return Some(at);
        }
        let cgroup = if self.by_cgroup.len() < self.most { cgroup } else { NO_CGROUP };
        let known = self.position(cgroup);
        Some(known.unwrap_or_else(|| {
            self.by_cgroup.push(CgroupRow { cgroup, calls: Arc::default() });
            self.by_cgroup.len() - 1
        }))
    }

    fn position(&self, cgroup: u64) -> Option<usize> {
        self.by_cgroup.iter().position(|part| part.cgroup == cgroup)
    }
}

/// The row of a syscall. Adds the row if it is missing.
pub(super) fn row_mut(rows: &mut Vec<CallRow>, key: CallKey) -> &mut CallRow {
    let at = match rows.binary_search_by_key(&key, |row| row.key) {
        Ok(at) => at,
        Err(at) => {
            rows.insert(at, CallRow::new(key, Figures::default()));
            at
        }
    };
    &mut rows[at]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calls(calls: u64) -> Figures {
        Figures { calls, returned: calls, ..Figures::default() }
    }

    fn sums(parts: &Parts) -> Vec<(u64, u64)> {
        let sum = |part: &CgroupRow| part.calls.iter().map(|row| row.total.calls).sum();
        parts.iter().map(|part| (part.cgroup, sum(&part))).collect()
    }

    #[test]
    fn rows_by_cgroup_begin_with_the_second_one() {
        let mut parts = Parts::default();
        parts.add(7, CallKey(0), &calls(3));
        parts.add(7, CallKey(1), &calls(1));
        assert!(parts.by_cgroup().is_empty());
        assert_eq!((sums(&parts), parts.cgroup()), (vec![(7, 4)], 7));
        parts.add(9, CallKey(1), &calls(2));
        parts.add(7, CallKey(2), &calls(5));
        assert_eq!((sums(&parts), parts.cgroup()), (vec![(7, 9), (9, 2)], 7));
        assert_eq!(parts.calls().iter().map(|row| row.total.calls).sum::<u64>(), 11);
    }

    #[test]
    fn further_cgroups_share_a_row() {
        let mut parts = Parts::default();
        for cgroup in 1..=100 {
            parts.add(cgroup, CallKey(0), &calls(1));
        }
        assert_eq!(parts.by_cgroup().len(), MAX_OF_OWNER + 1);
        assert_eq!(sums(&parts).last(), Some(&(NO_CGROUP, 100 - MAX_OF_OWNER as u64)));
        assert_eq!(parts.calls()[0].total.calls, 100);
        parts.add(1, CallKey(0), &calls(1));
        assert_eq!(sums(&parts)[0], (1, 2));
    }
}
