//! Our process id on the host, and the offset of our clock.
//!
//! In a pid namespace, `getpid` does not return the id on the host. In a time namespace,
//! `CLOCK_MONOTONIC` is not the clock of `bpf_ktime_get_ns` (`timens_add_monotonic`,
//! include/linux/time_namespace.h). So the kernel runs a program that returns both.

use std::{fs, io, path::Path, time::Duration};

use aya::{
    Ebpf, EbpfLoader,
    programs::{ProgramError, RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use nix::time::{ClockId, clock_gettime};
use profiler_common::identity as question;

use super::{
    error::KernelError,
    object::{self, ObjectName},
    programs,
};

const PROGRAM: &str = "identify";

/// How often both clocks are read. The narrowest reading counts, because a preempted one is
/// imprecise.
const READINGS: usize = 16;

/// The identity of this process on the host.
#[derive(Clone, Copy, Debug)]
pub(super) struct Identity {
    /// Our process id in the host's pid namespace.
    pub(super) tgid: u32,
    /// The kernel's clock.
    pub(super) clock: Clock,
}

impl Identity {
    /// Asks the kernel. If that fails in the initial namespaces, uses the process's own id and
    /// clock, which are those of the host there.
    ///
    /// # Errors
    /// The kernel's error, in any other namespace: there, our own calls would count, and ages
    /// would be wrong.
    pub(super) fn learn(
        loader: &mut EbpfLoader<'_>,
        in_host_namespace: Option<bool>,
    ) -> Result<Self, KernelError> {
        ask(loader).or_else(|error| {
            if in_host_namespace != Some(true) || !has_host_clock() {
                return Err(error);
            }
            tracing::info!("cannot get the profiler's process id on the host, so its id in this namespace is used: {error}");
            Ok(Self { tgid: std::process::id(), clock: Clock::default() })
        })
    }

    /// Whether process ids in this namespace are those of the host. `link` is the result of
    /// `/proc/self/ns/pid`. Without `/proc`, the ids are compared.
    pub(super) fn is_in_host_namespace(&self, link: Option<bool>) -> bool {
        link.unwrap_or_else(|| self.tgid == std::process::id())
    }
}

/// Inode of the initial time namespace (`PROC_TIME_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_TIME_NAMESPACE: &str = "time:[4026531834]";

/// Whether this process is in the host's time namespace, or the kernel has no time namespaces
/// (`CONFIG_TIME_NS`).
pub(super) fn has_host_clock() -> bool {
    match fs::read_link("/proc/self/ns/time") {
        Ok(link) => link == Path::new(INITIAL_TIME_NAMESPACE),
        Err(error) => error.kind() == io::ErrorKind::NotFound && Path::new("/proc/self").exists(),
    }
}

fn ask(loader: &mut EbpfLoader<'_>) -> Result<Identity, KernelError> {
    let failed = |error: &(dyn std::error::Error + 'static)| {
        KernelError::from_any(format!("run {PROGRAM}"), error)
    };
    let mut ebpf: Ebpf =
        loader.load(&object::find(ObjectName::Identity).bytes()).map_err(|error| failed(&error))?;
    let identify = programs::find::<RawTracePoint>(&mut ebpf, PROGRAM)?;
    programs::load_despite_signals(|| identify.load()).map_err(|error| failed(&error))?;
    let answer = |asked| answer(identify, asked).map_err(|error| failed(&error));
    // A kernel that ran the program but returned nothing would answer 0.
    let tgid = Some(answer(question::TGID)?).filter(|&tgid| tgid != 0);
    let tgid = tgid.ok_or_else(|| KernelError::Object(format!("{PROGRAM} answers 0")))?;
    let mut best: Option<Bracket> = None;
    for _ in 0..READINGS {
        let reading = Bracket::read(answer)?;
        best = match (best, reading) {
            (Some(best), Some(reading)) if best.width() <= reading.width() => Some(best),
            (best, reading) => reading.or(best),
        };
    }
    // The lower half wraps every four seconds, so some reading succeeds.
    let best = best.ok_or_else(|| KernelError::Object("the kernel's clock leaps".into()))?;
    let offset_ns = best.offset_ns();
    Ok(Identity { tgid, clock: Clock { offset_ns } })
}

fn answer(identify: &RawTracePoint, asked: u64) -> Result<u32, ProgramError> {
    let mut options = RawTracePointRunOptions::new();
    options.args[0] = asked;
    Ok(identify.test_run(options)?.return_value)
}

/// A reading of the kernel's clock, between two of our own; nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Bracket {
    before: u64,
    kernel: u64,
    after: u64,
}

impl Bracket {
    /// Reads both clocks. `None` if the lower half of the kernel's clock wrapped meanwhile.
    fn read(answer: impl Fn(u64) -> Result<u32, KernelError>) -> Result<Option<Self>, KernelError> {
        let high = answer(question::CLOCK_HIGH)?;
        let before = monotonic_ns();
        let low = answer(question::CLOCK_LOW)?;
        let after = monotonic_ns();
        if answer(question::CLOCK_HIGH)? != high {
            return Ok(None);
        }
        let kernel = u64::from(high) << 32 | u64::from(low);
        Ok(Some(Self { before, kernel, after }))
    }

    fn width(&self) -> u64 {
        self.after.saturating_sub(self.before)
    }

    /// The offset from our clock to the kernel's; 0 if both can be the same.
    fn offset_ns(&self) -> i64 {
        if (self.before..=self.after).contains(&self.kernel) {
            return 0;
        }
        let middle = self.before + self.width() / 2;
        self.kernel.wrapping_sub(middle).cast_signed()
    }
}

/// The clock of `bpf_ktime_get_ns`: `CLOCK_MONOTONIC` of the host's time namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// The offset from `CLOCK_MONOTONIC`, as this process reads it, nanoseconds.
    offset_ns: i64,
}

