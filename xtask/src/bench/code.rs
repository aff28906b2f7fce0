//! What `cargo xtask bench code` is asked.

use std::path::PathBuf;

/// Print how many instructions the programs are, with each part that can be left out
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the machine code of each, disassembled, into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) disassemble: Option<PathBuf>,
}
