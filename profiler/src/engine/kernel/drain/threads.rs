//! Finds the users and names of threads, and starts rows by thread at any time.

use std::sync::Arc;

use profiler_common::{
    hist::{BUCKETS_PER_CHUNK, CHUNKS},
    limits::{ERRNO_PAGES, ERRNOS_PER_PAGE},
    wire::{CellIndex, LINES, Slot},
};

use super::{
    batch::{self, Batch, SUMS},
    reader::Reader,
    shadow::WORDS,
    slot::untimed,
    users::Change,
};
use crate::{
    aggregate::{Aggregate, ProcessIndex, ThreadId},
    engine::kernel::tables::Tables,
    model::{CallRow, CgroupRow, Extremes, Figures},
    names::syscalls,
    proc_fields,
};

impl Reader {
    /// Notes the user of a process. `change` says whether the calls of the thread that was read can
    /// have changed the user.
    pub(super) fn note_user(
        &mut self,
        tables: &impl Tables,
        into: &mut Aggregate,
        (index, process): (u32, ProcessIndex),
        (change, ended): (Change, bool),
    ) {
        let Some(thread) = &mut self.threads[index as usize] else { return };
        let is_noted = if ended {
            change.noted || change.unnoted || thread.user_is_unknown
        } else {
            change.noted
        };
        if is_noted || into.uid(process).is_none() {
            into.set_uid(process, tables.identity(index).uid);
        }
        if change.unnoted && !ended && !std::mem::replace(&mut thread.user_is_unknown, true) {
            self.unknown_users.push(index);
        }
    }

    /// Reads the users that may have changed, and the names of threads. Called before a snapshot.
    pub(crate) fn identify(&mut self, tables: &impl Tables, into: &mut Aggregate) {
        for index in std::mem::take(&mut self.unknown_users) {
            let Some(thread) = &mut self.threads[index as usize] else { continue };
            if !std::mem::replace(&mut thread.user_is_unknown, false) {
                continue;
            }
            let Some(process) = into.process(thread.process) else { continue };
            let (tgid, start_ns) = (process.tgid, process.start_ns);
            let uid = tgid.and_then(|tgid| proc_fields::real_uid("/proc".as_ref(), tgid, start_ns));
            match uid {
                Some(uid) => into.set_uid(thread.process, uid),
                // The process has ended, and the kernel side noted its user at the end.
                None => thread.user_is_unknown = true,
            }
        }
        if !into.has_threads() {
            return;
        }
        // Another thread can rename a thread while the latter sleeps.
        for (index, thread) in (0_u32..).zip(&self.threads) {
            if let Some(row) = thread.as_ref().and_then(|thread| thread.row) {
                into.rename_thread(row, None, &tables.identity(index).comm);
            }
        }
    }

    /// Starts or stops keeping rows by thread. New rows begin with the calls that each thread had
    /// made by the last reading.
    pub(crate) fn keep_threads(&mut self, tables: &impl Tables, into: &mut Aggregate, on: bool) {
        into.keep_threads(on);
        for index in 0..self.threads.len() as u32 {
            let Some(thread) = &self.threads[index as usize] else { continue };
            let row = if on {
                let calls = self.calls_by_now(tables, index);
                let task = tables.identity(index);
                let id = ThreadId { tid: tables.record(index).tid, random: task.thread };
                let calls = CgroupRow { cgroup: thread.cgroup, calls: Arc::new(calls) };
                into.list_thread(thread.process, id, &task.comm, &calls)
            } else {
                None
            };
            if let Some(thread) = &mut self.threads[index as usize] {
                thread.row = row;
            }
        }
        if on {
            into.attribute_rest();
        }
    }

    /// Returns the calls that a thread had made by the last reading.
    fn calls_by_now(&self, tables: &impl Tables, index: u32) -> Vec<CallRow> {
        let mut calls: Vec<CallRow> = Vec::new();
        for (key, slot) in Batch::slots_of(tables, index) {
            let sums = batch::sums(&self.cells.line(slot, SUMS));
            let total = self.figures_by_now(tables, slot, &sums);
            let key = syscalls::fold_unknown(key);
            match calls.binary_search_by_key(&key, |row| row.key) {
                Ok(at) => calls[at].total.merge(&total),
                Err(at) => calls.insert(at, CallRow::new(key, total)),
            }
        }
        calls.retain(|row| !row.total.is_empty());
        calls
    }

    /// Returns the figures of a slot as of the last reading. `sums` are its sums at that reading.
    fn figures_by_now(&self, tables: &impl Tables, slot: CellIndex, sums: &Slot) -> Figures {
        let sampler = self.samplers.get(&slot).copied().unwrap_or_default();
        let mut figures = Figures {
            calls: sums.entered,
            returned: sums.returned,
            restarted: sums.restarted,
            denied: sums.denied.into(),
            lost: self.lost.get(&slot).copied().unwrap_or(0),
            total_ns: sums.total_ns,
            off_cpu: self.off_cpu.of(slot),
            errors_unlisted: sums.errors_unlisted.into(),
            extra: sampler.extra.into(),
            extra_ns: sampler.extra_ns,
            squares: sampler.squares,
            ..Figures::default()
        };
        // Cells are added to a slot, and never removed.
        let cells = Slot::from_cell(&tables.cell(slot));
        let counts = |cell: CellIndex| {
            let lines = (0..LINES).filter(move |_| cell != 0).map(move |line| (cell, line));
            lines.flat_map(|(cell, line)| {
                let known = self.cells.line(cell, line);
                (line * WORDS..).zip(known).filter(|&(_, count)| count != 0)
            })
        };
        for (chunk, &cell) in cells.chunks.iter().enumerate().take(CHUNKS) {
            for (at, count) in counts(cell) {
                figures.latency.add(chunk * BUCKETS_PER_CHUNK + at, count.into());
            }
        }
        for (page, &cell) in cells.errno_pages.iter().enumerate().take(ERRNO_PAGES) {
            for (at, count) in counts(cell) {
                figures.add_errno((page * ERRNOS_PER_PAGE + at) as u16, count.into());
            }
        }
        figures.errors =
            figures.errnos.iter().map(|&(_, count)| count).sum::<u64>() + figures.errors_unlisted;
        figures.untimed = untimed(&figures, self.timed);
        if sums.min_ns != u64::MAX {
            figures.extremes = Some(Extremes { min_ns: sums.min_ns, max_ns: sums.max_ns });
        }
        figures
    }
}
