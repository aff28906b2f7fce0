//! Adaptive sampling: every call is timed while a thread makes at most N calls of a syscall per
//! second. Above N, a sample is timed that keeps to N per second.
//!
//! # Blocks
//!
//! The calls of a thread to one syscall form blocks of 2^shift consecutive calls. Exactly one call
//! of each block is timed. A random number chooses it when the block begins. The timed call stands
//! for the block: its weight is the size of the block. With a shift of 0, every call is timed and
//! has the weight 1.
//!
//! Size and choice are fixed before the first call of the block enters. So the decision about a
//! call does not depend on the latency of that call, and each call of a block is chosen with
//! probability 1 / weight. Sums of weights are therefore unbiased, also while the shift changes.
//!
//! # The limit
//!
//! Each block uses up a part of a budget, the same for every size. The budget refills at N blocks
//! per second, and holds the blocks of one second. As long as budget is left, every call is timed.
//! So every call is timed if there are at most N calls in any second.
//!
//! Once the budget is used up, blocks become debts. The shift follows the debt: it grows by one
//! for every [`STEPS`]th of a second of debt, and falls again as the debt is paid back. In between,
//! the shift stays, so short bursts and pauses do not change it.
//!
//! If calls become rare, a block could last for minutes. So a block also ends when the debt that it
//! began with is paid back: within half a second of the last call of a busy loop. This end depends
//! on the time only, not on the choice, so the sums stay unbiased.
//!
//! # The clock
//!
//! The clock is the kernel's tick counter, `jiffies`. The verifier turns the helper that reads it
//! into a load (`do_misc_fixups`, kernel/bpf/verifier.c). So a call that is not timed reads no other
//! clock. A tick is 1 to 10 ms long, which is short compared with the second of budget.

/// Bits of a time that are a fraction of a tick.
pub const FRACTION_BITS: u32 = 20;

/// The largest shift. At the largest shift, one call in 4,096 is timed.
pub const MAX_SHIFT: u32 = 12;

/// How many steps of the shift a second of debt has.
pub const STEPS: u64 = 32;

/// The smallest limit, timed calls per second. [`MAX_SHIFT`] keeps to it up to four million calls
/// per second, and a thread makes no more.
pub const MIN_LIMIT: u32 = 1_000;
/// The largest limit, timed calls per second.
pub const MAX_LIMIT: u32 = 1_000_000;
/// The default limit, timed calls per second.
pub const DEFAULT_LIMIT: u32 = 10_000;

/// Bits of a word that are one of the turns in a [`Pace`]. A block has at most 2^12 turns, so 13 bits
/// tell all turns apart that are up to a block away.
const TURN_BITS: u32 = MAX_SHIFT + 1;
const TURN_MASK: u32 = (1 << TURN_BITS) - 1;

/// A limit, as the kernel side needs it. Times are in ticks, with [`FRACTION_BITS`] bits of
/// fraction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How much of the budget a block uses up.
    pub cost: u64,
    /// The budget.
    pub budget: u64,
}

impl Limit {
    /// The limit of `calls` timed calls per second, if a tick has `tick_ns` nanoseconds.
    ///
    /// The cost is rounded down, so up to 1 % more calls can be timed than `calls`.
    pub const fn new(calls: u32, tick_ns: u32) -> Self {
        let second = (1_000_000_000_u64 << FRACTION_BITS) / tick_ns as u64;
        let cost = second / calls as u64;
        // The time of a call is rounded down to a tick. So calls of a second and two ticks can
        // seem to be within one second.
        Self { cost, budget: cost * calls as u64 + (2 << FRACTION_BITS) }
    }

    /// How much debt changes the shift by one.
    const fn step(self) -> u64 {
        self.budget / STEPS
    }

    /// The debt from which a block of several calls goes on.
    const fn kept(self) -> u64 {
        self.budget - self.step()
    }
}

/// Where a thread and syscall are in their block. All zeros stand for a thread that makes its first
/// call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pace {
    /// When the block ends, if it has several calls and they become rare. The debt is paid back
    /// [`Limit::kept`] later.
    pub until: u64,
    /// 0 if every call is timed. Otherwise the turn of the next event, the turns from there to the
    /// end of the block, and the shift, from the lowest bit on. The next event is the timed call,
    /// or the end of the block if no turn follows.
    pub block: u32,
}

/// What to do about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Do not time it.
    Skip,
    /// Time it. It stands for two to this power calls.
    Time(u32),
}

