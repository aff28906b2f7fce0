//! The flight recorder: writes each call into the ring of its thread, and sends a record only if
//! something happened. [`profiler_common::recorder`] describes the rings.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::helpers::{
    bpf_get_current_comm, bpf_ringbuf_output, generated::bpf_probe_read_kernel,
};
use profiler_common::{
    limits::OUTSIDE as PLACES,
    recorder::{Head, Mark, Ring, RingState, SLOT_DATA, Slot},
    trace::{About, Header, NEVER_RETURNED, TracedTask},
};

use super::{
    exit::{has_errno, is_error},
    life::free_memory,
    maps::{EVENTS, FREE_RINGS, OWNERS, PENDING, RECORDED, SLOTS},
    output::count_loss,
};
use profiler_ebpf::{
    arch, restart,
    scope::outside,
    settings::{
        CALLS_ONLY, ERRNOS_ONLY, FAILED_ONLY, GROUP_FLAGS_OFFSET, REPORTS_FAILURES, RING_SLOTS,
        SCOPE_CHANGES, SLOWER_HIGH, SLOWER_LOW,
    },
    stack,
    task::{Task, field_u32},
    verifier::{masked, opaque},
};

/// Whether the object is a flight recorder.
#[inline(always)]
pub fn is_on() -> bool {
    RING_SLOTS.load() != 0
}

/// Whether the state of a task can be found by its registers alone. With filters of syscalls, or
/// with a scope that changes, a call is decided about first.
#[inline(always)]
pub fn has_hints() -> bool {
    is_on() && CALLS_ONLY.load() == 0 && SCOPE_CHANGES.load() == 0
}

/// The index of the ring of each task, plus one, by where its registers are saved. Two tasks can
/// share a place; the last one has it.
#[unsafe(no_mangle)]
static mut RING_HINTS: [u64; PLACES] = [0; PLACES];

/// How far the registers of a task are from the address of its stack.
#[unsafe(no_mangle)]
static mut REGISTERS_FROM_STACK: u64 = 0;

/// The hint of the task whose registers are at `regs`.
#[inline(always)]
fn hint(regs: u64) -> *mut u64 {
    // SAFETY: an offset in a table with as many places as that of the tasks out of scope.
    unsafe { (&raw mut RING_HINTS).cast::<u8>().add(outside::offset(regs) as usize).cast() }
}

/// The state of the task whose registers are at `regs`, if the hint names it.
#[inline(always)]
pub fn hinted(regs: u64) -> Option<*mut TracedTask> {
    // SAFETY: a place in the table, and a live map value. The state names its owner, so a stale
    // hint does no harm.
    unsafe {
        let index = read_volatile(hint(regs)) as u32;
        let owned = OWNERS.get_ptr_mut(index.wrapping_sub(1))?;
        ((*owned).owner == regs).then_some(owned)
    }
}

/// Clears the hint that belongs to the kernel stack of `task`, which has not run yet: the end of the
/// last task with that stack may have been missed.
#[inline(always)]
pub fn forget_stack(task: Task) {
    // SAFETY: a static of our own, and a place in the table.
    unsafe {
        if let Some(regs) = stack::distance(&raw const REGISTERS_FROM_STACK, task) {
            write_volatile(hint(regs), 0);
        }
    }
}

/// The state that has the call in flight of a task: that of the owner of its ring, or `traced`, its
/// state in the table of tasks, if it has no ring.
///
/// # Safety
/// `traced` is a live state.
#[inline(always)]
pub unsafe fn owned(traced: *mut TracedTask) -> *mut TracedTask {
    // SAFETY: the caller's state.
    let index = unsafe { (*traced).ring };
    if !is_on() || index == 0 {
        return traced;
    }
    OWNERS.get_ptr_mut(index.wrapping_sub(1)).unwrap_or(traced)
}

/// Same as [`owned`], for the running task, which is in scope. Takes a ring if the task has none.
///
/// # Safety
/// `traced` is the live state of the running task, whose registers are at `regs`.
#[inline(always)]
pub unsafe fn owned_or_new(
    traced: *mut TracedTask,
    task: Task,
    regs: u64,
    ids: u64,
) -> *mut TracedTask {
    // SAFETY: the caller's state, a static of our own, and a place in the table.
    unsafe {
        if !is_on() {
            return traced;
        }
        let index = match (*traced).ring {
            0 => claim(traced, task, regs, ids),
            index => index,
        };
        if index == 0 {
            return traced;
        }
        if has_hints() {
            stack::learn(&raw mut REGISTERS_FROM_STACK, task, || regs);
            write_volatile(hint(regs), index.into());
        }
        OWNERS.get_ptr_mut(index.wrapping_sub(1)).unwrap_or(traced)
    }
}

