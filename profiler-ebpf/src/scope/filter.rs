//! Filters: by the cgroup of a task, by the name of its process, and by syscall.
//!
//! The filters apply to any task, and not only to the running task. They read the fields of its
//! `task_struct`.
//!
//! The cgroups of a task are read from its `css_set`. No helper of Linux 5.10 returns the cgroups
//! above that of a task, and none returns those of a task that does not run.

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use profiler_common::{
    call::CallKey,
    cgroup::Place,
    limits::{CGROUP_LEVELS, COMM_LEN},
};

use super::places;
use crate::{
    maps::{CALLS, CGROUPS, COMMS, RENAMED},
    settings::{
        ANCESTOR_IDS_OFFSET, ANCESTORS_OFFSET, CGROUPS_OFFSET, CGROUPS_ONLY, COMM_OFFSET,
        COMMS_ONLY, DFL_CGRP_OFFSET, KN_ID_OFFSET, KN_OFFSET, LEADER_OFFSET, LEVEL_OFFSET,
        NR_THREADS_OFFSET, PLACES_ONLY, SIGNAL_OFFSET,
    },
    task::{Task, field_u32, field_u64},
};

/// A process's name, NUL-padded.
pub type Comm = [u8; COMM_LEN];

/// Whether `task` matches every filter of tasks. A task in an undecided cgroup does.
#[inline(always)]
pub fn agrees(task: Task) -> bool {
    (CGROUPS_ONLY.load() == 0 || in_cgroup(task))
        && (PLACES_ONLY.load() == 0 || places::of(task) != 0)
        && (COMMS_ONLY.load() == 0 || is_named(task))
}

/// Whether `task` matches every filter of tasks. A task in an undecided cgroup does not.
#[inline(always)]
pub fn surely_agrees(task: Task) -> bool {
    (PLACES_ONLY.load() == 0 || places::of(task) == Place::Inside as u32) && agrees(task)
}

/// Whether `task` is in a cgroup of the filter, or below one.
#[inline(never)]
fn in_cgroup(task: Task) -> bool {
    // The kernel frees the set after an RCU grace period, and this program is within one.
    let set = field_u64(task, CGROUPS_OFFSET.load()) as Task;
    let cgroup = field_u64(set, DFL_CGRP_OFFSET.load()) as Task;
    // SAFETY: the value is not read.
    of_ancestor(cgroup, |id| unsafe { CGROUPS.get(&id) }.map(|_| ())).is_some()
}

/// The first answer about the id of an ancestor of `cgroup`, from the root on, or about its own id.
#[inline(always)]
pub fn of_ancestor<T>(cgroup: Task, answer: impl Fn(u64) -> Option<T>) -> Option<T> {
    let own_level = field_u32(cgroup, LEVEL_OFFSET.load());
    for level in 0..CGROUP_LEVELS {
        if level > own_level {
            break;
        }
        if let Some(found) = answer(ancestor(cgroup, level)) {
            return Some(found);
        }
    }
    None
}

/// The id of the ancestor of `cgroup` on this level, or of `cgroup` itself on its own level.
#[inline(always)]
fn ancestor(cgroup: Task, level: u32) -> u64 {
    match ANCESTOR_IDS_OFFSET.load() {
        0 => id(field_u64(cgroup, ANCESTORS_OFFSET.load() + 8 * level) as Task),
        ids => field_u64(cgroup, ids + 8 * level),
    }
}

/// The id of `cgroup`: the id of its node, which is the inode of its directory.
#[inline(always)]
pub fn id(cgroup: Task) -> u64 {
    field_u64(field_u64(cgroup, KN_OFFSET.load()) as Task, KN_ID_OFFSET.load())
}

/// Whether the name of the process of `task` is in the filter.
#[inline(always)]
fn is_named(task: Task) -> bool {
    leader_is_named(field_u64(task, LEADER_OFFSET.load()) as Task)
}

/// Whether the name of the process that `leader` leads is in the filter.
///
/// The kernel announces a rename before it writes the name. Until then, [`RENAMED`] has the answer.
#[inline(never)]
pub fn leader_is_named(leader: Task) -> bool {
    // SAFETY: copied at once.
    if let Some(&named) = unsafe { RENAMED.get(leader as u64) } {
        return named != 0;
    }
    // SAFETY: the helper checks the address.
    unsafe {
        let comm = leader.cast::<u8>().add(COMM_OFFSET.load() as usize);
        read_name(comm).is_some_and(|name| is_name(&name))
    }
}

/// Whether this name is in the filter.
#[inline(always)]
pub fn is_name(name: &Comm) -> bool {
    // SAFETY: the value is not read.
    unsafe { COMMS.get(name) }.is_some()
}

/// Reads the name at `at`. All bytes after the NUL are 0.
#[inline(always)]
pub fn read_name(at: *const u8) -> Option<Comm> {
    let mut name = [0_u8; COMM_LEN];
    // SAFETY: the helper checks the address.
    unsafe { bpf_probe_read_kernel_str_bytes(at, &mut name) }.ok()?;
    Some(name)
}

/// Whether `task` is the only thread of its process.
#[inline(always)]
pub fn is_alone(task: Task) -> bool {
    field_u32(field_u64(task, SIGNAL_OFFSET.load()) as Task, NR_THREADS_OFFSET.load()) == 1
}

/// Whether the syscall with this key is in the filter.
#[inline(always)]
pub fn counts(key: u32) -> bool {
    // SAFETY: a live map value. Nobody writes it any more.
    CALLS.get_ptr(CallKey(key).overflow_index()).is_some_and(|counts| unsafe { *counts } != 0)
}
