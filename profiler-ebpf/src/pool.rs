//! Taking records and cells. Off the common path: once a thread, and once a
//! thread and system call first seen, and once an octave or two of latency. Users share the
//! pools by the rule in [`share`].
//!
//! Slots, pages of the table, histogram chunks (32 buckets, four octaves) and errno pages are all
//! cells of 128 bytes, in one pool. A thread takes extents of eight cells from a stack of free
//! extents. A pop is the only allocation that Linux 5.10 offers without a lost update. The reader
//! returns the extents of threads that ended. A process that runs `ls` takes six extents.

use core::{
    arch::asm,
    sync::atomic::{Ordering::SeqCst, compiler_fence},
};

use aya_ebpf::helpers::bpf_get_current_uid_gid;
use profiler_common::{
    limits::CELLS_PER_EXTENT,
    share,
    wire::{CellIndex, Pool, Tally, ThreadRecord},
};

use crate::{
    global,
    maps::{CONTROL, EXTENT_OWNERS, FREE_EXTENTS, FREE_RECORDS, USERS, WAKE},
    way::Way,
};

/// An atomic addition without a result: the one atomic that Linux 5.10 knows.
///
/// # Safety
/// `place` is within a live map value.
#[inline(always)]
pub unsafe fn add(place: *mut u64, value: u64) {
    // SAFETY: the caller's place is writable, and this touches nothing else.
    unsafe {
        asm!("lock *(u64 *)({0} + 0) += {1}", in(reg) place, in(reg) value, options(nostack));
    }
}

/// [`add`] of one to a `u32`.
///
/// # Safety
/// As for [`add`].
#[inline(always)]
pub unsafe fn increment_u32(place: *mut u32) {
    // SAFETY: as in `add`.
    unsafe {
        asm!("lock *(u32 *)({0} + 0) += {1}", in(reg) place, in(wreg) 1_u32, options(nostack));
    }
}

/// Adds one to a field of this CPU's `Counters`. Atomically, since the programs of
/// one CPU may interleave where tracepoints can be preempted (Linux 7.0).
macro_rules! count {
    ($field:ident) => {
        if let Some(counters) = $crate::maps::COUNTERS.get_ptr_mut(0) {
            #[allow(unused_unsafe, reason = "used inside and outside of unsafe blocks")]
            // SAFETY: a field of a live map value.
            unsafe {
                $crate::pool::add(&raw mut (*counters).$field, 1)
            }
        }
    };
}
pub(crate) use count;

/// What became of a [`claim`].
const GRANTED: u32 = 0;
/// Some are free, but not for this user.
const WITHHELD: u32 = 1;
/// None is free.
const EXHAUSTED: u32 = 2;

/// How many are in use, at least: see [`Tally`].
#[inline(always)]
unsafe fn in_use(tally: *const Tally) -> u64 {
    // SAFETY: the caller's tally is in a live map value. Volatile, so that the compiler keeps
    // the order.
    unsafe {
        let returned = (&raw const (*tally).returned).read_volatile();
        (&raw const (*tally).taken).read_volatile().wrapping_sub(returned)
    }
}

/// Whether a user may take one more, who has already added `own` to both tallies.
#[inline(always)]
unsafe fn verdict(pool: *const Pool, user: *const Tally, own: u64) -> u32 {
    // SAFETY: the caller's places are in live map values.
    unsafe {
        let total = (&raw const (*pool).filled).read_volatile();
        let of_all = in_use(&raw const (*pool).all).wrapping_sub(own);
        if share::may_take(in_use(user).wrapping_sub(own), of_all, total) {
            GRANTED
        } else if of_all < total {
            WITHHELD
        } else {
            EXHAUSTED
        }
    }
}

/// Counts one more as taken by a user, if its share allows.
///
/// The first look spares those who are refused the atomic additions. The second look, after
/// the additions, decides: of several threads that take at one time, the last to add sees the
/// others' additions, so together they cannot exceed the share. A thread that sees additions
/// which are then withdrawn is refused too early, and tries again at its next call. None are
/// withdrawn as long as no user has more threads than its share has room for.
#[inline(never)]
unsafe fn claim(pool: *mut Pool, user: *mut Tally) -> u32 {
    // SAFETY: the caller's places are in live map values.
    unsafe {
        let first = verdict(pool, user, 0);
        if first != GRANTED {
            return first;
        }
        add_to_both(pool, user, 1);
        let second = verdict(pool, user, 1);
        if second != GRANTED {
            withdraw(pool, user);
        }
        second
    }
}

