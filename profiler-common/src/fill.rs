//! What the user side asks of the program `fill`, which puts indexes onto a free stack.
//!
//! The arguments of the program are the stack, the index above the last one, and how many indexes
//! to push. The kernel returns how many the program has pushed.

/// The stack of free records.
pub const RECORDS: u64 = 0;
/// The stack of free extents.
pub const EXTENTS: u64 = 1;

/// The most indexes that one run pushes. The verifier walks through every round of the loop, which
/// takes memory.
pub const BATCH: u32 = 128;
