//! Reads the time off the CPU, so that it covers the same calls as the latencies.
//!
//! The kernel side adds the time of a call to the sums of its slot late, when a later call of the
//! thread leaves its CPU. Until then, the time is beside the record of the thread. If the call has
//! ended, the reader adds this time. While the call is in flight, the reader omits the time,
//! because the latency is not yet known either.
//!
//! The reported time never exceeds the latencies. On kernels that can preempt a program (Linux
//! 7.1), a thread can leave its CPU between the clock reading of a program and the store by which
//! the other program recognises the call. The time can then exceed the latencies. The surplus is
//! left to the next reading.

use std::collections::HashMap;

use profiler_common::wire::{self, CellIndex, ThreadRecord};

use crate::{
    engine::kernel::tables::{Activity, Tables},
    model::{Figures, OffCpu},
};

/// The time that was reported so far, by slot or by overflow slot.
#[derive(Default)]
pub(super) struct Reported(HashMap<u32, OffCpu>);

impl Reported {
    /// Sets the time off the CPU in `figures` to the increase since the last report. `now` is the
    /// time of the slot since the start. The increase is capped at the total latency of `figures`.
    pub(super) fn report(&mut self, slot: u32, now: OffCpu, figures: &mut Figures) {
        if now == OffCpu::default() {
            return;
        }
        let reported = self.0.entry(slot).or_default();
        figures.off_cpu = now.since(*reported).at_most(figures.total_ns);
        reported.add(figures.off_cpu);
    }

    /// Returns the time that was reported for a slot.
    pub(super) fn of(&self, slot: u32) -> OffCpu {
        self.0.get(&slot).copied().unwrap_or_default()
    }

    /// Forgets a slot, whose cell is free.
    pub(super) fn forget(&mut self, slot: CellIndex) {
        self.0.remove(&slot);
    }
}

/// Returns the time off the CPU of all calls of a slot that have left. `activity` is the activity
/// of the thread. Returns `None` if the time cannot be read now, or if the programs do not follow
/// it.
pub(super) fn of_slot(
    tables: &impl Tables,
    (record, slot): (u32, CellIndex),
    (activity, owner): (&Activity, &ThreadRecord),
) -> Option<OffCpu> {
    let (call, sums) = tables.off_cpu(record, slot)?;
    let mut time = of_wire(sums);
    let is_in_flight = call.entered == activity.entered
        && ThreadRecord { in_flight_key: activity.in_flight_key, ..*owner }.in_call();
    // If an exit was missed since the call entered, the latency of the call may be unknown.
    let is_known = call.missed_exits == owner.missed_exits as u32;
    if call.slot == slot && !is_in_flight && is_known {
        time.add(of_wire(call.time));
    }
    Some(time)
}