impl Pace {
    /// The pace after a call that enters at `now`, if that is cheap to tell: `None` requires
    /// [`Self::decide`].
    #[inline(always)]
    pub const fn decide_cheaply(self, turn: u32, now: u64, limit: Limit) -> Option<(Self, Choice)> {
        if self.block != 0 {
            if (self.block ^ turn) & TURN_MASK != 0 && self.until > now {
                return Some((self, Choice::Skip));
            }
            return None;
        }
        let until = later(self.until, now - limit.kept());
        if until < now + limit.step() {
            let until = until + limit.cost;
            return Some((Self { until, block: 0 }, Choice::Time(0)));
        }
        None
    }

    /// Decides about the call with this turn that enters at `now`. Turns count the calls of one
    /// thread to one syscall. `random` is called at the beginning of a block.
    #[inline(always)]
    pub fn decide(
        self,
        turn: u32,
        now: u64,
        limit: Limit,
        random: impl FnOnce() -> u32,
    ) -> (Self, Choice) {
        let shift = self.block >> (2 * TURN_BITS);
        if shift != 0 && self.until > now {
            if (self.block ^ turn) & TURN_MASK != 0 {
                return (self, Choice::Skip);
            }
            let rest = self.block >> TURN_BITS & TURN_MASK;
            if rest != 0 {
                let block = pack(turn.wrapping_add(rest), 0, shift);
                return (Self { block, ..self }, Choice::Time(shift));
            }
        }
        let until = later(self.until, now - limit.kept());
        let shift = next_shift(shift, until, now, limit.step());
        let most = now + (MAX_SHIFT as u64 + 2) * limit.step();
        let until = if until < most { until + limit.cost } else { most };
        if shift == 0 {
            return (Self { until, block: 0 }, Choice::Time(0));
        }
        let size = 1 << shift;
        match random() & (size - 1) {
            0 => {
                let block = pack(turn.wrapping_add(size), 0, shift);
                (Self { until, block }, Choice::Time(shift))
            }
            skipped => {
                let block = pack(turn.wrapping_add(skipped), size - skipped, shift);
                (Self { until, block }, Choice::Skip)
            }
        }
    }
}

/// The shift of the next block. The shift `s` is kept while the debt beyond the budget is between `s
/// - 2` and `s` steps.
#[inline(always)]
const fn next_shift(shift: u32, until: u64, now: u64, step: u64) -> u32 {
    if until >= now + (shift as u64 + 1) * step {
        return if shift < MAX_SHIFT { shift + 1 } else { MAX_SHIFT };
    }
    if until <= now {
        return 0;
    }
    if shift > 0 && until <= now + (shift as u64 - 1) * step { shift - 1 } else { shift }
}

#[inline(always)]
const fn pack(event: u32, rest: u32, shift: u32) -> u32 {
    event & TURN_MASK | rest << TURN_BITS | shift << (2 * TURN_BITS)
}

#[inline(always)]
const fn later(a: u64, b: u64) -> u64 {
    if a > b { a } else { b }
}

/// Bits of a [`Sample`] that are nanoseconds: nine years.
const NS_BITS: u32 = 58;
const NS_MASK: u64 = (1 << NS_BITS) - 1;

/// A time in nanoseconds with the shift of the call that it belongs to.
///
/// With adaptive sampling, records have samples in place of times. So the weight of a call is known
/// when the call leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Sample(pub u64);

impl Sample {
    /// A time with a shift.
    #[inline(always)]
    pub const fn new(ns: u64, shift: u32) -> Self {
        Self(ns & NS_MASK | (shift as u64) << NS_BITS)
    }

    /// The time.
    #[inline(always)]
    pub const fn ns(self) -> u64 {
        self.0 & NS_MASK
    }

    /// The shift.
    #[inline(always)]
    pub const fn shift(self) -> u32 {
        (self.0 >> NS_BITS) as u32
    }

    /// The latency of a call that entered at this time and leaves at `now_ns`. 0 if the clock
    /// stepped back.
    #[inline(always)]
    pub const fn latency(self, now_ns: u64) -> Self {
        let ns = now_ns.wrapping_sub(self.0) & NS_MASK;
        let ns = if ns >> (NS_BITS - 1) != 0 { 0 } else { ns };
        Self(self.0 & !NS_MASK | ns)
    }
}

#[cfg(test)]
mod tests;
