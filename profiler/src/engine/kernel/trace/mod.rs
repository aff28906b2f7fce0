//! Follows single calls: loads the object that sends a record for each call, and reads the records.
//! With a flight recorder, reads the rings of threads instead (`recorder.rs`, `ring.rs`).
//!
//! A reading first takes a snapshot of the calls in flight, and then drains the ring buffer. A call
//! leaves by a record, and only then ends in the table of tasks. So each call that entered before the
//! snapshot is among the events or in flight.

mod batch;
mod file;
mod load;
mod options;
mod record;
mod recorder;
mod ring;

use std::{
    collections::HashSet,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::maps::{Array, HashMap, IterableMap as _, MapData, PerCpuArray, RingBuf};
use profiler_common::trace::{About, Header, Losses, Pending, TracedTask};

use self::batch::Batch;
pub use self::{
    options::{Last, TraceOptions},
    record::{Malformed, parse},
    recorder::{At, Recording, Report},
};
use super::{attached::AttachedObject, identity::Clock, maps};
use crate::model::{Event, Happened};

/// After so many changes of `TracedTask::seq`, the call that was in flight before has left: a call
/// changes it at most six times.
const CHANGES_OF_A_CALL: u32 = 8;

/// How often a call that changes is read again.
const ATTEMPTS: usize = 16;

/// An attached trace. Dropping it detaches and unloads everything.
pub struct Tracer {
    object: AttachedObject,
    ring: RingBuf<MapData>,
    ring_bytes: usize,
    tasks: HashMap<MapData, u64, TracedTask>,
    pending: Array<MapData, Pending>,
    losses: PerCpuArray<MapData, Losses>,
    /// Only with a flight recorder.
    recorder: Option<recorder::Recorder>,
    clock: Clock,
    batch: Batch,
    /// See [`Read::horizon_ns`].
    horizon_ns: u64,
    /// See [`Read::malformed`].
    malformed: u64,
}

/// What a reading says beside the events.
#[derive(Clone, Debug, Default)]
pub struct Read {
    /// The horizon: each call that entered before this time is among the events of this reading or
    /// an earlier one, or in flight.
    pub horizon_ns: u64,
    /// The calls in flight. If a filter of results is set, some of them are never sent.
    pub in_flight: Vec<Event>,
    /// What is missing so far.
    pub losses: Losses,
    /// How many records were malformed so far, which is a bug.
    pub malformed: u64,
}

/// A thread of which records were dropped that no later record reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DroppedLast {
    /// Id of the thread.
    pub tid: u32,
    /// Id of its process.
    pub tgid: u32,
    /// How many records were dropped.
    pub records: u32,
}

impl Tracer {
    /// Adds all events since the last reading to `out`.
    pub fn read(&mut self, out: &mut Vec<Event>) -> Read {
        let mut in_flight = Vec::new();
        let now_ns = self.clock.now_ns();
        if self.read_in_flight(&mut in_flight) {
            self.horizon_ns = now_ns;
        }
        let first = out.len();
        self.drain(out);
        // A call that left after the snapshot is in both.
        let left: HashSet<(u32, u64)> = out[first..].iter().filter_map(call_of).collect();
        in_flight.retain(|event| call_of(event).is_none_or(|call| !left.contains(&call)));
        Read {
            horizon_ns: self.horizon_ns,
            in_flight,
            losses: self.losses(),
            malformed: self.malformed,
        }
    }

    /// How many records were malformed so far, which is a bug.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// A descriptor that becomes readable when much of the ring buffer is in use.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// Stops following new calls. The exits of calls in flight are still sent.
    pub fn stop(&mut self) {
        self.object
            .programs
            .iter_mut()
            .filter(|program| program.spec.tracepoint == "sys_enter")
            .for_each(|program| program.detach());
    }

    /// Detaches everything. What was sent can still be read.
    pub fn detach(&mut self) {
        self.stop();
        self.object.detach();
    }

    /// The time now by the clock of `bpf_ktime_get_ns`, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// The threads that live and of which records were dropped since their last record.
    pub fn dropped_last(&mut self) -> Vec<DroppedLast> {
        let mut dropped = Vec::new();
        let map = self.tasks.map().fd().as_fd();
        let read = self.batch.for_each(map, |_, task| {
            if task.dropped > 0 {
                let Header { tid, tgid, .. } = task.call;
                dropped.push(DroppedLast { tid, tgid, records: task.dropped });
            }
        });
        if let Err(error) = read {
            tracing::warn!("cannot read the threads of which records were dropped: {error}");
        }
        dropped
    }

    /// How often, at most, the kernel skipped each program because it was already running.
    pub fn program_misses(&self) -> Vec<(&'static str, u64)> {
        self.object.programs.iter().map(|p| (p.spec.name, p.skipped())).collect()
    }

