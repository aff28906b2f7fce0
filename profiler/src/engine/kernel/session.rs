//! A session: the objects of one query, loaded and attached.

mod prepared;
pub(super) mod support;

use std::{
    os::fd::{AsFd as _, BorrowedFd},
    sync::Arc,
};

use aya::maps::{MapData, RingBuf};
use profiler_common::maps as names;

use self::prepared::Prepared;
use super::{
    allocator::{release_memory, return_large_blocks},
    attached::{Attached, AttachedObject},
    call_lister,
    cgroups::Cgroups,
    drain::departed::Tasks,
    error::KernelError,
    failures::FailureReader,
    features::Features,
    fit::Fit,
    hierarchies::Hierarchies,
    host_threads::{HostThreads, Sight},
    identity::{self, Clock, Identity},
    load::{Loaded, Setup},
    loader, maps,
    memory_limit::MemoryLimit,
    object::{self, ENTRY, EXEC, ObjectSpec, When},
    operations::OperationReader,
    options::Options,
    signals::SignalsSent,
    statistics::{self, Statistics},
    tables::MapTables,
};
use crate::{
    aggregate::{FailureTable, OperationTable},
    model::{Coverage, FailureCoverage, Untimed},
    text::Untrusted,
};

/// Loaded and attached objects. Dropping the session detaches and unloads everything.
pub struct Session {
    tables: MapTables,
    /// The loaded objects. The object that counts calls comes first.
    objects: Vec<AttachedObject>,
    wake: RingBuf<MapData>,
    /// Kernel memory of the maps that are not in `tables`, bytes.
    memory_bytes: u64,
    statistics: Statistics,
    clock: Clock,
    /// What is known about the process ids and clocks of this process.
    sight: Sight,
    /// See [`Self::warnings`].
    warnings: Vec<String>,
    /// Why the kernel does not time the programs, if it was requested to.
    untimed: Option<Untimed>,
    /// The signals that were sent to the profiler and to the command, if there is one.
    signals: Option<SignalsSent>,
    /// The operations of io_uring, and whether they are counted.
    operations: Result<(OperationReader, Coverage), Coverage>,
    /// The cgroups that are known, if calls are told apart by cgroup.
    cgroups: Option<Cgroups>,
    /// The targets of calls that failed, if they are noted.
    failures: Option<FailureReader>,
}

