//! From attached programs to snapshots: reads the maps in time, frees what has
//! ended, and adds the profiler's own state.

mod batch;
#[cfg(feature = "bench")]
pub mod bench;
mod books;
mod cost;
#[cfg(any(test, feature = "bench"))]
#[cfg_attr(not(test), expect(dead_code, reason = "the tests use all of it"))]
mod fake;
mod in_flight;
mod overflow;
mod reader;
#[cfg(test)]
mod reader_properties;
#[cfg(test)]
mod reader_tests;
mod shadow;
mod slot;

use std::{
    os::fd::BorrowedFd,
    time::{Duration, Instant},
};

use profiler_common::share;

use super::{
    error::KernelError, options::Options, session::Session, signals::SignalsSent, tables::Tables,
};
use crate::{
    aggregate::{Aggregate, KeepEnded},
    engine::Engine,
    model::{Detail, Health, Snapshot, Timed, Untimed, Use},
};
use cost::Meter;
use reader::Reader;

/// Share of the room taken at which the kernel side wakes us before our time.
const WAKE_SHARE: u64 = 2;

/// Attached programs, and all that they have recorded so far.
pub struct Profiler {
    session: Session,
    reader: Reader,
    aggregate: Aggregate,
    attached: Instant,
    sequence: u64,
    /// How often a thread got no record, and no extent, at the last reading.
    refused: (u64, u64),
    cpus: usize,
    timed: Timed,
    meter: Meter,
}

impl Profiler {
    /// Loads and attaches the programs. From its return on every call in scope
    /// counts. `keep` says how long ended processes stay in the snapshots.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(options: &Options, keep: KeepEnded) -> Result<Self, KernelError> {
        Self::attach_into(options, Aggregate::new(keep))
    }

    /// Likewise, and adds up into `aggregate`.
    ///
    /// # Errors
    /// Likewise.
    pub fn attach_into(options: &Options, aggregate: Aggregate) -> Result<Self, KernelError> {
        let mut session = Session::attach(options)?;
        let attached = Instant::now();
        let meter = Meter::new(&mut session, attached);
        let reader = Reader::new(session.tables(), options.timed);
        let mut this = Self {
            session,
            reader,
            aggregate,
            attached,
            sequence: 0,
            refused: (0, 0),
            cpus: Session::online_cpus(),
            timed: options.timed,
            meter,
        };
        // Before the first drain, which may come too late for a small table.
        this.set_wake_marks();
        Ok(this)
    }

    /// Why there is room for less than was asked for, if there is.
    pub fn shrunk(&self) -> Option<&str> {
        self.session.shrunk()
    }

    /// Why the kernel does not time the programs, if it does not.
    pub fn untimed(&self) -> Option<Untimed> {
        self.meter.untimed()
    }

    /// `last` says that nothing is attached any more.
    fn take_in(&mut self, last: bool) {
        self.session.clear_wake();
        self.session.flush_log();
        if let Err(error) = self.session.reinforce() {
            tracing::warn!("cannot attach a further copy of a program: {error}");
        }
        self.aggregate.begin_reading(self.attached.elapsed());
        let tables = self.session.tables();
        if last {
            self.reader.read_last(tables, &mut self.aggregate);
        } else {
            self.reader.read(tables, &mut self.aggregate);
        }
        self.aggregate.forget_ended();
        let counters = tables.counters();
        let refused = (counters.records_refused(), counters.extents_refused());
        let in_use = self.reader.used(tables);
        // What is in use by now is after the reading gave room back: had there been too
        // little before it, that would not show.
        let used = |new, old, used| if new > old { u64::MAX } else { used };
        let records = used(refused.0, self.refused.0, in_use.records.used);
        let extents = used(refused.1, self.refused.1, in_use.extents.used);
        self.refused = refused;
        tables.refill(records, extents);
        self.set_wake_marks();
    }

    /// Asks to be woken when half of what is left is used up.
    fn set_wake_marks(&mut self) {
        let tables = self.session.tables();
        let (used, taken) = (self.reader.used(tables), tables.control());
        // Of what one user can take: that may be all that is wanted.
        let room = |u: Use| (share::limit(u.capacity) / WAKE_SHARE).saturating_sub(u.used);
        // Only what has been on the free stacks counts as room; extent 0 is none.
        let records = Use { capacity: u64::from(tables.record_limit()), ..used.records };
        let extents = Use { capacity: u64::from(tables.extent_limit()) - 1, ..used.extents };
        tables.set_wake_marks(
            taken.records.all.taken + room(records),
            taken.extents.all.taken + room(extents),
        );
    }

    /// `now_ns` is the time to which calls in flight have lasted.
    fn take_snapshot(&mut self, detail: Detail, started: Instant, now_ns: u64) -> Snapshot {
        self.sequence += 1;
        let tables = self.session.tables();
        let counters = tables.counters();
        let used = self.reader.used(tables);
        let is_withheld = counters.records_withheld + counters.extents_withheld > 0;
        let greediest_user = is_withheld.then(|| tables.greediest_user()).flatten();
        let in_flight = in_flight::read(tables, self.reader.known(), &self.aggregate, now_ns);
        let cost = self.meter.cost(&mut self.session);
        let mut snapshot = Snapshot {
            sequence: self.sequence - 1,
            window: started.duration_since(self.attached),
            interval: Duration::ZERO,
            cpus: self.cpus,
            calls: self.aggregate.calls(),
            processes: self.aggregate.processes(detail),
            in_flight,
            health: Health {
                counters,
                program_misses: self.session.program_misses(),
                overflowed: self.reader.overflowed(),
                breaches: self.reader.breaches().count,
                last_breach: self.reader.breaches().last.clone(),
                records: used.records,
                extents: used.extents,
                greediest_user,
                kernel_memory_bytes: self.session.memory_bytes(),
                cost,
                copies: self.session.copies(),
                mode: self.session.mode(),
                timed: self.timed,
            },
        };
        snapshot.health.cost.drains = self.meter.drained(started.elapsed());
        snapshot
    }

    /// Which signals were sent to us and to the command, if there is one.
    pub fn signals_sent(&self) -> Option<&SignalsSent> {
        self.session.signals_sent()
    }
}

impl Engine for Profiler {
    /// Never fails: what cannot be read now is read next time.
    fn snapshot(&mut self, detail: Detail) -> Snapshot {
        let started = Instant::now();
        self.take_in(false);
        self.meter.look(&mut self.session);
        let now_ns = self.session.now_ns();
        self.take_snapshot(detail, started, now_ns)
    }

    fn read(&mut self) {
        let started = Instant::now();
        self.take_in(false);
        self.meter.drained(started.elapsed());
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.session.wake_fd())
    }

    fn time_programs(&mut self, on: bool) {
        self.meter.time_programs(&mut self.session, on);
    }

    fn keep_ended(&mut self, time: Duration) {
        self.aggregate.keep_ended(KeepEnded::For(time));
    }

    fn all_ended(&self) -> bool {
        self.aggregate.all_ended()
    }

    fn stop(&mut self) {
        self.meter.look(&mut self.session);
        self.session.stop_entries();
    }

    /// Detaches everything.
    fn finish(mut self, detail: Detail) -> Snapshot {
        let ended = Instant::now();
        self.meter.look(&mut self.session);
        // Before the programs are gone: what leaves after that is not seen to, and must
        // not grow older.
        let ended_ns = self.session.now_ns();
        self.session.detach();
        self.meter.detached();
        self.take_in(true);
        self.take_snapshot(detail, ended, ended_ns)
    }
}
