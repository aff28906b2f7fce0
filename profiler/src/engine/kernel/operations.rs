//! Reads what the programs recorded about io_uring: one row per process and opcode.
//!
//! A row does not end with its process, because requests can complete later. If most rows are in
//! use, rows that have not changed for a while are taken back. Their figures stay in the
//! [`OperationTable`]. The process takes a new row with its next operation. A row is taken back in
//! three steps, so that a program that has just found the row loses nothing: the reader removes the
//! row from the index, waits for [`GRACE`], and reads it once more.

use std::{
    mem::offset_of,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError, Stack},
};
use profiler_common::{
    hist::BUCKETS,
    io_uring::{OVERFLOW_ROWS, OperationKey, OperationRow, UNKNOWN_OPCODE},
    maps as names,
};

use super::{error::KernelError, mapping::Mapping, maps};
use crate::{
    aggregate::{Identity, OperationTable},
    model::{Latency, Operations},
};

/// How long a program can take from finding a row to the last store into it, at most.
const GRACE: Duration = Duration::from_secs(1);

/// Rows on the free stack at the start, and after each reading.
const FREE: u32 = 128;

/// If more than one in this many rows is in use, rows that have not changed for [`IDLE`] are taken
/// back.
const MANY: u32 = 2;

/// A row is taken back only if it has not changed for this time.
const IDLE: Duration = Duration::from_secs(10);

/// The maps of io_uring, and the values that were read last.
pub(super) struct OperationReader {
    rows: Mapping<OperationRow>,
    index: HashMap<MapData, OperationKey, u32>,
    free: Stack<MapData, u32>,
    /// Rows from this index on have not been on the free stack yet.
    filled: u32,
    /// The values of each row at the last reading, by index.
    known: Vec<Option<Box<Known>>>,
    /// Rows that are being taken back, with the time when that began.
    leaving: Vec<(u32, Instant)>,
    /// Rows that have been taken back and are not on the free stack yet.
    returned: Vec<u32>,
    /// Whether a row changed at the last reading.
    unsettled: bool,
    /// Kernel memory of the maps, bytes.
    memory_bytes: u64,
}

/// The values of a row at the last reading.
struct Known {
    row: OperationRow,
    changed: Instant,
    /// Whether the row had not changed since the reading before.
    is_settled: bool,
}

