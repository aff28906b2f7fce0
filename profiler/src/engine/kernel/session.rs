//! A session: the objects of one query, loaded and attached.

use std::os::fd::{AsFd as _, BorrowedFd};

use aya::maps::{MapData, RingBuf};
use profiler_common::{maps as names, settings::FieldGroup};

use super::{
    allocator::{release_memory, return_large_blocks},
    arena,
    attached::{Attached, AttachedObject},
    call_lister,
    cgroups::Cgroups,
    error::KernelError,
    features::Features,
    filter,
    fit::Fit,
    hierarchies::Hierarchies,
    identity::{Clock, Identity},
    load::{Loaded, Setup},
    loader, maps,
    memory_limit::MemoryLimit,
    object::{self, ENTRY, ObjectName, ObjectSpec, When},
    operations::OperationReader,
    options::Options,
    signals::SignalsSent,
    statistics::{self, Statistics},
    tables::MapTables,
};
use crate::{
    aggregate::OperationTable,
    model::{Coverage, Scope, Untimed},
};

/// Loaded and attached objects. Dropping the session detaches and unloads everything.
pub struct Session {
    tables: MapTables,
    /// The object that counts calls comes first.
    objects: Vec<AttachedObject>,
    wake: RingBuf<MapData>,
    /// Kernel memory of the maps that are not in `tables`, bytes.
    memory_bytes: u64,
    statistics: Statistics,
    clock: Clock,
    /// Why the tables are smaller than requested, if they are.
    shrunk: Option<String>,
    /// Why the kernel does not time the programs, if it was requested to.
    untimed: Option<Untimed>,
    /// Which signals were sent to us and to the command, if there is one.
    signals: Option<SignalsSent>,
    /// The operations of io_uring, and whether they are counted.
    operations: Result<(OperationReader, Coverage), Coverage>,
    /// The cgroups that are known, if calls are told apart by cgroup.
    cgroups: Option<Cgroups>,
}

