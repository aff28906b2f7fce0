//! Loads the objects of a session by their descriptions.

use std::os::fd::AsFd as _;

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness, VerifierLogLevel,
    programs::{BtfTracePoint, FExit, RawTracePoint},
};
use profiler_common::{
    call::OVERFLOW_SLOTS,
    failing::ROWS as FAILURES,
    io_uring::{DATA_REQUESTS, REQUESTS, RINGS, ROWS},
    limits::{CELLS_PER_EXTENT, DEFAULT_EXTENTS, DEFAULT_THREADS, MAX_PLACES, RENAMES},
    share,
};

use super::{
    arena, call_lister,
    cast::Cast,
    error::KernelError,
    features::{CAPABILITY_CHECK, Features},
    hierarchies::Hierarchies,
    loader, maps,
    object::{Group, Hook, ObjectSpec, Size, When},
    options::Options,
    programs,
    settings::Settings,
    sharing,
};

/// The inputs that all objects of a session share when they are loaded.
pub(super) struct Setup<'a> {
    pub(super) options: &'a Options,
    pub(super) features: &'a Features,
    pub(super) settings: Settings,
    /// How many calls that entered before the attach can be listed.
    pub(super) calls_before: u32,
    /// Sizes of the tables of a trace.
    pub(super) trace: TraceSizes,
    /// Sizes of the tables of stacks.
    pub(super) stacks: StackSizes,
}

/// Sizes of the tables of stacks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct StackSizes {
    /// Threads of the host.
    pub(super) tasks: u32,
    /// Different stacks.
    pub(super) frames: u32,
    /// Rows: a stack of a process and syscall.
    pub(super) rows: u32,
    /// Bytes of the ring buffer.
    pub(super) ring_bytes: u32,
}

/// Sizes of the tables of a trace.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct TraceSizes {
    /// Threads of the host.
    pub(super) tasks: u32,
    /// Threads of which memory is copied.
    pub(super) pending: u32,
    /// Bytes of the ring buffer.
    pub(super) ring_bytes: u32,
    /// Threads that a flight recorder records; `None` if there is none.
    pub(super) recorded: Option<u32>,
    /// Slots of a flight recorder.
    pub(super) slots: Option<u32>,
}

/// An object whose maps exist, and whose programs can be loaded.
pub(super) struct Loaded {
    pub(super) spec: &'static ObjectSpec,
    pub(super) ebpf: Ebpf,
    /// Why the kernel refuses the programs for io_uring, if it does.
    pub(super) without_rings: Option<KernelError>,
    /// Whether checks of capabilities are seen.
    pub(super) sees_capabilities: bool,
}

impl<'a> Setup<'a> {
    /// The setup of a session. `own_tgid` is the process that is not counted, if any. `hierarchies`
    /// are those of the cgroups of calls, if calls are grouped by cgroup.
    pub(super) fn new(
        options: &'a Options,
        features: &'a Features,
        own_tgid: Option<u32>,
        hierarchies: Option<&Hierarchies>,
    ) -> Self {
        Self {
            options,
            features,
            settings: Settings::new(options, features, own_tgid, hierarchies),
            calls_before: call_lister::capacity(features),
            trace: TraceSizes::default(),
            stacks: StackSizes::default(),
        }
    }

    /// Whether the query requires what is loaded `when`, and this kernel supports it.
    pub(super) fn needs(&self, when: When) -> bool {
        match when {
            When::Capabilities => {
                self.follows_capabilities() && self.features.capability_tracepoint
            }
            When::Ring(event) => self.features.io_uring().is_some_and(|rings| rings.has(event)),
            _ => self.options.needs(when),
        }
    }

    /// Whether the query notes why calls were refused, and this kernel reports checks of
    /// capabilities, by a tracepoint or perhaps by the return of a function.
    fn follows_capabilities(&self) -> bool {
        let Features { capability_tracepoint, capability_function, .. } = *self.features;
        self.options.targets.is_some() && (capability_tracepoint || capability_function)
    }

    /// Whether the tables are so small that those of io_uring should be small too. At their full
    /// size, the latter take 4 MiB.
    fn is_memory_tight(&self) -> bool {
        self.options.max_extents < DEFAULT_EXTENTS / 2
    }

    /// How many rows there are for targets of calls that fail.
    pub(super) fn failure_rows(&self) -> u32 {
        self.entries(Size::Failures).unwrap_or(1)
    }

