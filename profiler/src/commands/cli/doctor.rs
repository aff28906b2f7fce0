//! Flags of `profiler doctor`.

use clap::Args;

use super::Format;

/// `profiler doctor`.
#[derive(Args, Debug)]
pub struct DoctorArgs {
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}