/// Converts a value of the maps.
pub(super) fn of_wire(wire::OffCpu { waiting_ns, runnable_ns }: wire::OffCpu) -> OffCpu {
    OffCpu { waiting_ns, runnable_ns }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        aggregate::{Aggregate, KeepEnded},
        engine::kernel::drain::{fake::Fake, reader::Reader},
        model::{Detail, Timed},
    };

    const READ: u32 = 0;
    const POLL: u32 = 7;

    struct Host {
        tables: Fake,
        reader: Reader,
        aggregate: Aggregate,
    }

    impl Host {
        fn new() -> Self {
            let tables = Fake::new(2, 16);
            let reader = Reader::new(&tables, Timed::All);
            Self { tables, reader, aggregate: Aggregate::new(KeepEnded::Always) }
        }

        /// Reads, and returns the latency, the waiting time and the runnable time of all calls of
        /// this number.
        fn read(&mut self, nr: u32) -> (u64, u64, u64) {
            self.reader.read(&mut self.tables, &mut self.aggregate);
            let calls = self.aggregate.calls();
            let row = calls.iter().find(|row| row.key.nr() == nr);
            let figures = row.map(|row| row.total.clone()).unwrap_or_default();
            let OffCpu { waiting_ns, runnable_ns } = figures.off_cpu;
            (figures.total_ns, waiting_ns, runnable_ns)
        }
    }

    #[test]
    fn a_call_in_flight_has_no_time_and_a_call_that_left_has_all() {
        let mut host = Host::new();
        let record = host.tables.start(1, 7);
        let call = host.tables.enter(record, READ, 100, None);
        host.tables.leave_cpu(record, 40, 10);
        assert_eq!(host.read(READ), (0, 0, 0));
        host.tables.leave_cpu(record, 5, 6);
        host.tables.leave(call);
        assert_eq!(host.read(READ), (100, 45, 16));
        assert_eq!(host.read(READ), (100, 45, 16));
        // The first call never leaves its CPU. The second call does, which moves the time of the
        // first call to its slot.
        let call = host.tables.enter(record, READ, 30, None);
        host.tables.leave(call);
        assert_eq!(host.read(READ), (130, 45, 16));
        let call = host.tables.enter(record, POLL, 50, None);
        host.tables.leave_cpu(record, 50, 0);
        assert_eq!(host.read(READ), (130, 45, 16));
        assert_eq!(host.read(POLL), (0, 0, 0));
        host.tables.leave(call);
        assert_eq!(host.read(POLL), (50, 50, 0));
        assert_eq!(host.read(READ), (130, 45, 16));
    }

    #[test]
    fn a_call_in_which_the_thread_ended_has_no_time() {
        let mut host = Host::new();
        let record = host.tables.start(1, 7);
        let call = host.tables.enter(record, READ, 100, None);
        host.tables.leave_cpu(record, 60, 10);
        host.tables.leave(call);
        host.tables.enter(record, READ, 100, None);
        host.tables.leave_cpu(record, 60, 10);
        host.tables.end(record);
        assert_eq!(host.read(READ), (100, 60, 10));
        // The next owner of the record, and of the cells.
        let record = host.tables.start(2, 8);
        let call = host.tables.enter(record, READ, 9, None);
        host.tables.leave_cpu(record, 0, 3);
        host.tables.leave(call);
        assert_eq!(host.read(READ), (109, 60, 13));
    }

    #[test]
    fn a_call_whose_exit_was_missed_has_no_time() {
        let mut host = Host::new();
        let record = host.tables.start(1, 7);
        host.tables.enter(record, READ, 100, None);
        host.tables.leave_cpu(record, 60, 10);
        host.tables.miss_exit(record);
        let call = host.tables.enter(record, READ, 20, None);
        host.tables.leave_cpu(record, 4, 5);
        host.tables.leave(call);
        assert_eq!(host.read(READ), (20, 4, 5));
    }

    #[test]
    fn no_more_time_is_reported_than_the_calls_took() {
        let mut host = Host::new();
        let record = host.tables.start(1, 7);
        for (latency, waiting, runnable) in [(100, 90, 50), (40, 0, 0)] {
            let call = host.tables.enter(record, READ, latency, None);
            host.tables.leave_cpu(record, waiting, runnable);
            host.tables.leave(call);
            let (total, waiting, runnable) = host.read(READ);
            assert!(waiting + runnable <= total, "{waiting} + {runnable} of {total}");
        }
        assert_eq!(host.read(READ), (140, 90, 50));
    }

    #[test]
    fn rows_by_thread_that_begin_late_have_the_time_too() {
        let mut host = Host::new();
        let record = host.tables.start(1, 7);
        let call = host.tables.enter(record, READ, 100, None);
        host.tables.leave_cpu(record, 40, 10);
        host.tables.leave(call);
        host.read(READ);
        host.reader.keep_threads(&host.tables, &mut host.aggregate, true);
        let processes = host.aggregate.processes(Detail::Threads);
        let of_thread = &processes[0].threads[0].calls[0].total;
        assert_eq!(of_thread.off_cpu, OffCpu { waiting_ns: 40, runnable_ns: 10 });
        assert_eq!(of_thread, &processes[0].calls[0].total);
    }
}
