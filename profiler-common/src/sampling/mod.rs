//! Sampling: which calls are timed. All of them, none, one in N, or as many as keep to a limit
//! ([`adaptive`]).
//!
//! The verifier knows the threshold, and drops the branches that it rules out. If a call is not
//! timed, the start time in the record is 0. The age of such a call in flight counts from the drain
//! that first saw it.

pub mod adaptive;
pub mod sampler;

/// The threshold that times every call.
pub const ALL: u32 = u32::MAX;
/// Stands for a threshold: sampling is [`adaptive`].
pub const ADAPTIVE: u32 = u32::MAX - 1;
/// The threshold that times no call.
pub const NONE: u32 = 0;

/// The threshold that times one call in `calls` on average. `calls` is at least 1.
pub const fn one_in(calls: u32) -> u32 {
    if calls == 1 { ALL } else { u32::MAX / calls }
}

/// Whether the call with this turn is timed. Turns count the calls of one thread to one syscall.
///
/// N consecutive turns form a block, where N is the argument of [`one_in`]. In each block, exactly
/// one turn is timed, and a hash of the number of the block chooses it. So if a program repeats its
/// calls in a loop of any length, each call is timed equally often. Of `n` consecutive turns, `n /
/// N` are timed, give or take [`DEVIATION`].
///
/// There is no division. Turns are `threshold` apart on a circle of 2^64, and a block is an arc of
/// 2^32. The hash chooses a point of the arc, and the turn whose stretch contains the point is
/// timed. A turn that crosses the end of its arc counts as being at both ends, so all turns have
/// the same probability.
#[inline(always)]
pub const fn is_timed(turn: u64, threshold: u32) -> bool {
    let place = turn.wrapping_mul(threshold as u64);
    hash(place >> 32).wrapping_sub(place as u32) < threshold
}

/// Hashes the number of a block by a multiplication, a shift and a multiplication: the core of
/// MurmurHash3's finaliser.
///
/// A multiplication alone is linear, and resonates with some periods. Multiples of the golden ratio
/// resonate with periods near Fibonacci numbers.
#[inline(always)]
const fn hash(block: u64) -> u32 {
    let mixed = block.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    ((mixed ^ mixed >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93) >> 32) as u32
}