impl Session {
    /// Loads and attaches the objects. When it returns, every call in scope is counted.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(options: &Options) -> Result<Self, KernelError> {
        let companions = object::companions(|when| options.needs(when)).collect::<Vec<_>>();
        Self::attach_with(options, &companions)
    }

    /// Same as [`Self::attach`], with these objects beside the object that counts calls.
    pub(super) fn attach_with(
        options: &Options,
        companions: &[&'static ObjectSpec],
    ) -> Result<Self, KernelError> {
        options.check()?;
        return_large_blocks();
        let limit = MemoryLimit::tightest();
        // Check this before the kernel's types are read, because they take memory too.
        Fit::new(options, limit.as_ref())?;
        let mut features = Features::probe();
        features.require()?;
        let counter = support::best_counter(&features, options).name;
        let fit = Fit::of_object(options, limit.as_ref(), counter)?;
        let Fit { max_threads, max_extents, why: shrunk, has_room_for_rings } = fit;
        let options = &Options { max_threads, max_extents, ..options.clone() };
        if !has_room_for_rings {
            features.rings = Err("memory for the programs and tables of io_uring".into());
        }
        raise_memlock();
        support::check(options, companions, &features)?;
        let mut loader = loader::without_types();
        let identity = Identity::learn(&mut loader, features.host_pid_namespace)?;
        support::check_namespace(options, &features, &identity)?;
        let own_tgid = (!options.include_self).then_some(identity.tgid);
        let hierarchies = options.knows_cgroups().then(Hierarchies::find);
        let setup = Setup::new(options, &features, own_tgid, hierarchies.as_ref());
        let mut prepared = Prepared::new(&setup, loader, companions, limit.as_ref())?;
        let wake = RingBuf::try_from(maps::take(prepared.counter_ebpf(), names::WAKE)?)
            .map_err(|e| KernelError::from_any("open the wake-up buffer".into(), &e))?;
        let signals = options.command.map(|_| SignalsSent::take(prepared.counter_ebpf()));
        let signals = signals.transpose()?;
        let cgroups = hierarchies
            .map(|found| Cgroups::take(prepared.counter_ebpf(), found, &options.filter.places));
        let cgroups = cgroups.transpose()?;
        let operations = prepared.operations(&setup)?;
        let failures = prepared.failures(&setup)?;
        let memory_bytes = prepared.objects.iter().map(Loaded::memory_bytes).sum();
        let Prepared { objects, tables, lists_calls, refusal } = prepared;
        let preemptible = features.preemptible_tracepoints();
        let objects: Vec<_> = objects
            .into_iter()
            .map(|object| {
                let has_rings = object.without_rings.is_none();
                let programs = object.spec.programs_for(|when| {
                    setup.needs(when) && (has_rings || !matches!(when, When::Ring(_)))
                });
                AttachedObject::new(object, programs, preemptible)
            })
            .collect();
        // Request the statistics before anything attaches, so that they include every run.
        let kept = options.time_programs.then(statistics::keep).transpose();
        let untimed = kept.as_ref().err().copied();
        let statistics =
            Statistics::of(objects.iter().map(|object| &object.ebpf), kept.ok().flatten());
        let clock = identity.clock;
        let sight = Sight {
            has_host_ids: features.host_pid_namespace == Some(true),
            has_host_clock: identity::has_host_clock(),
            skips_programs: preemptible,
        };
        let mut session = Self {
            tables,
            objects,
            wake,
            memory_bytes,
            statistics,
            clock,
            sight,
            warnings: shrunk.into_iter().chain(refusal).collect(),
            untimed,
            signals,
            operations,
            cgroups,
            failures,
        };
        session.attach_programs(preemptible, lists_calls)?;
        session.tables.set_attached(true);
        release_memory();
        Ok(session)
    }

    /// Attaches all programs. The object that counts calls comes last, so that the other objects
    /// are attached when the first call is counted.
    fn attach_programs(&mut self, preemptible: bool, lists_calls: bool) -> Result<(), KernelError> {
        for AttachedObject { spec, programs, ebpf, .. } in self.objects.iter_mut().rev() {
            for program in programs {
                if program.spec.name == ENTRY.name
                    && let Some(cgroups) = &mut self.cgroups
                {
                    cgroups.start();
                }
                if program.spec.name == ENTRY.name
                    && lists_calls
                    && let Some(lister) = spec.call_lister
                    && call_lister::run(ebpf, lister)
                {
                    self.tables.set_listed_before(self.clock.now_ns());
                }
                for _ in 0..program.spec.copies_at_start(preemptible) {
                    program.attach_next(ebpf, spec.hook)?;
                }
            }
        }
        Ok(())
    }

    /// The time now by the clock of `bpf_ktime_get_ns`, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// What the programs recorded.
    pub fn tables(&mut self) -> &mut MapTables {
        &mut self.tables
    }

    /// Whether operations of io_uring are counted.
    pub fn coverage(&self) -> &Coverage {
        match &self.operations {
            Ok((_, coverage)) | Err(coverage) => coverage,
        }
    }

    /// Adds the new operations of io_uring to `table`.
    pub fn read_operations(&mut self, table: &mut OperationTable) {
        let has_new = self.tables.take_operations();
        if let Ok((reader, _)) = &mut self.operations
            && (has_new || reader.is_pending())
        {
            reader.read(table);
        }
    }

    /// Adds the new failures to `table`. The programs count an error before they note its target, so
    /// the figures have to be read afterwards.
    pub fn read_failures(&mut self, table: &mut FailureTable) {
        if let Some(reader) = &mut self.failures {
            reader.read(table);
        }
    }

    /// What is known about why calls failed, and the security modules in force.
    pub fn failure_coverage(&self) -> (FailureCoverage, Option<Arc<[Untrusted]>>) {
        let known = self.failures.as_ref();
        known.map_or_else(Default::default, |reader| (reader.coverage(), reader.modules()))
    }

    /// What differs from what was requested, one sentence each: the tables are smaller, or the
    /// kernel refuses the arena.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Stops counting new calls and operations. The exits of calls in flight are still counted.
    pub fn stop_entries(&mut self) {
        // Clear this before the entries detach, because a call that leaves from now on may have
        // entered uncounted.
        self.tables.set_attached(false);
        self.programs_mut().filter(|p| p.spec.name == ENTRY.name).for_each(Attached::detach);
        self.programs_mut().filter(|p| p.spec.counts_submissions()).for_each(Attached::detach);
    }

    /// Detaches everything.
    pub fn detach(&mut self) {
        // Detach entries first, then the other programs in the order in which they attached. If a
        // task ends meanwhile, its last exit from a call must be counted, even if its end is
        // missed.
        self.stop_entries();
        // Detach the programs of io_uring in reverse order. While operations are counted, their
        // scope depends on the creator of their ring.
        let mut of_rings: Vec<_> =
            self.programs_mut().filter(|p| matches!(p.spec.when, When::Ring(_))).collect();
        of_rings.iter_mut().rev().for_each(|program| program.detach());
        self.objects.iter_mut().rev().for_each(AttachedObject::detach);
    }

    /// A descriptor that becomes readable when the pools run low, until [`Self::clear_wake`].
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Consumes all wake-ups.
    pub fn clear_wake(&mut self) {
        while self.wake.next().is_some() {}
    }

    /// The signals that were sent to the profiler and to the command, if there is one.
    pub fn signals_sent(&self) -> Option<&SignalsSent> {
        self.signals.as_ref()
    }

    /// What the programs recorded, and the known cgroups.
    pub(super) fn tables_and_cgroups(&mut self) -> (&mut MapTables, Option<&mut Cgroups>) {
        (&mut self.tables, self.cgroups.as_mut())
    }

    /// What the programs recorded, and the threads of the host.
    pub(super) fn tables_and_threads(&mut self) -> (&mut MapTables, impl Tasks) {
        let Self { tables, objects, sight, .. } = self;
        let programs = || objects.iter().flat_map(|object| &object.programs);
        let may_have_missed_exec =
            move || programs().any(|p| p.spec.name == EXEC.name && p.skipped() > 0);
        (tables, HostThreads { sight: *sight, may_have_missed_exec })
    }

    /// The cgroups that are known, if calls are told apart by cgroup.
    pub(super) fn cgroups(&mut self) -> Option<&mut Cgroups> {
        self.cgroups.as_mut()
    }

    /// Passes the messages of the programs on to the log.
    pub fn flush_log(&mut self) {
        self.objects.iter_mut().for_each(AttachedObject::flush_log);
    }

    /// Kernel memory of all maps, bytes, as the kernel accounts it.
    pub fn memory_bytes(&self) -> u64 {
        let of_operations = self.operations.as_ref().map_or(0, |(reader, _)| reader.memory_bytes());
        let of_failures = self.failures.as_ref().map_or(0, FailureReader::memory_bytes);
        self.memory_bytes + of_operations + of_failures + self.tables.memory_bytes()
    }

    /// The kernel's statistics of the programs.
    pub fn statistics(&mut self) -> &mut Statistics {
        &mut self.statistics
    }

    /// Why the kernel does not time the programs, if it was requested to at the attach.
    pub fn untimed(&self) -> Option<Untimed> {
        self.untimed
    }

    /// How often the kernel skipped each program because it was already running. For a program in
    /// several copies: an upper bound of how often it skipped all of them.
    pub fn program_misses(&self) -> Vec<(&'static str, u64)> {
        self.programs().map(|program| (program.spec.name, program.skipped())).collect()
    }

    /// How many copies of the program that counts entries are attached.
    pub fn copies(&self) -> usize {
        self.programs().find(|p| p.spec.name == ENTRY.name).map_or(0, Attached::copies)
    }

    /// Attaches one more copy of each program all of whose copies the kernel has skipped since the
    /// last call. This requires no privilege, because all copies are loaded.
    ///
    /// # Errors
    /// See [`KernelError`]; what is attached stays attached.
    pub fn reinforce(&mut self) -> Result<(), KernelError> {
        self.objects.iter_mut().try_for_each(AttachedObject::reinforce)
    }

    /// The kernel features that the programs that count calls use, for people.
    pub fn mode(&self) -> &'static str {
        self.objects.first().map_or("", |counter| counter.spec.description)
    }

    /// Number of online CPUs, including those on which this process may not run. 1 if the number
    /// cannot be read.
    pub fn online_cpus() -> usize {
        aya::util::online_cpus().map_or(1, |cpus| cpus.len())
    }

    /// Detaches a program, as if the kernel skipped it from now on. For tests.
    #[cfg(any(debug_assertions, feature = "object-override"))]
    pub(super) fn detach_program(&mut self, name: &str) {
        self.programs_mut().filter(|p| p.spec.name == name).for_each(Attached::detach_and_wait);
        self.sight.skips_programs = true;
    }

    /// The objects. The object that counts calls comes first.
    #[cfg(any(debug_assertions, feature = "object-override"))]
    pub(super) fn objects_mut(&mut self) -> impl Iterator<Item = &mut AttachedObject> {
        self.objects.iter_mut()
    }

    /// All programs, in the order in which they attach.
    fn programs(&self) -> impl Iterator<Item = &Attached> {
        self.objects.iter().rev().flat_map(|object| &object.programs)
    }

    fn programs_mut(&mut self) -> impl Iterator<Item = &mut Attached> {
        self.objects.iter_mut().rev().flat_map(|object| &mut object.programs)
    }
}

/// Raises RLIMIT_MEMLOCK, against which maps count before Linux 5.11. Without CAP_SYS_RESOURCE, the
/// kernel refuses this, and the load may still succeed.
pub(super) fn raise_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}
