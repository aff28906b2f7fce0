//! The settings: constants that are patched into the objects before the load.
//!
//! A session computes the settings once. Each object gets the groups that its description names.

use profiler_common::{arena, limits::globals, sampling};

use super::{
    arch,
    btf::{CgroupLayout, FilterLayout, SeccompLayout, SleepLayout, SupervisorLayout, TaskLayout},
    features::Features,
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
    /// Computes the settings. `own_tgid` is the process that does not count, if there is one.
    pub(super) fn new(options: &Options, features: &Features, own_tgid: Option<u32>) -> Self {
        let layout = features.layout.unwrap_or_else(|| TaskLayout::without_btf(features.version));
        let mut settings = Self(Vec::new());
        settings.add_scope(options, own_tgid);
        settings.add_filter(options, features.filters);
        settings.add(Group::Sampling, [(globals::TIMED, sampling_threshold(options.timed))]);
        settings.add_kernel(features);
        settings.add_task(&layout);
        if let Some(seccomp) = layout.seccomp {
            settings.add_seccomp(seccomp, features.version);
        }
        if let Some(sleep) = layout.sleep {
            settings.add_call_lister(sleep, layout.seccomp.and_then(|s| s.supervisor));
        }
        let records_at = arena::records(options.max_extents);
        settings.add(Group::Arena, [(globals::RECORDS_AT, records_at)]);
        if let Some(command) = options.command {
            let profiler = std::process::id();
            settings.add(
                Group::Signals,
                [(globals::PROFILER_TGID, profiler), (globals::COMMAND_TGID, command)],
            );
        }
        settings
    }

    /// The names and values of these groups.
    pub(super) fn of(&self, groups: &[Group]) -> impl Iterator<Item = (&'static str, &u32)> {
        let wanted = self.0.iter().filter(|(group, ..)| groups.contains(group));
        wanted.map(|(_, name, value)| (*name, value))
    }

    fn add(&mut self, group: Group, settings: impl IntoIterator<Item = (&'static str, u32)>) {
        self.0.extend(settings.into_iter().map(|(name, value)| (group, name, value)));
    }

    fn add_scope(&mut self, options: &Options, own_tgid: Option<u32>) {
        let is_narrow = options.filter.changes() || options.scope != Scope::Host;
        self.add(
            Group::Scope,
            [
                (globals::OWN_TGID, own_tgid.unwrap_or(0)),
                (globals::TARGETS_ONLY, u32::from(options.scope != Scope::Host)),
                (globals::SCOPE_IS_NARROW, u32::from(is_narrow)),
                (globals::SCOPE_CHANGES, u32::from(options.filter.changes())),
            ],
        );
    }

    fn add_filter(&mut self, options: &Options, layout: Option<FilterLayout>) {
        let filter = &options.filter;
        self.add(
            Group::Filter,
            [
                (globals::CGROUPS_ONLY, u32::from(!filter.cgroups.is_empty())),
                (globals::COMMS_ONLY, u32::from(!filter.comms.is_empty())),
                (globals::CALLS_ONLY, u32::from(filter.calls.is_some())),
            ],
        );
        let Some(FilterLayout { signal, nr_threads, cgroup }) = layout else { return };
        self.add(
            Group::Filter,
            [(globals::SIGNAL_OFFSET, signal), (globals::NR_THREADS_OFFSET, nr_threads)],
        );
        let Some(CgroupLayout { of_task, of_set, level, ancestor_ids, ancestors, kn, kn_id }) =
            cgroup
        else {
            return;
        };
        self.add(
            Group::Filter,
            [
                (globals::CGROUPS_OFFSET, of_task),
                (globals::DFL_CGRP_OFFSET, of_set),
                (globals::LEVEL_OFFSET, level),
                (globals::ANCESTOR_IDS_OFFSET, ancestor_ids),
                (globals::ANCESTORS_OFFSET, ancestors),
                (globals::KN_OFFSET, kn),
                (globals::KN_ID_OFFSET, kn_id),
            ],
        );
    }

    fn add_kernel(&mut self, features: &Features) {
        self.add(
            Group::Kernel,
            [
                (globals::PROBE_CALLS, arch::probe_syscalls(features.version)),
                // Where no entry can be missed, a missing entry was refused.
                (globals::ENTRIES_CAN_BE_MISSED, u32::from(features.preemptible_tracepoints())),
            ],
        );
    }

    fn add_task(&mut self, layout: &TaskLayout) {
        self.add(
            Group::Task,
            [
                (globals::STATUS_OFFSET, layout.status),
                (globals::PID_OFFSET, layout.pid),
                (globals::TGID_OFFSET, layout.tgid),
                (globals::LEADER_OFFSET, layout.leader),
                (globals::START_OFFSET, layout.start),
                (globals::COMM_OFFSET, layout.comm),
                (globals::WORK_OFFSET, layout.syscall_work),
                (globals::PTRACE_OFFSET, layout.ptrace),
            ],
        );
    }

    fn add_seccomp(&mut self, seccomp: SeccompLayout, kernel: (u32, u32)) {
        self.add(
            Group::Seccomp,
            [
                (globals::HAS_TASK_REGS, u32::from(kernel >= TASK_REGS_SINCE)),
                (globals::SECCOMP_MODE_OFFSET, seccomp.mode),
                (globals::SECCOMP_FILTER_OFFSET, seccomp.filter),
                (globals::ALLOWED_OFFSET, seccomp.allowed),
                (globals::ALLOWED_NATIVE_BYTES, seccomp.native_bytes),
                (globals::ALLOWED_COMPAT_BYTES, seccomp.compat_bytes),
            ],
        );
    }

    fn add_call_lister(&mut self, sleep: SleepLayout, supervisor: Option<SupervisorLayout>) {
        self.add(
            Group::CallLister,
            [
                (globals::STATE_OFFSET, sleep.state),
                (globals::FLAGS_OFFSET, sleep.flags),
                (globals::ON_CPU_OFFSET, sleep.on_cpu),
                (globals::JOBCTL_OFFSET, sleep.jobctl),
                (globals::NVCSW_OFFSET, sleep.nvcsw),
                (globals::NIVCSW_OFFSET, sleep.nivcsw),
                (globals::LAST_SIGINFO_OFFSET, sleep.last_siginfo),
                (globals::SI_CODE_OFFSET, sleep.si_code),
            ],
        );
        let Some(supervisor) = supervisor else { return };
        self.add(
            Group::CallLister,
            [
                (globals::FILTER_PREV_OFFSET, supervisor.prev),
                (globals::FILTER_NOTIF_OFFSET, supervisor.notif),
                (globals::NOTIFICATIONS_OFFSET, supervisor.notifications),
                (globals::KNOTIF_LIST_OFFSET, supervisor.list),
                (globals::KNOTIF_TASK_OFFSET, supervisor.task),
            ],
        );
    }
}

/// The threshold by which the programs sample.
fn sampling_threshold(timed: Timed) -> u32 {
    match timed {
        Timed::All => sampling::ALL,
        Timed::OneIn(calls) => sampling::one_in(calls.get()),
        Timed::None => sampling::NONE,
    }
}
