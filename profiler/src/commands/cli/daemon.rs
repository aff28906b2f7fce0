//! Flags of `profiler daemon`.

use std::path::PathBuf;

use clap::Args;

use super::{FilterArgs, KernelArgs};
use crate::{address::Listen, duration::Interval};

/// `profiler daemon`. A flag overrides the configuration file.
#[derive(Args, Clone, Debug)]
pub struct DaemonArgs {
    /// Configuration file [default: /etc/profiler/profiler.toml, if the file exists]
    #[arg(short, long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Address and port to serve metrics on [default: 127.0.0.1:9494]
    ///
    /// Or a Unix socket, for example unix:/run/profiler/metrics.sock. If systemd passes sockets
    /// (profiler.socket), the daemon listens on these sockets instead.
    #[arg(short, long, value_name = "ADDR:PORT")]
    pub listen: Option<Listen>,
    /// Web configuration file: TLS, client certificates and passwords
    ///
    /// The file has the keys of Prometheus's exporter-toolkit, in YAML. Without such a file, the
    /// daemon serves plain HTTP, and requires no password.
    #[arg(long, value_name = "FILE")]
    pub web_config: Option<PathBuf>,
    /// Longest time between two readings of the kernel's maps [default: 1s]
    ///
    /// Each scrape reads the maps too.
    ///
    /// A number and a unit (ms, s, m, h), or a bare number of seconds: 10ms to 1h.
    #[arg(short, long, value_name = "TIME")]
    pub interval: Option<Interval>,
    /// Export how often the profiler's programs run, and for how long
    ///
    /// For this, the kernel times every BPF program of the host, which adds to the cost of each
    /// call. The timing requires CAP_SYS_ADMIN at the start. Without this flag, these metrics are exported
    /// while sysctl kernel.bpf_stats_enabled is 1.
    #[arg(long)]
    pub bpf_stats: bool,
    /// Check the configuration, print the settings in effect, and exit
    #[arg(long)]
    pub check_config: bool,
    /// Flags that choose which processes and syscalls are counted.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// Flags that say how the kernel side records calls.
    #[command(flatten)]
    pub kernel: KernelArgs,
}
