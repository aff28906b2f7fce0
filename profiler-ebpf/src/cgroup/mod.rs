//! Cgroups: the cgroup of a task, moves between cgroups, and the events by which the user side learns
//! the paths of cgroups.
//!
//! Version 2 has the cgroup of a task. If a task is in the root of version 2, and a hierarchy of
//! version 1 has processes, the cgroup there counts: so it is on a host that uses version 1 only.

pub mod events;
pub mod moves;

pub use profiler_common::cgroup::Happened;
use profiler_common::cgroup::V1;

use crate::{
    scope::filter,
    settings::{
        CGROUPS_KNOWN, CGROUPS_OFFSET, CSS_CGROUP_OFFSET, DFL_CGRP_OFFSET, LEVEL_OFFSET,
        SUBSYS_OFFSET, V1_CONTROLLER,
    },
    task::{Task, field_u32, field_u64},
};

/// Whether records have cgroups.
#[inline(always)]
pub fn are_known() -> bool {
    CGROUPS_KNOWN.load() != 0
}

/// The id of the cgroup of `task`, which can be any task; 0 if it is unknown.
#[inline(always)]
pub fn of(task: Task) -> u64 {
    if !are_known() {
        return 0;
    }
    let (cgroup, mark) = find(task);
    filter::id(cgroup) | mark
}

/// The cgroup of `task`, which can be any task, and the mark of its hierarchy in ids.
#[inline(always)]
pub fn find(task: Task) -> (Task, u64) {
    // The kernel frees the set after an RCU grace period, and this program is within one.
    let set = field_u64(task, CGROUPS_OFFSET.load()) as Task;
    let unified = field_u64(set, DFL_CGRP_OFFSET.load()) as Task;
    if V1_CONTROLLER.load() != 0 && field_u32(unified, LEVEL_OFFSET.load()) == 0 {
        let at = SUBSYS_OFFSET.load() + 8 * (V1_CONTROLLER.load() - 1);
        let css = field_u64(set, at) as Task;
        let cgroup = field_u64(css, CSS_CGROUP_OFFSET.load()) as Task;
        if field_u32(cgroup, LEVEL_OFFSET.load()) != 0 {
            return (cgroup, V1);
        }
    }
    (unified, 0)
}
