//! The engine: attached programs, and everything that they have recorded so far.
//!
//! The engine drains the maps, lets the pools grow, and adds the profiler's own state to each
//! snapshot.

use std::{
    os::fd::BorrowedFd,
    sync::Arc,
    time::{Duration, Instant},
};

use profiler_common::share;

use super::{
    drain::{Reader, health, in_flight, user_names, users},
    error::KernelError,
    meter::Meter,
    options::Options,
    provenance,
    session::Session,
    signals::SignalsSent,
    tables::Tables,
};
use crate::{
    aggregate::{Aggregate, FailureTable, KeepEnded, OperationTable, OwnerKind},
    engine::Engine,
    model::{
        Detail, EngineDetail, Failures, Health, IoUring, KernelDetail, OwnedCalls, ProcessRow,
        Provenance, Snapshot, Timed, Untimed, Use,
    },
    placement::NameSource,
};

/// The kernel side wakes the user side when one in this many of the free records or extents is
/// taken.
const WAKE_SHARE: u64 = 2;

/// Attached programs, and everything that they have recorded so far.
pub struct Profiler {
    session: Session,
    reader: Reader,
    aggregate: Aggregate,
    operations: OperationTable,
    failures: FailureTable,
    attached: Instant,
    sequence: u64,
    /// The refused requests at the last reading.
    refused: Refused,
    cpus: usize,
    timed: Timed,
    off_cpu: bool,
    meter: Meter,
    /// The names of users, if the query asks for users.
    user_names: Option<user_names::UserNames>,
    provenance: Arc<Provenance>,
}

/// How often a thread got no record, and how often it got no extent.
#[derive(Clone, Copy, Debug, Default)]
struct Refused {
    records: u64,
    extents: u64,
}

