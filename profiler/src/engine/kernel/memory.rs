//! Sizes the tables to the memory that this process may use.
//!
//! The kernel charges BPF maps, the pages of an arena and the state that it keeps for each
//! task to the memory cgroup of whoever made the maps, and kills without a word what exceeds
//! its limit (mem_cgroup_out_of_memory, mm/memcontrol.c). So the limits of this process's
//! cgroup and of those above are read before anything is made.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use nix::sys::sysinfo::sysinfo;
use profiler_common::{
    limits::{MIN_EXTENTS, MIN_THREADS},
    share,
};

use super::{KernelError, Options};
use crate::{filter::unescaped, text};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// What the profiler takes whatever the sizes of its tables, at the moment when it takes the
/// most, which is while the verifier works: programs, other maps, its own code and heap, the
/// kernel's types, and what the verifier remembers of a program, which is charged as well.
///
/// Measured on Linux 6.18, whose types are 5.3 MiB: 17 MiB with an arena, 17 with arrays, 18 with
/// the fallback. The rest is a margin for kernels that have more types, or need several copies of
/// each program.
const FIXED: u64 = 21 * MIB;

/// What the verifier takes more for filters by name or cgroup. Measured: 19, 20 and 22 MiB.
const FILTERS: u64 = 3 * MIB;

/// What a task of the host takes: its state in task storage, with the allocator's rounding,
/// and a place in the list of calls that entered before.
const TASK: u64 = 640;

/// What a thread takes: its record, its state, and what the reader keeps for it.
const THREAD: u64 = KIB;

/// What an extent takes: itself, its copy that the reader compares with, and its places in
/// the maps of owners and of free extents.
const EXTENT: u64 = 2 * KIB + 16;

/// The least that tables have to get, so that the profiler is of any use.
const LEAST: u64 = 2 * MIB;

/// What is left to others, and to what is not foreseen, when tables grow.
const RESERVE: u64 = 2 * MIB;

/// Tasks that may come up between a look at how many there are and what is made for them.
const HEADROOM: u32 = 1_024;

/// The memory cgroup with the least memory left: this process's or one above.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// Its directory.
    cgroup: PathBuf,
    /// Names of its files, and of their counters.
    files: &'static Files,
    /// The limit, bytes.
    pub bytes: u64,
    /// What is left of it, bytes. Memory that the kernel can take back at any time, such as
    /// cached files, is left.
    pub available: u64,
}

/// What the files of a version of cgroups are called.
#[derive(Debug, PartialEq, Eq)]
struct Files {
    limit: &'static str,
    usage: &'static str,
    /// In `memory.stat`.
    cached: [&'static str; 2],
}

const V1: Files = Files {
    limit: "memory.limit_in_bytes",
    usage: "memory.usage_in_bytes",
    cached: ["total_inactive_file", "total_active_file"],
};
const V2: Files = Files {
    limit: "memory.max",
    usage: "memory.current",
    cached: ["inactive_file", "active_file"],
};

impl MemoryLimit {
    /// The limit that leaves this process the least; `None` if there is none, or if cgroups
    /// cannot be seen.
    pub fn tightest() -> Option<Self> {
        let mounts = fs::read("/proc/self/mountinfo").ok()?;
        let cgroups = fs::read("/proc/self/cgroup").ok()?;
        let lines = cgroups.split(|&byte| byte == b'\n');
        let of = |line: &[u8]| {
            let (kind, cgroup) = Kind::of(line)?;
            let (root, mount) = kind.mount(&mounts)?;
            // In a container the mount's root may be the container's own cgroup.
            let below = cgroup.strip_prefix(&root).unwrap_or(Path::new(""));
            Self::tightest_below(&mount, below, kind.files())
        };
        lines.filter_map(of).min_by_key(|limit| limit.available)
    }

