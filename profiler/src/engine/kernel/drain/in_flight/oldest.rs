//! Lists the oldest calls in flight, by kind. Each kind has its own limit: thousands of threads
//! that sleep in `futex` must not hide one `fsync`.

use std::{cmp::Reverse, sync::Arc, time::Duration};

use super::{Open, Whose, before};
use crate::{
    aggregate::Aggregate,
    engine::kernel::tables::Tables,
    model::{Kind, ThreadInFlight},
    names::waits::kind,
};

/// How many threads of each kind are listed at most. With one limit for all kinds, thousands of
/// threads that sleep for days would hide the one thread that should not sleep.
pub(super) const MOST_OF_A_KIND: usize = 256;

/// Returns the oldest threads in `open` of each kind.
pub(super) fn list(open: Vec<Open>, tables: &impl Tables, of: &Aggregate) -> Vec<ThreadInFlight> {
    let age = |thread: &Open| (Reverse(thread.age_ns), thread.tid);
    let mut kinds = Kind::ALL.map(|_| Vec::new());
    for thread in open {
        kinds[kind(thread.key) as usize].push(thread);
    }
    for threads in &mut kinds {
        if threads.len() > MOST_OF_A_KIND {
            threads.select_nth_unstable_by_key(MOST_OF_A_KIND, age);
            threads.truncate(MOST_OF_A_KIND);
        }
        threads.sort_unstable_by_key(age);
    }
    kinds
        .into_iter()
        .flatten()
        .filter_map(|thread| {
            let process = match thread.whose {
                Whose::Known(process) => Arc::clone(of.process(process)?),
                Whose::Before(index) => {
                    before::process(&before::still_in_flight(tables, index)?, of)
                }
            };
            Some(ThreadInFlight {
                process,
                tid: thread.tid,
                key: thread.key,
                kind: kind(thread.key),
                at_least: thread.at_least,
                age: Duration::from_nanos(thread.age_ns),
            })
        })
        .collect()
}
