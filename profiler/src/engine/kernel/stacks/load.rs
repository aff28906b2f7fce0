//! Loads and attaches the object.

use profiler_common::{maps as names, settings};

use super::{StackCollector, options::StackOptions};
use crate::engine::kernel::{
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
        filter::check_followed(
            options,
            &features,
            "stacks of calls by unit, container or pod yet",
            "CONFIG_DEBUG_INFO_BTF=y; `profiler flame -a` works without it",
        )?;
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
        let ring = maps::take_as(ebpf, names::STACK_COPIES)?;
        let rows = maps::take_as(ebpf, names::STACK_ROWS)?;
        let frames = maps::take_as(ebpf, names::FRAMES)?;
        let samplers = maps::take_as(ebpf, names::STACK_SAMPLERS)?;
        let losses = maps::take_as(ebpf, names::STACK_LOSSES)?;
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