/// A thread without a ring asks for one at each call whose number is a multiple of this.
const RETRY_EVERY: u32 = 64;

/// Takes a ring for the running task, which has none. Returns its index, plus one; 0 if there is
/// none.
///
/// # Safety
/// `traced` is the live state of the running task.
#[inline(always)]
unsafe fn claim(traced: *mut TracedTask, task: Task, regs: u64, ids: u64) -> u32 {
    // SAFETY: the caller's state, and live map values.
    unsafe {
        let missed = (*traced).dropped;
        if missed.is_multiple_of(RETRY_EVERY)
            && let Ok(Some(index)) = FREE_RINGS.pop()
            && let Some(ring) = RECORDED.get_ptr_mut(index)
            && let Some(owned) = OWNERS.get_ptr_mut(index)
        {
            (*owned).call.about = 0;
            (*owned).call.tid = 0;
            (*owned).call.comm[0] = 0;
            (*owned).flags = 0;
            (*owned).slot = 0;
            (*owned).dropped = 0;
            (*owned).task = task as u64;
            (*owned).ring = index + 1;
            // The next event continues where the last owner ended.
            let slots = u64::from(RING_SLOTS.load());
            (*owned).place = (*ring).head.checked_rem(slots).unwrap_or(0) as u32;
            (*owned).owner = regs;
            (*ring).tgid = (ids >> 32) as u32;
            (*ring).calls = 0;
            (*ring).owner += 1;
            arch::publish();
            (*ring).state = RingState::Live as u32;
            (*traced).ring = index + 1;
            return index + 1;
        }
        if missed == 0 {
            count_loss!(threads_without_ring);
        }
        (*traced).dropped = missed.saturating_add(1);
        count_loss!(unrecorded);
        0
    }
}

/// Writes an event into the ring of the running task. Returns its slot, or `None` if there is no
/// ring. `calls` is 1 for a call, and 0 for other events.
///
/// # Safety
/// `owned` is the live state of the running task that has its call, and `event` is valid.
#[inline(always)]
unsafe fn write(owned: *mut TracedTask, event: *const Header, calls: u32) -> Option<*mut Slot> {
    // SAFETY: the caller's state and event, and live map values.
    unsafe {
        let index = (*owned).ring;
        let ring: *mut Ring = RECORDED.get_ptr_mut(index.wrapping_sub(1))?;
        let (slots, place) = (RING_SLOTS.load(), (*owned).place);
        let slot: *mut Slot =
            SLOTS.get_ptr_mut(index.wrapping_sub(1).wrapping_mul(slots).wrapping_add(place))?;
        (*owned).place = if place + 1 >= slots { 0 } else { place + 1 };
        let seq = (*ring).head + 1;
        let made = (*ring).calls + calls;
        (*ring).calls = made;
        let mark = &raw mut (*slot).head.mark;
        (*mark).seq = 0;
        arch::publish();
        (*mark).calls = made;
        (*mark).ring = index;
        (*mark).owner = (*ring).owner;
        (*slot).head.header = *event;
        if (*event).bytes != 0
            && let Some(pending) = PENDING.get_ptr((*owned).slot.wrapping_sub(1))
        {
            let bytes = opaque((*event).bytes.min(SLOT_DATA as u32));
            let bytes = masked::<511>(bytes.into());
            if bytes <= SLOT_DATA as u64 {
                let data = (&raw mut (*slot).data).cast();
                bpf_probe_read_kernel(data, bytes as u32, (&raw const (*pending).data).cast());
            }
        }
        arch::publish();
        (*mark).seq = seq;
        arch::publish();
        (*ring).head = seq;
        Some(slot)
    }
}

/// Records the call of the running task, which left, and reports it if it is one to report.
///
/// # Safety
/// `owned` is the live state of the running task.
#[inline(always)]
pub unsafe fn record_call(owned: *mut TracedTask) {
    // SAFETY: the caller's state, and live map values.
    unsafe {
        let call = &raw mut (*owned).call;
        // The name of the call before, unless the thread was renamed since.
        if (*call).comm[0] == 0 {
            (*call).comm = bpf_get_current_comm().unwrap_or_default();
        }
        let (mut parts, mut bytes) = (0, 0);
        if (*owned).flags & TracedTask::HAS_PLAN != 0
            && let Some(pending) = PENDING.get_ptr((*owned).slot.wrapping_sub(1))
        {
            (parts, bytes) = ((*pending).header.parts, (*pending).header.bytes);
        }
        (*call).parts = parts;
        (*call).bytes = bytes;
        if let Some(slot) = write(owned, call, 1)
            && is_reported(call)
        {
            report(&raw const (*slot).head);
        }
    }
}

