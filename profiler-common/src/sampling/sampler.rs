//! What the maps have for adaptive sampling, beside the values in [`wire`](crate::wire).

/// How the calls of a slot are sampled, and what their weights add, with adaptive sampling only.
/// There is one per cell, at the same index.
///
/// A timed call stands for as many calls as its weight says. Buckets count weights. The other figures
/// of a slot are those of the timed calls themselves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C, align(32))]
pub struct Sampler {
    /// [`Pace::until`](crate::sampling::adaptive::Pace::until).
    pub until: u64,
    /// Sum of the latencies of the timed calls, each as often as its weight exceeds 1, nanoseconds.
    pub extra_ns: u64,
    /// Sum of the squares of the weights above 1.
    pub squares: u64,
    /// [`Pace::block`](crate::sampling::adaptive::Pace::block).
    pub block: u32,
    /// By how much the weights exceed 1, in all. So the buckets count this many more than there
    /// are timed calls. Wraps, as the buckets do.
    pub extra: u32,
}

/// How the calls to one syscall are sampled that are counted in its overflow slot, on one CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct OverflowSampler {
    /// [`Pace::until`](crate::sampling::adaptive::Pace::until).
    pub until: u64,
    /// [`Pace::block`](crate::sampling::adaptive::Pace::block).
    pub block: u32,
    /// How many calls entered. Wraps.
    pub turn: u32,
}

const _: () = {
    assert!(size_of::<Sampler>() == 32);
    assert!(size_of::<OverflowSampler>() == 16);
};

// SAFETY: repr(C) of integers without padding, so any bytes are a value.
#[cfg(feature = "user")]
unsafe impl aya::Pod for Sampler {}
