//! Sends records through the ring buffer.

use core::ptr::{read_volatile, write_volatile};

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP, BPF_RB_PROD_POS},
    helpers::{bpf_get_current_comm, bpf_ringbuf_output, bpf_ringbuf_query},
};
use profiler_common::trace::{DATA_BYTES, Header, TracedTask};

use super::maps::{EVENTS, PENDING};
use profiler_ebpf::{settings::RING_BYTES, verifier::opaque};

/// Adds one to a field of this CPU's `Losses`.
macro_rules! count_loss {
    ($field:ident) => {
        if let Some(losses) = $crate::trace::maps::LOSSES.get_ptr_mut(0) {
            #[allow(unused_unsafe, reason = "used inside and outside of unsafe blocks")]
            // SAFETY: a field of a live map value.
            unsafe {
                profiler_ebpf::atomic::add(&raw mut (*losses).$field, 1)
            }
        }
    };
}
pub(crate) use count_loss;

/// The position in the ring buffer at the last wake-up.
#[unsafe(no_mangle)]
static mut WOKEN_AT: u64 = 0;

/// The size of a ring buffer, bytes, below which each record looks at it.
const OFTEN_BELOW: u64 = 1 << 20;

/// Flags of an output. The reader polls. It is woken if a quarter of the ring buffer is in use, and
/// not again until a further eighth was written: a wake-up costs more than a record.
#[inline(always)]
fn flags(seq: u32) -> u64 {
    let ring = (&raw const EVENTS).cast_mut().cast();
    let size = u64::from(RING_BYTES.load());
    // A task looks at the ring buffer at about every eighth call. Until then, few tasks fill little
    // of it, and the reader polls.
    if size >= OFTEN_BELOW && seq >> 2 & 7 != 0 {
        return BPF_RB_NO_WAKEUP.into();
    }
    // SAFETY: a ring buffer, and an aligned word of our own.
    unsafe {
        if bpf_ringbuf_query(ring, BPF_RB_AVAIL_DATA.into()) < size / 4 {
            return BPF_RB_NO_WAKEUP.into();
        }
        let position = bpf_ringbuf_query(ring, BPF_RB_PROD_POS.into());
        let woken_at = &raw mut WOKEN_AT;
        if position.wrapping_sub(read_volatile(woken_at)) < size / 8 {
            return BPF_RB_NO_WAKEUP.into();
        }
        write_volatile(woken_at, position);
    }
    BPF_RB_FORCE_WAKEUP.into()
}

/// Sends the record of the call in `traced`, with its parts.
///
/// # Safety
/// `traced` is the live state of the running task.
#[inline(always)]
pub unsafe fn send_call(traced: *mut TracedTask) {
    // SAFETY: the caller's state, and live map values.
    unsafe {
        let call = &raw mut (*traced).call;
        (*call).comm = bpf_get_current_comm().unwrap_or_default();
        (*call).dropped = (*traced).dropped;

        if (*traced).flags & TracedTask::HAS_PLAN != 0
            && let Some(pending) = PENDING.get_ptr_mut((*traced).slot.wrapping_sub(1))
        {
            (*call).parts = (*pending).header.parts;
            (*call).bytes = (*pending).header.bytes;
            let data = opaque((*pending).header.bytes);
            if data <= DATA_BYTES as u32 {
                (*pending).header = *call;
                send_pending(traced, (&raw const *pending).cast(), data);
                return;
            }
        }
        (*call).parts = 0;
        (*call).bytes = 0;
        send(traced, call, size_of::<Header>() as u32);
    }
}

#[inline(always)]
unsafe fn send_pending(traced: *mut TracedTask, record: *const Header, data: u32) {
    // SAFETY: the caller's state and record, of the header and so many bytes.
    unsafe { send(traced, record, size_of::<Header>() as u32 + data) }
}

/// Sends a record of the running task, and counts it if it is dropped.
///
/// # Safety
/// `traced` is the live state of the running task, and `record` has so many bytes.
#[inline(always)]
pub unsafe fn send(traced: *mut TracedTask, record: *const Header, bytes: u32) {
    // SAFETY: the caller's record, and the caller's state.
    unsafe {
        let ring = (&raw const EVENTS).cast_mut().cast();
        let sent =
            bpf_ringbuf_output(ring, record.cast_mut().cast(), bytes.into(), flags((*traced).seq));
        if sent == 0 {
            (*traced).dropped = 0;
        } else {
            (*traced).dropped = (*traced).dropped.saturating_add(1);
            count_loss!(dropped);
        }
    }
}
