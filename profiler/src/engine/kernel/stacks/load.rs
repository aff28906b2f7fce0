//! Loads and attaches the object.

use aya::maps::{HashMap, MapError, PerCpuArray, RingBuf};
use profiler_common::{
    maps as names,
    settings::{self, FieldGroup},
};

use super::{StackCollector, options::StackOptions};
use crate::{
    engine::kernel::{
        allocator::{release_memory, return_large_blocks},
        attached::AttachedObject,
        error::KernelError,
        features::Features,
        filter, host_tasks,
        identity::Identity,
        load::{Loaded, Setup, StackSizes},
        loader, maps,
        object::{self, Group, ObjectName, When},
        session,
    },
    model::Scope,
};

/// Threads of the host, in scope or not: the least space.
const LEAST_TASKS: u32 = 16_384;

/// How many times as many threads as there are now the table has space for.
const GROWTH: u32 = 4;

/// Rows per stack: the same stack can belong to several processes and syscalls.
const ROWS_PER_STACK: u32 = 2;

/// Bytes of the ring buffer.
const RING_BYTES: u32 = 32 << 20;

impl StackCollector {
    /// Loads and attaches the object. When it returns, every call in scope is followed.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(stacks: &StackOptions) -> Result<Self, KernelError> {
        stacks.check()?;
        return_large_blocks();
        let features = Features::probe();
        features.require()?;
        session::raise_memlock();
        let options = &stacks.options;
        check(stacks, &features)?;
        let mut loader = loader::without_types();
        let identity = Identity::learn(&mut loader, features.host_pid_namespace)?;
        session::support::check_namespace(options, &features, &identity)?;
        let own_tgid = (!options.include_self).then_some(identity.tgid);
        let setup = setup(stacks, &features, own_tgid);
        let needs = |when| match when {
            When::StackExits => stacks.needs_exits(),
            When::KernelStacks => stacks.kernel,
            _ => setup.needs(when),
        };
        let mut loaded = Loaded::create(object::find(ObjectName::Stacks), &setup, loader, &[])?;
        loaded.load_programs_for(&setup, needs)?;
        let ebpf = &mut loaded.ebpf;
        filter::fill_maps(ebpf, &options.scope, &options.filter)?;
        let ring = RingBuf::try_from(maps::take(ebpf, names::STACK_COPIES)?)
            .map_err(|e| failed(names::STACK_COPIES, &e))?;
        let rows = HashMap::try_from(maps::take(ebpf, names::STACK_ROWS)?)
            .map_err(|e| failed(names::STACK_ROWS, &e))?;
        let frames = HashMap::try_from(maps::take(ebpf, names::FRAMES)?)
            .map_err(|e| failed(names::FRAMES, &e))?;
        let samplers = PerCpuArray::try_from(maps::take(ebpf, names::STACK_SAMPLERS)?)
            .map_err(|e| failed(names::STACK_SAMPLERS, &e))?;
        let losses = PerCpuArray::try_from(maps::take(ebpf, names::STACK_LOSSES)?)
            .map_err(|e| failed(names::STACK_LOSSES, &e))?;
        let programs = loaded.spec.programs_for(needs);
        let mut object = AttachedObject::new(loaded, programs, false);
        let AttachedObject { spec, programs, ebpf, .. } = &mut object;
        for program in programs {
            program.attach_next(ebpf, spec.hook)?;
        }
        release_memory();
        let ring_bytes = setup.stacks.ring_bytes as usize;
        Ok(Self { object, ring, ring_bytes, rows, frames, samplers, losses, malformed: 0 })
    }
}

/// Checks that this kernel can follow calls in the scope.
fn check(stacks: &StackOptions, features: &Features) -> Result<(), KernelError> {
    let options = &stacks.options;
    if !features.layout.has(FieldGroup::Task) && options.scope != Scope::Host {
        return Err(KernelError::Missing {
            feature: "type information (BTF), without which the profiler cannot follow children",
            needs: "CONFIG_DEBUG_INFO_BTF=y; `profiler flame -a` works without it",
        });
    }
    if !options.filter.places.is_empty() {
        return Err(KernelError::Missing {
            feature: "stacks of calls by unit, container or pod yet",
            needs: "the cgroup of the unit, container or pod: --cgroup",
        });
    }
    filter::check_support(&options.filter, features)
}

/// The setup of the object.
fn setup<'a>(stacks: &'a StackOptions, features: &'a Features, own: Option<u32>) -> Setup<'a> {
    let sizes = StackSizes {
        tasks: host_tasks::count().saturating_mul(GROWTH).max(LEAST_TASKS),
        frames: stacks.max_stacks,
        rows: stacks.max_stacks.saturating_mul(ROWS_PER_STACK),
        ring_bytes: if stacks.copies { RING_BYTES } else { RING_BYTES / 32 },
    };
    let mut setup = Setup::new(&stacks.options, features, own, None);
    setup.stacks = sizes;
    setup.settings.add(
        Group::Stacks,
        [
            (settings::STACK_WEIGHT, stacks.weight_setting()),
            (settings::STACK_OF_EVERY, stacks.every.into()),
            (settings::STACK_OF_KERNEL, stacks.kernel.into()),
            (settings::STACK_COPIED, stacks.copies.into()),
            (settings::STACK_RATE, stacks.rate),
            (settings::RING_BYTES, sizes.ring_bytes),
            (settings::SLOWER_LOW, stacks.slower_ns as u32),
            (settings::SLOWER_HIGH, (stacks.slower_ns >> 32) as u32),
        ],
    );
    setup
}

fn failed(map: &str, error: &MapError) -> KernelError {
    KernelError::from_any(format!("use the map {map}"), error)
}
