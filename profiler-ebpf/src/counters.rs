//! Counters of events off the common path.

/// Adds a number to a field of this CPU's `Counters`. The addition is atomic, because the programs of
/// one CPU can interleave where a program in a tracepoint can be preempted (Linux 7.1).
macro_rules! add {
    ($field:ident, $number:expr) => {
        if let Some(counters) = $crate::maps::COUNTERS.get_ptr_mut(0) {
            #[allow(unused_unsafe, reason = "used inside and outside of unsafe blocks")]
            // SAFETY: a field of a live map value.
            unsafe {
                $crate::atomic::add(&raw mut (*counters).$field, $number)
            }
        }
    };
}
pub(crate) use add;

/// Adds one to a field of this CPU's `Counters`.
macro_rules! count {
    ($field:ident) => {
        $crate::counters::add!($field, 1)
    };
}
pub(crate) use count;