    /// How many rows there are for operations of io_uring.
    pub(super) fn operation_rows(&self) -> u32 {
        if self.is_memory_tight() { ROWS / 4 } else { ROWS }
    }

    /// How many entries a map gets; `None` if as many as it was compiled with.
    fn entries(&self, size: Size) -> Option<u32> {
        let options = self.options;
        let rings = self.features.io_uring();
        let reduced = if self.is_memory_tight() { 8 } else { 1 };
        match size {
            Size::Compiled | Size::Shared => None,
            Size::Records => Some(share::with_reserve(options.max_threads)),
            Size::RecordsByTask => {
                options.knows_cgroups().then(|| share::with_reserve(options.max_threads))
            }
            Size::Extents => Some(options.max_extents),
            Size::Cells => Some(options.max_extents * CELLS_PER_EXTENT),
            Size::RecordsOffCpu => {
                options.off_cpu.then(|| share::with_reserve(options.max_threads))
            }
            Size::CellsOffCpu => options.off_cpu.then(|| options.max_extents * CELLS_PER_EXTENT),
            Size::Samplers => {
                options.is_adaptive().then_some(options.max_extents * CELLS_PER_EXTENT)
            }
            Size::OverflowSamplers => options.is_adaptive().then_some(OVERFLOW_SLOTS),
            Size::ArenaPages => Some(arena::pages(options)),
            // Twice as many, because a thread out of scope has a state too, and no record. Never
            // fewer than by default: a call without a record is counted, and a call without a
            // state is lost.
            Size::TaskStates => Some(options.max_threads.max(DEFAULT_THREADS).saturating_mul(2)),
            Size::CallsBefore => Some(self.calls_before),
            Size::Operations => rings.map(|_| self.operation_rows()),
            Size::Rings => rings.map(|_| RINGS / reduced),
            Size::Requests => {
                rings.filter(|rings| rings.names_requests()).map(|_| REQUESTS / reduced)
            }
            Size::DataRequests => rings.map(|rings| {
                let all = if rings.names_requests() { DATA_REQUESTS } else { REQUESTS };
                all / reduced
            }),
            Size::TracedTasks => Some(self.trace.tasks),
            Size::Pending => Some(self.trace.pending),
            Size::Ring => Some(self.trace.ring_bytes),
            Size::StackTasks => Some(self.stacks.tasks),
            Size::StackFrames => Some(self.stacks.frames),
            Size::StackRows => Some(self.stacks.rows),
            Size::StackRing => Some(self.stacks.ring_bytes),
            Size::Failures => options.targets.is_some().then_some(FAILURES / reduced),
            Size::CapabilityChecks => {
                self.follows_capabilities().then(|| share::with_reserve(options.max_threads))
            }
            Size::Recorded => self.trace.recorded,
            Size::Slots => self.trace.slots,
            Size::Places => (!options.filter.places.is_empty()).then_some(MAX_PLACES),
            Size::Renames => (!options.filter.comms.is_empty()).then_some(RENAMES),
        }
    }
}

impl Loaded {
    /// Creates the maps of an object. It shares maps with the objects that were created before.
    pub(super) fn create(
        spec: &'static ObjectSpec,
        setup: &Setup<'_>,
        loader: EbpfLoader<'static>,
        before: &[Self],
    ) -> Result<Self, KernelError> {
        // Shortens the lifetime to that of the settings.
        let mut loader: EbpfLoader<'_> = loader;
        loader
            .allow_unsupported_maps()
            // With statistics, the kernel keeps only the path that fails. A verbose log has every
            // path, which takes minutes to write, also if the load fails for another reason, such
            // as EMFILE.
            .verifier_log_level(VerifierLogLevel::DEBUG | VerifierLogLevel::STATS);
        for map in spec.all_maps() {
            if let Some(entries) = setup.entries(map.size) {
                loader.map_max_entries(map.name, entries);
            }
        }
        for (name, value) in setup.settings.of(spec.settings) {
            loader.override_global(name, value, true);
        }
        let mut bytes = spec.bytes();
        if spec.settings.contains(&Group::Arena)
            && let Some(cast) = setup.features.arena
        {
            cast.patch(bytes.to_mut())?;
        }
        if spec.settings.contains(&Group::Trace) {
            match setup.features.arena {
                Some(cast) => cast.patch(bytes.to_mut())?,
                None => Cast::remove(bytes.to_mut())?,
            }
        }
        let ebpf = loader
            .load(&bytes)
            .map_err(|e| KernelError::from_any("create the BPF maps".into(), &e))?;
        for map in spec.maps.iter().filter(|map| map.size == Size::Shared) {
            let owner = before.iter().find(|object| object.spec.has_map(map.name));
            let owner = owner.ok_or_else(|| {
                KernelError::Object(format!("no object has the map {} to share", map.name))
            })?;
            sharing::share(&ebpf, &owner.ebpf, map.name)?;
        }
        Ok(Self { spec, ebpf, without_rings: None, sees_capabilities: false })
    }

