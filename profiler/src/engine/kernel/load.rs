//! Loads the object that fits this kernel, attaches its programs, and detaches
//! them.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use aya::{
    Btf, Ebpf, EbpfLoader, Endianness, VerifierLogLevel,
    maps::{HashMap, Map, MapData, RingBuf},
    programs::{BtfTracePoint, ProgramError, RawTracePoint},
};
use aya_log::EbpfLogger;
use profiler_common::{
    limits::{self, globals},
    maps, share,
};

use super::{
    FdInfo, Fit, KernelError, MapTables, MemoryLimit, Options, arena,
    attached::Attached,
    before,
    btf::TaskLayout,
    features::Features,
    filter,
    identity::{Clock, Identity},
    loader,
    object::{self, ObjectKind},
    programs::{ENTRY, PROGRAMS, ProgramSpec},
    signals::{self, SignalsSent},
    statistics::{self, Statistics},
};
use crate::model::{Scope, Untimed};

/// Loaded and attached programs. Dropping it detaches and unloads everything.
pub struct Session {
    tables: MapTables,
    /// In the order in which they attached.
    attached: Vec<Attached>,
    wake: RingBuf<MapData>,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
    object: ObjectKind,
    /// Of the maps that are not in `tables`.
    memory_bytes: u64,
    statistics: Statistics,
    clock: Clock,
    /// Why the tables are smaller than asked for, if they are.
    shrunk: Option<String>,
    /// Why the kernel does not time the programs, if it was asked to.
    untimed: Option<Untimed>,
    /// Which signals were sent to us and to the command, if there is one.
    signals: Option<SignalsSent>,
    /// Holds the programs and the maps that are not taken out.
    ebpf: Ebpf,
}