impl Clock {
    /// The time now, nanoseconds. In a time namespace, the error is at most the duration of one
    /// call into the kernel, about a microsecond.
    pub(super) fn now_ns(self) -> u64 {
        monotonic_ns().saturating_add_signed(self.offset_ns)
    }
}

fn monotonic_ns() -> u64 {
    // Linux has had this clock since 2.6, so this cannot fail.
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(0, |now| Duration::from(now).as_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bracket(before: u64, kernel: u64, after: u64) -> Bracket {
        Bracket { before, kernel, after }
    }

    #[test]
    fn one_clock_has_no_offset() {
        for kernel in [1_000, 1_500, 2_000] {
            assert_eq!(bracket(1_000, kernel, 2_000).offset_ns(), 0);
        }
    }

    #[test]
    fn an_offset_leads_from_our_clock_to_the_kernel_s() {
        const DAYS: u64 = 864_000_000_000_000;
        for (ours, kernel) in [(DAYS + 7_000, 7_000), (7_000, DAYS + 7_000)] {
            let clock = Clock { offset_ns: bracket(ours - 500, kernel, ours + 500).offset_ns() };
            assert_eq!(ours.saturating_add_signed(clock.offset_ns), kernel);
        }
    }

    #[test]
    fn the_halves_make_a_clock() {
        let halves = |asked| Ok(if asked == question::CLOCK_LOW { 7 } else { 3 });
        let read = Bracket::read(halves).expect("answers").expect("no wrap");
        assert_eq!(read.kernel, (3 << 32) + 7);
        let high = std::cell::Cell::new(0);
        let wraps = |asked| {
            high.set(high.get() + u32::from(asked == question::CLOCK_LOW));
            Ok(high.get())
        };
        assert!(Bracket::read(wraps).expect("answers").is_none());
    }

    #[test]
    fn without_proc_equal_ids_decide() {
        let host = Identity { tgid: std::process::id(), clock: Clock::default() };
        let other = Identity { tgid: std::process::id() + 1, clock: Clock::default() };
        assert!(host.is_in_host_namespace(None) && !other.is_in_host_namespace(None));
        assert!(!host.is_in_host_namespace(Some(false)));
    }
}
