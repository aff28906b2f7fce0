//! Events by which the user side learns the paths of cgroups.

use core::slice;

use aya_ebpf::helpers::bpf_probe_read_kernel_str_bytes;
use profiler_common::{
    cgroup::{Event, HEADER, V1},
    limits::CGROUP_PATH_LEN,
};

use super::{Happened, are_known};
use crate::{
    counters::count,
    maps::CGROUP_EVENTS,
    scope::{filter, places},
    settings::{HIERARCHY_OFFSET, ROOT_OFFSET, V1_HIERARCHY},
    task::{Task, field_u32, field_u64},
    verifier::opaque,
};

/// The event that is being sent. There is one at a time: the kernel holds a spin lock while it
/// reports a path (`TRACE_CGROUP_PATH`, kernel/cgroup/cgroup-internal.h).
#[unsafe(no_mangle)]
static mut CGROUP_EVENT: Event = Event::NOTHING;

/// Handles what happened to `cgroup`, whose path is at `path`: the scope of the cgroup first, then
/// the event. Other hierarchies than those that records name are left out.
#[inline(never)]
pub fn handle(cgroup: Task, path: *const u8, happened: Happened) {
    if !are_known() {
        return;
    }
    let root = field_u64(cgroup, ROOT_OFFSET.load()) as Task;
    let mark = match field_u32(root, HIERARCHY_OFFSET.load()) {
        0 => 0,
        id if id == V1_HIERARCHY.load() => V1,
        _ => return,
    };
    places::follow(cgroup, mark, happened);
    // SAFETY: nobody else writes the event, and the helpers check the address of the path.
    unsafe {
        let event = &raw mut CGROUP_EVENT;
        let Ok(read) = bpf_probe_read_kernel_str_bytes(path, &mut (*event).path) else { return };
        let len = opaque(read.len() as u32);
        if len > CGROUP_PATH_LEN as u32 {
            return;
        }
        (*event).id = filter::id(cgroup) | mark;
        (*event).happened = happened as u32;
        (*event).len = len;
        let bytes = slice::from_raw_parts(event.cast::<u8>(), len as usize + HEADER);
        if CGROUP_EVENTS.output_untyped::<[u8]>(bytes, 0).is_err() {
            count!(cgroup_events_lost);
        }
    }
}
