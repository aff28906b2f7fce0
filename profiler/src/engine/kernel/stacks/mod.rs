//! Stacks of calls: loads the object that sums them up, and reads the sums and the copies.

mod load;
mod options;
mod record;

use std::{
    collections::BTreeMap,
    os::fd::{AsFd as _, BorrowedFd},
};

use aya::maps::{HashMap, MapData, PerCpuArray, RingBuf};
use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    stacks::{Frames, MAX_FRAMES, StackKey, StackLosses, StackSampler, StackSums},
};

pub use self::{
    options::StackOptions,
    record::{Copied, Record},
};
use super::{attached::AttachedObject, error::KernelError};
use crate::model::stacks::CallTotal;

/// Attached programs that sum up stacks. Dropping it detaches and unloads everything.
pub struct StackCollector {
    object: AttachedObject,
    ring: RingBuf<MapData>,
    ring_bytes: usize,
    rows: HashMap<MapData, StackKey, StackSums>,
    frames: HashMap<MapData, u64, Frames>,
    samplers: PerCpuArray<MapData, StackSampler>,
    losses: PerCpuArray<MapData, StackLosses>,
    /// How many records were malformed, which is a bug.
    malformed: u64,
}

/// Bytes before each record (`BPF_RINGBUF_HDR_SZ`, include/uapi/linux/bpf.h).
const RECORD_OVERHEAD: usize = 8;

impl StackCollector {
    /// Passes all new records to `each`.
    pub fn read(&mut self, mut each: impl FnMut(Record)) {
        let mut bytes = 0;
        // What is in the ring buffer now is at most its size. A fast writer must not hold the reader
        // for ever.
        while bytes <= self.ring_bytes
            && let Some(item) = self.ring.next()
        {
            bytes += item.len() + RECORD_OVERHEAD;
            match record::parse(&item) {
                Some(record) => each(record),
                None => self.malformed += 1,
            }
        }
    }

    /// A descriptor that becomes readable when records should be read soon.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.ring.as_fd()
    }

    /// The keys of all rows so far.
    pub fn keys(&self) -> impl Iterator<Item = StackKey> {
        self.rows.keys().filter_map(Result::ok)
    }

    /// All rows.
    pub fn rows(&self) -> Vec<(StackKey, StackSums)> {
        self.rows.iter().filter_map(Result::ok).collect()
    }

    /// The addresses of a stack, the innermost first, and whether it may have had more.
    pub fn frames(&self, id: u64) -> Option<(Vec<u64>, bool)> {
        let frames = self.frames.get(&id, 0).ok()?;
        let count = usize::try_from(frames.count).unwrap_or(MAX_FRAMES).min(MAX_FRAMES);
        Some((frames.addresses[..count].to_vec(), count == MAX_FRAMES))
    }

    /// What all calls add up to, per syscall.
    ///
    /// # Errors
    /// [`KernelError`] if the map cannot be read.
    pub fn totals(&self) -> Result<BTreeMap<CallKey, CallTotal>, KernelError> {
        let mut totals = BTreeMap::new();
        for index in 0..OVERFLOW_SLOTS {
            let Some(key) = CallKey::from_overflow_index(index) else { continue };
            let values = self
                .samplers
                .get(&index, 0)
                .map_err(|e| KernelError::from_any("read the sums of stacks".into(), &e))?;
            let mut total = CallTotal::default();
            for sampler in values.iter() {
                total.weight += sampler.total;
                total.calls += sampler.calls;
            }
            if total.calls > 0 {
                totals.insert(key, total);
            }
        }
        Ok(totals)
    }

    /// What is missing.
    pub fn losses(&self) -> StackLosses {
        let mut sum = StackLosses::default();
        if let Ok(values) = self.losses.get(&0, 0) {
            for losses in values.iter() {
                sum.dropped += losses.dropped;
                sum.unseen += losses.unseen;
                sum.without_frames += losses.without_frames;
                sum.notices_dropped += losses.notices_dropped;
            }
        }
        sum
    }

    /// How many records were malformed so far, which is a bug.
    pub fn malformed(&self) -> u64 {
        self.malformed
    }

    /// How often, at most, the kernel skipped each program because it was already running.
    pub fn program_misses(&self) -> u64 {
        self.object.programs.iter().map(|program| program.skipped()).sum()
    }

    /// Detaches everything. What was summed up can still be read.
    pub fn detach(&mut self) {
        self.object.detach();
    }
}