impl OperationReader {
    /// Takes the maps out of an object that has this many rows.
    pub(super) fn take(ebpf: &mut Ebpf, count: u32) -> Result<Self, KernelError> {
        let mut memory_bytes = 0;
        let mut take = |name: &'static str| {
            let map = maps::take(ebpf, name)?;
            memory_bytes += maps::fd(&map).map_or(0, maps::memory_bytes);
            Ok::<_, KernelError>(map)
        };
        let failed = |e: MapError| KernelError::Object(e.to_string());
        let rows = take(names::OPERATIONS)?;
        let Map::Array(data) = &rows else {
            return Err(KernelError::Object(format!("{} is no array", names::OPERATIONS)));
        };
        let rows = Mapping::new(&data.fd().as_fd(), count)
            .map_err(|source| KernelError::from_io(format!("map {}", names::OPERATIONS), source))?;
        let index = HashMap::try_from(take(names::OPERATION_INDEX)?).map_err(failed)?;
        let free = Stack::try_from(take(names::FREE_OPERATIONS)?).map_err(failed)?;
        // The programs keep these maps alive. They are taken out only to read their sizes.
        for name in [names::REQUESTS, names::DATA_REQUESTS, names::RINGS] {
            take(name)?;
        }
        let mut this = Self {
            rows,
            index,
            free,
            filled: OVERFLOW_ROWS,
            known: (0..count).map(|_| None).collect(),
            leaving: Vec::new(),
            returned: Vec::new(),
            unsettled: false,
            memory_bytes,
        };
        this.refill(0);
        Ok(this)
    }

    /// Kernel memory of the maps, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Whether rows have to be read although no operation was counted.
    pub(super) fn is_pending(&self) -> bool {
        self.unsettled || !self.leaving.is_empty()
    }

    /// Adds the new figures to `table`.
    pub(super) fn read(&mut self, table: &mut OperationTable) {
        let now = Instant::now();
        table.begin_reading();
        self.unsettled = false;
        let mut in_use = 0;
        for index in 0..self.filled {
            let key = self.key(index);
            if index >= OVERFLOW_ROWS && key.tgid == 0 {
                continue;
            }
            in_use += u32::from(index >= OVERFLOW_ROWS);
            self.read_row(index, key, table, now);
        }
        self.finish_leaving(table, now);
        if in_use > self.rows.len() / MANY {
            self.take_back_idle(now);
        }
        self.refill(in_use);
    }

    fn key(&self, index: u32) -> OperationKey {
        let at = |offset| offset_of!(OperationRow, key) + offset;
        // Read the process id first, because the program writes it last.
        let tgid = self.rows.read_u32(index, at(offset_of!(OperationKey, tgid)));
        OperationKey {
            tgid,
            opcode: self.rows.read_u32(index, at(offset_of!(OperationKey, opcode))),
            start_ns: self.rows.read_u64(index, at(offset_of!(OperationKey, start_ns))),
        }
    }

    /// Adds the new figures of a row of `key` to `table`.
    fn read_row(
        &mut self,
        index: u32,
        key: OperationKey,
        table: &mut OperationTable,
        now: Instant,
    ) {
        let count = |offset| self.rows.read_u64(index, offset);
        let counts = || {
            [
                count(offset_of!(OperationRow, completed)),
                count(offset_of!(OperationRow, posted)),
                count(offset_of!(OperationRow, overflowed)),
                count(offset_of!(OperationRow, unreported)),
                count(offset_of!(OperationRow, submitted)),
            ]
        };
        let known = self.known[index as usize].as_ref();
        let before = known.map_or(&OperationRow::UNOWNED, |known| &known.row);
        let was = [
            before.completed,
            before.posted,
            before.overflowed,
            before.unreported,
            before.submitted,
        ];
        let has_changed = counts() != was;
        // A program that was between two stores at the last reading has left a completion without
        // its figures. So a row is read once more after it changed.
        if !has_changed && known.is_none_or(|known| known.is_settled) {
            return;
        }
        // The figures before the counts, and submissions last. The program adds in the opposite
        // order. So no errors or latencies are without their completion, and no completion is
        // without its submission.
        let mut row = self.rows.read(index);
        [row.completed, row.posted, row.overflowed, row.unreported, row.submitted] = counts();
        let new = gained(&row, before);
        let opcode = opcode(if index < OVERFLOW_ROWS { index } else { key.opcode });
        let identity = Identity { tgid: key.tgid, start_ns: key.start_ns };
        let process = (index >= OVERFLOW_ROWS).then_some((identity, &row.comm));
        table.add(process, opcode, &new);
        self.unsettled |= has_changed;
        let changed = known.filter(|_| !has_changed).map_or(now, |known| known.changed);
        let known = Known { row, changed, is_settled: !has_changed };
        self.known[index as usize] = Some(Box::new(known));
    }

    /// Starts to take back the rows that have not changed for [`IDLE`].
    fn take_back_idle(&mut self, now: Instant) {
        for index in OVERFLOW_ROWS..self.filled {
            let Some(known) = &self.known[index as usize] else { continue };
            let is_idle = now.duration_since(known.changed) > IDLE;
            if is_idle && self.index.remove(&known.row.key).is_ok() {
                // Requests in flight refer to the row too. Clear its key, so that their programs
                // look up another row.
                let offset = offset_of!(OperationRow, key) + offset_of!(OperationKey, tgid);
                self.rows.write_u32(index, offset, 0);
                self.leaving.push((index, now));
            }
        }
    }

    /// Reads the rows that no program uses any more once more, and zeroes them.
    fn finish_leaving(&mut self, table: &mut OperationTable, now: Instant) {
        let (left, leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(|&(_, since)| now.duration_since(since) > GRACE);
        self.leaving = leaving;
        for (index, _) in left {
            if let Some(key) = self.known[index as usize].as_ref().map(|known| known.row.key) {
                self.read_row(index, key, table, now);
            }
            self.known[index as usize] = None;
            self.rows.write(index, OperationRow::UNOWNED);
            self.returned.push(index);
        }
    }

    /// Puts rows onto the free stack until it has [`FREE`] rows, if there are enough.
    fn refill(&mut self, in_use: u32) {
        let away = self.leaving.len() as u32 + self.returned.len() as u32;
        let on_stack =
            self.filled - OVERFLOW_ROWS - (in_use + away).min(self.filled - OVERFLOW_ROWS);
        for _ in on_stack..FREE {
            let index = match self.returned.pop() {
                Some(index) => index,
                None if self.filled < self.rows.len() => {
                    self.filled += 1;
                    self.filled - 1
                }
                None => return,
            };
            if self.free.push(index, 0).is_err() {
                self.returned.push(index);
                return;
            }
        }
    }
}

/// The difference between two readings of a row.
fn gained(new: &OperationRow, old: &OperationRow) -> Operations {
    let mut latency = Latency::default();
    for bucket in 0..BUCKETS {
        latency.add(bucket, new.buckets[bucket].wrapping_sub(old.buckets[bucket]).into());
    }
    let errnos = new.errnos.iter().zip(&old.errnos).enumerate();
    let errnos = errnos
        .map(|(errno, (new, old))| (errno as u16, u64::from(new.wrapping_sub(*old))))
        .filter(|&(_, count)| count > 0)
        .collect();
    Operations {
        submitted: new.submitted.saturating_sub(old.submitted),
        silent: new.silent.saturating_sub(old.silent),
        completed: new.completed.saturating_sub(old.completed),
        unmatched: new.unmatched.saturating_sub(old.unmatched),
        silent_completed: new.silent_completed.saturating_sub(old.silent_completed),
        unreported: new.unreported.saturating_sub(old.unreported),
        posted: new.posted.saturating_sub(old.posted),
        overflowed: new.overflowed.saturating_sub(old.overflowed),
        total_ns: new.total_ns.saturating_sub(old.total_ns),
        errnos,
        errors_unlisted: new.errors_unlisted.saturating_sub(old.errors_unlisted),
        latency,
    }
}

/// The opcode of a row.
fn opcode(of_row: u32) -> Option<u8> {
    u8::try_from(of_row).ok().filter(|&opcode| u32::from(opcode) != UNKNOWN_OPCODE)
}
