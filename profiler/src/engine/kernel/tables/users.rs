//! How much of the pools each user holds ([`share`](profiler_common::share)).
//!
//! The programs count what each user takes, and the reader counts what it returns. So the decision
//! needs no reader, and a late reader only makes the rule stricter. An extent belongs to the user of
//! its record. A record belongs to the real user id that the thread had when it took the record.
//!
//! Records are not taken back from idle threads. An idle thread is nearly always within a call that
//! it entered on its record, such as `futex` or `read`. To take the record back, the reader would
//! have to move that call and its figures to an overflow slot, while the thread can wake at any
//! moment and write to them. Users have shares, so only a user's own idle threads can take the
//! place of its other threads.

use std::mem::offset_of;

use profiler_common::wire::{Control, User};

use crate::engine::kernel::mapping::Mapping;

/// The table of users.
pub(super) struct Users(pub(super) Mapping<User>);

impl Users {
    /// Counts a record of this user as returned. Called after the return: until then, the programs
    /// count the record as in use.
    pub(super) fn count_returned_record(&self, control: &Mapping<Control>, user: u16) {
        add_one(control, 0, offset_of!(Control, records.all.returned));
        self.add_one(user, offset_of!(User, records.returned));
    }

    /// Counts an extent of this user as returned. Called after the return.
    pub(super) fn count_returned_extent(&self, control: &Mapping<Control>, user: u16) {
        add_one(control, 0, offset_of!(Control, extents.all.returned));
        self.add_one(user, offset_of!(User, extents.returned));
    }

    fn add_one(&self, user: u16, offset: usize) {
        if u32::from(user) < self.0.len() {
            add_one(&self.0, user.into(), offset);
        }
    }

    /// The user that holds the largest share of either pool, if any user holds something.
    pub(super) fn greediest(&self, control: &Control) -> Option<u32> {
        let part = |used: u64, filled: u64| used as f64 / filled.max(1) as f64;
        let users = (0..self.0.len()).map(|index| self.0.read(index));
        let parts = users.map(|user| {
            let records = part(user.records.in_use(), control.records.filled);
            let extents = part(user.extents.in_use(), control.extents.filled);
            (user.uid, records.max(extents))
        });
        let most = parts.filter(|&(_, part)| part > 0.0).max_by(|a, b| a.1.total_cmp(&b.1));
        most.map(|(uid, _)| uid)
    }
}

/// Adds one to a number that nobody else writes.
fn add_one<T: aya::Pod>(values: &Mapping<T>, index: u32, offset: usize) {
    values.write_u64(index, offset, values.read_u64(index, offset) + 1);
}