impl Session {
    /// Loads and attaches. From its return on every call in scope counts.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(options: &Options) -> Result<Self, KernelError> {
        options.check()?;
        return_large_blocks();
        let limit = MemoryLimit::tightest();
        let Fit { max_threads, max_extents, why: shrunk } = Fit::new(options, limit.as_ref())?;
        let options = &Options { max_threads, max_extents, ..options.clone() };
        let features = Features::probe();
        features.require()?;
        raise_memlock();
        let mut kind = ObjectKind::best(&features, options);
        if kind == ObjectKind::Fallback && features.layout.is_none() && options.scope != Scope::Host
        {
            return Err(KernelError::Missing {
                feature: "type information (BTF), without which children cannot be followed",
                needs: "CONFIG_DEBUG_INFO_BTF=y; `profiler stat -a` works without it",
            });
        }
        filter::require(&options.filter, &features)?;
        let optional = [filter::program(&options.filter), signals::program(options)];
        let programs: Vec<_> = optional.into_iter().flatten().chain(PROGRAMS).collect();
        let preemptible = features.preemptible_tracepoints();
        let mut loader = loader::without_types();
        let identity = Identity::learn(&mut loader, features.host_pid_namespace)?;
        if options.scope != Scope::Host
            && !identity.is_in_host_namespace(features.host_pid_namespace)
        {
            return Err(KernelError::Missing {
                feature: "view of the host's process ids from within this pid namespace",
                needs: "the host's pid namespace (docker run --pid=host, hostPID: true); `-a` works without",
            });
        }
        let own = (!options.include_self).then_some(identity.tgid);
        let mut loaded =
            Loaded::new(loader, &programs, kind, &features, options, (own, limit.as_ref()));
        if kind == ObjectKind::Arena
            && let Err(error) = &loaded
            && !matches!(error, KernelError::Privilege { .. })
        {
            // As without a JIT, or where a verifier knows less of arenas than those tried.
            tracing::warn!("this kernel refuses the arena, so arrays are used: {error}");
            kind = ObjectKind::Arrays;
            loaded = Loaded::new(
                loader::without_types(),
                &programs,
                kind,
                &features,
                options,
                (own, limit.as_ref()),
            );
        }
        let Loaded { mut ebpf, tables, lists_before } = loaded?;
        let wake = RingBuf::try_from(take_map(&mut ebpf, maps::WAKE)?)
            .map_err(|e| KernelError::from_any("open the wake-up buffer".into(), &e))?;
        let signals = options.command.map(|_| SignalsSent::new(&mut ebpf)).transpose()?;
        let log = EbpfLogger::init(&mut ebpf).ok();
        let memory_bytes = maps_memory(&ebpf);
        let attach = |spec| Attached::new(&ebpf, spec, preemptible);
        let attached = programs.into_iter().map(attach).collect();
        // Before anything is attached: then every run is in the kernel's statistics.
        let kept = options.time_programs.then(statistics::keep).transpose();
        let untimed = kept.as_ref().err().copied();
        let statistics = Statistics::of(&ebpf, kept.ok().flatten());
        let clock = identity.clock;
        let mut session = Self {
            tables,
            shrunk,
            attached,
            wake,
            log,
            object: kind,
            memory_bytes,
            statistics,
            clock,
            untimed,
            signals,
            ebpf,
        };
        for program in &mut session.attached {
            if program.spec.name == ENTRY.name && lists_before && before::list(&mut session.ebpf) {
                session.tables.listed_before(clock.now_ns());
            }
            for _ in 0..program.spec.at_first(preemptible) {
                program.attach_next(&mut session.ebpf, kind)?;
            }
        }
        session.tables.set_attached(true);
        release_memory();
        Ok(session)
    }

    /// The time now by the clock of `bpf_ktime_get_ns`, nanoseconds.
    pub fn now_ns(&self) -> u64 {
        self.clock.now_ns()
    }

    /// What the programs recorded.
    pub fn tables(&mut self) -> &mut MapTables {
        &mut self.tables
    }

    /// Why the tables are smaller than asked for, if they are.
    pub fn shrunk(&self) -> Option<&str> {
        self.shrunk.as_deref()
    }

    /// Stops counting new calls; those in flight are still seen to leave.
    pub fn stop_entries(&mut self) {
        // First, since every call from now on leaves without having entered.
        self.tables.set_attached(false);
        self.attached.iter_mut().filter(|p| p.spec.name == ENTRY.name).for_each(Attached::detach);
    }

    /// Detaches everything.
    pub fn detach(&mut self) {
        // In the order in which they attached, less the entries: a task that ends
        // while we detach is better not seen to end than not seen to leave.
        self.stop_entries();
        self.attached.iter_mut().for_each(Attached::detach);
    }

    /// Becomes readable when room runs low. [`Self::clear_wake`] makes it quiet.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Takes note of all wake-ups.
    pub fn clear_wake(&mut self) {
        while self.wake.next().is_some() {}
    }

    /// Which signals were sent to us and to the command, if there is one.
    pub fn signals_sent(&self) -> Option<&SignalsSent> {
        self.signals.as_ref()
    }

    /// Passes the kernel side's messages on to the log.
    pub fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }

    /// Kernel memory of all maps, bytes, as the kernel accounts it.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes + self.tables.memory_bytes()
    }

    /// The kernel's statistics of the programs.
    pub fn statistics(&mut self) -> &mut Statistics {
        &mut self.statistics
    }

    /// Why the kernel does not time the programs, if it was asked to when they attached.
    pub fn untimed(&self) -> Option<Untimed> {
        self.untimed
    }

    /// How often the kernel skipped each program because it was running already; of one
    /// that is attached several times over, at most how often it skipped all of them.
    pub fn program_misses(&self) -> Vec<(&'static str, u64)> {
        self.attached.iter().map(|program| (program.spec.name, program.skipped())).collect()
    }

    /// How many copies of the program that counts entries are attached.
    pub fn copies(&self) -> usize {
        self.attached.iter().find(|p| p.spec.name == ENTRY.name).map_or(0, Attached::copies)
    }

    /// Attaches a further copy of each program all of whose copies the kernel has skipped
    /// since this was called last. That needs no privilege: they are loaded.
    ///
    /// # Errors
    /// See [`KernelError`]; what is attached stays so.
    pub fn reinforce(&mut self) -> Result<(), KernelError> {
        for program in &mut self.attached {
            if program.needs_more() {
                program.attach_next(&mut self.ebpf, self.object)?;
            }
        }
        Ok(())
    }

    /// Which programs run, for people.
    pub fn mode(&self) -> &'static str {
        self.object.description()
    }
}

