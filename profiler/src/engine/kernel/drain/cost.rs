//! What the profiler costs: its own process, and by the kernel's statistics its programs.

use std::time::{Duration, Instant};

use nix::sys::{
    resource::{UsageWho, getrusage},
    time::TimeVal,
};

use crate::{
    engine::kernel::session::Session,
    model::{Cost, CpuTime, Program, Runs, Times, Timing, Untimed, runs_since},
    proc_fields,
};

/// Adds up what the profiler costs.
pub(super) struct Meter {
    programs: Vec<Program>,
    attached: Instant,
    cpu_to_attach: CpuTime,
    drains: Times,
    timed: Result<Timed, Untimed>,
    /// Times that the kernel has begun to keep statistics.
    spells: u64,
    /// Since when the programs are detached.
    detached: Option<Instant>,
}

/// The kernel keeps statistics:
struct Timed {
    /// since then,
    since: Instant,
    /// when it had counted this.
    before: Vec<Runs>,
}

impl Meter {
    /// Of a session whose programs were attached at this time.
    pub(super) fn new(session: &mut Session, attached: Instant) -> Self {
        let untimed = session.untimed();
        let statistics = session.statistics();
        let programs = statistics.programs();
        // Kept from before they were attached, or not at all: so they began at nothing.
        let timed = match untimed {
            None if !statistics.are_kept() => Err(Untimed::Off),
            Some(why) if !statistics.are_kept() => Err(why),
            _ => Ok(Timed { since: attached, before: vec![Runs::default(); programs.len()] }),
        };
        Self {
            programs,
            attached,
            cpu_to_attach: cpu(),
            drains: Times::default(),
            timed,
            spells: 1,
            detached: None,
        }
    }

    /// Why the kernel does not time the programs, if it does not.
    pub(super) fn untimed(&self) -> Option<Untimed> {
        self.timed.as_ref().err().copied()
    }

    /// A reading took this long.
    pub(super) fn drained(&mut self, took: Duration) -> Times {
        self.drains.add(took);
        self.drains.clone()
    }

    /// Has the kernel time the programs from now on, or no longer.
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

    /// Looks whether the kernel keeps statistics: that is others' to decide too.
    pub(super) fn look(&mut self, session: &mut Session) {
        if session.copies() == 0 {
            // Detached, so that they stand still whether they are kept or not.
            return;
        }
        match (session.statistics().are_kept(), &self.timed) {
            (true, Err(_)) => self.begin(session),
            (false, Ok(_)) => self.timed = Err(Untimed::Off),
            _ => {}
        }
    }

    fn begin(&mut self, session: &mut Session) {
        self.spells += 1;
        let since = Instant::now();
        self.timed = Ok(Timed { since, before: session.statistics().runs() });
    }

    /// The programs have been detached just now: none runs any more.
    pub(super) fn detached(&mut self) {
        self.detached = Some(Instant::now());
    }

    /// What it costs until now. The drain that this is a part of is missing.
    pub(super) fn cost(&self, session: &mut Session) -> Cost {
        let timing = match &self.timed {
            Err(why) => Timing::No(*why),
            Ok(Timed { since, before }) => {
                let runs = session.statistics().runs().into_iter();
                // Not until the drain began: the programs ran all the time that it took.
                let until = self.detached.unwrap_or_else(Instant::now);
                Timing::Of {
                    spell: self.spells,
                    time: until.saturating_duration_since(*since),
                    runs: runs.zip(before).map(|(now, before)| runs_since(now, *before)).collect(),
                }
            }
        };
        let (resident_bytes, peak_resident_bytes) = memory();
        // In this order, so that the share of a CPU cannot be above one.
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

/// CPU time of all threads since the start.
fn cpu() -> CpuTime {
    getrusage(UsageWho::RUSAGE_SELF).map_or_else(
        |_| CpuTime::default(),
        |usage| CpuTime { user: time(usage.user_time()), system: time(usage.system_time()) },
    )
}

fn time(t: TimeVal) -> Duration {
    Duration::from_micros(t.tv_sec().unsigned_abs() * 1_000_000 + t.tv_usec().unsigned_abs())
}

/// Resident memory now, and at most so far. The kernel's `ru_maxrss` would be that of
/// the program that executed this one, if that had more.
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
        // The scheduler may have given some of it to others, but not all.
        assert!(cpu().total() > before.total());
        // Whatever other tests do meanwhile, this is resident, and then was.
        let touched = std::hint::black_box(vec![1_u8; 64 << 20]);
        let (resident, peak) = memory();
        assert!(resident >= 64 << 20 && peak >= resident, "{resident} {peak}");
        drop(touched);
        assert!(memory().1 >= 64 << 20);
    }
}
