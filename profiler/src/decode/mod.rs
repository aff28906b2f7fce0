//! Decodes calls: which memory of a call to copy, and what arguments and results mean.
//!
//! Pure: the input is an [`Event`](crate::model::Event) with the copied memory, the output is text
//! or JSON.

mod value;

pub use value::{Field, Value};
