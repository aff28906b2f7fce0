//! Pure arithmetic over what was read: no kernel, no clock, no I/O.

mod figures;
mod latency;

pub use figures::{Extremes, Figures};
pub use latency::Latency;
