//! Reads on which targets calls failed: one row per process, call, errno, reason and target.
//!
//! If many rows are in use, rows that have not changed since the last reading are taken back. Their
//! calls stay in the [`FailureTable`]. As with the rows of io_uring, a row is taken back in three
//! steps, so that a program that has just found the row loses nothing: the reader removes the row
//! from the index, waits for [`GRACE`], and reads it once more.

use std::{
    fs,
    mem::offset_of,
    os::fd::AsFd as _,
    sync::Arc,
    time::{Duration, Instant},
};

use aya::{
    Ebpf,
    maps::{HashMap, Map, MapData, MapError, Stack},
};
use profiler_common::{
    call::CallKey,
    failing::{Directory as Found, FailureKey, FailureRow, PATH_BYTES, Target as Raw},
    maps as names,
};

use super::{
    directories::{Directories, device},
    error::KernelError,
    mapping::Mapping,
    maps,
};
use crate::{
    aggregate::{Failure, FailureTable, Identity},
    model::{Address, Directory, FailureCoverage, PathName, Target},
    text::Untrusted,
};

/// How long a program can take from finding a row to the last store into it, at most.
const GRACE: Duration = Duration::from_secs(1);

/// If more than one in this many rows is in use, rows that have not changed are taken back.
const MANY: u32 = 2;

/// The security modules in force, separated by commas.
const MODULES: &str = "/sys/kernel/security/lsm";

/// The maps of calls that fail, and the calls that were read last.
pub(super) struct FailureReader {
    rows: Mapping<FailureRow>,
    index: HashMap<MapData, FailureKey, u32>,
    free: Stack<MapData, u32>,
    /// The calls in each row at the last reading.
    known: Vec<u64>,
    /// Whether a row is being taken back.
    is_leaving: Vec<bool>,
    /// Rows that are being taken back, with the time when that began.
    leaving: Vec<(u32, Instant)>,
    directories: Directories,
    coverage: FailureCoverage,
    modules: Option<Arc<[Untrusted]>>,
    /// Kernel memory of the maps, bytes.
    memory_bytes: u64,
}

impl FailureReader {
    /// Takes the maps out of an object that has this many rows.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        count: u32,
        coverage: FailureCoverage,
    ) -> Result<Self, KernelError> {
        let mut memory_bytes = 0;
        let mut take = |name: &'static str| {
            let map = maps::take(ebpf, name)?;
            memory_bytes += maps::fd(&map).map_or(0, maps::memory_bytes);
            Ok::<_, KernelError>(map)
        };
        let failed = |e: MapError| KernelError::Object(e.to_string());
        let rows = take(names::FAILURES)?;
        let Map::Array(data) = &rows else {
            return Err(KernelError::Object(format!("{} is no array", names::FAILURES)));
        };
        let rows = Mapping::new(&data.fd().as_fd(), count)
            .map_err(|source| KernelError::from_io(format!("map {}", names::FAILURES), source))?;
        let index = HashMap::try_from(take(names::FAILURE_INDEX)?).map_err(failed)?;
        let mut free = Stack::try_from(take(names::FREE_FAILURES)?).map_err(failed)?;
        for row in (0..count).rev() {
            free.push(row, 0).map_err(failed)?;
        }
        Ok(Self {
            rows,
            index,
            free,
            known: vec![0; count as usize],
            is_leaving: vec![false; count as usize],
            leaving: Vec::new(),
            directories: Directories::default(),
            coverage,
            modules: modules(),
            memory_bytes,
        })
    }

    /// Kernel memory of the maps, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// What is known about why calls fail.
    pub(super) fn coverage(&self) -> FailureCoverage {
        self.coverage
    }

    /// The security modules in force; `None` if the kernel does not say.
    pub(super) fn modules(&self) -> Option<Arc<[Untrusted]>> {
        self.modules.clone()
    }

    /// Adds the new failures to `table`.
    pub(super) fn read(&mut self, table: &mut FailureTable) {
        let now = Instant::now();
        table.begin_reading();
        let mut in_use = 0;
        let mut idle = Vec::new();
        for index in 0..self.rows.len() {
            let offset = offset_of!(FailureRow, key) + offset_of!(FailureKey, tgid);
            // Read the process id first, because the program writes it last.
            if self.rows.read_u32(index, offset) == 0 {
                continue;
            }
            in_use += 1;
            if !self.read_row(index, table) && !self.is_leaving[index as usize] {
                idle.push(index);
            }
        }
        self.finish_leaving(table, now);
        if in_use > self.rows.len() / MANY {
            self.take_back(idle, now);
        }
    }

    /// Adds the new calls of a row to `table`. Returns whether there were any.
    fn read_row(&mut self, index: u32, table: &mut FailureTable) -> bool {
        let calls = self.rows.read_u64(index, offset_of!(FailureRow, calls));
        let new = calls.wrapping_sub(self.known[index as usize]);
        if new == 0 {
            return false;
        }
        self.known[index as usize] = calls;
        let FailureRow { key, comm, target, .. } = self.rows.read(index);
        let directory = |at: usize| target.directories[at];
        let directories = [0, 1].map(|at| self.directories.path(key.tgid, directory(at)));
        let errno = key.errno & !FailureKey::DENIED;
        let failure = Failure {
            process: Identity { tgid: key.tgid, start_ns: key.start_ns },
            comm: &comm,
            key: CallKey(key.call),
            errno: u16::try_from(errno).ok().filter(|&errno| errno != 0),
            denied: key.errno & FailureKey::DENIED != 0,
            capability: key.capability.checked_sub(1),
            target: decoded(&target),
            directories,
        };
        table.add(failure, new);
        true
    }

    /// Starts to take back rows.
    fn take_back(&mut self, rows: Vec<u32>, now: Instant) {
        for index in rows {
            let key = self.rows.read(index).key;
            if self.index.remove(&key).is_ok() {
                self.is_leaving[index as usize] = true;
                self.leaving.push((index, now));
            }
        }
    }

    /// Reads the rows that no program uses any more once more, zeroes them, and frees them.
    fn finish_leaving(&mut self, table: &mut FailureTable, now: Instant) {
        let (left, leaving): (Vec<_>, Vec<_>) = std::mem::take(&mut self.leaving)
            .into_iter()
            .partition(|&(_, since)| now.duration_since(since) > GRACE);
        self.leaving = leaving;
        for (index, since) in left {
            self.read_row(index, table);
            self.known[index as usize] = 0;
            self.rows.write(index, FailureRow::UNOWNED);
            if self.free.push(index, 0).is_ok() {
                self.is_leaving[index as usize] = false;
            } else {
                // The row is empty now, and is pushed again at the next reading.
                self.leaving.push((index, since));
            }
        }
    }
}

