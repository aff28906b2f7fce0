//! Filters by systemd unit, container or pod.
//!
//! The user side knows which cgroups these are, since it knows their paths and their names. A cgroup
//! that appears later is undecided from the moment it is made. The tracepoint `cgroup_mkdir` comes
//! before the directory of the cgroup is visible (`kernfs_activate` in `cgroup_mkdir`,
//! kernel/cgroup/cgroup.c, Linux 6.18), so no task is in it yet. Calls in an undecided cgroup count in
//! records of that cgroup. The reader holds these records back until it has decided.

use aya_ebpf::bindings::BPF_ANY;
use profiler_common::cgroup::{Happened, Place};

use super::filter;
use crate::{cgroup, counters::count, maps::PLACES, settings::PLACES_ONLY, task::Task};

/// The [`Place`] of `task`, which can be any task; 0 if it is out of scope.
#[inline(never)]
pub fn of(task: Task) -> u32 {
    let (cgroup, mark) = cgroup::find(task);
    of_cgroup(cgroup, mark)
}

/// The [`Place`] of a cgroup; 0 if it is out of scope.
#[inline(always)]
fn of_cgroup(cgroup: Task, mark: u64) -> u32 {
    // SAFETY: copied at once.
    filter::of_ancestor(cgroup, |id| unsafe { PLACES.get(&(id | mark)) }.copied()).unwrap_or(0)
}

/// Follows what happened to `cgroup`, whose hierarchy has this mark.
#[inline(always)]
pub fn follow(cgroup: Task, mark: u64, happened: Happened) {
    if PLACES_ONLY.load() == 0 {
        return;
    }
    let id = filter::id(cgroup) | mark;
    match happened {
        Happened::Removed => {
            let _ = PLACES.remove(&id);
        }
        // Also below an undecided cgroup: that one may turn out to be out of scope.
        _ if of_cgroup(cgroup, mark) != Place::Inside as u32 => {
            if PLACES.insert(&id, &(Place::Undecided as u32), BPF_ANY.into()).is_err() {
                count!(places_refused);
            }
            // A cgroup that is renamed may have tasks, about which there are decisions.
            if matches!(happened, Happened::Renamed) {
                super::invalidate_all();
            }
        }
        _ => {}
    }
}