    /// The tightest of a cgroup and those above it, up to the mount.
    fn tightest_below(mount: &Path, below: &Path, files: &'static Files) -> Option<Self> {
        let directories = below.ancestors().map(|path| mount.join(path));
        directories.filter_map(|path| Self::of(path, files)).min_by_key(|limit| limit.available)
    }

    fn of(cgroup: PathBuf, files: &'static Files) -> Option<Self> {
        let number = |name| fs::read_to_string(cgroup.join(name)).ok()?.trim().parse::<u64>().ok();
        // "max" is no number. Version 1 has a number greater than all memory instead
        // (PAGE_COUNTER_MAX, include/linux/page_counter.h).
        let bytes = number(files.limit).filter(|&bytes| bytes < i64::MAX as u64 / 2)?;
        let stat = fs::read_to_string(cgroup.join("memory.stat")).unwrap_or_default();
        let cached: u64 = stat
            .lines()
            .filter_map(|line| line.split_once(' '))
            .filter(|(name, _)| files.cached.contains(name))
            .filter_map(|(_, bytes)| bytes.parse::<u64>().ok())
            .sum();
        let used = number(files.usage)?.saturating_sub(cached);
        Some(Self { cgroup, files, bytes, available: bytes.saturating_sub(used) })
    }

    /// The same cgroup as it is now.
    pub(super) fn now(&self) -> Option<Self> {
        Self::of(self.cgroup.clone(), self.files)
    }

    /// Whether so much more may be taken.
    pub(super) fn allows(&self, bytes: u64) -> bool {
        self.now().is_none_or(|now| now.available >= bytes + RESERVE)
    }
}

/// The versions of cgroups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// With a hierarchy of its own for memory.
    V1,
    V2,
}

impl Kind {
    /// The cgroup in a line of `/proc/self/cgroup`, as `4:memory:/a` or `0::/a`, if it may
    /// limit memory (proc_cgroup_show, kernel/cgroup/cgroup.c).
    fn of(line: &[u8]) -> Option<(Self, PathBuf)> {
        let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
        let (controllers, path) = (fields.next()?, fields.next()?);
        let kind = if controllers.is_empty() {
            Self::V2
        } else if controllers.split(|&byte| byte == b',').any(|name| name == b"memory") {
            Self::V1
        } else {
            return None;
        };
        Some((kind, PathBuf::from(OsStr::from_bytes(path))))
    }

    /// Root and place of its mount, out of `/proc/self/mountinfo`:
    /// `36 35 98:0 /root /mount/point options - type source options` (show_mountinfo,
    /// fs/proc_namespace.c).
    fn mount(self, mounts: &[u8]) -> Option<(PathBuf, PathBuf)> {
        mounts.split(|&byte| byte == b'\n').find_map(|line| {
            let mut fields = line.split(|&byte| byte == b' ').skip(3);
            let (root, point) = (fields.next()?, fields.next()?);
            let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
            let (kind, options) = (fields.next()?, fields.nth(1)?);
            let has_memory = || options.split(|&byte| byte == b',').any(|o| o == b"memory");
            let is_mount = match self {
                Self::V1 => kind == b"cgroup" && has_memory(),
                Self::V2 => kind == b"cgroup2",
            };
            is_mount.then(|| (unescaped(root), unescaped(point)))
        })
    }

    fn files(self) -> &'static Files {
        match self {
            Self::V1 => &V1,
            Self::V2 => &V2,
        }
    }
}

/// Tasks that the host has, and room for some more.
pub(super) fn tasks() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    // A service may not see that file (ProcSubset=pid). sysinfo(2) tells as well, in 16 bits
    // (do_sysinfo, kernel/sys.c).
    let of_sysinfo = || sysinfo().map_or(0, |info| info.process_count().into());
    tasks_of(&load).unwrap_or_else(of_sysinfo).saturating_add(HEADROOM)
}

/// How many tasks there are, out of `0.00 0.01 0.05 2/345 6789` (fs/proc/loadavg.c).
fn tasks_of(loadavg: &str) -> Option<u32> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

