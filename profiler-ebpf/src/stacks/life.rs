//! Forks, execs and ends of tasks.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::{
    stacks::{ABOUT_EXEC, ABOUT_FORK, StackKey, StackRecord},
    wire::TaskState,
};
use profiler_ebpf::{
    life,
    maps::RENAMED,
    scope::outside,
    settings::{COMMS_ONLY, TGID_OFFSET},
    task::{Task, field_u32, layout_known},
};

use super::{StackBackend, copy, known};

/// Handles `sched_process_fork`: the running task `parent` made `child`, which has not run yet.
#[inline(always)]
pub fn fork<B: StackBackend>(parent: Task, child: Task) {
    life::fork::<B>(parent, child);
    // SAFETY: a live state of the running task.
    let image = known::<B>(parent).map_or(0, |parent| unsafe { (*parent).image });
    let Some(known) = known::<B>(child) else { return };
    let tgid = if layout_known() { field_u32(child, TGID_OFFSET.load()) } else { 0 };
    let forked_by = (bpf_get_current_pid_tgid() >> 32) as u32;
    // SAFETY: a live state; the child has not run yet.
    unsafe {
        // What an earlier task at the same address left, whose end was missed.
        (*known).entry_ns = 0;
        (*known).image = image;
        (*known).tgid = tgid;
        let is_watched = (*known.cast::<TaskState>()).flags & TaskState::WATCHED != 0;
        if tgid != 0 && tgid != forked_by && is_watched {
            notify(ABOUT_FORK, tgid, image, forked_by.into());
        }
    }
}

/// Handles `sched_process_exec`: the running task runs another program.
#[inline(always)]
pub fn exec<B: StackBackend>(task: Task) {
    life::exec::<B>(task);
    let Some(known) = known::<B>(task) else { return };
    // SAFETY: a live state of the running task, and always safe to call.
    unsafe {
        // Not 0, and another one than before. It also says when the program began.
        let image = (bpf_ktime_get_ns() >> 8) as u32 | 1;
        (*known).image = if image == (*known).image { image.wrapping_add(2) } else { image };
        // An exec by a thread that is not the leader does not change the process.
        (*known).tgid = (bpf_get_current_pid_tgid() >> 32) as u32;
        if (*known.cast::<TaskState>()).flags & TaskState::WATCHED != 0 {
            notify(ABOUT_EXEC, (*known).tgid, (*known).image, 0);
        }
    }
}

#[inline(always)]
fn notify(about: u32, tgid: u32, image: u32, ip: u64) {
    let key = StackKey { tgid, image, ..StackKey::default() };
    let record = StackRecord { about, key, ip, ..StackRecord::default() };
    copy::notify(&record, about == ABOUT_EXEC);
}

/// Handles `sched_process_exit`: the running task ends.
#[inline(always)]
pub fn exit<B: StackBackend>(task: Task) {
    if COMMS_ONLY.load() != 0 {
        let _ = RENAMED.remove(task as u64);
    }
    if let Some(known) = known::<B>(task) {
        outside::forget(known.cast());
    }
    B::forget(task);
}
