//! Fits the sizes of the tables into the memory that this process may use.
//!
//! The kernel charges BPF maps, the pages of an arena and the state of each task to the memory
//! cgroup of the process that made the maps. The kernel kills a process that exceeds the limit
//! (mem_cgroup_out_of_memory, mm/memcontrol.c). So the limits are read before any map is made.

use nix::sys::sysinfo::sysinfo;
use profiler_common::{
    limits::{MIN_EXTENTS, MIN_THREADS},
    share,
};

use super::{
    error::KernelError,
    host_tasks,
    memory_limit::{MemoryLimit, RESERVE},
    object::ObjectName,
    options::Options,
};
use crate::text;

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// The peak of what the profiler uses besides its tables, bytes. The peak is while the verifier
/// works. It includes programs, other maps, the profiler's code and heap, the kernel's types, and
/// the state of the verifier, which the kernel charges too.
///
/// Measured on Linux 6.18, whose types are 5.3 MiB: 17 MiB with an arena, 17 with arrays, 18 with
/// the fallback. The rest is a margin for kernels that have more types, or need several copies of
/// each program.
const FIXED: u64 = 21 * MIB;

/// What filters by name or cgroup add to [`FIXED`], bytes. Measured in all: 19 MiB with an arena, and
/// 20 with arrays.
const FILTERS: u64 = 3 * MIB;

/// Same as [`FILTERS`], with the fallback. Measured in all: 29 MiB.
const FILTERS_FALLBACK: u64 = 7 * MIB;

/// What the programs and tables for io_uring add to [`FIXED`], bytes. Measured: 3 MiB with an arena
/// or with arrays, 6 MiB with the fallback.
const RINGS: u64 = 6 * MIB;

/// The smallest size of all other tables with which operations of io_uring are counted, bytes.
const LEAST_BESIDE_RINGS: u64 = 8 * MIB;

/// What the cgroups of calls add to [`FIXED`], bytes: the programs that follow moves, and the ring
/// buffer of events. Measured: less than 1 MiB with an arena, 11 MiB with arrays, 8 MiB with the
/// fallback.
const CGROUPS: u64 = 13 * MIB;

/// What the targets of calls that fail add to [`FIXED`], bytes: their rows, the index of the rows, the
/// checks of capabilities, and the reader's list.
const FAILURES: u64 = 9 * MIB;

/// What a task of the host uses, bytes: its state in task storage, with the allocator's rounding,
/// and an entry in the list of calls that entered before the attach.
const TASK: u64 = 640;

/// What a thread uses, bytes: its record, its state, and the reader's copy.
const THREAD: u64 = KIB;

/// What an extent uses, bytes: its cells, the reader's copy of them, and its entries in the maps of
/// owners and of free extents.
const EXTENT: u64 = 2 * KIB + 16;

/// What the time off the CPU adds to [`THREAD`], bytes.
const THREAD_OFF_CPU: u64 = 64;

/// What the time off the CPU adds to [`EXTENT`], bytes: 16 for each cell, and the reader's copies
/// of slots.
const EXTENT_OFF_CPU: u64 = 256;

/// What the samplers of an extent use, bytes, if sampling is adaptive.
const SAMPLERS: u64 = 8 * 32;

/// The minimum size of all tables with which the profiler starts, bytes.
const LEAST: u64 = 2 * MIB;

/// What tables of these sizes use, bytes, with the reserve of records for further users.
fn table_bytes(options: &Options) -> u64 {
    let (thread, mut extent) = if options.off_cpu {
        (THREAD + THREAD_OFF_CPU, EXTENT + EXTENT_OFF_CPU)
    } else {
        (THREAD, EXTENT)
    };
    if options.is_adaptive() {
        extent += SAMPLERS;
    }
    u64::from(share::with_reserve(options.max_threads)) * thread
        + u64::from(options.max_extents) * extent
}

