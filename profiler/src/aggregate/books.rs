//! The accounts of all threads, and the checks that the figures agree with them.

use std::collections::HashSet;

use profiler_common::call::CallKey;

use super::account::{Account, OpenCalls, Sum};
use crate::{model::CallRow, names::syscalls};

/// The accounts of all threads and of the overflow slots, by syscall and for the host.
#[derive(Default)]
pub(super) struct Books {
    host: Sum,
    open: OpenCalls,
    /// Syscalls that a check has reported.
    reported: HashSet<CallKey>,
    /// Whether a check has reported the host.
    is_host_reported: bool,
}

impl Books {
    /// Replaces the account of a thread.
    pub(super) fn change(&mut self, old: &Account, new: &Account) {
        self.host.change(old, new);
        self.open.change(old, new);
    }

    /// Checks the accounting equation for each syscall and for the host. Returns a description of
    /// each breach. Each row is reported once.
    pub(super) fn breaches<'a>(
        &mut self,
        calls: impl Iterator<Item = &'a CallRow> + Clone,
    ) -> Vec<String> {
        let mut found = Vec::new();
        for row in calls.clone() {
            if let Some(what) = self.open.breach(row.key, &row.total)
                && self.reported.insert(row.key)
            {
                let name = syscalls::name(row.key);
                found.push(format!("syscall {name}: {what}"));
            }
        }
        if !self.is_host_reported
            && let Some(what) = self.host.breach(Sum::of(calls.map(|row| &row.total)))
        {
            self.is_host_reported = true;
            found.push(format!("host: {what}"));
        }
        found
    }
}

/// The accounts of the threads of a process, including ended threads.
#[derive(Default)]
pub(super) struct ProcessBooks {
    account: Sum,
    /// Whether a check has reported the process.
    is_reported: bool,
    /// Whether the account has changed since the last check.
    is_unchecked: bool,
}

impl ProcessBooks {
    /// Replaces the account of a thread. Returns whether this is the first change since the last
    /// check.
    pub(super) fn change(&mut self, old: &Account, new: &Account) -> bool {
        self.account.change(old, new);
        !std::mem::replace(&mut self.is_unchecked, true)
    }

    /// Describes how the figures of the process differ from its accounts. `None` if they agree, or if
    /// an earlier check has reported the process.
    pub(super) fn breach(&mut self, figures: impl FnOnce() -> Sum) -> Option<String> {
        self.is_unchecked = false;
        if self.is_reported {
            return None;
        }
        let what = self.account.breach(figures())?;
        self.is_reported = true;
        Some(what)
    }
}