/// The target that the kernel side described.
fn decoded(raw: &Raw) -> Target {
    let path = |index: usize| {
        let has = |flag: u32| raw.flags >> index & flag != 0;
        has(Raw::HAS_PATH).then(|| PathName {
            bytes: (!has(Raw::UNREADABLE)).then(|| until_nul(&raw.text[index]).to_vec()),
            is_cut: has(Raw::CUT),
            directory: has(Raw::RELATIVE).then(|| directory(raw.directories[index])),
        })
    };
    // The flags of a path are shifted by its index, and an address has the place of the first path.
    let address = (raw.flags & Raw::HAS_ADDRESS != 0).then(|| Address {
        bytes: (raw.flags & Raw::UNREADABLE == 0).then(|| {
            let bytes = raw.text.as_flattened();
            let length = usize::try_from(raw.length).unwrap_or(usize::MAX);
            bytes[..length.min(profiler_common::failing::ADDRESS_BYTES)].to_vec()
        }),
    });
    Target {
        paths: (0..raw.text.len()).filter_map(path).collect(),
        address,
        fd: (raw.flags & Raw::HAS_FD != 0).then_some(raw.fd),
    }
}

fn directory(found: Found) -> Directory {
    Directory {
        inode: found.inode,
        device: device(found.device),
        fd: (found.fd != Found::CURRENT).then_some(found.fd),
    }
}

fn until_nul(text: &[u8; PATH_BYTES]) -> &[u8] {
    let end = text.iter().position(|&byte| byte == 0).unwrap_or(text.len());
    &text[..end]
}

/// The security modules in force.
fn modules() -> Option<Arc<[Untrusted]>> {
    let listed = fs::read(MODULES).ok()?;
    // `capability` is in every list, and decides what the capabilities of a process allow.
    let names = listed.trim_ascii().split(|&byte| byte == b',');
    let others = names.filter(|&name| name != b"capability" && !name.is_empty());
    Some(others.map(Untrusted::from_bytes).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_decoded() {
        let mut raw = Raw::NOTHING;
        raw.text[0][..4].copy_from_slice(b"/etc");
        raw.text[1][..3].copy_from_slice(b"a/b");
        raw.directories[1] = Found { inode: 7, device: 1 << 20 | 3, fd: Found::CURRENT };
        raw.flags = Raw::HAS_PATH | (Raw::HAS_PATH | Raw::RELATIVE) << 1 | Raw::HAS_FD;
        raw.fd = -1;
        let target = decoded(&raw);
        let [first, second] = &target.paths[..] else { panic!("two paths") };
        assert_eq!((first.bytes.as_deref(), &first.directory), (Some(&b"/etc"[..]), &None));
        let directory = second.directory.expect("a directory");
        assert_eq!((directory.inode, directory.device, directory.fd), (7, 0x103, None));
        assert_eq!((target.fd, &target.address), (Some(-1), &None));

        raw.flags = Raw::HAS_ADDRESS;
        raw.length = u32::MAX;
        let address = decoded(&raw).address.expect("an address");
        assert_eq!(address.bytes.expect("readable").len(), 128);
        raw.flags |= Raw::UNREADABLE;
        assert_eq!(decoded(&raw).address, Some(Address { bytes: None }));
        assert_eq!(decoded(&Raw::NOTHING), Target::default());
    }
}
