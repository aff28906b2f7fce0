//! Global functions. Each object defines them by `global_functions!`.
//!
//! The verifier checks a global function once per program. It checks any other function once per
//! path that calls it (`do_check_subprogs`, kernel/bpf/verifier.c). So the code here is long, rare,
//! and reached by many paths. A global function takes and returns only numbers, and finds the
//! running task and its state itself.

unsafe extern "C" {
    /// [`interrupted::count_as`](crate::interrupted::count_as). Returns 0.
    pub safe fn count_interrupted(result: u64) -> u32;

    /// [`interrupted::can_be_interrupted`](crate::interrupted::can_be_interrupted), as 0 or 1.
    pub safe fn can_be_interrupted(key: u32) -> u32;

    /// [`refusal::is_presumed`](crate::refusal::is_presumed), as 0 or 1.
    pub safe fn is_presumed_refused(nr: u64, is_compat: u32) -> u32;

    /// [`exit::denied`](crate::exit::denied). Returns 0.
    pub safe fn count_denied(nr: u64) -> u32;

    /// [`thread::take_record`](crate::thread::take_record): the index of the record plus one, or 0.
    pub safe fn take_record() -> u32;

    /// [`thread::identify`](crate::thread::identify). Returns 0.
    pub safe fn identify(record: u32) -> u32;

    /// [`cgroup::moves::leave`](crate::cgroup::moves::leave), as 0 or 1.
    pub safe fn leave_cgroup() -> u32;

    /// [`cgroup::moves::mark_thread`](crate::cgroup::moves::mark_thread), by the address of the task.
    /// Returns 0.
    pub safe fn mark_moved_thread(task: u64) -> u32;

    /// [`pool::cells::take_extent`](crate::pool::cells::take_extent).
    pub safe fn take_extent(record: u32) -> u32;

    /// [`sampling::decide`](crate::sampling::decide).
    pub safe fn sample(slot: u32, turn: u32) -> u32;

    /// [`sampling::decide_overflow`](crate::sampling::decide_overflow).
    pub safe fn sample_overflow(key: u32) -> u32;

    /// [`overflow::left`](crate::pool::overflow::left), for a latency that may be
    /// [`UNTIMED`](crate::pool::overflow::UNTIMED). Returns 0.
    pub safe fn leave_overflow(key: u32, latency_ns: u64, result: u64) -> u32;

    /// [`overflow::bucket_only`](crate::pool::overflow::bucket_only). Returns 0.
    pub safe fn count_bucket_only(key: u32, latency_ns: u64) -> u32;

    /// [`overflow::error_only`](crate::pool::overflow::error_only). Returns 0.
    pub safe fn count_error_only(key: u32, errno: u32) -> u32;

    /// [`failing::note`](crate::failing::note). Returns 0.
    pub safe fn note_failure(record: u32, key: u32, errno: u32) -> u32;
}

/// Defines the global functions of an object.
#[macro_export]
macro_rules! global_functions {
    ($Backend:ident) => {
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn count_interrupted(result: u64) -> u32 {
            $crate::interrupted::count_as::<$Backend>(result);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn can_be_interrupted(key: u32) -> u32 {
            $crate::interrupted::can_be_interrupted(key) as u32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn is_presumed_refused(nr: u64, is_compat: u32) -> u32 {
            $crate::refusal::is_presumed::<$Backend>(nr, is_compat != 0) as u32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn count_denied(nr: u64) -> u32 {
            $crate::exit::denied::<$Backend>(nr);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn take_record() -> u32 {
            $crate::thread::RecordIndex::to_state($crate::thread::take_record::<$Backend>())
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn identify(record: u32) -> u32 {
            $crate::thread::identify::<$Backend>(record);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn leave_cgroup() -> u32 {
            $crate::cgroup::moves::leave::<$Backend>() as u32
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn mark_moved_thread(task: u64) -> u32 {
            $crate::cgroup::moves::mark_thread::<$Backend>(task);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn take_extent(record: u32) -> u32 {
            $crate::pool::cells::take_extent::<$Backend>(record)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn sample(slot: u32, turn: u32) -> u32 {
            $crate::sampling::decide::<$Backend>(slot, turn)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn sample_overflow(key: u32) -> u32 {
            $crate::sampling::decide_overflow(key)
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn leave_overflow(key: u32, latency_ns: u64, result: u64) -> u32 {
            $crate::pool::overflow::left::<$Backend>(key, latency_ns, result);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn count_bucket_only(key: u32, latency_ns: u64) -> u32 {
            $crate::pool::overflow::bucket_only(key, latency_ns);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn count_error_only(key: u32, errno: u32) -> u32 {
            $crate::pool::overflow::error_only(key, errno);
            0
        }

        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn note_failure(record: u32, key: u32, errno: u32) -> u32 {
            $crate::failing::note::<$Backend>(record, key, errno);
            0
        }
    };
}
