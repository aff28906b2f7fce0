//! Threads whose end the programs did not report.
//!
//! The kernel can skip all copies of the program that handles the end of a thread (see
//! [`attached`](crate::engine::kernel::attached)). The record of such a thread would stay live for
//! ever, with its last call in flight. So the reader looks for threads that no longer exist, and
//! treats their records like those of ended threads.
//!
//! # Which threads are looked up
//!
//! - A thread that a reading found in `exit` or `exit_group`, and that has done nothing since. The
//!   thread should be gone within moments.
//! - Where the kernel skips programs: a few of all threads in turn, because `exit_group` ends the
//!   other threads of its process in whatever calls they are.
//!
//! At most [`LOOKS`] of each are looked up at a drain. Usually there are none.
//!
//! # Why a record can be freed
//!
//! A thread that is a zombie or gone runs no program any more: `do_exit` passes the tracepoint
//! `sched_process_exit` before `exit_notify` makes the task a zombie (kernel/exit.c). But since the
//! program at that tracepoint was skipped, the record still names the stack of the thread as its
//! owner, and the kernel may give the stack to a new thread (`alloc_thread_stack_node`,
//! kernel/fork.c). The program at `sched_process_fork` clears the hint that leads from the stack to
//! this record. If that program was skipped too, calls of the new thread go to this record. So a
//! record is taken away in two steps:
//!
//! 1. The owner is cleared. From now on, no thread finds the record.
//! 2. If the record has not changed until a later drain, it ends. A thread that was already in a
//!    program when the owner was cleared has left the program by then.
//!
//! A zombie still has its task, through which another thread of its process can rename it. So the
//! record of a zombie ends at once, and is freed only when the zombie is gone.

use std::collections::{BTreeMap, BTreeSet};

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    wire::{RecordState, ThreadRecord},
};

use super::reader::Reader;
use crate::{
    engine::kernel::tables::{Activity, Tables},
    names::syscalls,
};

/// How many threads are looked up at a drain, of each of the two sorts. A look takes about half a
/// microsecond.
const LOOKS: usize = 32;

/// How many at the last reading.
const LAST_LOOKS: usize = 4_096;

/// What has become of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It exists, or it is unknown whether it does.
    Lives,
    /// It has ended, and nobody has reaped it yet.
    Zombie,
    /// It does not exist.
    Gone,
}

/// Looks threads up.
pub(crate) trait Tasks {
    /// What has become of the thread that `record` names.
    fn fate(&self, record: &ThreadRecord) -> Fate;
    /// Whether ends of threads can go unreported in whatever call the thread is.
    fn can_miss_any_end(&self) -> bool;
}

/// What the reader knows about threads that may be gone.
pub(super) struct Departed {
    /// The keys of `exit` and `exit_group`.
    exits: Vec<CallKey>,
    /// Records of threads that a reading found in one of these.
    exiting: BTreeSet<u32>,
    /// Records whose owner was cleared, and their activity after that.
    disowned: BTreeMap<u32, Activity>,
    /// Ended records of zombies.
    zombies: BTreeSet<u32>,
    /// The first record of the next looks.
    next: u32,
    /// The first record of the next looks in turn.
    next_in_turn: u32,
    /// How many ends were noticed here.
    noticed: u64,
}

impl Departed {
    pub(super) fn new() -> Self {
        let is_exit = |key: &CallKey| matches!(syscalls::name(*key), "exit" | "exit_group");
        let keys = (0..OVERFLOW_SLOTS).filter_map(CallKey::from_overflow_index);
        Self {
            exits: keys.filter(is_exit).collect(),
            exiting: BTreeSet::new(),
            disowned: BTreeMap::new(),
            zombies: BTreeSet::new(),
            next: 0,
            next_in_turn: 0,
            noticed: 0,
        }
    }

    /// Takes note of a record that was read.
    pub(super) fn note(&mut self, index: u32, record: &ThreadRecord) {
        if record.state == RecordState::Live as u16
            && self.exits.contains(&CallKey(record.in_flight_key))
        {
            self.exiting.insert(index);
        }
    }