impl Profiler {
    /// Loads and attaches the programs. When it returns, every call in scope is counted. `keep`
    /// says how long ended processes stay in the snapshots.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(options: &Options, keep: KeepEnded) -> Result<Self, KernelError> {
        Self::attach_into(options, Aggregate::new(keep))
    }

    /// Same as [`Self::attach`], but adds the figures to an existing `aggregate`.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach_into(options: &Options, aggregate: Aggregate) -> Result<Self, KernelError> {
        let mut session = Session::attach(options)?;
        let attached = Instant::now();
        let provenance = Arc::new(provenance::of(options, session.now_ns()));
        let meter = Meter::new(&mut session, attached);
        let changes = users::Changes::for_options(options);
        let reader = Reader::new(session.tables(), options.timed).with_changes(changes);
        let mut this = Self {
            session,
            reader,
            aggregate,
            operations: OperationTable::default(),
            failures: FailureTable::default(),
            attached,
            sequence: 0,
            refused: Refused::default(),
            cpus: Session::online_cpus(),
            timed: options.timed,
            off_cpu: options.off_cpu,
            meter,
            user_names: options.users.then(user_names::UserNames::default),
            provenance,
        };
        // The first drain may come too late for a small table.
        this.set_wake_marks();
        Ok(this)
    }

    /// What differs from what was requested, one sentence each: the tables are smaller, or the
    /// kernel refuses the arena.
    pub fn warnings(&self) -> &[String] {
        self.session.warnings()
    }

    /// Why the kernel does not time the programs, if it does not.
    pub fn untimed(&self) -> Option<Untimed> {
        self.meter.untimed()
    }

    /// Runs `confine` while the engine has no other thread, because each thread has privileges of
    /// its own. Afterwards, `names` is asked for the names of containers that this process can no
    /// longer read.
    pub fn confined<T>(&mut self, names: Option<NameSource>, confine: impl FnOnce() -> T) -> T {
        match self.session.cgroups() {
            Some(cgroups) => cgroups.confined(names, confine),
            None => confine(),
        }
    }

    /// Reads what the programs recorded. `is_last` says that nothing is attached any more.
    fn drain(&mut self, is_last: bool) {
        self.session.clear_wake();
        self.session.flush_log();
        if let Err(error) = self.session.reinforce() {
            tracing::warn!("cannot attach another copy of a program: {error}");
        }
        self.session.read_failures(&mut self.failures);
        self.aggregate.begin_reading(self.attached.elapsed());
        if !is_last {
            self.end_departed(false);
        }
        self.read_records(is_last);
        // The last reading can be the first one that finds a thread in `exit`.
        if is_last && self.end_departed(true) {
            self.read_records(true);
        }
        self.session.read_operations(&mut self.operations);
        self.aggregate.forget_ended();
        let tables = self.session.tables();
        let counters = tables.counters();
        let refused =
            Refused { records: counters.records_refused(), extents: counters.extents_refused() };
        let in_use = self.reader.used(tables);
        // The reading has returned records and extents. So if the pools ran out before the reading,
        // only the counters show that.
        let used = |new, old, used| if new > old { u64::MAX } else { used };
        let records = used(refused.records, self.refused.records, in_use.records.used);
        let extents = used(refused.extents, self.refused.extents, in_use.extents.used);
        self.refused = refused;
        let (lost, places_refused) = (counters.cgroup_events_lost, counters.places_refused);
        tables.refill(records, extents);
        if let Some(cgroups) = self.session.cgroups() {
            cgroups.read(lost, places_refused);
        }
        self.set_wake_marks();
    }

    /// Ends the records of threads that no longer exist, and whose end was not reported. Returns
    /// whether there was one.
    fn end_departed(&mut self, is_last: bool) -> bool {
        let (tables, threads) = self.session.tables_and_threads();
        self.reader.end_departed(tables, &threads, is_last)
    }

    /// Reads the records. If a filter has units, containers or pods, the cgroup of a record decides
    /// whether its figures are counted.
    fn read_records(&mut self, is_last: bool) {
        let Self { session, reader, aggregate, .. } = self;
        let (tables, cgroups) = session.tables_and_cgroups();
        let Some(cgroups) = cgroups.filter(|cgroups| cgroups.decides_scope()) else {
            if is_last {
                reader.read_last(tables, aggregate);
            } else {
                reader.read(tables, aggregate);
            }
            return;
        };
        let counters = tables.counters();
        cgroups.read(counters.cgroup_events_lost, counters.places_refused);
        if is_last {
            cgroups.wait_for_names();
        }
        let is_stale = cgroups.judge(is_last, |judge| {
            reader.read_judged(tables, aggregate, (is_last, judge));
        });
        if is_stale {
            tables.invalidate_decisions();
        }
    }

    /// Tells the kernel side to wake the user side when half of the free records or extents is
    /// taken.
    fn set_wake_marks(&mut self) {
        let tables = self.session.tables();
        let (used, taken) = (self.reader.used(tables), tables.control());
        // One user may take all of these, so the limit of a single user applies.
        let room = |u: Use| (share::limit(u.capacity) / WAKE_SHARE).saturating_sub(u.used);
        // Only entries that have been on the free stacks can be taken. Extent 0 is never used.
        let records = Use { capacity: u64::from(tables.record_limit()), ..used.records };
        let extents = Use { capacity: u64::from(tables.extent_limit()) - 1, ..used.extents };
        tables.set_wake_marks(
            taken.records.all.taken + room(records),
            taken.extents.all.taken + room(extents),
        );
    }

    /// Takes a snapshot. The ages of calls in flight are those at `now_ns`. `is_last` says that no
    /// drain follows, so that the names of users may take longer.
    fn take_snapshot(
        &mut self,
        detail: Detail,
        started: Instant,
        now_ns: u64,
        is_last: bool,
    ) -> Snapshot {
        self.sequence += 1;
        let tables = self.session.tables();
        let counters = tables.counters();
        let used = self.reader.used(tables);
        let is_withheld = counters.records_withheld + counters.extents_withheld > 0;
        let greediest_user = is_withheld.then(|| tables.greediest_user()).flatten();
        let in_flight = in_flight::read(tables, self.reader.known(), &self.aggregate, now_ns);
        self.reader.identify(tables, &mut self.aggregate);
        let processes = self.aggregate.processes(detail);
        let uids = processes.iter().filter_map(|row| row.process.uid);
        let new_users = self.user_names.as_mut().map_or(0, |names| names.ask(uids));
        let cgroups = match self.session.cgroups() {
            Some(cgroups) => {
                let of_processes = processes.iter().flat_map(ProcessRow::cgroup_ids);
                cgroups.of(of_processes.chain(self.aggregate.owned_cgroups()))
            }
            None => Arc::default(),
        };
        let misses = self.session.program_misses();
        let io_uring = IoUring {
            coverage: self.session.coverage().clone(),
            rows: self.operations.rows(&self.aggregate),
        };
        let (coverage, modules) = self.session.failure_coverage();
        let groups = self.failures.groups(&self.aggregate);
        let failures = Failures { coverage, modules, groups };
        let cost = self.meter.cost(&mut self.session);
        let mut snapshot = Snapshot {
            provenance: Arc::clone(&self.provenance),
            sequence: self.sequence - 1,
            window: started.duration_since(self.attached),
            interval: Duration::ZERO,
            cpus: self.cpus,
            calls: self.aggregate.calls(),
            processes,
            users: Arc::default(),
            cgroups,
            in_flight,
            io_uring,
            failures,
            health: Health {
                losses: health::losses(&counters, &misses),
                unseen: health::unseen(&counters, &misses),
                overflowed: self.reader.overflowed(),
                breaches: self.reader.breaches().count,
                last_breach: self.reader.breaches().last.clone(),
                pools: health::pools(&counters, used.records, used.extents),
                greediest_user,
                cost,
                timed: self.timed,
                off_cpu: self.off_cpu,
                engine: EngineDetail::Kernel(KernelDetail {
                    mode: self.session.mode().into(),
                    copies: self.session.copies(),
                    memory_bytes: self.session.memory_bytes(),
                    ends_noticed: self.reader.ends_noticed(),
                    ..health::detail(&counters, &misses)
                }),
            },
        };
        snapshot.health.cost.drains = self.meter.add_drain(started.elapsed());
        if let Some(names) = &mut self.user_names {
            snapshot.users = names.get(match (is_last, new_users) {
                (true, _) => user_names::LAST_PATIENCE,
                // A late name must not delay later snapshots.
                (false, 0) => Duration::ZERO,
                (false, _) => user_names::PATIENCE,
            });
        }
        snapshot
    }

    /// Detaches a program, and from then on looks for events that the kernel does not report. For
    /// tests.
    #[cfg(any(debug_assertions, feature = "object-override"))]
    pub(super) fn detach_program(&mut self, name: &str) {
        self.session.detach_program(name);
    }

    /// The signals that were sent to the profiler and to the command, if there is one.
    pub fn signals_sent(&self) -> Option<&SignalsSent> {
        self.session.signals_sent()
    }
}

