//! Allocates records: one per thread.

use aya_ebpf::helpers::bpf_get_current_uid_gid;
use profiler_common::share;

use super::claim::{Claim, claim, withdraw};
use crate::{
    control::wake_reader_if_low,
    counters::count,
    maps::{CONTROL, FREE_RECORDS, USERS},
};

/// Takes a free record for the running task. Returns the index of the record, and the index of the
/// task's [`User`](profiler_common::wire::User), which holds one more record from now on.
#[inline(always)]
pub fn take() -> Option<(u32, u16)> {
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
            Claim::Granted => {}
            Claim::Withheld => {
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
        wake_reader_if_low(pool);
        Some((record, index as u16))
    }
}
