//! Reads the calls in flight from the records of the threads.
//!
//! The calls in flight are not entered minus left: a call whose exit was missed would then be in
//! flight forever. Calls that entered before the attach are not in any other figure. Their age
//! counts from the end of the listing that found them.

mod before;
mod counts;
mod flight;
mod oldest;

use profiler_common::call::CallKey;

use super::thread_reading::Thread;
use crate::{
    aggregate::{Aggregate, ProcessIndex},
    engine::kernel::tables::{Before, Tables},
    model::InFlight,
    names::syscalls,
};
pub(crate) use flight::Flight;

/// A thread in a call.
struct Open {
    key: CallKey,
    age_ns: u64,
    tid: u32,
    whose: Whose,
    /// Whether the age is a lower bound.
    at_least: bool,
    /// Whether its entry is counted in an overflow slot.
    overflowed: bool,
}

/// Where to find the process of a thread.
#[derive(Clone, Copy)]
enum Whose {
    /// In the aggregate.
    Known(ProcessIndex),
    /// In the call at this index in the list of calls that entered before the attach.
    Before(u32),
}

impl Open {
    fn is_before(&self) -> bool {
        matches!(self.whose, Whose::Before(_))
    }
}

/// Reads the calls in flight at `now_ns`. For the threads in `known`, the calls come from their
/// records. For threads without a record, they come from the counts in `of`.
pub(crate) fn read<'a>(
    tables: &impl Tables,
    known: impl Iterator<Item = (u32, &'a mut Thread)>,
    of: &Aggregate,
    now_ns: u64,
) -> InFlight {
    let mut open: Vec<Open> = known
        .filter_map(|(index, thread)| {
            let flight = flight::read(tables, index, &mut thread.flight, now_ns)?;
            Some(Open {
                // The same key as in the aggregate.
                key: syscalls::fold_unknown(CallKey(flight.key)),
                // A call may have entered after the time was read.
                age_ns: now_ns.saturating_sub(flight.entry_ns),
                tid: flight.tid,
                whose: Whose::Known(thread.process),
                at_least: flight.at_least,
                overflowed: flight.overflowed,
            })
        })
        .collect();
    let listed = tables.before();
    if let Some(Before { count, until_ns }) = listed {
        open.extend((0..count).filter_map(|index| {
            let call = before::still_in_flight(tables, index)?;
            Some(Open {
                key: syscalls::fold_unknown(CallKey(call.key)),
                age_ns: now_ns.saturating_sub(until_ns),
                tid: call.tid,
                whose: Whose::Before(index),
                at_least: true,
                overflowed: false,
            })
        }));
    }
    InFlight {
        calls: counts::by_call(&open, of),
        oldest: oldest::list(open, tables, of),
        sees_before: listed.is_some(),
    }
}

#[cfg(test)]
mod tests;