/// Bound for the number of timed turns among `n` consecutive ones: it is `n / calls`, give or take
/// this. It holds as long as `n * calls` is below 2^32.
///
/// The turns cover all but two of their blocks in full. Most numbers do not divide 2^32, so one
/// block in 2^32 / `calls`^2 has one more turn than the others, and can have two timed turns.
pub const DEVIATION: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// How many slow calls of each program are timed on average: it makes N times as many.
    const TIMED: u64 = 64;

    /// Probability that a fair choice fails the test of one program: 10^-12, and so less than
    /// 10^-5 that it fails any of the ten million of the whole matrix.
    const DOUBT: f64 = 1e-12;

    /// Sums over the programs.
    struct Matrix {
        choice: fn(u64, u32) -> bool,
        programs: u64,
        /// Of the squares of each program's deviation, in units of the variance of a fair
        /// choice.
        squares: f64,
    }

    impl Matrix {
        fn of(choice: fn(u64, u32) -> bool) -> Self {
            Self { choice, programs: 0, squares: 0.0 }
        }

        /// How many are timed of the slow calls of a program that makes `slow` of them, one
        /// every `period` calls, and of whose calls one in `calls` is timed from `first` on.
        fn program(&mut self, first: u64, calls: u32, period: u64, slow: u64) -> f64 {
            let threshold = one_in(calls);
            let timed = (0..slow)
                .filter(|i| (self.choice)(first.wrapping_add(i.wrapping_mul(period)), threshold))
                .count() as f64;
            let share = 1.0 / f64::from(calls);
            let expected = slow as f64 * share;
            self.programs += 1;
            self.squares += (timed - expected).powi(2) / (expected * (1.0 - share));
            timed
        }

        /// As many of its slow calls are timed as a fair choice would time.
        fn fair_program(&mut self, calls: u32, period: u64) {
            let slow = TIMED * u64::from(calls);
            let first = any_number(u64::from(calls) << 32 | period);
            let timed = self.program(first, calls, period, slow);
            // Chernoff's bound (Hoeffding 1963, theorem 1).
            let divergence = divergence(timed / slow as f64, 1.0 / f64::from(calls));
            let doubt = 2.0 * (-(slow as f64) * divergence).exp();
            assert!(doubt > DOUBT, "1 in {calls}, period {period}: {timed} timed of {slow}");
        }

        /// The mean square, and what a fair choice exceeds with a probability below 10^-6: it
        /// has a mean of 1 and a standard deviation of the root of 2 / programs or little more.
        fn deviation(&self) -> (f64, f64) {
            let programs = self.programs as f64;
            (self.squares / programs, 1.0 + 5.0 * (2.0 / programs).sqrt())
        }

        fn is_fair(&self) {
            let (mean, limit) = self.deviation();
            assert!(mean < limit, "{mean} of {} programs", self.programs);
        }
    }

    /// The relative entropy of two shares.
    fn divergence(found: f64, expected: f64) -> f64 {
        let term = |p: f64, q: f64| if p == 0.0 { 0.0 } else { p * (p / q).ln() };
        term(found, expected) + term(1.0 - found, 1.0 - expected)
    }

    /// One that has nothing to do with its seed, the same at each run (SplitMix64).
    fn any_number(seed: u64) -> u64 {
        let z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// Multiples of the golden ratio resonate with periods like these.
    const FIBONACCI: [u64; 11] = [55, 89, 144, 233, 377, 610, 987, 1_597, 2_584, 4_181, 6_765];

    /// Every period up to 10,000 for some N, and for every N from 2 to 1,024 a Fibonacci
    /// number (with which multiples of the golden ratio resonate) and a period of no kind.
    #[test]
    fn no_period_resonates() {
        let mut matrix = Matrix::of(is_timed);
        for calls in [2, 5, 16] {
            (1..=10_000).for_each(|period| matrix.fair_program(calls, period));
        }
        for calls in 2..=1_024 {
            matrix.fair_program(calls, FIBONACCI[calls as usize % FIBONACCI.len()]);
            matrix.fair_program(calls, 1 + any_number(u64::from(calls)) % 10_000);
        }
        matrix.is_fair();
    }

    #[test]
    #[ignore = "minutes: cargo test --release -p profiler-common -- --ignored"]
    fn no_period_resonates_in_the_whole_matrix() {
        let mut matrix = Matrix::of(is_timed);
        for calls in 2..=1_024 {
            (1..=10_000).for_each(|period| matrix.fair_program(calls, period));
        }
        matrix.is_fair();
    }

    /// Programs that end early, of whose slow calls four are timed on average.
    #[test]
    fn short_programs_are_no_further_off() {
        short_programs(is_timed).is_fair();
        let golden = |turn: u64, threshold| (turn as u32).wrapping_mul(0x9e37_79b1) <= threshold;
        let (mean, limit) = short_programs(golden).deviation();
        assert!(mean > limit, "the test finds no fault in multiples of the golden ratio");
    }

    fn short_programs(choice: fn(u64, u32) -> bool) -> Matrix {
        let mut matrix = Matrix::of(choice);
        for seed in 0..1_000 {
            for period in FIBONACCI {
                for calls in [2_u32, 16, 100] {
                    let first = any_number(seed << 32 | period);
                    matrix.program(first, calls, period, 4 * u64::from(calls));
                }
            }
        }
        matrix
    }

    proptest! {
        #[test]
        fn a_sample_is_as_large_as_asked_for(
            first in any::<u64>(),
            n in 0_u64..20_000,
            calls in 2_u32..5_000,
        ) {
            let timed = |&i: &u64| is_timed(first.wrapping_add(i), one_in(calls));
            let timed = (0..n).filter(timed).count();
            let share = n as f64 / f64::from(calls);
            prop_assert!((timed as f64 - share).abs() <= DEVIATION as f64, "{timed} of {share}");
        }
    }
}
