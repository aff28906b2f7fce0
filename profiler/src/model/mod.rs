//! The data that engines produce and consumers show. Pure: no kernel, no clock, no I/O.

mod cgroup;
mod cost;
mod engine_detail;
mod event;
mod explanation;
mod failures;
mod figures;
mod groups;
mod health;
mod in_flight;
mod io_uring;
mod latency;
mod off_cpu;
mod origin;
mod process;
mod program;
mod query;
#[cfg(test)]
mod serial_tests;
mod since;
mod snapshot;
pub mod stacks;
mod wire;

pub use cgroup::{Cgroup, NO_CGROUP};
pub use cost::{Cost, CpuTime, Times, Timing};
pub(crate) use cost::{nanoseconds, runs_since};
pub use engine_detail::{EngineDetail, KernelDetail};
pub use event::{Call, Copied, Event, Happened, Left, Part, SignalDelivered};
pub use explanation::{
    Ages, CallLine, CallProfile, Child, CpuUse, Doing, ErrorLine, Evidence, Explanation,
    FailedCalls, FailureLine, FileKind, Futex, FutexOwner, Holder, MOST_FILES, MOST_NAMED,
    OpenFile, Peer, ProcessFacts, ProcessName, ProcessProfile, TaskState, ThreadGroup, ThreadName,
    TimeLimit, Unknown, Wait,
};
pub use failures::{
    Address, Directory, FailureCoverage, FailureGroup, FailureTarget, Failures, PathName, Target,
};
pub use figures::{Extremes, Figures};
pub use groups::{
    CallName, Counter, Counts, FOLDED_VALUE, GroupMember, GroupReading, GroupRows, OTHER_VALUE,
    OwnedCalls,
};
pub use health::{Health, Losses, Pool, Unlogged, Use};
pub use in_flight::{CallInFlight, InFlight, Kind, ThreadInFlight};
pub use io_uring::{Coverage, IoUring, OperationRow, Operations};
pub use latency::{Bucket, Latency};
pub use off_cpu::OffCpu;
pub use origin::Provenance;
pub use process::{ENDED_COMM, OVERFLOW_COMM, Process, Thread};
pub(crate) use program::{ENTRY, EXIT};
pub use program::{Program, Runs, Untimed};
pub use query::{Dimension, Grouping, Scope, SortKey, Span, Timed};
pub use snapshot::{CallRow, CgroupRow, Detail, ProcessRow, Snapshot, ThreadRow};