/// All that there is before anything attaches.
struct Loaded {
    ebpf: Ebpf,
    tables: MapTables,
    lists_before: bool,
}

impl Loaded {
    fn new(
        loader: EbpfLoader<'static>,
        programs: &[ProgramSpec],
        kind: ObjectKind,
        features: &Features,
        options: &Options,
        (own, limit): (Option<u32>, Option<&MemoryLimit>),
    ) -> Result<Self, KernelError> {
        let room_before = (kind != ObjectKind::Fallback).then(|| before::room(features));
        let mut ebpf = load_object(loader, kind, features, options, own, room_before)?;
        let arena = (kind == ObjectKind::Arena).then(|| arena::map(&ebpf, options)).transpose()?;
        // Programs before tables: a map that is taken out is closed with its mapping
        // made, and a program that is loaded holds its maps.
        let lists_before = load_programs(&mut ebpf, programs, kind, features)?;
        set_targets(&mut ebpf, &options.scope)?;
        filter::fill(&mut ebpf, &options.filter)?;
        let tables = MapTables::new(&mut ebpf, options, room_before, arena, limit)?;
        Ok(Self { ebpf, tables, lists_before })
    }
}

fn load_object(
    loader: EbpfLoader<'static>,
    kind: ObjectKind,
    features: &Features,
    options: &Options,
    own: Option<u32>,
    room_before: Option<u32>,
) -> Result<Ebpf, KernelError> {
    let layout = features.layout.unwrap_or_else(|| TaskLayout::without_btf(features.version));
    let targets_only = u32::from(options.scope != Scope::Host);
    let mut settings = vec![
        (globals::OWN_TGID, own.unwrap_or(0)),
        (globals::TARGETS_ONLY, targets_only),
        (globals::TIMED, super::options::threshold(options.timed)),
        (globals::PROBE_CALLS, probe_calls(features.version)),
        (globals::STATUS_OFFSET, layout.status),
        (globals::PID_OFFSET, layout.pid),
        (globals::TGID_OFFSET, layout.tgid),
        (globals::LEADER_OFFSET, layout.leader),
        (globals::START_OFFSET, layout.start),
        (globals::COMM_OFFSET, layout.comm),
        // Where no entry can be missed, one that is not there was refused.
        (globals::ENTRIES_CAN_BE_MISSED, u32::from(features.preemptible_tracepoints())),
        (globals::WORK_OFFSET, layout.syscall_work),
        (globals::PTRACE_OFFSET, layout.ptrace),
    ];
    if let Some(seccomp) = layout.seccomp {
        settings.extend([
            (globals::HAS_TASK_REGS, u32::from(features.version >= before::SINCE)),
            (globals::SECCOMP_MODE_OFFSET, seccomp.mode),
            (globals::SECCOMP_FILTER_OFFSET, seccomp.filter),
            (globals::ALLOWED_OFFSET, seccomp.allowed),
            (globals::ALLOWED_NATIVE_BYTES, seccomp.native_bytes),
            (globals::ALLOWED_COMPAT_BYTES, seccomp.compat_bytes),
        ]);
    }
    settings.extend(signals::settings(options));
    settings.extend(filter::settings(&options.filter, &options.scope, features));
    let records = share::with_reserve(options.max_threads);
    // Of a shorter lifetime: that of the settings.
    let mut loader: EbpfLoader<'_> = loader;
    loader
        .allow_unsupported_maps()
        // The kernel then keeps only the path that fails. A verbose log has every path, which takes
        // minutes to write, also if the load fails for another reason, such as EMFILE.
        .verifier_log_level(VerifierLogLevel::DEBUG | VerifierLogLevel::STATS)
        .map_max_entries(maps::FREE_RECORDS, records)
        .map_max_entries(maps::EXTENT_OWNERS, options.max_extents)
        .map_max_entries(maps::FREE_EXTENTS, options.max_extents);
    filter::size(&options.filter, &mut loader);
    if let Some(room) = room_before {
        loader.map_max_entries(maps::BEFORE, room).map_max_entries(maps::BEFORE_BY_TASK, room);
        if let Some(sleep) = layout.sleep {
            if let Some(supervisor) = layout.seccomp.and_then(|seccomp| seccomp.supervisor) {
                settings.extend([
                    (globals::FILTER_PREV_OFFSET, supervisor.prev),
                    (globals::FILTER_NOTIF_OFFSET, supervisor.notif),
                    (globals::NOTIFICATIONS_OFFSET, supervisor.notifications),
                    (globals::KNOTIF_LIST_OFFSET, supervisor.list),
                    (globals::KNOTIF_TASK_OFFSET, supervisor.task),
                ]);
            }
            settings.extend([
                (globals::STATE_OFFSET, sleep.state),
                (globals::FLAGS_OFFSET, sleep.flags),
                (globals::ON_CPU_OFFSET, sleep.on_cpu),
                (globals::JOBCTL_OFFSET, sleep.jobctl),
                (globals::NVCSW_OFFSET, sleep.nvcsw),
                (globals::NIVCSW_OFFSET, sleep.nivcsw),
                (globals::LAST_SIGINFO_OFFSET, sleep.last_siginfo),
                (globals::SI_CODE_OFFSET, sleep.si_code),
            ]);
        }
    }
    if kind != ObjectKind::Arena {
        // With an arena they stay at the one value that they have in the object.
        loader
            .map_max_entries(maps::RECORDS, records)
            .map_max_entries(maps::CELLS, options.max_extents * limits::CELLS_PER_EXTENT);
    }
    if kind == ObjectKind::Arena {
        loader.map_max_entries(maps::ARENA, arena::pages(options));
        settings.push((globals::RECORDS_AT, profiler_common::arena::records(options.max_extents)));
    }
    if kind == ObjectKind::Fallback {
        // Twice as many: a thread out of scope has a state too, and no record. And
        // never fewer than by default: without a record a call is still counted, but
        // without a state it is lost.
        let threads = options.max_threads.max(limits::DEFAULT_THREADS);
        loader.map_max_entries(maps::TASKS, threads.saturating_mul(2));
    }
    for (name, value) in &settings {
        loader.override_global(name, value, true);
    }
    let object = match (kind, features.arena) {
        (ObjectKind::Arena, Some(cast)) => {
            let mut object = object::arena();
            cast.patch(object.to_mut())?;
            object
        }
        (ObjectKind::Arena | ObjectKind::Arrays, _) => object::task(),
        (ObjectKind::Fallback, _) => object::tid(),
    };
    loader.load(&object).map_err(|e| KernelError::from_any("create the BPF maps".into(), &e))
}