/// Sizes of tables that fit into the memory that this process may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// Threads: as many as requested, or fewer.
    pub max_threads: u32,
    /// Extents: as many as requested, or fewer.
    pub max_extents: u32,
    /// Why they are fewer, for people; `None` if everything fits.
    pub why: Option<String>,
    /// Whether there is also memory for counting operations of io_uring.
    pub has_room_for_rings: bool,
}

impl Fit {
    /// Reduces the sizes of `options` until they fit, on a kernel that does not need the fallback.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if not even the smallest sizes fit.
    pub fn new(options: &Options, limit: Option<&MemoryLimit>) -> Result<Self, KernelError> {
        Self::of_object(options, limit, ObjectName::Arena)
    }

    /// Reduces the sizes of `options` until they fit, if `counter` is the object that counts calls.
    ///
    /// # Errors
    /// Same as [`Self::new`].
    pub(super) fn of_object(
        options: &Options,
        limit: Option<&MemoryLimit>,
        counter: ObjectName,
    ) -> Result<Self, KernelError> {
        let tasks = u64::from(host_tasks::count()) * TASK;
        let host = sysinfo().map_or(u64::MAX, |info| info.ram_total());
        Self::within(options, limit, (tasks, host), counter)
    }

    /// Same as [`Self::new`]. `tasks` is what the tasks of the host use, and `host` is its memory.
    fn within(
        options: &Options,
        limit: Option<&MemoryLimit>,
        (tasks, host): (u64, u64),
        counter: ObjectName,
    ) -> Result<Self, KernelError> {
        let filters = match counter {
            _ if !options.filter.changes() => 0,
            ObjectName::Fallback => FILTERS_FALLBACK,
            _ => FILTERS,
        };
        let cgroups = if options.knows_cgroups() { CGROUPS } else { 0 };
        let failures = if options.targets.is_some() { FAILURES } else { 0 };
        let mut fixed = FIXED + filters + cgroups + failures + tasks;
        let (available, of) = match limit {
            Some(limit) if limit.available <= host / 2 => {
                let (cgroup, bytes) = (text::path(&limit.cgroup), limit.bytes / MIB);
                (limit.available, format!("the memory cgroup {cgroup} is limited to {bytes} MiB"))
            }
            _ => (host / 2, format!("half of this host's memory is {} MiB", host / 2 / MIB)),
        };
        let wanted = table_bytes(options);
        let wanted_beside_rings = wanted.min(LEAST_BESIDE_RINGS);
        let has_room_for_rings = available >= fixed + RINGS + RESERVE + wanted_beside_rings;
        if has_room_for_rings {
            fixed += RINGS;
        }
        let room = available.saturating_sub(fixed + RESERVE);
        let used = limit.map_or(0, |limit| limit.bytes.saturating_sub(limit.available));
        let (max_threads, max_extents) = (options.max_threads, options.max_extents);
        if wanted <= room {
            return Ok(Self { max_threads, max_extents, why: None, has_room_for_rings });
        }
        if room < LEAST {
            let needs = |room: u64| (used + fixed + RESERVE + room).div_ceil(MIB);
            return Err(KernelError::Memory { of, least: needs(LEAST), all: needs(wanted) });
        }
        // Reduce both sizes by the same factor.
        let share = |size: u32, least: u32| {
            let share = u128::from(size) * u128::from(room) / u128::from(wanted);
            u32::try_from(share).unwrap_or(size).clamp(least, size)
        };
        let max_threads = share(max_threads, MIN_THREADS);
        let max_extents = share(max_extents, MIN_EXTENTS);
        let all = (used + fixed + RESERVE + wanted).div_ceil(MIB);
        let why = format!(
            "{of}: the tables have space for {max_threads} threads and {} KiB of figures instead of \
             {} and {} KiB, which require {all} MiB. Further calls are counted without their process",
            max_extents, options.max_threads, options.max_extents
        );
        Ok(Self { max_threads, max_extents, why: Some(why), has_room_for_rings })
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;
    use crate::filter::Filter;

    fn limit(mib: u64) -> MemoryLimit {
        MemoryLimit::fake("/sys/fs/cgroup/x", mib * MIB, (mib - 2) * MIB)
    }

    const HOST: (u64, u64) = (MIB, 16 * 1024 * MIB);

    #[test]
    fn the_defaults_fit_into_half_of_a_host() {
        let options = Options::default();
        assert_eq!(Fit::within(&options, None, HOST, ObjectName::Arena).expect("room").why, None);
        let fit = Fit::within(&options, Some(&limit(64)), HOST, ObjectName::Arena).expect("room");
        assert!(fit.max_threads < options.max_threads && fit.max_extents < options.max_extents);
        assert!(fit.why.is_some_and(|why| why.contains("limited to 64 MiB")));
    }

    /// Each row of the table in docs/memory.md: `| 64 MiB | 7,500 threads, 9 MiB of figures |`.
    #[test]
    fn the_documented_limits_have_the_documented_room() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/memory.md");
        let page = fs::read_to_string(path).expect("the page");
        let (_, section) = page.split_once("\n## Memory limits").expect("a section");
        let (section, _) = section.split_once("\n#").expect("a next section");
        let numbers = |line: &str| -> Vec<u64> {
            let digits = line.replace(',', "");
            let words = digits.split(|c: char| !c.is_ascii_digit());
            words.filter_map(|word| word.parse().ok()).collect()
        };
        let options = Options::default();
        // Some hundred threads of the host.
        let host = ((u64::from(host_tasks::HEADROOM) + 400) * TASK, HOST.1);
        let mut rows = 0;
        for line in section.lines().filter(|line| line.starts_with("| ")) {
            match numbers(line)[..] {
                [least, 3] => {
                    Fit::within(&options, Some(&limit(least)), host, ObjectName::Arena)
                        .expect("room");
                    let refused =
                        Fit::within(&options, Some(&limit(least - 1)), host, ObjectName::Arena);
                    let refused = refused.expect_err("no room");
                    assert!(matches!(refused, KernelError::Memory { .. }), "{refused:?}");
                }
                [mib, threads, figures] => {
                    let fit = Fit::within(&options, Some(&limit(mib)), host, ObjectName::Arena)
                        .expect("room");
                    let is_near = |found: u64, stated: u64| found.abs_diff(stated) * 20 <= stated;
                    assert!(is_near(fit.max_threads.into(), threads), "{line}: {fit:?}");
                    let kib = u64::from(fit.max_extents);
                    assert!(kib.abs_diff(figures * KIB) <= KIB / 2, "{line}: {fit:?}");
                    assert_eq!(fit.why.is_none(), threads == u64::from(options.max_threads));
                }
                _ => continue,
            }
            rows += 1;
        }
        assert_eq!(rows, 6);
    }

    #[test]
    fn a_daemon_with_filters_fits_into_32_mib() {
        let comms = vec!["x".parse().expect("a name")];
        let options = Options::default().filtered(Filter { comms, ..Filter::default() });
        Fit::within(&options, Some(&limit(32)), HOST, ObjectName::Arena).expect("room");
    }

    #[test]
    fn the_greatest_sizes_are_bounded_by_the_host() {
        let options = Options {
            max_threads: profiler_common::limits::MAX_THREADS,
            max_extents: profiler_common::limits::MAX_EXTENTS,
            ..Options::default()
        };
        let fit =
            Fit::within(&options, None, (MIB, 4 * 1024 * MIB), ObjectName::Arena).expect("room");
        let taken = table_bytes(&Options {
            max_threads: fit.max_threads,
            max_extents: fit.max_extents,
            ..Options::default()
        });
        assert!(taken <= 2 * 1024 * MIB, "{fit:?}");
        assert!(fit.why.is_some_and(|why| why.contains("half of this host's memory")));
    }
}
