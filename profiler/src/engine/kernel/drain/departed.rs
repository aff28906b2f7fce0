//! Finds threads that have ended without a report by the programs.
//!
//! The kernel can skip all copies of the program that handles the end of a thread (see
//! [`attached`](crate::engine::kernel::attached)). The record of such a thread would stay live
//! forever, with its last call in flight. So the reader looks for threads that no longer exist, and
//! treats their records like those of ended threads.
//!
//! # Which threads are looked up
//!
//! - Threads that a reading found in `exit` or `exit_group`, and that have made no call since. Such
//!   a thread should be gone within moments.
//! - If the kernel skips programs: a few of all threads in turn, because `exit_group` also ends the
//!   other threads of its process, whichever call they are in.
//!
//! Each drain looks up at most [`LOOKS`] threads of either kind. Usually there are none.
//!
//! # Why a record can be freed
//!
//! A thread that is a zombie or gone no longer runs any program: `do_exit` passes the tracepoint
//! `sched_process_exit` before `exit_notify` makes the task a zombie (kernel/exit.c). But since the
//! program at that tracepoint was skipped, the record still names the stack of the thread as its
//! owner, and the kernel may give the stack to a new thread (`alloc_thread_stack_node`,
//! kernel/fork.c). The program at `sched_process_fork` clears the hint that leads from the stack to
//! this record. If that program was skipped too, calls of the new thread go to this record. So the
//! reader ends a record in two steps:
//!
//! 1. The reader clears the owner. From now on, no thread finds the record.
//! 2. If a later drain finds the record unchanged, the reader ends it. A thread that was in a
//!    program when the owner was cleared has left that program by then.
//!
//! Another thread of the same process can still rename a zombie, because the zombie still has its
//! task. So the reader ends the record of a zombie at once, but frees it only when the zombie is
//! gone.

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

/// How many threads of either kind a drain looks up at most. A lookup takes about half a
/// microsecond.
const LOOKS: usize = 32;

/// How many threads of either kind the last reading looks up at most.
const LAST_LOOKS: usize = 4_096;

/// What has become of a thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The thread exists, or its fate is unknown.
    Lives,
    /// The thread has ended, and has not been reaped yet.
    Zombie,
    /// The thread does not exist.
    Gone,
}

/// Looks up threads.
pub(crate) trait Tasks {
    /// Looks up the thread that `record` names.
    fn fate(&self, record: &ThreadRecord) -> Fate;
    /// Whether the end of a thread can go unreported whichever call the thread is in.
    fn can_miss_any_end(&self) -> bool;
}

/// What the reader knows about threads that may be gone.
pub(super) struct Departed {
    /// The keys of `exit` and `exit_group`.
    exits: Vec<CallKey>,
    /// Records of threads that a reading found in `exit` or `exit_group`.
    exiting: BTreeSet<u32>,
    /// Records whose owner was cleared, and their activity after that.
    disowned: BTreeMap<u32, Activity>,
    /// Ended records of zombies.
    zombies: BTreeSet<u32>,
    /// The record at which the next lookups of `exiting` and `disowned` start.
    next: u32,
    /// The record at which the next lookups of all threads start.
    next_in_turn: u32,
    /// How many ends the reader noticed.
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

    /// Notes a record that was read, if its thread is in `exit` or `exit_group`.
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

    /// Returns the next records, at most `most`, whose threads may be gone. Continues after those
    /// of the last call.
    fn candidates(&mut self, most: usize) -> Vec<u32> {
        let all: BTreeSet<u32> = self.exiting.iter().chain(self.disowned.keys()).copied().collect();
        let all = || all.range(self.next..).chain(all.range(..self.next));
        let picked: Vec<u32> = all().copied().take(most).collect();
        self.next = picked.last().map_or(0, |last| last + 1);
        picked
    }
}

impl Reader {
    /// Ends the records of threads that are gone, so that the next reading finds them ended.
    /// Returns whether a record was ended. `last` says that no program is attached any more.
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
        // If a thread made a call since, the next reading notes it again if it is then in `exit`.
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

    /// Returns the next threads, at most `most`, that have been read. Continues after those of the
    /// last call.
    fn in_turn(&mut self, most: usize) -> Vec<u32> {
        let len = self.threads.len() as u32;
        let next = self.departed.next_in_turn;
        let all = (next..len).chain(0..next.min(len));
        let known = all.filter(|&index| self.threads[index as usize].is_some());
        let picked: Vec<u32> = known.take(most).collect();
        self.departed.next_in_turn = picked.last().map_or(0, |last| last + 1);
        picked
    }

    /// Looks up the owner of a record. If the owner has ended, takes the next of the two steps that
    /// end the record.
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

    /// Looks up at most `most` zombies, and frees the records of those that are gone.
    fn free_reaped(&mut self, tables: &mut impl Tables, tasks: &impl Tasks, most: usize) {
        let zombies = self.departed.zombies.iter().copied().take(most);
        let is_gone = |&index: &u32| tasks.fate(&tables.record(index)) == Fate::Gone;
        let gone: Vec<u32> = zombies.filter(is_gone).collect();
        for index in &gone {
            self.departed.zombies.remove(index);
        }
        self.free(tables, &gone);
    }

    /// Returns how many ends of threads the reader noticed, because no program reported them.
    pub(crate) fn ends_noticed(&self) -> u64 {
        self.departed.noticed
    }
}

#[cfg(test)]
#[path = "departed_tests.rs"]
mod tests;