/// `uretprobe` came with Linux 6.11, `uprobe` with 6.18.
fn probe_calls(kernel: (u32, u32)) -> u32 {
    [(6, 11), (6, 18)].into_iter().filter(|&since| kernel >= since).count() as u32
}

pub(super) fn take_map(ebpf: &mut Ebpf, name: &'static str) -> Result<Map, KernelError> {
    ebpf.take_map(name).ok_or_else(|| KernelError::Object(format!("it has no map {name}")))
}

fn set_targets(ebpf: &mut Ebpf, scope: &Scope) -> Result<(), KernelError> {
    let Scope::Processes(processes) = scope else { return Ok(()) };
    let failed = |e: aya::maps::MapError| KernelError::from_any("name the processes".into(), &e);
    let mut targets: HashMap<_, u32, u32> =
        HashMap::try_from(take_map(ebpf, maps::TARGETS)?).map_err(failed)?;
    for process in processes {
        targets.insert(process, 1, 0).map_err(failed)?;
    }
    Ok(())
}

pub(super) fn program<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, KernelError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))
}

/// Loads what attaches, and what lists the calls from before, where that can be done.
/// Returns whether it could.
fn load_programs(
    ebpf: &mut Ebpf,
    programs: &[ProgramSpec],
    kind: ObjectKind,
    features: &Features,
) -> Result<bool, KernelError> {
    let btf = match kind {
        ObjectKind::Arena | ObjectKind::Arrays => Some(
            Btf::parse(&features.attach_btf, Endianness::default())
                .map_err(|e| KernelError::from_any("read the BTF".into(), &e))?,
        ),
        ObjectKind::Fallback => None,
    };
    for spec in programs {
        for copy in spec.copies(features.preemptible_tracepoints()) {
            let loaded = match &btf {
                Some(btf) => {
                    let program = program::<BtfTracePoint>(ebpf, copy)?;
                    though_interrupted(|| program.load(spec.tracepoint, btf))
                }
                None => {
                    let program = program::<RawTracePoint>(ebpf, copy)?;
                    though_interrupted(|| program.load())
                }
            };
            loaded.map_err(|e| KernelError::from_load(copy, e))?;
        }
    }
    Ok(btf.is_some_and(|btf| before::load(ebpf, features, &btf)))
}