    /// Creates the maps of an object with a loader of its own.
    pub(super) fn create_beside(
        spec: &'static ObjectSpec,
        setup: &Setup<'_>,
        before: &[Self],
    ) -> Result<Self, KernelError> {
        Self::create(spec, setup, loader::without_types(), before)
    }

    /// Loads the programs that attach. Returns whether the program that lists the calls in flight
    /// was loaded too: without it, nothing is listed.
    pub(super) fn load_programs(&mut self, setup: &Setup<'_>) -> Result<bool, KernelError> {
        self.load_programs_for(setup, |when| setup.needs(when))
    }

    /// Same as [`Self::load_programs`], for the programs that `is_needed` chooses.
    pub(super) fn load_programs_for(
        &mut self,
        setup: &Setup<'_>,
        is_needed: impl Fn(When) -> bool,
    ) -> Result<bool, KernelError> {
        let btf = match self.spec.hook {
            Hook::Typed => Some(
                Btf::parse(&setup.features.attach_btf, Endianness::default())
                    .map_err(|e| KernelError::from_any("read the BTF".into(), &e))?,
            ),
            Hook::Raw => None,
        };
        let preemptible = setup.features.preemptible_tracepoints();
        for spec in self.spec.programs_for(is_needed) {
            if matches!(spec.when, When::Ring(_)) && self.without_rings.is_some() {
                continue;
            }
            for copy in spec.copies(preemptible) {
                let loaded = match &btf {
                    Some(btf) => {
                        let program = programs::find::<BtfTracePoint>(&mut self.ebpf, copy)?;
                        programs::load_despite_signals(|| program.load(spec.tracepoint, btf))
                    }
                    None => {
                        let program = programs::find::<RawTracePoint>(&mut self.ebpf, copy)?;
                        programs::load_despite_signals(|| program.load())
                    }
                };
                match loaded.map_err(|e| KernelError::from_load(copy, e)) {
                    Err(error) if matches!(spec.when, When::Ring(_)) => {
                        tracing::warn!("operations of io_uring are not counted: {error}");
                        self.without_rings = Some(error);
                        break;
                    }
                    loaded => loaded?,
                }
            }
        }
        self.sees_capabilities = setup.needs(When::Capabilities)
            || setup.follows_capabilities()
                && self
                    .spec
                    .capability_checks
                    .zip(btf.as_ref())
                    .is_some_and(|(name, btf)| follow_capabilities(&mut self.ebpf, name, btf));
        let (Some(lister), Some(btf)) = (self.spec.call_lister, btf) else { return Ok(false) };
        Ok(call_lister::load(&mut self.ebpf, lister, setup.features, &btf))
    }

    /// Kernel memory of the maps that are still in this object and that are its own, bytes.
    pub(super) fn memory_bytes(&self) -> u64 {
        let is_shared =
            |name: &str| self.spec.maps.iter().any(|m| m.name == name && m.size == Size::Shared);
        let own = self.ebpf.maps().filter(|(name, _)| !is_shared(name));
        own.map(|(_, map)| maps::fd(map).map_or(0, |fd| maps::memory_bytes(fd.as_fd()))).sum()
    }
}

/// Loads the program `name`, and attaches it to the return of the function that checks capabilities.
/// Returns whether the kernel supports that: it requires CONFIG_FUNCTION_TRACER. The program stays
/// attached until the object is unloaded.
fn follow_capabilities(ebpf: &mut Ebpf, name: &str, btf: &Btf) -> bool {
    let attached = programs::find::<FExit>(ebpf, name).map_err(|error| error.to_string()).and_then(
        |program| {
            programs::load_despite_signals(|| program.load(CAPABILITY_CHECK, btf))
                .and_then(|()| program.attach().map(drop))
                .map_err(|error| error.to_string())
        },
    );
    if let Err(error) = &attached {
        tracing::info!("cannot follow checks of capabilities: {error}");
    }
    attached.is_ok()
}
