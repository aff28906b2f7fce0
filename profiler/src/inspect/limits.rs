//! The time limits of calls, from their arguments.

use profiler_common::call::Abi;

use super::memory::Memory;

/// When a call returns at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Limit {
    /// So many nanoseconds after its entry.
    After(u64),
    /// At this time of a clock, nanoseconds.
    At(libc::clockid_t, u64),
}

/// The operation of futex(2) without its flags.
pub(super) const FUTEX_OPERATION: u64 = 0x7f;
/// `FUTEX_CLOCK_REALTIME`.
const FUTEX_REALTIME: u64 = 256;
/// `FUTEX_WAIT`, whose time limit is relative.
pub(super) const FUTEX_WAIT: u64 = 0;
/// `FUTEX_LOCK_PI`, whose time limit is of the real-time clock.
pub(super) const FUTEX_LOCK_PI: u64 = 6;

/// The time limit of a call. `None` if it has none, or if it could not be read.
pub(super) fn of(name: &str, args: &[u64; 6], abi: Abi, memory: &mut Memory<'_>) -> Option<Limit> {
    // Names that end so have 64-bit times in 32-bit programs too.
    let (name, is_wide) = match name.strip_suffix("_time64") {
        Some(name) => (name, true),
        None => (name, abi != Abi::I386),
    };
    let mut time = |at: usize, unit_ns: u64| {
        let address = args[at];
        let bytes = memory.read(address, if is_wide { 16 } else { 8 })?;
        time(&bytes, is_wide, unit_ns)
    };
    const NANOSECONDS: u64 = 1;
    const MICROSECONDS: u64 = 1_000;
    match name {
        "nanosleep" => Some(Limit::After(time(0, NANOSECONDS)?)),
        "clock_nanosleep" => {
            let ns = time(2, NANOSECONDS)?;
            // `TIMER_ABSTIME`.
            Some(if args[1] & 1 == 0 { Limit::After(ns) } else { Limit::At(clock(args[0]), ns) })
        }
        "poll" => milliseconds(args[2]),
        "epoll_wait" | "epoll_pwait" => milliseconds(args[3]),
        "ppoll" | "rt_sigtimedwait" => Some(Limit::After(time(2, NANOSECONDS)?)),
        "epoll_pwait2" | "semtimedop" => Some(Limit::After(time(3, NANOSECONDS)?)),
        "select" | "_newselect" => Some(Limit::After(time(4, MICROSECONDS)?)),
        "pselect6" | "io_getevents" | "io_pgetevents" => Some(Limit::After(time(4, NANOSECONDS)?)),
        "mq_timedsend" | "mq_timedreceive" => {
            Some(Limit::At(libc::CLOCK_REALTIME, time(4, NANOSECONDS)?))
        }
        "futex" => {
            let ns = time(3, NANOSECONDS)?;
            let operation = args[1] & FUTEX_OPERATION;
            let is_realtime = operation == FUTEX_LOCK_PI || args[1] & FUTEX_REALTIME != 0;
            let clock = if is_realtime { libc::CLOCK_REALTIME } else { libc::CLOCK_MONOTONIC };
            Some(if operation == FUTEX_WAIT { Limit::After(ns) } else { Limit::At(clock, ns) })
        }
        "futex_wait" => {
            let clock = libc::clockid_t::try_from(args[5]).ok()?;
            Some(Limit::At(clock, time(4, NANOSECONDS)?))
        }
        _ => None,
    }
}

/// A number of milliseconds; negative for ever.
#[expect(clippy::cast_possible_truncation, reason = "the argument is an int")]
fn milliseconds(argument: u64) -> Option<Limit> {
    let milliseconds = u64::try_from((argument as u32).cast_signed()).ok()?;
    Some(Limit::After(milliseconds * 1_000_000))
}

#[expect(clippy::cast_possible_truncation, reason = "the argument is an int")]
fn clock(argument: u64) -> libc::clockid_t {
    (argument as u32).cast_signed()
}

/// A `struct timespec` or `timeval`, nanoseconds.
fn time(bytes: &[u8], is_wide: bool, unit_ns: u64) -> Option<u64> {
    let (seconds, parts) = bytes.split_at_checked(if is_wide { 8 } else { 4 })?;
    let number = |bytes: &[u8]| match *bytes {
        [a, b, c, d] => Some(u64::from(u32::from_ne_bytes([a, b, c, d]))),
        [a, b, c, d, e, f, g, h] => Some(u64::from_ne_bytes([a, b, c, d, e, f, g, h])),
        _ => None,
    };
    let parts = number(parts)?.checked_mul(unit_ns)?;
    number(seconds)?.checked_mul(1_000_000_000)?.checked_add(parts)
}

impl Limit {
    /// The rest of the time, nanoseconds. `age_ns` is how long the call has lasted, if that is known.
    pub(super) fn left_ns(self, age_ns: Option<u64>) -> Option<u64> {
        match self {
            Self::After(ns) => Some(ns.saturating_sub(age_ns?)),
            Self::At(clock, ns) => Some(ns.saturating_sub(now_ns(clock)?)),
        }
    }
}

/// The time of a clock, nanoseconds.
fn now_ns(clock: libc::clockid_t) -> Option<u64> {
    let time = nix::time::ClockId::from_raw(clock).now().ok()?;
    let seconds = u64::try_from(time.tv_sec()).ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(u64::try_from(time.tv_nsec()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::Patience;

    #[test]
    fn limits_are_in_the_arguments_or_in_memory() {
        let mut patience = Patience::default();
        let mut memory = Memory::of("/proc".as_ref(), std::process::id(), &mut patience);
        let mut of = |name: &str, args: [u64; 6]| of(name, &args, Abi::X86_64, &mut memory);
        assert_eq!(of("poll", [0, 0, 1_500, 0, 0, 0]), Some(Limit::After(1_500_000_000)));
        assert_eq!(of("epoll_wait", [3, 0, 0, u64::MAX, 0, 0]), None);
        let time = [2_i64, 7];
        let at = time.as_ptr() as u64;
        assert_eq!(of("nanosleep", [at, 0, 0, 0, 0, 0]), Some(Limit::After(2_000_000_007)));
        assert_eq!(of("select", [0, 0, 0, 0, at, 0]), Some(Limit::After(2_000_007_000)));
        let absolute = of("clock_nanosleep", [1, 1, at, 0, 0, 0]);
        assert_eq!(absolute, Some(Limit::At(1, 2_000_000_007)));
        assert_eq!(of("nanosleep", [0; 6]), None);
        assert_eq!(of("read", [at; 6]), None);
        assert_eq!(std::hint::black_box(time), [2, 7]);
    }

    #[test]
    fn the_rest_is_what_has_not_passed() {
        assert_eq!(Limit::After(10).left_ns(Some(3)), Some(7));
        assert_eq!(Limit::After(10).left_ns(Some(11)), Some(0));
        assert_eq!(Limit::After(10).left_ns(None), None);
        let now = now_ns(libc::CLOCK_MONOTONIC).expect("a clock");
        let left = Limit::At(libc::CLOCK_MONOTONIC, now + 1_000_000_000).left_ns(None);
        assert!(left.is_some_and(|left| left > 0 && left <= 1_000_000_000));
        let narrow = [3_u32.to_ne_bytes(), 4_u32.to_ne_bytes()].concat();
        assert_eq!(time(&narrow, false, 1_000), Some(3_000_004_000));
        assert_eq!(time(&narrow[..5], false, 1), None);
        assert_eq!(time(&[0xff; 16], true, 1), None);
    }
}