/// How often a program is loaded while signals interrupt it. As many times as libbpf does
/// (`PROG_LOAD_ATTEMPTS`, tools/lib/bpf/bpf.c).
const LOAD_ATTEMPTS: usize = 5;

/// Loads a program again if a signal, a debugger or a freezer of cgroups interrupted the
/// verifier, which then says EAGAIN (`do_check`, kernel/bpf/verifier.c).
pub(super) fn though_interrupted(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let mut loaded = load();
    for _ in 1..LOAD_ATTEMPTS {
        match &loaded {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            _ => break,
        }
        loaded = load();
    }
    loaded
}

/// Before Linux 5.11 maps count against RLIMIT_MEMLOCK. Raising it needs
/// CAP_SYS_RESOURCE; where that is missing, loading may still succeed.
fn raise_memlock() {
    use nix::sys::resource::{RLIM_INFINITY, Resource, setrlimit};
    let _ = setrlimit(Resource::RLIMIT_MEMLOCK, RLIM_INFINITY, RLIM_INFINITY);
}

/// Has the allocator give large blocks back to the system at once. By default glibc keeps
/// blocks as large as the largest that was freed so far (M_MMAP_THRESHOLD, mallopt(3)): after
/// the kernel's types were read once, all of them.
pub fn return_large_blocks() {
    // SAFETY: glibc's own way to do that; safe at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 * 1024);
    }
}

/// Gives back to the system what parsing the kernel's types took for a moment, some
/// fifteen megabytes, which the allocator would keep for good.
pub fn release_memory() {
    // SAFETY: glibc's own way to do that; safe at any time from any thread.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// What the kernel charges for the map behind `fd`, bytes.
pub(super) fn map_memory(fd: BorrowedFd<'_>) -> u64 {
    FdInfo::of(fd.as_raw_fd()).number("memlock").unwrap_or(0)
}

fn maps_memory(ebpf: &Ebpf) -> u64 {
    ebpf.maps().map(|(_, map)| map_fd(map).map_or(0, map_memory)).sum()
}

/// The descriptor of a map of one of the kinds that the object has.
pub(super) fn map_fd(map: &Map) -> Option<BorrowedFd<'_>> {
    match map {
        Map::Array(data)
        | Map::PerCpuArray(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::Stack(data)
        | Map::RingBuf(data)
        | Map::Unsupported(data) => Some(data.fd().as_fd()),
        _ => None,
    }
}
