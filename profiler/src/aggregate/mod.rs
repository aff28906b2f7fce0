//! Adds figures up by process and syscall, and checks the accounting equation. Pure arithmetic: no
//! kernel, no clock, no I/O.

mod account;
pub mod groups;
mod operations;
mod owners;
mod parts;
mod table;
mod threads;

pub use account::Account;
pub use operations::OperationTable;
pub use owners::OwnerKind;
pub use table::{Aggregate, Identity, KeepEnded, ProcessIndex};
pub use threads::{ThreadId, ThreadIndex};