impl Session {
    /// Loads and attaches. When it returns, every call in scope counts.
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
        // First whether anything fits, because the types of the kernel, which are read next, take
        // memory themselves.
        Fit::new(options, limit.as_ref())?;
        let mut features = Features::probe();
        features.require()?;
        let counter = best_counter(&features, options).name;
        let fit = Fit::of_object(options, limit.as_ref(), counter)?;
        let Fit { max_threads, max_extents, why: shrunk, has_room_for_rings } = fit;
        let options = &Options { max_threads, max_extents, ..options.clone() };
        if !has_room_for_rings {
            features.rings = Err("memory for the programs and tables of io_uring".into());
        }
        raise_memlock();
        check_scope(options, &features)?;
        check_companions(companions, &features)?;
        filter::check_support(&options.filter, &features)?;
        if options.knows_cgroups() {
            filter::check_cgroups(&features)?;
        }
        let mut loader = loader::without_types();
        let identity = Identity::learn(&mut loader, features.host_pid_namespace)?;
        check_namespace(options, &features, &identity)?;
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
        let operations = operations(&mut prepared, &setup)?;
        let memory_bytes = prepared.objects.iter().map(Loaded::memory_bytes).sum();
        let Prepared { objects, tables, lists_calls } = prepared;
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
        // Before anything attaches, so that the kernel's statistics have every run.
        let kept = options.time_programs.then(statistics::keep).transpose();
        let untimed = kept.as_ref().err().copied();
        let statistics =
            Statistics::of(objects.iter().map(|object| &object.ebpf), kept.ok().flatten());
        let clock = identity.clock;
        let mut session = Self {
            tables,
            objects,
            wake,
            memory_bytes,
            statistics,
            clock,
            shrunk,
            untimed,
            signals,
            operations,
            cgroups,
        };
        session.attach_programs(preemptible, lists_calls)?;
        session.tables.set_attached(true);
        release_memory();
        Ok(session)
    }

    /// Attaches all programs. The object that counts calls comes last: whatever it counts finds
    /// the others attached.
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

    /// Adds the operations of io_uring that are new to `table`.
    pub fn read_operations(&mut self, table: &mut OperationTable) {
        let has_new = self.tables.take_operations();
        if let Ok((reader, _)) = &mut self.operations
            && (has_new || reader.is_pending())
        {
            reader.read(table);
        }
    }

    /// Why the tables are smaller than requested, if they are.
    pub fn shrunk(&self) -> Option<&str> {
        self.shrunk.as_deref()
    }

    /// Stops counting new calls and operations. Those in flight are still seen to end.
    pub fn stop_entries(&mut self) {
        // First, because every call that leaves from now on may not have entered.
        self.tables.set_attached(false);
        self.programs_mut().filter(|p| p.spec.name == ENTRY.name).for_each(Attached::detach);
        self.programs_mut().filter(|p| p.spec.counts_submissions()).for_each(Attached::detach);
    }

    /// Detaches everything.
    pub fn detach(&mut self) {
        // Entries first, then in the order in which the programs attached: a task that ends
        // meanwhile is better not seen to end than not seen to leave its call.
        self.stop_entries();
        // Those of io_uring in the reverse order: the scope of an operation depends on who created
        // its ring, as long as an operation is counted.
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

    /// Which signals were sent to us and to the command, if there is one.
    pub fn signals_sent(&self) -> Option<&SignalsSent> {
        self.signals.as_ref()
    }

    /// What the programs recorded, and the cgroups that are known.
    pub(super) fn tables_and_cgroups(&mut self) -> (&mut MapTables, Option<&mut Cgroups>) {
        (&mut self.tables, self.cgroups.as_mut())
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
        self.memory_bytes + of_operations + self.tables.memory_bytes()
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
    /// several copies: how often, at most, it skipped all of them.
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

    /// What the programs that count calls are built on, for people.
    pub fn mode(&self) -> &'static str {
        self.objects.first().map_or("", |counter| counter.spec.description)
    }

    /// CPUs online, whether or not this process may run on them; 1 if that cannot be read.
    pub fn online_cpus() -> usize {
        aya::util::online_cpus().map_or(1, |cpus| cpus.len())
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

/// Everything that exists before the attach.
struct Prepared {
    /// The object that counts calls comes first.
    objects: Vec<Loaded>,
    tables: MapTables,
    /// Whether the calls in flight can be listed.
    lists_calls: bool,
}

impl Prepared {
    /// Loads the best object that this kernel runs, and its companions.
    fn new(
        setup: &Setup<'_>,
        loader: aya::EbpfLoader<'static>,
        companions: &[&'static ObjectSpec],
        limit: Option<&MemoryLimit>,
    ) -> Result<Self, KernelError> {
        let counter = best_counter(setup.features, setup.options);
        let prepared = Self::with(counter, setup, loader, companions, limit);
        match prepared {
            // For example without a JIT, or if the verifier knows less about arenas than the
            // verifiers that were tried.
            Err(error)
                if counter.name == ObjectName::Arena
                    && !matches!(error, KernelError::Privilege { .. }) =>
            {
                tracing::warn!(
                    "the kernel refuses the arena, so the profiler falls back to arrays: {error}"
                );
                let arrays = object::find(ObjectName::Arrays);
                Self::with(arrays, setup, loader::without_types(), companions, limit)
            }
            prepared => prepared,
        }
    }

    fn with(
        counter: &'static ObjectSpec,
        setup: &Setup<'_>,
        loader: aya::EbpfLoader<'static>,
        companions: &[&'static ObjectSpec],
        limit: Option<&MemoryLimit>,
    ) -> Result<Self, KernelError> {
        let mut counter = Loaded::create(counter, setup, loader, &[])?;
        let region = match counter.spec.name {
            ObjectName::Arena => Some(arena::map(&counter.ebpf, setup.options)?),
            _ => None,
        };
        let lists_calls = counter.load_programs(setup)?;
        // Companions find the maps of the counter only until the tables take them out.
        let mut objects = vec![counter];
        for companion in companions {
            let mut companion = Loaded::create_beside(companion, setup, &objects)?;
            companion.load_programs(setup)?;
            objects.push(companion);
        }
        let counter = &mut objects[0];
        // Programs before tables: a map that is taken out is closed once it is mapped, and a
        // loaded program holds its maps.
        filter::fill_maps(&mut counter.ebpf, &setup.options.scope, &setup.options.filter)?;
        let calls_before = counter.spec.call_lister.map(|_| setup.calls_before);
        let tables = MapTables::new(&mut counter.ebpf, setup.options, calls_before, region, limit)?;
        Ok(Self { objects, tables, lists_calls })
    }

    fn counter_ebpf(&mut self) -> &mut aya::Ebpf {
        &mut self.objects[0].ebpf
    }
}

/// The maps of io_uring, if operations are counted.
fn operations(
    prepared: &mut Prepared,
    setup: &Setup<'_>,
) -> Result<Result<(OperationReader, Coverage), Coverage>, KernelError> {
    let rings = match &setup.features.rings {
        Ok(rings) => rings,
        Err(missing) => return Ok(Err(Coverage::Missing(missing.clone()))),
    };
    if let Some(error) = &prepared.objects[0].without_rings {
        return Ok(Err(Coverage::Missing(error.to_string().into())));
    }
    let reader = OperationReader::take(prepared.counter_ebpf(), setup.operation_rows())?;
    let by_request = rings.names_requests();
    let coverage = if by_request { Coverage::ByRequest } else { Coverage::ByUserData };
    Ok(Ok((reader, coverage)))
}

/// The best object that counts calls and that this kernel is expected to run.
fn best_counter(features: &Features, options: &Options) -> &'static ObjectSpec {
    let is_allowed = |name| match name {
        ObjectName::Arena => !options.force_arrays && !options.force_fallback,
        ObjectName::Arrays => !options.force_fallback,
        _ => true,
    };
    object::best_counter(is_allowed, |requirement| features.meets(requirement))
}

/// Checks that this kernel can run the objects beside the one that counts calls.
fn check_companions(companions: &[&ObjectSpec], features: &Features) -> Result<(), KernelError> {
    let unmet = |spec: &&ObjectSpec| spec.unmet(|requirement| features.meets(requirement));
    companions.iter().find_map(unmet).map_or(Ok(()), |requirement| {
        let (feature, needs) = requirement.describe();
        Err(KernelError::Missing { feature, needs })
    })
}

/// Checks that the programs can follow the children of processes in scope.
fn check_scope(options: &Options, features: &Features) -> Result<(), KernelError> {
    let counter = best_counter(features, options);
    if counter.name == ObjectName::Fallback
        && !features.layout.has(FieldGroup::Task)
        && options.scope != Scope::Host
    {
        return Err(KernelError::Missing {
            feature: "type information (BTF), without which the profiler cannot follow children",
            needs: "CONFIG_DEBUG_INFO_BTF=y; `profiler stat -a` works without it",
        });
    }
    Ok(())
}

/// Checks that process ids in a scope mean the same here as on the host.
fn check_namespace(
    options: &Options,
    features: &Features,
    identity: &Identity,
) -> Result<(), KernelError> {
    if options.scope != Scope::Host && !identity.is_in_host_namespace(features.host_pid_namespace) {
        return Err(KernelError::Missing {
            feature: "view of the host's process ids from within this pid namespace",
            needs: "the host's pid namespace (docker run --pid=host, hostPID: true); `-a` works without",
        });
    }
    Ok(())
}

/// Raises RLIMIT_MEMLOCK, against which maps count before Linux 5.11. Without CAP_SYS_RESOURCE this
/// fails, and the load may still succeed.
fn raise_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}
