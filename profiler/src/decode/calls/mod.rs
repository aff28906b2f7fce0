//! Calls whose arguments depend on each other.
