//! `sys_enter`: remember which call, and when.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{call::CallKey, sampling, wire::OVERFLOWED};

use crate::{
    overflow,
    pool::{self, count},
    scope,
    settings::TIMED,
    slots, thread,
    way::Way,
};

/// What a further copy of the program does: the same, if no copy before it has.
///
/// The kernel skips a program on a CPU on which it is running already
/// (`bpf_prog_get_recursion_context`, include/linux/bpf.h). Where tracepoints can be
/// preempted (Linux 7.1) it may be running there for another task, for as long as that
/// one waits for the CPU. So the program is then attached several times over.
#[inline(always)]
pub fn enter_again<W: Way>(regs: u64, nr: u64) {
    if scope::is_outside::<W>(regs) {
        return;
    }
    if let Some(record) = thread::hinted::<W>(regs) {
        // SAFETY: a live map value of the running thread's own.
        let key = CallKey(unsafe { (*record).in_flight_key });
        if key != CallKey::NONE && !key.is_interrupted() {
            return;
        }
    } else if thread::has_entered::<W>(W::current()) {
        return;
    }
    count!(entries_taken_over);
    enter::<W>(regs, nr);
}

/// A call of number `nr` enters, `regs` being its registers.
#[inline(always)]
pub fn enter<W: Way>(regs: u64, nr: u64) {
    if scope::is_outside::<W>(regs) {
        return;
    }
    let record = match thread::hinted::<W>(regs) {
        Some(found) if scope::holds(found) => found,
        _ => {
            let found = thread::entering::<W>(regs, nr);
            if found == 0 {
                return;
            }
            let Some(record) = W::record(found - 1) else { return };
            record
        }
    };
    let key = CallKey::new(nr, W::owner_is_compat(record)).0;
    // SAFETY: a live map value, and its owner, the running thread, is its only writer.
    unsafe {
        scope::ends_before(record);
        let mut slot = (*record).last_slot;
        if (*record).last_key != key {
            if !scope::counts(key) {
                (*record).in_flight_key = CallKey::UNCOUNTED.0;
                return;
            }
            slot = slots::find::<W>(record, key);
            if slot != 0 {
                (*record).last_key = key;
                (*record).last_slot = slot;
            }
        }
        let turn;
        match slots::slot::<W>(slot) {
            Some(figures) if slot != 0 => {
                turn = (*figures).entered;
                (*figures).entered = turn + 1;
            }
            _ => {
                turn = (*record).overflowed;
                slot = OVERFLOWED;
                (*record).overflowed += 1;
                overflow::entered(key);
            }
        }
        (*record).in_flight_slot = slot;
        // Once a reader sees the sum, it sees all that is in it.
        pool::publish();
        (*record).entered += 1;
        // As late as can be, so that little of our own time is in the latency.
        match TIMED.load() {
            sampling::ALL => (*record).entry_ns = bpf_ktime_get_ns(),
            sampling::NONE => {}
            threshold if sampling::is_timed((*record).first_turn.wrapping_add(turn), threshold) => {
                (*record).entry_ns = bpf_ktime_get_ns();
            }
            _ => (*record).entry_ns = 0,
        }
        // Once a reader sees a key, it sees that call's time.
        pool::publish();
        (*record).in_flight_key = key;
    }
}
