//! The entry program: counts a call that enters, and stores its key and the time.

use aya_ebpf::helpers::bpf_ktime_get_ns;
use profiler_common::{call::CallKey, sampling, wire::OVERFLOWED};

use crate::{
    arch,
    backend::Backend,
    counters::count,
    pool::{overflow, slots},
    sampling as adaptive, scope,
    settings::TIMED,
    thread::{self, RecordIndex},
};

/// Runs a further copy of the program: it counts the entry if no earlier copy has.
///
/// The kernel skips a program on a CPU that already runs it (`bpf_prog_get_recursion_context`,
/// include/linux/bpf.h). If a program in a tracepoint can be preempted (Linux 7.1), the CPU may be
/// running it for another task, until that task gets the CPU again. So there, several copies are
/// attached.
#[inline(always)]
pub fn enter_again<B: Backend>(regs: u64, nr: u64) {
    if scope::outside::has::<B>(regs) {
        return;
    }
    if let Some(record) = thread::from_hint::<B>(regs) {
        // SAFETY: a live map value of the running thread's own.
        let key = CallKey(unsafe { (*record).in_flight_key });
        if key != CallKey::NONE && !key.is_interrupted() {
            return;
        }
    } else if thread::entry_is_counted::<B>(B::current()) {
        return;
    }
    count!(entries_taken_over);
    enter::<B>(regs, nr);
}

/// Counts a call that enters, with number `nr` and registers at `regs`.
#[inline(always)]
pub fn enter<B: Backend>(regs: u64, nr: u64) {
    if scope::outside::has::<B>(regs) {
        return;
    }
    let record = match thread::from_hint::<B>(regs) {
        Some(found) if scope::is_current(found) => found,
        _ => {
            let found = thread::at_entry::<B>(regs, nr).and_then(RecordIndex::record::<B>);
            let Some(record) = found else { return };
            record
        }
    };
    let key = CallKey::new(nr, B::owner_is_compat(record)).0;
    // SAFETY: a live map value, and its owner, the running thread, is its only writer.
    unsafe {
        thread::end_previous_call(record);
        let mut slot = (*record).last_slot;
        if (*record).last_key != key {
            if !scope::counts_call(key) {
                (*record).in_flight_key = CallKey::UNCOUNTED.0;
                return;
            }
            slot = slots::find::<B>(record, key);
            if slot != 0 {
                (*record).last_key = key;
                (*record).last_slot = slot;
            }
        }
        let turn;
        match slots::slot::<B>(slot) {
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
        // A reader that sees the sum sees what is in it.
        arch::publish();
        (*record).entered += 1;
        // As late as possible, so that little of our own time is in the latency.
        match TIMED.load() {
            sampling::ALL => (*record).entry_ns = bpf_ktime_get_ns(),
            sampling::NONE => {}
            sampling::ADAPTIVE if slot == OVERFLOWED => {
                (*record).entry_ns = adaptive::enter_overflow(key);
            }
            sampling::ADAPTIVE => (*record).entry_ns = adaptive::enter::<B>(slot, turn),
            threshold if sampling::is_timed((*record).first_turn.wrapping_add(turn), threshold) => {
                (*record).entry_ns = bpf_ktime_get_ns();
            }
            _ => (*record).entry_ns = 0,
        }
        // A reader that sees the key sees the time of the call.
        arch::publish();
        (*record).in_flight_key = key;
    }
}