/// Takes a claim back.
#[inline(always)]
unsafe fn withdraw(pool: *mut Pool, user: *mut Tally) {
    // SAFETY: the caller's places are in live map values.
    unsafe { add_to_both(pool, user, u64::MAX) }
}

#[inline(always)]
unsafe fn add_to_both(pool: *mut Pool, user: *mut Tally, value: u64) {
    // SAFETY: the caller's places are in live map values.
    unsafe {
        add(&raw mut (*user).taken, value);
        add(&raw mut (*pool).all.taken, value);
    }
}

/// A free record's index, and the index of the running task's [`User`], which holds one more
/// by now.
#[inline(always)]
pub fn take_record() -> Option<(u32, u16)> {
    // The real user id in the initial user namespace (bpf_get_current_uid_gid,
    // kernel/bpf/helpers.c).
    let uid = bpf_get_current_uid_gid() as u32;
    let index = share::user(uid);
    let (Some(control), Some(user)) = (CONTROL.get_ptr_mut(0), USERS.get_ptr_mut(index)) else {
        return None;
    };
    // SAFETY: fields of live map values.
    unsafe {
        let (pool, of_user) = (&raw mut (*control).records, &raw mut (*user).records);
        match claim(pool, of_user) {
            GRANTED => {}
            WITHHELD => {
                count!(records_withheld);
                return None;
            }
            _ => {
                count!(records_exhausted);
                return None;
            }
        }
        let Ok(Some(record)) = FREE_RECORDS.pop() else {
            withdraw(pool, of_user);
            count!(records_exhausted);
            return None;
        };
        (*user).uid = uid;
        wake_if(pool);
        Some((record, index as u16))
    }
}

/// Whether all programs are attached.
#[inline(always)]
pub fn attached() -> bool {
    // SAFETY: a live map value.
    CONTROL.get_ptr(0).is_some_and(|control| unsafe { (*control).attached } != 0)
}

/// The same number, of which the compiler knows nothing: a comparison that it
/// would drop as always true is kept, for the verifier to see.
#[inline(always)]
pub fn unproven(mut value: u32) -> u32 {
    // A real instruction, since the line of an empty one collides with that of the
    // next, which the kernel refuses.
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inlateout(wreg) value, options(nomem, nostack, pure)) };
    value
}

/// Keeps the compiler from moving a store across: what stands above is in memory
/// before what stands below, for the reader on another CPU (x86 keeps the order of
/// stores).
#[inline(always)]
pub fn publish() {
    compiler_fence(SeqCst);
}

/// A cell for the owner of `record`, zeroed; 0 where the pool is used up.
#[inline(always)]
pub fn take_cell(record: *mut ThreadRecord) -> CellIndex {
    // SAFETY: `record` is a live map value that only this thread writes.
    unsafe {
        let mut next = (*record).next_cell;
        if next % CELLS_PER_EXTENT == 0 {
            let extent = global::take_extent((*record).index);
            if extent == 0 {
                return 0;
            }
            next = extent * CELLS_PER_EXTENT;
        }
        (*record).next_cell = next + 1;
        next
    }
}

/// An extent for the owner of the record at this index; 0 where the pool or the user's share is
/// used up.
#[inline(always)]
pub fn take_extent<W: Way>(index: u32) -> u32 {
    let Some(record) = W::record(index) else { return 0 };
    // SAFETY: a live map value.
    let user = unsafe { (*record).user };
    let (Some(control), Some(user)) = (CONTROL.get_ptr_mut(0), USERS.get_ptr_mut(user.into()))
    else {
        return 0;
    };
    // SAFETY: fields of live map values.
    unsafe {
        let (pool, of_user) = (&raw mut (*control).extents, &raw mut (*user).extents);
        match claim(pool, of_user) {
            GRANTED => {}
            WITHHELD => {
                count!(extents_withheld);
                return 0;
            }
            _ => {
                count!(extents_exhausted);
                return 0;
            }
        }
        let Ok(Some(extent)) = FREE_EXTENTS.pop() else {
            withdraw(pool, of_user);
            count!(extents_exhausted);
            return 0;
        };
        if let Some(owner) = EXTENT_OWNERS.get_ptr_mut(extent) {
            *owner = index + 1;
        }
        wake_if(pool);
        extent
    }
}

/// Wakes the reader at every taking beyond the mark, until it moves the mark.
/// When the buffer is full it has been woken.
#[inline(always)]
unsafe fn wake_if(pool: *const Pool) {
    // SAFETY: the caller's pool is in a live map value.
    let (taken, mark) = unsafe { ((*pool).all.taken, (*pool).wake_at) };
    if taken >= mark {
        let _ = WAKE.output(taken, 0);
    }
}
