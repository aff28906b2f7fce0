//! Flags of `profiler metrics`.

use std::path::PathBuf;

use clap::Args;

use super::Format;

/// `profiler metrics`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct MetricsArgs {
    /// Print the most series that a configuration can give, which metric they come from, and the
    /// series of an ordinary host
    #[arg(long, required = true)]
    pub explain: bool,
    /// Configuration file of the daemon [default: /etc/profiler/profiler.toml, if the file exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Format of the output
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
}

const AFTER_HELP: &str = "\
Examples:
  profiler metrics --explain                      the configuration of the daemon
  profiler metrics --explain --config new.toml    another file, before a reload

The command requires neither privilege nor a running daemon. It counts the series of a scrape in
which every syscall ended in every way, and of a scrape of a host with 90 syscalls in use.";
