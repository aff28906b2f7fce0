//! Reads the flight recorder: the rings of threads, and the records that say that something
//! happened.

use std::{
    collections::{HashMap, HashSet},
    os::fd::AsFd as _,
};

use aya::{
    Ebpf,
    maps::{Array, IterableMap as _, MapData, Queue},
};
use profiler_common::{
    maps as names,
    recorder::{Head, Ring, RingState, SLOT_DATA, Slot, slots_of_ring},
    trace::{About, Pending, TracedTask},
};

use super::{
    ATTEMPTS, Tracer, call_of,
    options::Sizes,
    record,
    ring::{self, Printed, Selected, Source, Until},
};
use crate::{
    engine::kernel::{error::KernelError, mapping::Mapping, maps},
    model::{Event, Happened},
};

/// The rings of a flight recorder.
pub(super) struct Recorder {
    rings: Mapping<Ring>,
    slots: Mapping<Slot>,
    /// The owners of the rings, with their calls in flight.
    owners: Mapping<TracedTask>,
    free: Queue<MapData, u32>,
    /// Calls that are kept of each thread.
    last: u32,
    /// By ring.
    printed: HashMap<u32, Printed>,
}

/// Something happened at which calls are printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What: a call, without memory, or the end of a thread.
    pub event: Event,
    /// Index of the ring of its thread, plus one; 0 if it has none.
    ring: u32,
    owner: u32,
    seq: u64,
    calls: u32,
}

/// When calls are printed.
#[derive(Clone, Copy, Debug)]
pub enum At<'a> {
    /// After the end of the process, or at the end of the trace: all that is there.
    End,
    /// At this time, nanoseconds of `CLOCK_MONOTONIC`.
    Time(u64),
    /// At these events.
    Reports(&'a [Report]),
}

/// The last calls of a process.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The events of all threads, in the order in which calls entered.
    pub events: Vec<Event>,
    /// The calls in flight. Their `left` is `None`.
    pub in_flight: Vec<Event>,
    /// Threads of which there is an event or a call in flight.
    pub threads: usize,
    /// Calls that were overwritten before they were read, at most.
    pub overwritten: u64,
    /// Calls whose arguments did not fit into their slots.
    pub cut: u64,
    /// Threads that have made calls and have no ring.
    pub unrecorded_threads: usize,
}

impl Recorder {
    /// Maps the rings, all of which are free.
    pub(super) fn new(ebpf: &mut Ebpf, last: u32, sizes: Sizes) -> Result<Self, KernelError> {
        let error =
            |e: std::io::Error| KernelError::from_any("map the rings of threads".into(), &e);
        let mut free: Queue<_, u32> = maps::take_as(ebpf, names::FREE_RINGS)?;
        for index in 0..sizes.rings {
            free.push(index, 0).map_err(|e| maps::failed(names::FREE_RINGS, &e))?;
        }
        let array = |name: &str| {
            let map = ebpf.map(name).and_then(maps::fd);
            map.ok_or_else(|| KernelError::Object(format!("it has no array {name}")))
        };
        Ok(Self {
            rings: Mapping::new(&array(names::RECORDED)?, sizes.rings).map_err(error)?,
            slots: Mapping::new(&array(names::SLOTS)?, sizes.slots).map_err(error)?,
            owners: Mapping::new(&array(names::OWNERS)?, sizes.rings).map_err(error)?,
            free,
            last,
            printed: HashMap::new(),
        })
    }

