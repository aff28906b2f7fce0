//! Adds figures up by process and syscall, and checks the accounting equation. Pure arithmetic: no
//! kernel, no clock, no I/O.

mod account;
mod books;
mod failures;
pub mod groups;
mod keep_ended;
mod operations;
mod owners;
mod parts;
mod processes;
mod reuse;
mod table;
mod threads;

pub use account::Account;
pub use failures::{Failure, FailureTable};
pub use keep_ended::KeepEnded;
pub use operations::OperationTable;
pub use owners::OwnerKind;
pub use processes::{Identity, ProcessIndex};
pub use table::Aggregate;
pub use threads::{ThreadId, ThreadIndex};