impl Engine for Profiler {
    /// Never fails. If something cannot be read, the next reading reads it.
    fn snapshot(&mut self, detail: Detail) -> Snapshot {
        let started = Instant::now();
        self.drain(false);
        self.meter.check_statistics(&mut self.session);
        let now_ns = self.session.now_ns();
        self.take_snapshot(detail, started, now_ns, false)
    }

    fn read(&mut self) {
        let started = Instant::now();
        self.drain(false);
        self.meter.add_drain(started.elapsed());
    }

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.session.wake_fd())
    }

    fn time_programs(&mut self, on: bool) {
        self.meter.time_programs(&mut self.session, on);
    }

    fn set_detail(&mut self, detail: Detail) {
        let threads = detail == Detail::Threads;
        if threads != self.aggregate.has_threads() {
            let tables = self.session.tables();
            self.reader.keep_threads(tables, &mut self.aggregate, threads);
        }
    }

    fn keep_owners(&mut self, kind: OwnerKind) -> bool {
        let can = !kind.cgroup || self.session.cgroups().is_some();
        if can {
            self.aggregate.keep_owners(kind);
        }
        can
    }

    fn take_owned(&mut self) -> Vec<OwnedCalls> {
        self.aggregate.take_owned()
    }

    fn keep_ended(&mut self, time: Duration) {
        self.aggregate.keep_ended(KeepEnded::For(time));
    }

    fn all_ended(&self) -> bool {
        self.aggregate.all_ended()
    }

    fn stop(&mut self) {
        self.meter.check_statistics(&mut self.session);
        self.session.stop_entries();
    }

    /// Detaches everything.
    fn finish(mut self, detail: Detail) -> Snapshot {
        let ended = Instant::now();
        self.meter.check_statistics(&mut self.session);
        // Read the clock before the programs detach. The exit of a later call is not seen, so its
        // age must not grow.
        let ended_ns = self.session.now_ns();
        self.session.detach();
        self.meter.set_detached();
        self.drain(true);
        if let Some(cgroups) = self.session.cgroups() {
            cgroups.wait_for_names();
        }
        self.take_snapshot(detail, ended, ended_ns, true)
    }
}
