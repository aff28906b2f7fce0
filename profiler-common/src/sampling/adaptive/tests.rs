//! Simulated programs, whose calls and rates are known.

extern crate std;

use std::{vec, vec::Vec};

use proptest::prelude::*;

use super::*;

/// Nanoseconds of a tick: CONFIG_HZ=250.
const TICK_NS: u32 = 4_000_000;

/// A thread that makes calls of one syscall.
struct Thread {
    limit: Limit,
    tick_ns: u64,
    pace: Pace,
    turn: u32,
    /// Nanoseconds since the boot.
    now_ns: u64,
    seed: u64,
}

impl Thread {
    fn new(calls: u32, tick_ns: u32, seed: u64) -> Self {
        Self {
            limit: Limit::new(calls, tick_ns),
            tick_ns: tick_ns.into(),
            pace: Pace::default(),
            // Wraps soon.
            turn: u32::MAX - 1_000,
            now_ns: 1_000_000_000_000 + seed % 1_000_000_000,
            seed,
        }
    }

    /// Makes a call, `after_ns` after the last one. Returns its weight; 0 if it is not timed.
    fn call(&mut self, after_ns: u64) -> u64 {
        self.now_ns += after_ns;
        // As the kernel counts ticks: rounded down.
        let now = (self.now_ns / self.tick_ns) << FRACTION_BITS;
        let seed = &mut self.seed;
        let random = || {
            *seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (*seed ^ *seed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            (z ^ z >> 31) as u32
        };
        let cheap = self.pace.decide_cheaply(self.turn, now, self.limit);
        let (pace, choice) = self.pace.decide(self.turn, now, self.limit, random);
        if let Some(cheap) = cheap {
            assert_eq!(cheap, (pace, choice), "the two ways to decide differ");
        }
        self.pace = pace;
        self.turn = self.turn.wrapping_add(1);
        match choice {
            Choice::Skip => 0,
            Choice::Time(shift) => 1 << shift,
        }
    }

    /// The weights of `calls` calls, each `every_ns` after the one before.
    fn calls(&mut self, calls: u64, every_ns: u64) -> Vec<u64> {
        (0..calls).map(|_| self.call(every_ns)).collect()
    }
}

fn timed(weights: &[u64]) -> u64 {
    weights.iter().filter(|&&weight| weight > 0).count() as u64
}

/// How far a sum of weights can be from the number of calls that it stands for, except with a
/// probability of 10^-9. Each block differs from its mean by at most its size, so this is
/// Hoeffding's bound for martingales (Hoeffding 1963, theorem 2 and the remark at the end of
/// section 2). Blocks of one call do not differ. The last block may not be complete.
fn bound(weights: &[u64]) -> f64 {
    let squares: u64 = weights.iter().filter(|&&w| w > 1).map(|w| w * w).sum();
    let last = 1 << (2 * MAX_SHIFT);
    ((2e9_f64).ln() / 2.0 * (squares + last) as f64).sqrt()
}

#[test]
fn up_to_the_limit_every_call_is_timed() {
    for tick_ns in [1_000_000, 3_333_333, 4_000_000, 10_000_000] {
        for limit in [MIN_LIMIT, DEFAULT_LIMIT, 333_333, MAX_LIMIT] {
            let mut steady = Thread::new(limit, tick_ns, 1);
            let every_ns = 1_000_000_000_u64.div_ceil(limit.into());
            assert!(steady.calls(3 * u64::from(limit), every_ns).iter().all(|&w| w == 1));
            // All calls of each second at once.
            let mut bursts = Thread::new(limit, tick_ns, 2);
            for _ in 0..3 {
                let burst = bursts.calls(limit.into(), 100);
                assert!(burst.iter().all(|&w| w == 1), "{limit} per second, tick {tick_ns} ns");
                bursts.now_ns += 1_000_000_000 - u64::from(limit) * 100;
            }
        }
    }
}

/// A loop of any speed keeps to the limit: N per second, and 1.5 N once.
#[test]
fn a_loop_keeps_to_the_limit() {
    for limit in [MIN_LIMIT, DEFAULT_LIMIT] {
        for every_ns in [250, 1_000, 5_000, 40_000, 99_000] {
            let mut thread = Thread::new(limit, TICK_NS, every_ns);
            let seconds = 4;
            let weights = thread.calls(seconds * 1_000_000_000 / every_ns, every_ns);
            let most = u64::from(limit) * (2 * seconds + 3) / 2;
            assert!(timed(&weights) <= most, "{} of {most}, {every_ns} ns", timed(&weights));
            let calls = weights.len() as u64;
            let least = calls.min(u64::from(limit) * seconds / 2);
            assert!(timed(&weights) >= least, "{} of {least}, {every_ns} ns", timed(&weights));
            let off = weights.iter().sum::<u64>() as f64 - calls as f64;
            assert!(off.abs() <= bound(&weights), "{off} of {calls}, {every_ns} ns");
        }
    }
}

/// The first calls of a loop use up the budget. After these, the shift reaches its place within
/// the calls of a tenth of a second.
#[test]
fn a_busy_loop_is_sampled_soon() {
    let mut thread = Thread::new(DEFAULT_LIMIT, TICK_NS, 3);
    let weights = thread.calls(1_000_000, 1_000);
    let first = weights.iter().position(|&weight| weight != 1).expect("a sample");
    let budget = u64::from(DEFAULT_LIMIT) + 2 * 40;
    assert!(first as u64 <= budget + 500, "{first}");
    let rest = timed(&weights[first + 100_000..]);
    assert!(rest <= 10_000, "{rest} timed in the rest of the second");
}

/// A loop that becomes slow is timed in full after at most half a second and one call.
#[test]
fn a_slow_loop_is_timed_again() {
    for (fast_ns, slow_ns) in [(250, 1_000_000), (1_000, 50_000_000), (20_000, 200_000)] {
        let mut thread = Thread::new(DEFAULT_LIMIT, TICK_NS, fast_ns);
        thread.calls(3_000_000_000 / fast_ns, fast_ns);
        let adapting = 500_000_000 / slow_ns + 1;
        thread.calls(adapting, slow_ns);
        let weights = thread.calls(10_000, slow_ns);
        assert!(weights.iter().all(|&weight| weight == 1), "{fast_ns} ns, then {slow_ns} ns");
    }
}

/// The kernel's clock can be anywhere, and the thread anywhere in its block.
#[test]
fn after_a_pause_every_call_is_timed() {
    let mut thread = Thread::new(DEFAULT_LIMIT, TICK_NS, 5);
    for hours in [0, 1, 24, 24 * 365] {
        thread.calls(2_000_000, 1_000);
        thread.now_ns += 2_000_000_000 + hours * 3_600_000_000_000;
        assert!(thread.calls(10_000, 1_000).iter().all(|&weight| weight == 1), "{hours} h");
    }
}

/// The sum of weights of a program's slow calls is as far off as Hoeffding allows, whatever the
/// period in which the program makes them.
#[test]
fn no_period_resonates() {
    for period in [2, 3, 7, 64, 100, 127, 128, 144, 256, 1_000, 1_024, 1_597] {
        let mut thread = Thread::new(DEFAULT_LIMIT, TICK_NS, period);
        let calls = 2_000_000;
        let weights = thread.calls(calls, 1_000);
        let slow: u64 = weights.iter().step_by(period as usize).sum();
        let expected = calls.div_ceil(period) as f64;
        let off = slow as f64 - expected;
        assert!(off.abs() <= bound(&weights), "{off} of {expected}, period {period}");
    }
}

/// Calls whose own latency changes the pace of the loop: one in `period` lasts so long that the block
/// ends, or the shift falls.
#[test]
fn slow_calls_that_end_blocks_are_counted_right() {
    for (period, slow_ns) in [(1_000, 30_000_000), (30_000, 700_000_000), (300_000, 3_000_000_000)]
    {
        let (mut slow, mut all, mut expected) = (0, Vec::new(), 0_u64);
        for seed in 0..20 {
            let mut thread = Thread::new(MIN_LIMIT, TICK_NS, seed);
            let mut after_ns = 1_000;
            for i in 0..300_000 {
                let weight = thread.call(after_ns);
                let is_slow = i % period == period / 2;
                after_ns = if is_slow { slow_ns } else { 1_000 };
                slow += if is_slow { weight } else { 0 };
                expected += u64::from(is_slow);
                all.push(weight);
            }
        }
        let off = slow as f64 - expected as f64;
        assert!(off.abs() <= bound(&all), "{off} of {expected}, one in {period}");
    }
}

/// The mean over many runs of the weight of each call is 1: also of those around a change of pace.
#[test]
fn the_weight_of_each_call_is_one_on_average() {
    // Runs of calls: how many, and how far apart.
    let program = [(1_500, 1_000), (40, 20_000_000), (300, 1_000), (3, 900_000_000), (200, 500)];
    let calls: u64 = program.iter().map(|&(calls, _)| calls).sum();
    let mut sums = vec![0_u64; calls as usize];
    let mut squares = vec![0_u64; calls as usize];
    let runs = 20_000_u64;
    for seed in 0..runs {
        let mut thread = Thread::new(MIN_LIMIT, TICK_NS, seed.wrapping_mul(0xd6e8_feb8_6659_fd93));
        let weights = program.iter().flat_map(|&(calls, every_ns)| thread.calls(calls, every_ns));
        let weights: Vec<u64> = weights.collect();
        for (at, weight) in weights.into_iter().enumerate() {
            sums[at] += weight;
            squares[at] += weight * weight;
        }
    }
    // Six standard deviations: exceeded by one call in 10^9.
    for (at, (sum, square)) in sums.into_iter().zip(squares).enumerate() {
        let mean = sum as f64 / runs as f64;
        let variance = square as f64 / runs as f64 - 1.0;
        let off = (mean - 1.0).abs();
        assert!(off <= 6.0 * (variance.max(0.0) / runs as f64).sqrt() + 1e-9, "call {at}: {mean}");
    }
}

#[test]
fn a_sample_has_a_time_and_a_shift() {
    let entered = Sample::new(5_000_000_000, 7);
    assert_eq!((entered.ns(), entered.shift()), (5_000_000_000, 7));
    let latency = entered.latency(5_000_000_321);
    assert_eq!((latency.ns(), latency.shift()), (321, 7));
    assert_eq!(entered.latency(4_999_999_999), Sample::new(0, 7));
    assert_ne!(Sample::new(1, MAX_SHIFT).0, u64::MAX);
}

proptest! {
    /// Whatever a program does, it keeps to the limit, and sums of weights are right.
    #[test]
    fn any_program_keeps_to_the_limit(
        seed in any::<u64>(),
        limit in prop::sample::select(vec![1_000_u32, 2_000, 10_000]),
        phases in prop::collection::vec((1_u64..4_000, 0_u32..24), 1..40),
    ) {
        let mut thread = Thread::new(limit, TICK_NS, seed);
        let (start, mut weights) = (thread.now_ns, Vec::new());
        for (calls, every) in phases {
            weights.extend(thread.calls(calls, 250 << every.min(22) | 1));
        }
        let seconds = (thread.now_ns - start) as f64 / 1e9;
        let most = f64::from(limit) * (1.001 * seconds + 1.5) + 1.0;
        prop_assert!(timed(&weights) as f64 <= most, "{} of {most}", timed(&weights));
        let off = weights.iter().sum::<u64>() as f64 - weights.len() as f64;
        prop_assert!(off.abs() <= bound(&weights), "{off}");
    }
}
