//! Counters of what is not a figure of a thread.

/// Counters of events off the common path, per CPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Counters {
    /// Exits of calls that were in flight when the profiler attached.
    pub in_flight_at_attach: u64,
    /// Second returns of `fork`, `vfork` and `clone`, in the child.
    pub births: u64,
    /// Calls refused before they entered, of threads without a record.
    pub denied_unrecorded: u64,
    /// Calls counted as denied that may have been in flight when the profiler attached: at most one
    /// per thread.
    pub denied_presumed: u64,
    /// Lost entries: there was no space for the state of the task.
    pub lost_entries: u64,
    /// Lost calls whose entry was missed: they left without an entry, and nothing could have
    /// refused them.
    pub missed_entries: u64,
    /// Lost calls whose exit was missed.
    pub lost_exits: u64,
    /// Threads that found no free record. Their calls are in overflow slots.
    pub records_exhausted: u64,
    /// Times that a thread found no free extent. The call is in an overflow slot.
    pub extents_exhausted: u64,
    /// Times that a thread got no record because its user had used up its share
    /// ([`share`](crate::share)). The call is in an overflow slot.
    pub records_withheld: u64,
    /// Times that a thread got no extent because its user had used up its share. The call is in an
    /// overflow slot.
    pub extents_withheld: u64,
    /// Lost children: there was no space for their state.
    pub lost_children: u64,
    /// Entries that a further copy of the program counted. The kernel skipped the first copy.
    pub entries_taken_over: u64,
    /// Exits that a further copy of the program counted, because the kernel skipped the first copy.
    pub exits_taken_over: u64,
    /// Processes that moved to another cgroup and had more threads than are followed
    /// ([`MAX_MOVED_THREADS`](crate::limits::MAX_MOVED_THREADS)).
    pub moves_cut_short: u64,
    /// Cgroups that appeared and are not in the map of cgroups in scope, because it was full.
    pub places_refused: u64,
    /// Events about cgroups that were lost, because the ring buffer was full.
    pub cgroup_events_lost: u64,
    /// Times that a thread returned to a CPU in a timed call, and the kernel did not report it.
    pub unreported_returns: u64,
    /// The time from when these threads left their CPUs to when they next left one, or ended, ns.
    pub unreported_ns: u64,
}

impl Counters {
    /// Adds another CPU's copy.
    pub fn add(&mut self, other: &Self) {
        self.in_flight_at_attach += other.in_flight_at_attach;
        self.births += other.births;
        self.denied_unrecorded += other.denied_unrecorded;
        self.denied_presumed += other.denied_presumed;
        self.lost_entries += other.lost_entries;
        self.missed_entries += other.missed_entries;
        self.lost_exits += other.lost_exits;
        self.records_exhausted += other.records_exhausted;
        self.extents_exhausted += other.extents_exhausted;
        self.records_withheld += other.records_withheld;
        self.extents_withheld += other.extents_withheld;
        self.lost_children += other.lost_children;
        self.entries_taken_over += other.entries_taken_over;
        self.exits_taken_over += other.exits_taken_over;
        self.moves_cut_short += other.moves_cut_short;
        self.places_refused += other.places_refused;
        self.cgroup_events_lost += other.cgroup_events_lost;
        self.unreported_returns += other.unreported_returns;
        self.unreported_ns += other.unreported_ns;
    }

    /// Times that a thread got no record, for either reason.
    pub fn records_refused(&self) -> u64 {
        self.records_exhausted + self.records_withheld
    }

    /// Times that a thread got no extent, for either reason.
    pub fn extents_refused(&self) -> u64 {
        self.extents_exhausted + self.extents_withheld
    }
}

const _: () = assert!(size_of::<Counters>() == 152);

#[cfg(feature = "user")]
// SAFETY: repr(C) of integers without padding, so any bytes are a value.
unsafe impl aya::Pod for Counters {}
