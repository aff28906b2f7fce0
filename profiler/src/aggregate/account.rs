//! Checks the accounting equation of processes, syscalls and the host:
//!
//! `entered = returned + restarted + never returned + lost + in flight`
//!
//! The figures are sums of differences between readings. The accounts here are sums of what the
//! slots of all threads say, independent of earlier readings. So both agree only if no reading was
//! missed, added twice, or added to another row.

use std::collections::HashMap;

use profiler_common::call::CallKey;

use crate::{model::Figures, names::syscalls};

/// The sums over all slots of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Calls that entered.
    pub entered: u64,
    /// Calls that returned, or that the kernel restarts.
    pub left: u64,
    /// Calls in flight: calls that entered, and neither left, nor are lost, nor never return.
    pub open: Vec<(CallKey, i64)>,
}

/// The accounts of several threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sum {
    entered: u64,
    left: u64,
    open: i64,
}

impl Sum {
    /// Replaces the account of a thread.
    pub(super) fn change(&mut self, old: &Account, new: &Account) {
        let open = |account: &Account| account.open.iter().map(|&(_, n)| n).sum::<i64>();
        self.entered = self.entered.wrapping_add(new.entered).wrapping_sub(old.entered);
        self.left = self.left.wrapping_add(new.left).wrapping_sub(old.left);
        self.open = self.open.wrapping_add(open(new)).wrapping_sub(open(old));
    }

    /// Sums of figures over rows.
    pub(super) fn of<'a>(figures: impl Iterator<Item = &'a Figures>) -> Self {
        let mut sum = Self::default();
        figures.for_each(|figures| sum.add(figures));
        sum
    }

    /// Adds a row's figures.
    pub(super) fn add(&mut self, figures: &Figures) {
        self.entered = self.entered.wrapping_add(figures.calls);
        self.left = self.left.wrapping_add(figures.left());
        self.open = self.open.wrapping_add(open(figures));
    }

    /// Describes how the figures, whose sum is `shown`, differ from the accounts. `None` if they
    /// agree.
    pub(super) fn breach(&self, shown: Self) -> Option<String> {
        (shown != *self).then(|| {
            format!(
                "entered, left and open are {}, {} and {} in the figures, {}, {} and {} in the slots",
                shown.entered, shown.left, shown.open, self.entered, self.left, self.open
            )
        })
    }
}

/// Calls in flight of all threads, by the syscall of their row.
#[derive(Debug, Default)]
pub(super) struct OpenCalls(HashMap<CallKey, i64>);

impl OpenCalls {
    /// Replaces the account of a thread.
    pub(super) fn change(&mut self, old: &Account, new: &Account) {
        for &(key, n) in &old.open {
            *self.0.entry(syscalls::fold_unknown(key)).or_default() -= n;
        }
        for &(key, n) in &new.open {
            *self.0.entry(syscalls::fold_unknown(key)).or_default() += n;
        }
    }

    /// Describes how the figures of a syscall differ from the accounts. `None` if they agree.
    pub(super) fn breach(&self, key: CallKey, figures: &Figures) -> Option<String> {
        let (shown, counted) = (open(figures), self.0.get(&key).copied().unwrap_or(0));
        (shown != counted)
            .then(|| format!("{shown} calls are open in the figures, {counted} in the slots"))
    }
}

/// Negative if the figures are wrong.
fn open(figures: &Figures) -> i64 {
    let gone = figures.left().wrapping_add(figures.never_returned).wrapping_add(figures.lost);
    figures.calls.wrapping_sub(gone).cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    const READ: CallKey = CallKey(0);
    const FUTEX: CallKey = CallKey(202);

    fn account(entered: u64, left: u64, open: &[(CallKey, i64)]) -> Account {
        Account { entered, left, open: open.to_vec() }
    }

    fn figures(calls: u64, returned: u64) -> Figures {
        Figures { calls, returned, ..Figures::default() }
    }

    #[test]
    fn what_agrees_is_no_breach_and_what_does_not_is_one() {
        let mut sum = Sum::default();
        sum.change(&Account::default(), &account(5, 4, &[(FUTEX, 1)]));
        sum.change(&Account::default(), &account(2, 2, &[]));
        sum.change(&account(2, 2, &[]), &account(3, 3, &[]));
        let breach = |rows: [Figures; 2]| sum.breach(Sum::of(rows.iter()));
        assert_eq!(breach([figures(6, 6), figures(2, 1)]), None);
        for wrong in [figures(7, 7), figures(6, 5), figures(5, 5)] {
            assert!(breach([wrong, figures(2, 1)]).is_some());
        }
    }

    #[test]
    fn a_call_that_never_returns_or_is_lost_is_not_open() {
        let mut open = OpenCalls::default();
        open.change(&Account::default(), &account(3, 1, &[(FUTEX, 1)]));
        let mut row = figures(3, 1);
        assert!(open.breach(FUTEX, &row).is_some());
        row.lost = 1;
        assert_eq!(open.breach(FUTEX, &row), None);
        open.change(&account(3, 1, &[(FUTEX, 1)]), &account(3, 1, &[]));
        row.never_returned = 1;
        assert_eq!(open.breach(FUTEX, &row), None);
        // More left than entered.
        assert!(open.breach(READ, &figures(1, 2)).is_some());
    }
}