/// What tables of these sizes take, bytes. Records have the reserve for further users on top.
fn taken(max_threads: u32, max_extents: u32) -> u64 {
    u64::from(share::with_reserve(max_threads)) * THREAD + u64::from(max_extents) * EXTENT
}

/// Sizes that fit into the memory there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fit {
    /// As many threads and extents as asked for, or fewer.
    pub max_threads: u32,
    /// See `max_threads`.
    pub max_extents: u32,
    /// Why they are fewer, for people; `None` if all of it fits.
    pub why: Option<String>,
}

impl Fit {
    /// Fits the sizes of `options`.
    ///
    /// # Errors
    /// [`KernelError::Memory`] if even the least does not fit.
    pub fn new(options: &Options, limit: Option<&MemoryLimit>) -> Result<Self, KernelError> {
        let tasks = u64::from(tasks()) * TASK;
        let host = sysinfo().map_or(u64::MAX, |info| info.ram_total());
        Self::within(options, limit, (tasks, host))
    }

    /// `tasks` is what the host's tasks take, `host` its memory.
    fn within(
        options: &Options,
        limit: Option<&MemoryLimit>,
        (tasks, host): (u64, u64),
    ) -> Result<Self, KernelError> {
        let filters = if options.filter.changes() { FILTERS } else { 0 };
        let fixed = FIXED + filters + tasks;
        let (available, of) = match limit {
            Some(limit) if limit.available <= host / 2 => {
                let (cgroup, bytes) = (text::path(&limit.cgroup), limit.bytes / MIB);
                (limit.available, format!("the memory cgroup {cgroup} is limited to {bytes} MiB"))
            }
            _ => (host / 2, format!("half of this host's memory is {} MiB", host / 2 / MIB)),
        };
        let wanted = taken(options.max_threads, options.max_extents);
        let room = available.saturating_sub(fixed + RESERVE);
        let used = limit.map_or(0, |limit| limit.bytes.saturating_sub(limit.available));
        let (max_threads, max_extents) = (options.max_threads, options.max_extents);
        if wanted <= room {
            return Ok(Self { max_threads, max_extents, why: None });
        }
        if room < LEAST {
            let needs = |room: u64| (used + fixed + RESERVE + room).div_ceil(MIB);
            return Err(KernelError::Memory { of, least: needs(LEAST), all: needs(wanted) });
        }
        // By the same share.
        let share = |size: u32, least: u32| {
            let share = u128::from(size) * u128::from(room) / u128::from(wanted);
            u32::try_from(share).unwrap_or(size).clamp(least, size)
        };
        let max_threads = share(max_threads, MIN_THREADS);
        let max_extents = share(max_extents, MIN_EXTENTS);
        let all = (used + fixed + RESERVE + wanted).div_ceil(MIB);
        let why = format!(
            "{of}: room for {max_threads} threads and {} KiB of figures instead of {} and {} KiB, \
             which need {all} MiB. What finds no room is counted, but not by process",
            max_extents, options.max_threads, options.max_extents
        );
        Ok(Self { max_threads, max_extents, why: Some(why) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::filter::Filter;

    fn limit(mib: u64) -> MemoryLimit {
        let (bytes, available) = (mib * MIB, (mib - 2) * MIB);
        MemoryLimit { cgroup: "/sys/fs/cgroup/x".into(), files: &V2, bytes, available }
    }

    #[test]
    fn the_cgroup_and_its_mount_are_found_in_either_version() {
        let v1 = Kind::of(b"4:memory:/a/b").expect("a cgroup");
        assert_eq!(v1, (Kind::V1, PathBuf::from("/a/b")));
        assert_eq!(Kind::of(b"0::/a:b").expect("a cgroup"), (Kind::V2, PathBuf::from("/a:b")));
        assert_eq!(Kind::of(b"3:cpu,cpuacct:/"), None);
        assert_eq!(Kind::of(b""), None);
        let mounts = b"25 20 0:22 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n\
            26 20 0:23 /docker/1 /sys/fs/cgroup/memory rw,nosuid shared:3 - cgroup c rw,memory\n\
            27 20 0:24 / /sys/fs/cg\\0402 rw - cgroup2 cgroup2 rw,nsdelegate\n";
        let found = |kind: Kind| kind.mount(mounts).expect("a mount");
        assert_eq!(found(Kind::V1), ("/docker/1".into(), "/sys/fs/cgroup/memory".into()));
        assert_eq!(found(Kind::V2), ("/".into(), "/sys/fs/cg 2".into()));
    }

    #[test]
    fn tasks_are_counted_by_the_load() {
        assert_eq!(tasks_of("0.00 0.01 0.05 2/345 6789\n"), Some(345));
        assert_eq!(tasks_of("0.00 0.01 0.05"), None);
        assert_eq!(tasks_of("0.00 0.01 0.05 2 6789"), None);
    }

    const HOST: (u64, u64) = (MIB, 16 * 1024 * MIB);

    #[test]
    fn the_defaults_fit_into_half_of_a_host() {
        let options = Options::default();
        assert_eq!(Fit::within(&options, None, HOST).expect("room").why, None);
        let fit = Fit::within(&options, Some(&limit(64)), HOST).expect("room");
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
        let host = ((u64::from(HEADROOM) + 400) * TASK, HOST.1);
        let mut rows = 0;
        for line in section.lines().filter(|line| line.starts_with("| ")) {
            match numbers(line)[..] {
                [least, 3] => {
                    Fit::within(&options, Some(&limit(least)), host).expect("room");
                    let refused = Fit::within(&options, Some(&limit(least - 1)), host);
                    let refused = refused.expect_err("no room");
                    assert!(matches!(refused, KernelError::Memory { .. }), "{refused:?}");
                }
                [mib, threads, figures] => {
                    let fit = Fit::within(&options, Some(&limit(mib)), host).expect("room");
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
        Fit::within(&options, Some(&limit(32)), HOST).expect("room");
    }

    #[test]
    fn the_greatest_sizes_are_bounded_by_the_host() {
        let options = Options {
            max_threads: profiler_common::limits::MAX_THREADS,
            max_extents: profiler_common::limits::MAX_EXTENTS,
            ..Options::default()
        };
        let fit = Fit::within(&options, None, (MIB, 4 * 1024 * MIB)).expect("room");
        let taken = taken(fit.max_threads, fit.max_extents);
        assert!(taken <= 2 * 1024 * MIB, "{fit:?}");
        assert!(fit.why.is_some_and(|why| why.contains("half of this host's memory")));
    }

    #[test]
    fn the_tightest_cgroup_of_a_branch_is_found_and_what_can_be_had_back_is_left() {
        let mount = tempfile::tempdir().expect("a directory");
        let write = |path: &str, limit: &str, usage: u64, cached: u64| {
            let directory = mount.path().join(path);
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(directory.join("memory.max"), limit).expect("a file");
            fs::write(directory.join("memory.current"), usage.to_string()).expect("a file");
            let stat = format!("anon 1\ninactive_file {cached}\nactive_file 1000\n");
            fs::write(directory.join("memory.stat"), stat).expect("a file");
        };
        write("a", "100000\n", 90_000, 19_000);
        write("a/b", "50000\n", 10_000, 0);
        write("a/b/c", "max\n", 10_000, 0);
        let of = |below| MemoryLimit::tightest_below(mount.path(), Path::new(below), &V2);
        let found = of("a/b/c").expect("a limit");
        assert_eq!((found.bytes, found.available), (100_000, 30_000));
        assert_eq!(found.cgroup, mount.path().join("a"));
        assert_eq!(of("d"), None);
        assert!(!found.allows(0), "some is left to others");
    }
}
