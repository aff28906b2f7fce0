//! The settings: constants that are patched into the objects before the load.
//!
//! A session computes the settings once. Each object gets the groups in its description.

use nix::time::{ClockId, clock_getres};
use profiler_common::{
    arena,
    sampling::{self, adaptive::Limit},
    settings::{self as names, FieldGroup},
    share,
};

use super::{
    arch,
    features::Features,
    hierarchies::{CONTROLLERS, Hierarchies},
    object::Group,
    options::Options,
};
use crate::model::{Scope, Timed};

/// `bpf_task_pt_regs` came with this version.
pub(super) const TASK_REGS_SINCE: (u32, u32) = (5, 15);

/// A setting: its group, its name in the object, and its value.
type Setting = (Group, &'static str, u32);

/// The settings of a session.
pub(super) struct Settings(Vec<Setting>);

impl Settings {
    /// Computes the settings. `own_tgid` is the process that is not counted, if any. `hierarchies`
    /// are those of the cgroups of calls, if calls are grouped by cgroup.
    pub(super) fn new(
        options: &Options,
        features: &Features,
        own_tgid: Option<u32>,
        hierarchies: Option<&Hierarchies>,
    ) -> Self {
        let mut settings = Self(Vec::new());
        settings.add_scope(options, own_tgid);
        settings.add_filter(options);
        settings.add_sampling(options.timed);
        settings.add_kernel(features);
        settings.add_cgroups(hierarchies, features);
        settings.add_fields(features);
        let (extents, records) = (options.max_extents, share::with_reserve(options.max_threads));
        settings.add(
            Group::Arena,
            [
                (names::RECORDS_AT, arena::records(extents)),
                (names::IDENTITIES_AT, arena::identities(extents, records)),
                // Within 4 GiB if there are samplers.
                (names::SAMPLERS_AT, arena::samplers(extents, records) as u32),
            ],
        );
        if let Some(rings) = features.io_uring() {
            settings.add(
                Group::IoUring,
                [
                    (names::URING_COMPLETION, rings.completion),
                    (names::URING_SUBMITTED_AT, rings.submitted_at),
                    (names::URING_FAILED_AT, rings.failed_at.unwrap_or(0)),
                ],
            );
        }
        let notes_failures = u32::from(options.targets.is_some());
        settings.add(Group::Failures, [(names::FAILURES_NOTED, notes_failures)]);
        if let Some(command) = options.command {
            let profiler = std::process::id();
            settings.add(
                Group::Signals,
                [(names::PROFILER_TGID, profiler), (names::COMMAND_TGID, command)],
            );
        }
        settings
    }

    /// The names and values of these groups.
    pub(super) fn of(&self, groups: &[Group]) -> impl Iterator<Item = (&'static str, &u32)> {
        let wanted = self.0.iter().filter(|(group, ..)| groups.contains(group));
        wanted.map(|(_, name, value)| (*name, value))
    }

    /// Adds the settings of a group.
    pub(super) fn add(
        &mut self,
        group: Group,
        settings: impl IntoIterator<Item = (&'static str, u32)>,
    ) {
        self.0.extend(settings.into_iter().map(|(name, value)| (group, name, value)));
    }

    fn add_scope(&mut self, options: &Options, own_tgid: Option<u32>) {
        let is_narrow = options.filter.changes() || options.scope != Scope::Host;
        self.add(
            Group::Scope,
            [
                (names::OWN_TGID, own_tgid.unwrap_or(0)),
                (names::TARGETS_ONLY, u32::from(options.scope != Scope::Host)),
                (names::SCOPE_IS_NARROW, u32::from(is_narrow)),
                (names::SCOPE_CHANGES, u32::from(options.filter.changes())),
            ],
        );
    }

    fn add_sampling(&mut self, timed: Timed) {
        let limit = match timed {
            Timed::Adaptive(calls) => Limit::new(calls.get(), tick_ns()),
            _ => Limit { cost: 0, budget: 0 },
        };
        let setting = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
        self.add(
            Group::Sampling,
            [
                (names::TIMED, sampling_threshold(timed)),
                (names::SAMPLING_COST, setting(limit.cost)),
                (names::SAMPLING_BUDGET, setting(limit.budget)),
            ],
        );
    }

    fn add_filter(&mut self, options: &Options) {
        let filter = &options.filter;
        self.add(
            Group::Filter,
            [
                (names::CGROUPS_ONLY, u32::from(!filter.cgroups.is_empty())),
                (names::PLACES_ONLY, u32::from(!filter.places.is_empty())),
                (names::COMMS_ONLY, u32::from(!filter.comms.is_empty())),
                (names::CALLS_ONLY, u32::from(filter.calls.is_some())),
            ],
        );
    }

    fn add_cgroups(&mut self, hierarchies: Option<&Hierarchies>, features: &Features) {
        let v1 = hierarchies.and_then(Hierarchies::v1);
        let index = |controller: &str| {
            let at = CONTROLLERS.iter().position(|&known| known == controller)?;
            features.controllers[at]
        };
        let v1 = v1.and_then(|v1| Some((index(v1.controller)? + 1, v1.id)));
        let (controller, hierarchy) = v1.unwrap_or_default();
        self.add(
            Group::Filter,
            [
                (names::CGROUPS_KNOWN, u32::from(hierarchies.is_some())),
                (names::V1_CONTROLLER, controller),
                (names::V1_HIERARCHY, hierarchy),
            ],
        );
    }

    fn add_kernel(&mut self, features: &Features) {
        self.add(
            Group::Kernel,
            [
                (names::PROBE_CALLS, arch::probe_syscalls(features.version)),
                // If no entry can be missed, a call without an entry was denied.
                (names::ENTRIES_CAN_BE_MISSED, u32::from(features.preemptible_tracepoints())),
            ],
        );
    }

    /// Adds the offsets of fields in the kernel's types.
    fn add_fields(&mut self, features: &Features) {
        for (field, value) in features.layout.known(features.version) {
            self.add(group_of(field.group), [(field.setting, value)]);
        }
        if features.layout.has(FieldGroup::Seccomp) {
            let has_helper = u32::from(features.version >= TASK_REGS_SINCE);
            self.add(Group::Seccomp, [(names::HAS_TASK_REGS, has_helper)]);
        }
    }
}

/// The group of the settings for the fields of a group.
fn group_of(fields: FieldGroup) -> Group {
    match fields {
        FieldGroup::Task => Group::Task,
        FieldGroup::Seccomp => Group::Seccomp,
        FieldGroup::Supervisor | FieldGroup::Sleep => Group::CallLister,
        FieldGroup::Threads | FieldGroup::Cgroup => Group::Filter,
        FieldGroup::IoUring => Group::IoUring,
        FieldGroup::Trace => Group::Trace,
        FieldGroup::Files | FieldGroup::Directory => Group::Files,
    }
}

/// The threshold by which the programs sample.
fn sampling_threshold(timed: Timed) -> u32 {
    match timed {
        Timed::All => sampling::ALL,
        Timed::OneIn(calls) => sampling::one_in(calls.get()),
        Timed::Adaptive(_) => sampling::ADAPTIVE,
        Timed::None => sampling::NONE,
    }
}

/// Length of a tick of the kernel's tick counter, nanoseconds: 1/CONFIG_HZ seconds.
///
/// It is the resolution of the coarse clocks (`posix_get_coarse_res`, kernel/time/posix-timers.c).
/// x86 has ticks of 1 to 10 ms.
fn tick_ns() -> u32 {
    const MS: i64 = 1_000_000;
    let resolution = clock_getres(ClockId::CLOCK_MONOTONIC_COARSE);
    let tick_ns = resolution.map_or(4 * MS, |resolution| resolution.tv_nsec());
    u32::try_from(tick_ns.clamp(MS, 10 * MS)).unwrap_or(4 * MS as u32)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use ::object::{Object as _, ObjectSection as _, ObjectSymbol as _, read::elf::ElfFile64};
    use profiler_common::settings::{FIELDS, OPTIONS};

    use crate::engine::kernel::object::{self as objects, COUNTERS, ObjectName};

    /// An object has exactly the settings of its description, so that none stays 0 by mistake.
    #[test]
    fn every_object_has_every_setting() {
        let listed = OPTIONS.iter().copied().chain(FIELDS.iter().map(|field| field.setting));
        let listed: BTreeSet<&str> = listed.collect();
        for spec in
            COUNTERS.into_iter().chain([ObjectName::Trace, ObjectName::Stacks]).map(objects::find)
        {
            let bytes = spec.bytes();
            let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).expect("an ELF file");
            let constants = elf.section_by_name(".rodata").expect("constants").index();
            let settings = elf.symbols().filter(|symbol| {
                let is_constant = symbol.section_index() == Some(constants);
                is_constant && symbol.is_global() && symbol.size() == 4
            });
            let found = settings.filter_map(|symbol| symbol.name().ok()).collect();
            assert_eq!(listed, found, "{:?}", spec.name);
        }
    }
}
