//! Reads the calls that entered before the attach.

use std::sync::Arc;

use profiler_common::{call::CallKey, wire::CallBefore};

use crate::{
    aggregate::{Aggregate, Identity},
    engine::kernel::tables::Tables,
    model::Process,
    text::Untrusted,
};

/// Returns the call at `index` of the list, if it is still in flight.
pub(super) fn still_in_flight(tables: &impl Tables, index: u32) -> Option<CallBefore> {
    Some(tables.call_before(index)).filter(|call| call.key != CallKey::NONE.0)
}

/// Returns the process of a call that entered before the attach. The process comes from the
/// aggregate, or from the list if the process has made no call since.
pub(super) fn process(call: &CallBefore, of: &Aggregate) -> Arc<Process> {
    let identity = Identity { tgid: call.tgid, start_ns: call.process_start_ns };
    let known = of.process_by_identity(identity).map(Arc::clone);
    known.unwrap_or_else(|| {
        let comm = Untrusted::from_comm(&call.comm);
        Arc::new(Process::new(call.tgid, call.process_start_ns, comm))
    })
}