/// Records an event that is not a call.
///
/// # Safety
/// `owned` is the live state of the running task, and `event` is valid and has no parts.
#[inline(always)]
pub unsafe fn record(owned: *mut TracedTask, event: *const Header) {
    // SAFETY: the caller's state and event.
    unsafe {
        write(owned, event, 0);
    }
}

/// Whether a call that left is one at which the recording is printed.
///
/// # Safety
/// `call` is in a live map value.
#[inline(always)]
unsafe fn is_reported(call: *const Header) -> bool {
    let slower = u64::from(SLOWER_HIGH.load()) << 32 | u64::from(SLOWER_LOW.load());
    // SAFETY: the caller's call.
    let (flags, entry_ns, exit_ns, result) =
        unsafe { ((*call).flags, (*call).entry_ns, (*call).exit_ns, (*call).result) };
    // The end of the thread is what happened, and not its call.
    if flags & NEVER_RETURNED != 0 {
        return false;
    }
    // The time of a call without an entry is unknown.
    if slower != 0 && entry_ns != 0 && exit_ns.wrapping_sub(entry_ns) >= slower {
        return true;
    }
    if FAILED_ONLY.load() == 0 && ERRNOS_ONLY.load() == 0 {
        return false;
    }
    if !is_error(result) || restart::is_result(result as u64) {
        return false;
    }
    FAILED_ONLY.load() != 0 || has_errno(result.unsigned_abs())
}

/// Sends the head of a slot. Returns whether there was space for it.
///
/// # Safety
/// `head` is valid.
#[inline(always)]
unsafe fn report(head: *const Head) -> bool {
    let ring = (&raw const EVENTS).cast_mut().cast();
    // The kernel wakes the reader if it has read everything before.
    // SAFETY: a ring buffer, and the caller's head.
    let sent =
        unsafe { bpf_ringbuf_output(ring, head.cast_mut().cast(), size_of::<Head>() as u64, 0) };
    if sent != 0 {
        count_loss!(dropped);
    }
    sent == 0
}

/// `SIGNAL_GROUP_EXIT` (include/linux/sched/signal.h): the whole process ends.
const GROUP_EXIT: u32 = 4;

/// Handles the end of the running task, which is in scope. `end` describes it. If the process
/// fails, the ring is kept for the reader, and the end is reported.
///
/// # Safety
/// `traced` and `owned` are the live states of the running task, and `end` is valid.
#[inline(always)]
pub unsafe fn end(
    traced: *mut TracedTask,
    owned: *mut TracedTask,
    end: *const Header,
    signal: Task,
) {
    // SAFETY: the caller's states and event, and live map values.
    unsafe {
        let is_whole =
            (*end).args[0] != 0 || field_u32(signal, GROUP_FLAGS_OFFSET.load()) & GROUP_EXIT != 0;
        if REPORTS_FAILURES.load() == 0 || (*end).result == 0 || !is_whole {
            return;
        }
        let index = (*traced).ring;
        if index == 0 {
            // The calls that were not recorded.
            let mark = Mark { calls: (*traced).dropped, ..Mark::default() };
            let head = Head { mark, header: *end };
            report(&raw const head);
            return;
        }
        let Some(slot) = write(owned, end, 0) else { return };
        let Some(ring) = RECORDED.get_ptr_mut(index.wrapping_sub(1)) else { return };
        // The reader may free the ring as soon as it has the report.
        (*owned).owner = 0;
        (*ring).state = RingState::Kept as u32;
        arch::publish();
        if report(&raw const (*slot).head) {
            (*traced).ring = 0;
        }
    }
}

/// Frees the ring of a task that ends, unless the reader has it by now.
///
/// # Safety
/// `traced` is the live state of the task.
#[inline(always)]
pub unsafe fn release(traced: *mut TracedTask) {
    // SAFETY: the caller's state, and live map values.
    unsafe {
        let index = (*traced).ring;
        if index == 0 {
            return;
        }
        (*traced).ring = 0;
        if let Some(owned) = OWNERS.get_ptr_mut(index.wrapping_sub(1)) {
            (*owned).owner = 0;
            free_memory(owned);
        }
        if let Some(ring) = RECORDED.get_ptr_mut(index.wrapping_sub(1)) {
            (*ring).state = RingState::Free as u32;
        }
        let _ = FREE_RINGS.push(index - 1, 0);
    }
}

/// Makes the next call of a task read the name of the task, which changes.
///
/// # Safety
/// `traced` is a live state.
#[inline(always)]
pub unsafe fn rename(traced: *mut TracedTask) {
    // SAFETY: the caller's state. A byte that is read at another moment than the others is harmless.
    unsafe { (*traced).call.comm[0] = 0 }
}

const _: () = assert!(About::Call as u8 != 0 && SLOT_DATA < 512);
