//! Measures the cost of the profiler: its process, and its programs by the kernel's statistics.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

use super::session::Session;
use crate::{
    model::{Cost, CpuTime, Program, Runs, Times, Timing, Untimed, runs_since},
    proc_fields,
};

/// Measures what the profiler costs.
pub(super) struct Meter {
    programs: Vec<Program>,
    attached: Instant,
    cpu_to_attach: CpuTime,
    drains: Times,
    timed: Result<TimingPeriod, Untimed>,
    /// How often the kernel's statistics were switched on.
    periods: u64,
    /// When the programs were detached.
    detached: Option<Instant>,
}

/// A period in which the kernel times the programs.
struct TimingPeriod {
    /// When it started.
    since: Instant,
    /// The runs that the kernel had counted when it started.
    before: Vec<Runs>,
}

impl Meter {
    /// The meter of a session whose programs were attached at this time.
    pub(super) fn new(session: &mut Session, attached: Instant) -> Self {
        let untimed = session.untimed();
        let statistics = session.statistics();
        let programs = statistics.programs();
        // The statistics are on since before the attach, or off. So runs start at 0.
        let timed = match untimed {
            None if !statistics.are_kept() => Err(Untimed::Off),
            Some(why) if !statistics.are_kept() => Err(why),
            _ => {
                Ok(TimingPeriod { since: attached, before: vec![Runs::default(); programs.len()] })
            }
        };
        Self {
            programs,
            attached,
            cpu_to_attach: cpu(),
            drains: Times::default(),
            timed,
            periods: 1,
            detached: None,
        }
    }

    /// Why the kernel does not time the programs. `None` if it does.
    pub(super) fn untimed(&self) -> Option<Untimed> {
        self.timed.as_ref().err().copied()
    }

    /// Adds the duration of a drain. Returns the durations of all drains.
    pub(super) fn add_drain(&mut self, took: Duration) -> Times {
        self.drains.add(took);
        self.drains.clone()
    }

    /// Starts or stops timing the programs.
    pub(super) fn time_programs(&mut self, session: &mut Session, on: bool) {
        let statistics = session.statistics();
        let kept = if on {
            statistics.keep()
        } else {
            statistics.release();
            Err(Untimed::Off)
        };
        match kept {
            Err(why) if !statistics.are_kept() => self.timed = Err(why),
            _ if self.timed.is_err() => self.begin(session),
            _ => {}
        }
    }

    /// Checks whether the kernel's statistics are on. Other processes can switch them too.
    pub(super) fn check_statistics(&mut self, session: &mut Session) {
        if session.copies() == 0 {
            // Detached programs do not run.
            return;
        }
        match (session.statistics().are_kept(), &self.timed) {
            (true, Err(_)) => self.begin(session),
            (false, Ok(_)) => self.timed = Err(Untimed::Off),
            _ => {}
        }
    }

    fn begin(&mut self, session: &mut Session) {
        self.periods += 1;
        let since = Instant::now();
        self.timed = Ok(TimingPeriod { since, before: session.statistics().runs() });
    }

    /// Notes that the programs were detached just now.
    pub(super) fn set_detached(&mut self) {
        self.detached = Some(Instant::now());
    }

    /// What the profiler has cost until now, without the drains ([`Self::add_drain`]).
    pub(super) fn cost(&self, session: &mut Session) -> Cost {
        let timing = match &self.timed {
            Err(why) => Timing::No(*why),
            Ok(TimingPeriod { since, before }) => {
                let runs = session.statistics().runs().into_iter();
                // The programs also ran during the drain.
                let until = self.detached.unwrap_or_else(Instant::now);
                Timing::Of {
                    period: self.periods,
                    time: until.saturating_duration_since(*since),
                    runs: runs.zip(before).map(|(now, before)| runs_since(now, *before)).collect(),
                }
            }
        };
        let (resident_bytes, peak_resident_bytes) = memory();
        // Read the CPU time before the elapsed time, so that the share of a CPU is at most one.
        let cpu = cpu();
        Cost {
            elapsed: self.attached.elapsed(),
            cpu,
            cpu_to_attach: self.cpu_to_attach,
            resident_bytes,
            peak_resident_bytes,
            drains: Times::default(),
            programs: self.programs.clone(),
            timing,
        }
    }
}

/// CPU time of all threads of this process since its start.
fn cpu() -> CpuTime {
    getrusage(UsageWho::RUSAGE_SELF).map_or_else(
        |_| CpuTime::default(),
        |usage| CpuTime { user: time(usage.user_time()), system: time(usage.system_time()) },
    )
}

fn time(t: TimeVal) -> Duration {
    Duration::from_micros(t.tv_sec().unsigned_abs() * 1_000_000 + t.tv_usec().unsigned_abs())
}

/// Resident memory now and at its peak, bytes. The kernel's `ru_maxrss` could be the peak of the
/// program that executed this one.
fn memory() -> (u64, u64) {
    let [now, peak] = proc_fields::sizes("/proc/self/status", ["VmRSS", "VmHWM"]);
    (now.unwrap_or(0), peak.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_and_memory_are_those_of_this_process() {
        let before = cpu();
        let started = Instant::now();
        while started.elapsed() < Duration::from_millis(20) {
            std::hint::spin_loop();
        }
        // The scheduler may have given some of the time to other processes.
        assert!(cpu().total() > before.total());
        // This memory is resident, regardless of other tests that run meanwhile.
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let (resident, peak) = memory();
        assert!(resident >= 64 << 20 && peak >= resident, "{resident} {peak}");
        drop(touched);
        assert!(memory().1 >= 64 << 20);
    }
}