    /// Whether a record has ended and cannot be freed yet.
    pub(super) fn is_zombie(&self, index: u32) -> bool {
        self.zombies.contains(&index)
    }

    /// Up to `most` of the records that may be of threads that are gone, in turn.
    fn candidates(&mut self, most: usize) -> Vec<u32> {
        let all: BTreeSet<u32> = self.exiting.iter().chain(self.disowned.keys()).copied().collect();
        let all = || all.range(self.next..).chain(all.range(..self.next));
        let picked: Vec<u32> = all().copied().take(most).collect();
        self.next = picked.last().map_or(0, |last| last + 1);
        picked
    }
}

impl Reader {
    /// Ends the records of threads that are gone, so that the next reading finds them ended. Returns
    /// whether there was one. `last` says that no program is attached any more.
    pub(crate) fn end_departed(
        &mut self,
        tables: &mut impl Tables,
        tasks: &impl Tasks,
        last: bool,
    ) -> bool {
        let noticed_before = self.departed.noticed;
        let most = if last { LAST_LOOKS } else { LOOKS };
        self.free_reaped(tables, tasks, most);
        let mut candidates = self.departed.candidates(most);
        // A thread that has gone on is read again, and noted again if it still exits.
        candidates.retain(|&index| {
            let is_same = self.departed.disowned.contains_key(&index)
                || tables.activity(index) == self.activities[index as usize];
            if !is_same {
                self.departed.exiting.remove(&index);
            }
            is_same
        });
        if tasks.can_miss_any_end() {
            candidates.extend(self.in_turn(most));
            candidates.sort_unstable();
            candidates.dedup();
        }
        for index in candidates {
            self.look_up(tables, tasks, index, last);
        }
        self.departed.noticed > noticed_before
    }

    /// Up to `most` of the threads that have been read, in turn.
    fn in_turn(&mut self, most: usize) -> Vec<u32> {
        let len = self.threads.len() as u32;
        let next = self.departed.next_in_turn;
        let all = (next..len).chain(0..next.min(len));
        let known = all.filter(|&index| self.threads[index as usize].is_some());
        let picked: Vec<u32> = known.take(most).collect();
        self.departed.next_in_turn = picked.last().map_or(0, |last| last + 1);
        picked
    }

    /// Looks the owner of a record up, and goes one step further with the record if the owner has
    /// ended.
    fn look_up(&mut self, tables: &mut impl Tables, tasks: &impl Tasks, index: u32, last: bool) {
        let departed = &mut self.departed;
        let record = tables.record(index);
        let is_live = record.state == RecordState::Live as u16;
        let fate = if is_live && self.threads[index as usize].is_some() {
            tasks.fate(&record)
        } else {
            departed.exiting.remove(&index);
            Fate::Lives
        };
        if fate == Fate::Lives {
            departed.disowned.remove(&index);
            return;
        }
        let activity = tables.activity(index);
        if !last && departed.disowned.get(&index) != Some(&activity) {
            tables.disown_record(index);
            departed.disowned.insert(index, tables.activity(index));
            return;
        }
        tables.end_record(index);
        if fate == Fate::Zombie {
            departed.zombies.insert(index);
        }
        departed.exiting.remove(&index);
        departed.disowned.remove(&index);
        departed.noticed += 1;
    }

    /// Frees the records of up to `most` zombies that are gone by now.
    fn free_reaped(&mut self, tables: &mut impl Tables, tasks: &impl Tasks, most: usize) {
        let zombies = self.departed.zombies.iter().copied().take(most);
        let is_gone = |&index: &u32| tasks.fate(&tables.record(index)) == Fate::Gone;
        let gone: Vec<u32> = zombies.filter(is_gone).collect();
        for index in &gone {
            self.departed.zombies.remove(index);
        }
        self.free(tables, &gone);
    }

    /// How many ends of threads were noticed here, because no program reported them.
    pub(crate) fn ends_noticed(&self) -> u64 {
        self.departed.noticed
    }
}

#[cfg(test)]
#[path = "departed_tests.rs"]
mod tests;
