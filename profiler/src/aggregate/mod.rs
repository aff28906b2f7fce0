//! Pure arithmetic over what was read: no kernel, no clock, no I/O.

mod account;
mod figures;
mod latency;
mod table;

pub use account::Account;
pub use figures::{Extremes, Figures};
pub use latency::Latency;
pub use table::{Aggregate, Identity, KeepEnded, ProcessIndex};
