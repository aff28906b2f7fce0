//! Loads and attaches the object.

use aya::{
    Ebpf,
    maps::{Array, Stack},
};
use nix::unistd::{SysconfVar, sysconf};
use profiler_common::{
    call::{ABIS, CallKey, OVERFLOW_SLOTS},
    maps as names,
    recorder::slots_of_ring,
    settings::{self, FieldGroup},
    trace::{Capture, ERRNO_WORDS, NO_PLAN, NUMBERS, Plan, number_index},
    wire::Control,
};

use super::{Tracer, batch::Batch, options::TraceOptions, recorder::Recorder};
use crate::{
    engine::kernel::{
        allocator::{release_memory, return_large_blocks},
        attached::AttachedObject,
        error::KernelError,
        features::Features,
        filter, host_tasks,
        identity::Identity,
        load::{Loaded, Setup, TraceSizes},
        loader, maps,
        object::{self, Group, ObjectName},
        session,
    },
    filter::Filter,
    model::Scope,
};

/// Threads of which memory is copied, at most: of the processes of a scope, and of a whole host.
const PENDING_OF_PROCESSES: u32 = 1_024;
const PENDING_OF_HOST: u32 = 4_096;

/// Threads of the host, in scope or not: the least space.
const LEAST_TASKS: u32 = 16_384;

/// How many times as many threads as there are now the table has space for.
const GROWTH: u32 = 4;

impl Tracer {
    /// Loads and attaches the object. When it returns, every call in scope is followed. `plans` says
    /// what to copy of each syscall.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(
        trace: &TraceOptions,
        plans: impl Fn(CallKey) -> Plan,
    ) -> Result<Self, KernelError> {
        trace.check()?;
        return_large_blocks();
        let features = Features::probe();
        features.require()?;
        session::raise_memlock();
        let options = &trace.options;
        filter::check_followed(
            options,
            &features,
            "trace of calls by unit, container or pod yet",
            "CONFIG_DEBUG_INFO_BTF=y; `profiler trace -a` works without it",
        )?;
        check_failures(trace, &features)?;
        let mut loader = loader::without_types();
        let identity = Identity::learn(&mut loader, features.host_pid_namespace)?;
        session::support::check_namespace(options, &features, &identity)?;
        let own_tgid = (!options.include_self).then_some(identity.tgid);
        let setup = setup(trace, &features, own_tgid);
        let mut loaded = Loaded::create(object::find(ObjectName::Trace), &setup, loader, &[])?;
        loaded.load_programs(&setup)?;
        let ebpf = &mut loaded.ebpf;
        fill(ebpf, trace, &setup.trace, plans)?;
        filter::fill_maps(ebpf, &options.scope, &options.filter)?;
        let ring = maps::take_as(ebpf, names::EVENTS)?;
        let tasks = maps::take_as(ebpf, names::TASKS)?;
        let pending = maps::take_as(ebpf, names::PENDING)?;
        let recorder = trace.last.map(|last| Recorder::new(ebpf, last.calls, trace.recorder()));
        let recorder = recorder.transpose()?;
        let losses = maps::take_as(ebpf, names::LOSSES)?;
        let mut control: Array<_, Control> = maps::take_as(ebpf, names::CONTROL)?;
        let programs = loaded.spec.programs_for(|when| setup.needs(when));
        let mut object = AttachedObject::new(loaded, programs, false);
        let AttachedObject { spec, programs, ebpf, .. } = &mut object;
        for program in programs {
            program.attach_next(ebpf, spec.hook)?;
        }
        // From now on, an exit without an entry means that a call was denied, unless it is the
        // first exit of its thread.
        control
            .set(
                0,
                Control {
                    attached: 1,
                    ..control.get(&0, 0).map_err(|e| maps::failed(names::CONTROL, &e))?
                },
                0,
            )
            .map_err(|e| maps::failed(names::CONTROL, &e))?;
        release_memory();
        Ok(Self {
            object,
            ring,
            ring_bytes: setup.trace.ring_bytes as usize,
            tasks,
            pending,
            losses,
            recorder,
            clock: identity.clock,
            batch: Batch::new(),
            horizon_ns: identity.clock.now_ns(),
            malformed: 0,
        })
    }
}

/// Checks that this kernel can report the ends of processes, if they are to be reported.
fn check_failures(trace: &TraceOptions, features: &Features) -> Result<(), KernelError> {
    if trace.last.is_some_and(|last| last.failures) && !features.layout.has(FieldGroup::Trace) {
        return Err(KernelError::Missing {
            feature: "type information (BTF), without which the profiler cannot read how a process \
                      ended",
            needs: "CONFIG_DEBUG_INFO_BTF=y; `profiler trace --last` works without it if --on, \
                    --failed, --errno or --slower names another event",
        });
    }
    Ok(())
}

/// Bytes of the ring buffer of a flight recorder, which sends few records.
const REPORT_BYTES: u32 = 1 << 20;