    fn all(&self) -> impl Iterator<Item = (u32, Ring)> + '_ {
        (0..self.rings.len()).map(|index| (index, self.rings.read(index)))
    }

    /// The calls in flight of a process.
    fn in_flight(&self, tgid: u32, pending: &Array<MapData, Pending>) -> Vec<Event> {
        let is_of_process = |ring: &Ring| ring.tgid == tgid && ring.state == RingState::Live as u32;
        let live = self.all().filter(|(_, ring)| is_of_process(ring));
        live.filter_map(|(index, _)| self.call_in_flight(index, pending)).collect()
    }

    /// The call in flight of the owner of a ring. `None` if there is none, or if it changes all the
    /// time: then calls leave, and are in the ring.
    fn call_in_flight(&self, index: u32, pending: &Array<MapData, Pending>) -> Option<Event> {
        let offset = std::mem::offset_of!(TracedTask, seq);
        for _ in 0..ATTEMPTS {
            let seq = self.owners.read_u32(index, offset);
            let task = self.owners.read(index);
            let has_data = task.flags & TracedTask::HAS_PLAN != 0 && task.slot != 0;
            let data = has_data.then(|| pending.get(&(task.slot - 1), 0).ok()).flatten();
            let is_stable = seq.is_multiple_of(2)
                && task.seq == seq
                && self.owners.read_u32(index, offset) == seq;
            if !is_stable {
                std::thread::yield_now();
                continue;
            }
            let mut header = task.call;
            // A call that entered before the attach is recorded when it leaves.
            if header.about != About::Call as u8 || header.entry_ns == 0 {
                return None;
            }
            let copied = data.as_ref().map_or((0, 0), |p| (p.header.parts, p.header.bytes));
            (header.parts, header.bytes) = copied;
            let data = data.map_or_else(Vec::new, |pending| pending.data.to_vec());
            return record::in_flight(&header, &data).ok();
        }
        None
    }

    fn free(&mut self, index: u32) {
        let offset = std::mem::offset_of!(Ring, state);
        self.rings.write_u32(index, offset, RingState::Free as u32);
        if let Err(error) = self.free.push(index, 0) {
            tracing::warn!("cannot free the ring of a thread: {error}");
        }
    }

    /// Adds the last calls in the ring at `index`.
    fn read(&mut self, index: u32, owner: u32, untils: &[Until], recording: &mut Recording) -> u64 {
        let slots = slots_of_ring(self.last);
        let one = OneRing { recorder: self, index, slots };
        let copied = ring::copy(&one, slots, owner);
        let printed = self.printed.entry(index).or_default();
        if printed.owner != owner {
            *printed = Printed { owner, ..Printed::default() };
        }
        let Selected { slots: selected, overwritten } =
            ring::select(&copied, self.last, untils, printed);
        recording.overwritten += overwritten;
        let printed = printed.seq;
        let mut malformed = 0;
        for slot in selected {
            match record::parse_slot(slot) {
                Ok(event) => {
                    let bytes = slot.head.header.bytes as usize;
                    recording.cut += u64::from(bytes > SLOT_DATA);
                    recording.events.push(event);
                }
                Err(_) => malformed += 1,
            }
        }
        // Calls that were in flight at the last event, and have left since.
        let at_ns = untils.iter().filter_map(|until| match until {
            Until::Time(at_ns) => Some(*at_ns),
            Until::End | Until::Event { .. } => None,
        });
        if let Some(at_ns) = at_ns.max() {
            let calls = copied.iter().filter(|slot| {
                let header = &slot.head.header;
                let is_later = slot.head.mark.seq > printed && header.exit_ns > at_ns;
                ring::is_call(slot) && header.entry_ns != 0 && is_later
            });
            let entered = calls.filter(|slot| slot.head.header.entry_ns <= at_ns);
            recording.in_flight.extend(entered.filter_map(|slot| {
                let mut event = record::parse_slot(slot).ok()?;
                let Happened::Call(call) = &mut event.happened else { return None };
                (call.left, call.thread_ended_ns) = (None, None);
                Some(event)
            }));
        }
        malformed
    }
}

/// One ring in the mapping.
struct OneRing<'a> {
    recorder: &'a Recorder,
    index: u32,
    slots: u32,
}

impl Source for OneRing<'_> {
    fn ring(&self) -> Ring {
        self.recorder.rings.read(self.index)
    }

    fn seq(&self, place: u32) -> u64 {
        self.recorder.slots.read_u64(self.index * self.slots + place, 0)
    }

    fn slot(&self, place: u32) -> Slot {
        self.recorder.slots.read(self.index * self.slots + place)
    }
}

impl Tracer {
    /// Adds what has happened since the last reading to `out`.
    pub fn read_reports(&mut self, out: &mut Vec<Report>) {
        let mut bytes = 0;
        while bytes <= self.ring_bytes
            && let Some(item) = self.ring.next()
        {
            bytes += item.len() + super::RECORD_OVERHEAD;
            match parse_report(&item) {
                Ok(report) => out.push(report),
                Err(error) => {
                    self.malformed += 1;
                    tracing::debug!("{error}");
                }
            }
        }
    }

    /// The processes that have a ring.
    pub fn recorded_processes(&self) -> Vec<u32> {
        let rings = self.recorder.iter().flat_map(Recorder::all);
        let mut processes: Vec<u32> = rings
            .filter(|(_, ring)| ring.state != RingState::Free as u32)
            .map(|(_, ring)| ring.tgid)
            .collect();
        processes.sort_unstable();
        processes.dedup();
        processes
    }

    /// Whether a thread of the process lives and has a ring.
    pub fn has_recorded_threads(&self, tgid: u32) -> bool {
        let mut rings = self.recorder.iter().flat_map(Recorder::all);
        rings.any(|(_, ring)| ring.tgid == tgid && ring.state == RingState::Live as u32)
    }

