//! Copies the memory of stacks, so that the user side can unwind them without frame pointers.

use aya_ebpf::{
    bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    helpers::{
        bpf_ktime_get_ns, bpf_ringbuf_output, bpf_ringbuf_query, generated::bpf_probe_read_user,
    },
};
use profiler_common::stacks::{
    ABOUT_COPY, COPIED_BYTES, COPIED_PAGES, PAGE_BYTES, StackKey, StackRecord,
};
use profiler_ebpf::{arch::FrameRegisters, settings::RING_BYTES, verifier::opaque};

use super::{
    count_loss,
    maps::{COPY_SCRATCH, STACK_COPIES},
};

/// Sends the memory of the stack of the running task, whose registers are at `regs`.
#[inline(never)]
pub unsafe fn send(key: &StackKey, weight: u64, regs: u64, place: u32) {
    let Some(copy) = COPY_SCRATCH.get_ptr_mut(place) else { return };
    let FrameRegisters { ip, sp, bp } = FrameRegisters::read(regs);
    // SAFETY: a live map value of this CPU that no other program uses, and the helpers check the
    // addresses of the process.
    unsafe {
        let first = opaque((PAGE_BYTES - sp % PAGE_BYTES) as u32);
        if first > PAGE_BYTES as u32 {
            return;
        }
        let memory = (&raw mut (*copy).memory).cast::<u8>();
        let mut bytes = 0;
        if bpf_probe_read_user(memory.cast(), first, sp as *const _) == 0 {
            bytes = first;
            for page in 0..COPIED_PAGES as u32 {
                let at = first + page * PAGE_BYTES as u32;
                let to = memory.add(at as usize);
                let from = sp.wrapping_add(u64::from(at));
                // A stack ends where the next page is not mapped.
                if bpf_probe_read_user(to.cast(), PAGE_BYTES as u32, from as *const _) != 0 {
                    break;
                }
                bytes = at + PAGE_BYTES as u32;
            }
        }
        (*copy).record = StackRecord { about: ABOUT_COPY, bytes, key: *key, weight, ip, sp, bp };
        let bytes = opaque(bytes);
        if bytes > COPIED_BYTES as u32 {
            return;
        }
        let length = (size_of::<StackRecord>() as u32 + bytes).into();
        if bpf_ringbuf_output(ring(), copy.cast(), length, flags(key.image)) != 0 {
            count_loss!(dropped);
        }
    }
}

/// Sends a message about a program or a process, and wakes the reader if `is_urgent`.
#[inline(always)]
pub fn notify(record: &StackRecord, is_urgent: bool) {
    let flags = if is_urgent { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP };
    let length = size_of::<StackRecord>() as u64;
    // SAFETY: a ring buffer and a record of so many bytes.
    let sent = unsafe {
        bpf_ringbuf_output(ring(), (&raw const *record).cast_mut().cast(), length, flags.into())
    };
    if sent != 0 {
        count_loss!(notices_dropped);
    }
}

#[inline(always)]
fn ring() -> *mut core::ffi::c_void {
    (&raw const STACK_COPIES).cast_mut().cast()
}

/// How long a program counts as new, in units of 256 ns: 50 ms.
const NEW: u32 = 200_000;

/// Flags of an output. The reader polls. It is woken if a quarter of the ring buffer is in use, or if
/// the program is new: the reader then learns which libraries it has loaded before it ends.
#[inline(always)]
fn flags(image: u32) -> u64 {
    // SAFETY: a ring buffer, and always safe to call.
    let (used, now) = unsafe {
        (bpf_ringbuf_query(ring(), BPF_RB_AVAIL_DATA.into()), (bpf_ktime_get_ns() >> 8) as u32)
    };
    let is_new = image != 0 && now.wrapping_sub(image) < NEW;
    match used < u64::from(RING_BYTES.load()) / 4 && !is_new {
        true => BPF_RB_NO_WAKEUP.into(),
        false => BPF_RB_FORCE_WAKEUP.into(),
    }
}