/// The setup of the object.
fn setup<'a>(trace: &'a TraceOptions, features: &'a Features, own: Option<u32>) -> Setup<'a> {
    let page = sysconf(SysconfVar::PAGE_SIZE).ok().flatten().unwrap_or(4096);
    let page = u32::try_from(page).unwrap_or(4096);
    let recorder = trace.recorder();
    let ring_bytes = if trace.last.is_some() { REPORT_BYTES } else { trace.ring_bytes };
    let sizes = TraceSizes {
        tasks: host_tasks::count().saturating_mul(GROWTH).max(LEAST_TASKS),
        pending: match trace.options.scope {
            Scope::Host => PENDING_OF_HOST,
            _ => PENDING_OF_PROCESSES,
        },
        ring_bytes: ring_bytes.next_power_of_two().max(page),
        recorded: trace.last.map(|_| recorder.rings),
        slots: trace.last.map(|_| recorder.slots),
    };
    let mut setup = Setup::new(&trace.options, features, own, None);
    setup.trace = sizes;
    setup.settings.add(
        Group::Trace,
        [
            (settings::TEXT_LIMIT, trace.string_limit),
            (settings::RING_BYTES, sizes.ring_bytes),
            (settings::FAILED_ONLY, trace.only_failed.into()),
            (settings::ERRNOS_ONLY, (!trace.errnos.is_empty()).into()),
            (settings::SLOWER_LOW, trace.slower_ns as u32),
            (settings::SLOWER_HIGH, (trace.slower_ns >> 32) as u32),
            (settings::CASTS, features.arena.is_some().into()),
            (settings::RING_SLOTS, trace.last.map_or(0, |last| slots_of_ring(last.calls))),
            (settings::REPORTS_FAILURES, trace.last.is_some_and(|last| last.failures).into()),
            (settings::FILES_KNOWN, (trace.files && features.layout.has(FieldGroup::Files)).into()),
        ],
    );
    setup
}

/// Fills the maps that the programs only read, and the stack of free entries.
fn fill(
    ebpf: &mut Ebpf,
    trace: &TraceOptions,
    sizes: &TraceSizes,
    plans: impl Fn(CallKey) -> Plan,
) -> Result<(), KernelError> {
    let mut of_calls: Array<_, [Capture; 8]> = maps::take_as(ebpf, names::PLANS)?;
    for index in 0..OVERFLOW_SLOTS {
        let plan = CallKey::from_overflow_index(index).map_or(NO_PLAN, &plans);
        if plan != NO_PLAN {
            of_calls.set(index, plan, 0).map_err(|e| maps::failed(names::PLANS, &e))?;
        }
    }
    let mut numbers: Array<_, u32> = maps::take_as(ebpf, names::NUMBERS)?;
    for number in numbers_of(&trace.options.filter) {
        numbers.set(number, 1, 0).map_err(|e| maps::failed(names::NUMBERS, &e))?;
    }
    let mut errnos: Array<_, u64> = maps::take_as(ebpf, names::ERRNOS)?;
    for (index, word) in (0..).zip(words_of(&trace.errnos)).filter(|(_, word)| *word != 0) {
        errnos.set(index, word, 0).map_err(|e| maps::failed(names::ERRNOS, &e))?;
    }
    let mut free: Stack<_, u32> = maps::take_as(ebpf, names::FREE_PENDING)?;
    for index in (0..sizes.pending).rev() {
        free.push(index, 0).map_err(|e| maps::failed(names::FREE_PENDING, &e))?;
    }
    Ok(())
}

/// The indexes in the map of numbers that the filter of syscalls may include.
fn numbers_of(filter: &Filter) -> Vec<u32> {
    let Some(calls) = &filter.calls else { return Vec::new() };
    let counted = (0..).zip(calls.counts()).filter(|(_, counts)| **counts);
    let keys = counted.filter_map(|(index, _)| CallKey::from_overflow_index(index));
    let mut numbers: Vec<u32> = keys
        .flat_map(|key| {
            // The last number of an ABI stands for all greater ones.
            let end = if key.is_unknown() { NUMBERS } else { key.nr() + 1 };
            (key.nr()..end).map(|nr| number_index(nr.into()))
        })
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

/// A bit for each errno.
fn words_of(errnos: &[u32]) -> [u64; ERRNO_WORDS as usize] {
    let mut words = [0; ERRNO_WORDS as usize];
    for &errno in errnos {
        if let Some(word) = words.get_mut(errno as usize / 64) {
            *word |= 1 << (errno % 64);
        }
    }
    words
}

const _: () = assert!(ABIS.len() == 3 && NUMBERS > 640, "each known number has an index");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_are_bits() {
        let words = words_of(&[1, 64, 4095, 4096]);
        assert_eq!((words[0], words[1], words[63]), (2, 1, 1 << 63));
    }
}