    /// The last calls of a process that were not returned before. Frees the rings of its threads
    /// that have ended.
    pub fn recording(&mut self, tgid: u32, at: At<'_>) -> Recording {
        let mut recording = Recording::default();
        // First, so that a call that leaves meanwhile is in its ring.
        let recorder = self.recorder.as_ref();
        let in_flight =
            recorder.map_or_else(Vec::new, |recorder| recorder.in_flight(tgid, &self.pending));
        let until_ns = match at {
            At::End => u64::MAX,
            At::Time(at_ns) => at_ns,
            At::Reports(reports) => reports.iter().map(Report::at_ns).max().unwrap_or(0),
        };
        if let Some(recorder) = &mut self.recorder {
            let rings: Vec<_> = recorder.all().collect();
            for (index, ring) in rings {
                let Some((owner, untils)) = wanted(index, &ring, tgid, at) else { continue };
                self.malformed += recorder.read(index, owner, &untils, &mut recording);
                if ring.tgid == tgid && ring.state == RingState::Kept as u32 {
                    recorder.free(index);
                }
            }
        }
        recording.unrecorded_threads = self.unrecorded_threads(tgid);
        // A call that left after the snapshot is in both.
        let known = recording.events.iter().chain(&recording.in_flight).filter_map(call_of);
        let known: HashSet<_> = known.collect();
        recording.in_flight.extend(in_flight.into_iter().filter(|event| {
            let id = call_of(event);
            let is_at = id.is_some_and(|(_, entry_ns)| entry_ns <= until_ns);
            event.tgid == tgid && is_at && id.is_none_or(|id| !known.contains(&id))
        }));
        recording.events.sort_by_key(entered_ns);
        let all = recording.events.iter().chain(&recording.in_flight);
        let threads: HashSet<u32> = all.map(|event| event.tid).collect();
        recording.threads = threads.len();
        recording
    }

    /// Threads of the process that have made calls and have no ring.
    fn unrecorded_threads(&mut self, tgid: u32) -> usize {
        let mut count = 0;
        let map = self.tasks.map().fd().as_fd();
        let read = self.batch.for_each(map, |_, task: &TracedTask| {
            count += usize::from(task.call.tgid == tgid && task.ring == 0 && task.dropped > 0);
        });
        if let Err(error) = read {
            tracing::warn!("cannot read which threads are not recorded: {error}");
        }
        count
    }
}

impl Report {
    /// Whether it is the end of a thread that made calls and had no ring.
    pub fn is_of_unrecorded_thread(&self) -> bool {
        self.ring == 0 && self.calls > 0
    }

    /// When it happened, nanoseconds of `CLOCK_MONOTONIC`.
    pub fn at_ns(&self) -> u64 {
        match &self.event.happened {
            Happened::Call(call) => call.over_ns().unwrap_or(0),
            Happened::Signal(signal) => signal.at_ns,
            Happened::Ended { at_ns, .. } => *at_ns,
        }
    }
}

/// Which events of a ring are wanted: whose, and up to where. `None` if the ring is that of another
/// process.
fn wanted(index: u32, ring: &Ring, tgid: u32, at: At<'_>) -> Option<(u32, Vec<Until>)> {
    let is_of_process = ring.tgid == tgid && ring.state != RingState::Free as u32;
    let reports = match at {
        At::End => return is_of_process.then(|| (ring.owner, vec![Until::End])),
        At::Time(at_ns) => return is_of_process.then(|| (ring.owner, vec![Until::Time(at_ns)])),
        At::Reports(reports) => reports,
    };
    // The thread that reported may have ended since, and another one may have its ring.
    let reporter = reports.iter().find(|report| report.ring == index + 1);
    let owner = match reporter {
        Some(report) => report.owner,
        None if is_of_process => ring.owner,
        None => return None,
    };
    let until = |report: &Report| {
        if report.ring == index + 1 && report.owner == owner {
            Until::Event { seq: report.seq, calls: report.calls }
        } else {
            Until::Time(report.at_ns())
        }
    };
    Some((owner, reports.iter().map(until).collect()))
}

/// When a call entered, or when another event happened.
fn entered_ns(event: &Event) -> u64 {
    match &event.happened {
        Happened::Call(call) => call.entry_ns.or(call.over_ns()).unwrap_or(0),
        Happened::Signal(signal) => signal.at_ns,
        Happened::Ended { at_ns, .. } => *at_ns,
    }
}

fn parse_report(bytes: &[u8]) -> Result<Report, record::Malformed> {
    let Head { mark, mut header } = record::parse_head(bytes)?;
    // The memory is in the slot.
    (header.parts, header.bytes) = (0, 0);
    let event = record::event(&header, &[], false)?;
    Ok(Report { event, ring: mark.ring, owner: mark.owner, seq: mark.seq, calls: mark.calls })
}
