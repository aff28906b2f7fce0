//! What all commands of the project share. Depends only on the standard library.
//!
//! `cargo xtask` is built before anything else, so its binary ([`run`] and the start of the
//! other commands) has no dependencies and compiles within seconds. The other commands are
//! in the binary `xtask-tools`, which the feature `tools` builds.

pub mod failure;
pub mod privilege;
pub mod run;
pub mod workspace;
