//! Flags of `profiler seccomp`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{FilterArgs, Format, List, UserArgs, candidates, lists};
use crate::{duration::RunTime, filter::CallPattern};

/// `profiler seccomp`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct SeccompArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: SeccompCommand,
}

/// The commands of `profiler seccomp`.
#[derive(Subcommand, Debug)]
pub enum SeccompCommand {
    /// Write a profile that allows the syscalls that were seen
    Generate(Box<GenerateArgs>),
    /// Say what a profile would deny, without enforcing it
    Check(Box<CheckArgs>),
    /// Run a command under a profile, and report what is denied
    Run(Box<RunArgs>),
    /// Compare two profiles
    Diff(DiffArgs),
    /// Explain a profile: what it allows, and which of that is dangerous
    Explain(ExplainArgs),
    /// Merge observations into one
    Merge(MergeArgs),
}

/// Flags that say what is watched.
#[derive(Args, Debug)]
pub struct WatchArgs {
    /// Watch the whole host
    #[arg(short, long, conflicts_with_all = ["pid", "command"])]
    pub all: bool,
    /// Watch these processes, and the children that they start
    #[arg(short, long, value_name = "PID", value_parser = lists::pids, conflicts_with = "command")]
    pub pid: Vec<List<u32>>,
    /// Stop after this time, for example 10s or 5m
    ///
    /// Without a duration, watching stops at Ctrl-C, or when the command or the last process has
    /// ended.
    #[arg(short, long, value_name = "TIME")]
    pub duration: Option<RunTime>,
    /// The flag that names the user of the command.
    #[command(flatten)]
    pub user: UserArgs,
    /// Flags that choose which processes and syscalls are watched.
    #[command(flatten)]
    pub filters: FilterArgs,
    /// The command to run and watch, with its children
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<std::ffi::OsString>,
}

impl WatchArgs {
    /// Whether the flags say what to watch.
    pub fn is_empty(&self) -> bool {
        let filters = &self.filters;
        !self.all
            && self.pid.is_empty()
            && self.command.is_empty()
            && filters.cgroup.is_empty()
            && filters.unit.is_empty()
            && filters.container.is_empty()
            && filters.pod.is_empty()
            && filters.comm.is_empty()
    }
}

/// `profiler seccomp generate`.
#[derive(Args, Debug)]
#[command(after_help = GENERATE_HELP)]
pub struct GenerateArgs {
    /// Format of the profile
    #[arg(short, long, value_enum, default_value_t = ProfileFormat::Oci)]
    pub format: ProfileFormat,
    /// Write the profile to this file, and the observation to FILE.observation.json; `-` is standard
    /// output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Make the profile from these observations, instead of watching
    #[arg(long, value_name = "FILE")]
    pub from: Vec<PathBuf>,
    /// What happens with syscalls that were not seen
    #[arg(long, value_enum, default_value_t = Deny::Errno)]
    pub deny: Deny,
    /// Also allow what this container runtime calls after it has installed the filter
    ///
    /// A container that was watched from its start has made these calls already, unless the runtime
    /// made them before the container's own cgroup existed.
    #[arg(long, value_enum)]
    pub runtime: Option<Runtime>,
    /// Also allow close relatives of the syscalls that were seen, if they match
    ///
    /// With %file, a program that called openat may also call open and openat2. `%CLASS`, a category
    /// or a name, as in --syscall. The profile marks them as not seen.
    #[arg(long, value_name = "CALL", value_delimiter = ',', add = candidates::patterns())]
    pub widen: Vec<CallPattern>,
    /// The name of a Kubernetes resource
    #[arg(long, value_name = "NAME", default_value = "generated", value_parser = resource_name)]
    pub name: String,
    /// Flags that say what is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// Formats of profiles.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProfileFormat {
    /// Docker, Podman, containerd, CRI-O, and `localhostProfile` of Kubernetes: JSON
    Oci,
    /// A SeccompProfile of the Security Profiles Operator: YAML
    Kubernetes,
    /// A drop-in for a systemd unit, with an allow list
    Systemd,
    /// A drop-in for a systemd unit that denies groups of which no call was seen; breaks less
    SystemdDeny,
    /// The observation itself, for `--from` and `profiler seccomp merge`
    Observation,
}