    /// Kernel memory of the maps, bytes, as the kernel accounts it.
    pub fn memory_bytes(&self) -> u64 {
        let taken =
            [self.ring.as_fd(), self.tasks.map().fd().as_fd(), self.pending.map().fd().as_fd()];
        let others = self.object.ebpf.maps().filter_map(|(_, map)| maps::fd(map));
        taken.into_iter().chain(others).map(maps::memory_bytes).sum()
    }

    /// Adds all calls in flight to `out`. Returns whether none may be missing.
    fn read_in_flight(&mut self, out: &mut Vec<Event>) -> bool {
        let Self { tasks, pending, batch, malformed, .. } = self;
        // Tasks that were in a call, or were changing theirs.
        let mut candidates = Vec::new();
        let read = batch.for_each(tasks.map().fd().as_fd(), |key, task| {
            if task.call.about != 0 || task.seq % 2 != 0 {
                candidates.push(key);
            }
        });
        if let Err(error) = read {
            tracing::warn!("cannot read the calls in flight: {error}");
            return false;
        }
        let mut is_complete = true;
        for key in candidates {
            match stable(tasks, pending, key) {
                Stable::No => is_complete = false,
                Stable::NoCall => {}
                Stable::Call(header, data) => match record::in_flight(&header, &data) {
                    Ok(event) => out.push(event),
                    Err(_) => *malformed += 1,
                },
            }
        }
        is_complete
    }

    /// Drains what is in the ring buffer now.
    fn drain(&mut self, out: &mut Vec<Event>) {
        let mut bytes = 0;
        // What is in the ring buffer now is at most its size. A fast writer must not hold the reader
        // for ever.
        while bytes <= self.ring_bytes
            && let Some(item) = self.ring.next()
        {
            bytes += item.len() + RECORD_OVERHEAD;
            match parse(&item) {
                Ok(event) => out.push(event),
                Err(error) => {
                    self.malformed += 1;
                    tracing::debug!("{error}");
                }
            }
        }
    }

    /// What is missing so far.
    pub fn losses(&self) -> Losses {
        let mut sum = Losses::default();
        if let Ok(values) = self.losses.get(&0, 0) {
            for losses in values.iter() {
                sum.dropped += losses.dropped;
                sum.without_data += losses.without_data;
                sum.unseen += losses.unseen;
                sum.unrecorded += losses.unrecorded;
                sum.threads_without_ring += losses.threads_without_ring;
            }
        }
        sum
    }
}

/// Bytes before each record (`BPF_RINGBUF_HDR_SZ`, include/uapi/linux/bpf.h).
const RECORD_OVERHEAD: usize = 8;

/// What identifies the call of an event: its thread and its entry. `None` for other events, and for
/// calls whose entry is unknown.
fn call_of(event: &Event) -> Option<(u32, u64)> {
    match &event.happened {
        Happened::Call(call) => Some((event.tid, call.entry_ns?)),
        _ => None,
    }
}

/// A consistent reading of the call of a task.
enum Stable {
    /// It changed all the time.
    No,
    NoCall,
    Call(Header, Vec<u8>),
}

/// Reads the call of a task, so that all is of the same call.
fn stable(
    tasks: &HashMap<MapData, u64, TracedTask>,
    pending: &Array<MapData, Pending>,
    key: u64,
) -> Stable {
    let mut first_seq = None;
    for _ in 0..ATTEMPTS {
        // The task has ended: its call is in the ring buffer.
        let Ok(task) = tasks.get(&key, 0) else { return Stable::NoCall };
        // The call that was in flight at first has left since, and is in the ring buffer.
        if task.seq.wrapping_sub(*first_seq.get_or_insert(task.seq)) >= CHANGES_OF_A_CALL {
            return Stable::NoCall;
        }
        if task.seq % 2 != 0 {
            std::thread::yield_now();
            continue;
        }
        let has_data = task.flags & TracedTask::HAS_PLAN != 0 && task.slot != 0;
        let data = has_data.then(|| pending.get(&(task.slot - 1), 0).ok()).flatten();
        let Ok(again) = tasks.get(&key, 0) else { return Stable::NoCall };
        if again.seq != task.seq {
            continue;
        }
        // Other records of a task are not in flight. Neither is a call that entered before the attach:
        // its record is made when it leaves.
        if task.call.about != About::Call as u8 || task.call.entry_ns == 0 {
            return Stable::NoCall;
        }
        let mut header = task.call;
        let (parts, bytes) = data.as_ref().map_or((0, 0), |p| (p.header.parts, p.header.bytes));
        (header.parts, header.bytes) = (parts, bytes);
        let data = data.map_or_else(Vec::new, |pending| pending.data.to_vec());
        return Stable::Call(header, data);
    }
    Stable::No
}
