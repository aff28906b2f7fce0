//! The flags of `cargo xtask bench code`.

use std::path::PathBuf;

/// Print the number of instructions of the programs, with and without each optional part
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Write the disassembled machine code of each program into this directory
    #[arg(long, value_name = "DIR")]
    pub(super) disassemble: Option<PathBuf>,
}