/// What happens with syscalls that were not seen.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deny {
    /// They fail: with ENOSYS if a C library may try whether they exist, otherwise with EPERM
    Errno,
    /// They are logged, and made
    Log,
    /// They end the process
    Kill,
}

/// Container runtimes.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runtime {
    /// runc, which installs the filter early, since `no_new_privs` is not set
    Runc,
    /// runc with `no_new_privs`, which installs the filter just before it runs the program
    RuncNoNewPrivs,
}

/// `profiler seccomp check`.
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// The profile: JSON of Docker or OCI, or a unit file of systemd
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Print to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Capabilities of the container, for profiles that allow more with some of them
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    pub cap: Vec<String>,
    /// Flags that say what is watched.
    #[command(flatten)]
    pub watch: WatchArgs,
}

/// `profiler seccomp run`.
#[derive(Args, Debug)]
pub struct RunArgs {
    /// The profile: JSON of Docker or OCI, or a unit file of systemd
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    /// The flag that names the user of the command.
    #[command(flatten)]
    pub user: UserArgs,
    /// Capabilities of the container, for profiles that allow more with some of them
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    pub cap: Vec<String>,
    /// The command to run
    #[arg(last = true, value_name = "COMMAND", required = true)]
    pub command: Vec<std::ffi::OsString>,
}

/// `profiler seccomp diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The first profile
    #[arg(value_name = "A")]
    pub first: PathBuf,
    /// The second profile
    #[arg(value_name = "B")]
    pub second: PathBuf,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Capabilities of the container, for profiles that allow more with some of them
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    pub cap: Vec<String>,
}

/// `profiler seccomp explain`.
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The profile
    #[arg(value_name = "PROFILE")]
    pub profile: PathBuf,
    /// Format of the report
    #[arg(short, long, value_enum, default_value_t = Format::Table)]
    pub format: Format,
    /// Capabilities of the container, for profiles that allow more with some of them
    #[arg(long, value_name = "CAP", value_delimiter = ',')]
    pub cap: Vec<String>,
}

/// `profiler seccomp merge`.
#[derive(Args, Debug)]
pub struct MergeArgs {
    /// Observations, which `profiler seccomp generate` wrote
    #[arg(value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Write the observation to this file; `-` is standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// Checks the name of a Kubernetes resource (RFC 1123).
fn resource_name(text: &str) -> Result<String, String> {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let is_valid = (1..=253).contains(&bytes.len())
        && bytes.iter().all(|&byte| is_inner(byte) || byte == b'-' || byte == b'.')
        && bytes.first().is_some_and(|&byte| is_inner(byte))
        && bytes.last().is_some_and(|&byte| is_inner(byte));
    match is_valid {
        true => Ok(text.to_owned()),
        false => Err("expected lower-case letters, digits, `-` and `.`".into()),
    }
}

const AFTER_HELP: &str = "\
Examples:
  profiler seccomp generate -o nginx.json --container nginx -d 10m
  docker run --security-opt seccomp=nginx.json nginx
  profiler seccomp check nginx.json -- ./test-suite
  profiler seccomp run nginx.json -- ./test-suite
  profiler seccomp explain nginx.json";

const GENERATE_HELP: &str = "\
Examples:
  profiler seccomp generate -o app.json -- ./app --self-test    a command and its children
  profiler seccomp generate -o app.json --container app -d 10m  a running container
  profiler seccomp generate -f systemd -o seccomp.conf --unit nginx -d 10m
  profiler seccomp generate -o app.json --from one.observation.json --from two.observation.json

A profile is only as complete as what was watched: let the program do everything that it can do,
from its start to its end. The profile, or with JSON the file FILE.observation.json, says for how
long it was watched, whether a call was lost, and which syscalls were seen once only.";
