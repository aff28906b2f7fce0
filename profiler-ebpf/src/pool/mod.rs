//! Records and cells: who gets them, and where a call is counted.
//!
//! This is off the common path. A thread takes a record once, and a cell when it first makes a
//! syscall or first has a latency of an octave or two.
//!
//! A free record or extent is popped from a stack. Linux 5.10 offers no other allocation without
//! a lost update. A process that runs `ls` takes six extents.

pub mod cells;
pub mod claim;
pub mod overflow;
pub mod records;
pub mod slots;
