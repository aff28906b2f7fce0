//! How types of both sides are serialised. Those types know nothing of serde.

use profiler_common::{call::CallKey, wire::Counters};
use serde::{Deserialize, Serialize};

/// A [`CallKey`] as its number.
#[derive(Serialize, Deserialize)]
#[serde(remote = "CallKey")]
pub(super) struct Key(u32);

/// [`Counters`], field by field.
#[derive(Serialize, Deserialize)]
#[serde(remote = "Counters")]
pub(super) struct RareEvents {
    in_flight_at_attach: u64,
    births: u64,
    denied_unrecorded: u64,
    denied_presumed: u64,
    lost_entries: u64,
    missed_entries: u64,
    lost_exits: u64,
    records_exhausted: u64,
    extents_exhausted: u64,
    records_withheld: u64,
    extents_withheld: u64,
    lost_children: u64,
    entries_taken_over: u64,
    exits_taken_over: u64,
}
