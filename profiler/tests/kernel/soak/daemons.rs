//! Two daemons, one of which has far too small tables. Checks every scrape and the cost of both.

use std::{collections::BTreeMap, fmt, time::Duration};

use super::{rows::kernel_skips_programs, tally::Tally};
use crate::{
    run::Mode,
    service::{Daemon, Series, threads_alive},
};

/// A daemon, and its last scrape.
struct Watched {
    name: &'static str,
    daemon: Daemon,
    series: Series,
    descriptors: usize,
    most_resident: u64,
}

pub(super) struct Daemons([Watched; 2]);

/// The maximum memory of a daemon in addition to the mapped maps and the copy of them: the
/// executable, its rows, and one answer.
const BESIDE_MAPS: u64 = 64 << 20;

impl Daemons {
    pub(super) fn start() -> Self {
        let start = |name, flags: &[&str]| {
            let daemon = Daemon::start_with(Mode::Main, "200ms", flags);
            // Scrape once first, because the daemon keeps the memory for an answer.
            let series = daemon.metrics();
            let descriptors = descriptors(daemon.pid());
            Watched { name, daemon, series, descriptors, most_resident: 0 }
        };
        Self([start("default", &[]), start("small", &["--max-threads", "64", "--max-memory", "1"])])
    }

    pub(super) fn look(&mut self, tally: &Tally) {
        for watched in &mut self.0 {
            watched.look(tally);
        }
    }

    /// The counts of some calls in both daemons.
    pub(super) fn calls(&mut self, names: &[&str]) -> [Vec<u64>; 2] {
        self.0.each_mut().map(|watched| {
            watched.series = watched.daemon.metrics();
            let calls = |name: &&str| {
                let series =
                    format!("profiler_syscalls_total{{abi=\"x86_64\",syscall=\"{name}\"}}");
                watched.series.get(&series).copied().unwrap_or_default() as u64
            };
            names.iter().map(calls).collect()
        })
    }

    /// Checks calls that no process makes at this moment: each call that entered has left, has
    /// ended its thread, or is in flight.
    #[track_caller]
    pub(super) fn law_holds(&self, names: &[&str]) {
        for (watched, name) in self.0.iter().flat_map(|w| names.iter().map(move |n| (w, n))) {
            let of = |family: &str| {
                let series = format!("profiler_{family}{{abi=\"x86_64\",syscall=\"{name}\"}}");
                watched.series.get(&series).copied().unwrap_or_default()
            };
            let ended = of("syscall_duration_seconds_count") + of("syscall_never_returned_total");
            let accounted = ended + of("syscalls_in_flight");
            assert_eq!(of("syscalls_total"), accounted, "{}: {name}", watched.name);
        }
    }

    /// Checks that records and extents belong to live threads, and ends both daemons.
    pub(super) fn end(&mut self) {
        for watched in &mut self.0 {
            watched.gives_room_back();
            let took = watched.daemon.stop();
            assert!(took < Duration::from_secs(2), "{} took {took:?} to end", watched.name);
        }
    }
}

impl Watched {
    #[track_caller]
    fn look(&mut self, tally: &Tally) {
        let before = std::mem::replace(&mut self.series, self.daemon.metrics());
        let (name, now) = (self.name, &self.series);
        Tally::count(&tally.scrapes, 1);
        assert_eq!(now["profiler_accounting_breaches_total"], 0.0, "{name}: breaches");
        for (series, &value) in now.iter().filter(|(s, _)| s.starts_with("profiler_lost_calls")) {
            let stated = series.contains("program_skipped") && kernel_skips_programs();
            assert!(value == 0.0 || stated, "{name}: {series} {value}");
        }
        for (series, &value) in &before {
            let family = series.split('{').next().unwrap_or_default();
            let counts = ["_total", "_count", "_sum", "_bucket"];
            if counts.iter().any(|end| family.ends_with(end)) {
                let now = now.get(series);
                assert!(now.is_some_and(|&now| now >= value), "{name}: {series} {value}, {now:?}");
            }
        }
        let resident = resident(self.daemon.pid());
        self.most_resident = self.most_resident.max(resident);
        let maps = now["profiler_kernel_memory_bytes"] as u64;
        assert!(resident <= 2 * maps + BESIDE_MAPS, "{name}: {resident} bytes resident");
        // One connection is open for this scrape, and another one may be closing.
        let open = descriptors(self.daemon.pid());
        assert!(open <= self.descriptors + 2, "{name}: {open} descriptors open");
    }

    #[track_caller]
    fn gives_room_back(&mut self) {
        // The next drain, or the one after it, reads the last ended threads.
        std::thread::sleep(Duration::from_secs(1));
        self.series = self.daemon.metrics();
        let alive = threads_alive();
        let name = self.name;
        let used =
            |pool: &str| self.series[&format!("profiler_pool_used{{pool=\"{pool}\"}}")] as u64;
        let (records, extents) = (used("records"), used("extents"));
        // Each record and extent belongs to a live thread. A thread takes an extent for about every
        // two syscalls that it makes for the first time. No thread of a host makes a hundred
        // different syscalls, while unreturned extents would be those of tens of thousands of
        // threads.
        assert!(records <= alive, "{name}: {records} records in use, {alive} threads alive");
        assert!(extents <= 50 * alive, "{name}: {extents} extents in use, {alive} threads alive");
        let in_flight = sum(&self.series, "profiler_syscalls_in_flight") as u64;
        assert!(in_flight <= alive, "{name}: {in_flight} in flight, {alive} threads alive");
    }
}

/// The sum over all series of a family.
fn sum(series: &BTreeMap<String, f64>, family: &str) -> f64 {
    let of_family = |name: &str| name.split('{').next() == Some(family);
    series.iter().filter(|(name, _)| of_family(name)).map(|(_, value)| value).sum()
}

impl fmt::Display for Daemons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, watched) in self.0.iter().enumerate() {
            let of = |family: &str| sum(&watched.series, family);
            let used = |pool| watched.series[&format!("profiler_pool_used{{pool=\"{pool}\"}}")];
            let missing =
                |pool| watched.series[&format!("profiler_pool_exhausted_total{{pool=\"{pool}\"}}")];
            write!(
                f,
                "{}{}: {} calls, {} lost, {} breaches, {} overflowed (no record {} times, no extent {}), {} records, \
                 {} extents, {} in flight, {} MiB at most",
                if at > 0 { "\n        " } else { "" },
                watched.name,
                of("profiler_syscalls_total"),
                of("profiler_lost_calls_total"),
                of("profiler_accounting_breaches_total"),
                of("profiler_overflowed_calls_total"),
                missing("records"),
                missing("extents"),
                used("records"),
                used("extents"),
                of("profiler_syscalls_in_flight"),
                watched.most_resident >> 20,
            )?;
        }
        Ok(())
    }
}

fn process(pid: u32) -> procfs::process::Process {
    procfs::process::Process::new(pid.cast_signed()).expect("a daemon at work")
}

fn resident(pid: u32) -> u64 {
    process(pid).statm().expect("a daemon at work").resident * procfs::page_size()
}

fn descriptors(pid: u32) -> usize {
    process(pid).fd_count().expect("a daemon at work")
}
