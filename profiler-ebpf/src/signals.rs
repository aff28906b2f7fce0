//! Records which signals are sent to the profiler and to the command that it started.
//!
//! The program is loaded only with a command, and runs once per signal.

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use profiler_common::signals::{self, SIGNALS};

use crate::{
    maps::SIGNALS_SENT,
    settings::{COMMAND_TGID, PROFILER_TGID, TGID_OFFSET},
    task::{Task, field_u32},
};

/// Handles `signal_generate`: the running process sent `signal` to `task`. The event occurs also if
/// the signal is ignored or is already pending.
#[inline(always)]
pub fn sent(signal: u64, task: Task) {
    let tgid = field_u32(task, TGID_OFFSET.load());
    let first = if tgid == COMMAND_TGID.load() {
        signals::TO_COMMAND
    } else if tgid == PROFILER_TGID.load() {
        signals::TO_PROFILER
    } else {
        return;
    };
    let signal = signal as u32;
    if signal >= SIGNALS {
        return;
    }
    let Some(last) = SIGNALS_SENT.get_ptr_mut(first + signal) else { return };
    // SAFETY: a live map value. If two processes send at the same time, the id of one and the time
    // of the other may remain.
    unsafe {
        (*last).sender = u64::from((bpf_get_current_pid_tgid() >> 32) as u32);
        (*last).ns = bpf_ktime_get_ns();
    }
}
