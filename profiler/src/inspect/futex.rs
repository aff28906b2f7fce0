//! Finds out what a futex is, and which thread holds it.

use super::{
    limits::{FUTEX_LOCK_PI, FUTEX_OPERATION, FUTEX_WAIT},
    memory::Memory,
    process::ThreadReading,
};
use crate::model::{Evidence, Futex, FutexOwner};

/// `FUTEX_PRIVATE_FLAG`.
const PRIVATE: u64 = 128;
/// `FUTEX_WAIT_BITSET`.
const WAIT_BITSET: u64 = 9;
/// `FUTEX_WAIT_REQUEUE_PI`.
const WAIT_REQUEUE_PI: u64 = 11;
/// `FUTEX_LOCK_PI2`.
const LOCK_PI2: u64 = 13;

/// The part of a futex that is a thread id, in locks that the kernel knows (`FUTEX_TID_MASK`).
const TID_MASK: u32 = 0x3fff_ffff;
/// Set if threads wait for such a lock (`FUTEX_WAITERS`).
const WAITERS: u32 = 0x8000_0000;

/// The value of a mutex of glibc that is locked, and for which threads wait
/// (nptl/lowlevellock.h).
const LOCKED_WITH_WAITERS: u32 = 2;
/// Offsets in `struct __pthread_mutex_s` of x86_64 (sysdeps/nptl/bits/struct_mutex.h).
const MUTEX_OWNER: usize = 8;
const MUTEX_BYTES: usize = 20;
/// The types of mutexes of glibc are below this number (nptl/pthreadP.h).
const MUTEX_KINDS: u32 = 1024;

/// What a thread waits for in futex(2), futex_wait(2) or futex_waitv(2). `None` if the call does
/// not wait.
pub(super) fn of(
    name: &str,
    args: &[u64; 6],
    waiter: u32,
    threads: &[ThreadReading],
    memory: &mut Memory<'_>,
) -> Option<Futex> {
    let (address, expected, is_private, operation) = match name {
        "futex" | "futex_time64" => {
            let operation = args[1] & FUTEX_OPERATION;
            let expected = match operation {
                FUTEX_WAIT | WAIT_BITSET | WAIT_REQUEUE_PI => Some(low(args[2])),
                FUTEX_LOCK_PI | LOCK_PI2 => None,
                _ => return None,
            };
            (args[0], expected, args[1] & PRIVATE != 0, operation)
        }
        "futex_wait" => (args[0], Some(low(args[1])), args[3] & PRIVATE != 0, FUTEX_WAIT),
        "futex_waitv" => {
            // The first of several: a value, an address and flags (`struct futex_waitv`).
            let first = memory.read(args[0], 20)?;
            let number =
                |at: usize| Some(u64::from_ne_bytes(first.get(at..at + 8)?.try_into().ok()?));
            let flags = u32::from_ne_bytes(first.get(16..20)?.try_into().ok()?);
            let is_private = u64::from(flags) & PRIVATE != 0;
            (number(8)?, Some(low(number(0)?)), is_private, FUTEX_WAIT)
        }
        _ => return None,
    };
    let value = memory.read_u32(address);
    let word = Word { address, value, expected, is_private, operation };
    let owner = word.owner(waiter, threads, memory);
    Some(Futex { address, value, expected, is_private, owner })
}

#[expect(clippy::cast_possible_truncation, reason = "a futex has 32 bits")]
fn low(argument: u64) -> u32 {
    argument as u32
}

struct Word {
    address: u64,
    value: Option<u32>,
    expected: Option<u32>,
    is_private: bool,
    operation: u64,
}

impl Word {
    /// The thread that holds the lock, as far as the memory says.
    fn owner(
        &self,
        waiter: u32,
        threads: &[ThreadReading],
        memory: &mut Memory<'_>,
    ) -> Option<FutexOwner> {
        let value = self.value?;
        let find = |tid: u32| threads.iter().find(|thread| thread.inner_tid == tid);
        let known = |thread: &ThreadReading, evidence| FutexOwner {
            tid: thread.tid,
            comm: thread.comm.clone(),
            evidence,
            doing: None,
        };
        let holder = value & TID_MASK;
        if matches!(self.operation, FUTEX_LOCK_PI | LOCK_PI2) {
            if holder == 0 {
                return None;
            }
            let other = || FutexOwner {
                tid: holder,
                comm: Default::default(),
                evidence: Evidence::Futex,
                doing: None,
            };
            return Some(find(holder).map_or_else(other, |t| known(t, Evidence::Futex)));
        }
        if value & WAITERS != 0 && self.expected == Some(value) {
            return find(holder).map(|thread| known(thread, Evidence::Futex));
        }
        if !self.is_private && self.expected == Some(value) {
            let ending = find(value).filter(|thread| thread.tid != waiter);
            if let Some(thread) = ending {
                return Some(known(thread, Evidence::Join));
            }
        }
        if self.expected == Some(LOCKED_WITH_WAITERS) && value == LOCKED_WITH_WAITERS {
            let bytes = memory.read(self.address, MUTEX_BYTES)?;
            let number =
                |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
            let owner = find(number(MUTEX_OWNER)?)?;
            // In 32-bit programs, the type comes before the number of users.
            let (users, kind) = (number(12)?, number(16)?);
            let is_plausible = |users: u32, kind: u32| users > 0 && kind < MUTEX_KINDS;
            let is_mutex = is_plausible(users, kind) || is_plausible(kind, users);
            return is_mutex.then(|| known(owner, Evidence::LikeMutex));
        }
        None
    }
}
