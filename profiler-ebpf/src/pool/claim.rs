//! Claims of users on a pool, by the rule in [`share`].

use profiler_common::{
    share,
    wire::{Pool, Tally},
};

use crate::atomic::add;

/// What became of a [`claim`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Claim {
    /// The user has one more.
    Granted = 0,
    /// Some are free, but the user has used up its share.
    Withheld = 1,
    /// None is free.
    Exhausted = 2,
}

/// At least how many are in use: see [`Tally`].
///
/// # Safety
/// `tally` is in a live map value.
#[inline(always)]
unsafe fn in_use(tally: *const Tally) -> u64 {
    // SAFETY: the caller's tally is in a live map value. Volatile, so that the compiler keeps
    // the order.
    unsafe {
        let returned = (&raw const (*tally).returned).read_volatile();
        (&raw const (*tally).taken).read_volatile().wrapping_sub(returned)
    }
}

/// Decides whether a user may take one more. The user has already added `own` to both tallies.
///
/// # Safety
/// `pool` and `user` are in live map values.
#[inline(always)]
unsafe fn verdict(pool: *const Pool, user: *const Tally, own: u64) -> Claim {
    // SAFETY: the caller's places are in live map values.
    unsafe {
        let total = (&raw const (*pool).filled).read_volatile();
        let of_all = in_use(&raw const (*pool).all).wrapping_sub(own);
        if share::may_take(in_use(user).wrapping_sub(own), of_all, total) {
            Claim::Granted
        } else if of_all < total {
            Claim::Withheld
        } else {
            Claim::Exhausted
        }
    }
}

/// Counts one more as taken by a user, if the user's share allows it.
///
/// The first look spares a refused thread the atomic additions. The second look, after the
/// additions, decides. If several threads take at the same time, the last one to add sees the
/// additions of the others, so together they cannot exceed the share. A thread that sees additions
/// which are then withdrawn is refused too early, and tries again at its next call. No addition is
/// withdrawn as long as each user has at most as many threads as its share.
///
/// # Safety
/// `pool` and `user` are in live map values.
#[inline(never)]
pub unsafe fn claim(pool: *mut Pool, user: *mut Tally) -> Claim {
    // SAFETY: the caller's places are in live map values.
    unsafe {
        let first = verdict(pool, user, 0);
        if first != Claim::Granted {
            return first;
        }
        add_to_both(pool, user, 1);
        let second = verdict(pool, user, 1);
        if second != Claim::Granted {
            withdraw(pool, user);
        }
        second
    }
}

/// Takes back a claim that was granted.
///
/// # Safety
/// `pool` and `user` are in live map values.
#[inline(always)]
pub unsafe fn withdraw(pool: *mut Pool, user: *mut Tally) {
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
