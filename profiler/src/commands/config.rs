//! The settings of the daemon, from a TOML file and flags. Flags take precedence.

mod bounds;
mod metrics;
mod running;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use profiler_common::limits::{DEFAULT_EXTENTS, DEFAULT_THREADS, MAX_EXTENTS, MAX_THREADS};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

pub use metrics::{GroupConfig, MetricsConfig, RankKey};

use super::{
    cli::DaemonArgs,
    timed,
    toml_file::{self, TomlFileError},
};
use crate::{
    address::Listen,
    duration::Interval,
    filter::{CallPattern, Comm, ContainerName, PodName, UnitName},
    logging::LogLevel,
    model::Timed,
    privilege::NOBODY,
    serve::{
        hosts::HostName,
        web_config::{self, WebConfig, WebError},
    },
    text,
};

/// The default path of the configuration file.
pub const DEFAULT_PATH: &str = "/etc/profiler/profiler.toml";

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9494);
const EXTENTS_PER_MIB: u32 = 1024;

/// Every setting of the daemon, each with a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to serve metrics on.
    #[serde(serialize_with = "listen_text", deserialize_with = "listen")]
    pub listen: Listen,
    /// Host names that clients may use, in addition to `localhost` and IP addresses.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub allowed_hosts: Vec<HostName>,
    /// Path of the web configuration file, with TLS and passwords. Empty means none.
    pub web_config: PathBuf,
    /// Longest time between two drains.
    pub interval: Interval,
    /// Maximum number of threads that have a record at one time, of one user or of all users. A
    /// quarter more records are reserved for other users.
    #[serde(deserialize_with = "threads")]
    pub max_threads: u32,
    /// Kernel memory for figures, MiB, of which one user's threads can use four fifths.
    #[serde(deserialize_with = "memory")]
    pub max_memory_mib: u32,
    /// Which calls are timed. A number N means one call in N on average; 0 means none.
    #[serde(with = "timed")]
    pub time_one_in: Timed,
    /// Split the time of calls: on a CPU, waiting or runnable. Requires that calls are timed.
    #[serde(rename = "where")]
    pub off_cpu: bool,
    /// Count the profiler's own syscalls too.
    pub include_self: bool,
    /// Let the kernel count and time the runs of the profiler's programs.
    pub bpf_stats: bool,
    /// Count only processes in these cgroups. Empty means all.
    pub cgroups: Vec<PathBuf>,
    /// Count only processes in these systemd units. Empty means all.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub units: Vec<UnitName>,
    /// Count only processes in these containers. Empty means all.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub containers: Vec<ContainerName>,
    /// Count only processes in these pods. Empty means all.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub pods: Vec<PodName>,
    /// Count only processes with these names. Empty means all.
    #[serde(deserialize_with = "parsed")]
    pub comms: Vec<Comm>,
    /// Count only these syscalls. Empty means all. `!` before a name excludes the syscall.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub syscalls: Vec<CallPattern>,
    /// The user to which the daemon changes once its programs are attached, if root started it.
    pub user: String,
    /// Least severe messages to log.
    pub log_level: LogLevel,
    /// The table `[metrics]`. Last, because a TOML table ends where the next one starts.
    pub metrics: MetricsConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: Listen::Tcp(DEFAULT_LISTEN),
            allowed_hosts: Vec::new(),
            web_config: PathBuf::new(),
            interval: Interval::clamped(Duration::from_secs(1)),
            max_threads: DEFAULT_THREADS,
            max_memory_mib: DEFAULT_EXTENTS / EXTENTS_PER_MIB,
            time_one_in: Timed::All,
            off_cpu: false,
            include_self: false,
            bpf_stats: false,
            cgroups: Vec::new(),
            units: Vec::new(),
            containers: Vec::new(),
            pods: Vec::new(),
            comms: Vec::new(),
            syscalls: Vec::new(),
            user: NOBODY.into(),
            log_level: LogLevel::Info,
            metrics: MetricsConfig::default(),
        }
    }
}

impl Config {
    /// Loads the settings: those of the file, or else the defaults, overridden by the flags `args`.
    pub fn load(args: &DaemonArgs) -> Result<Self, ConfigError> {
        let mut config = Self::load_file(args.config.as_deref())?;
        config.apply_flags(args)?;
        if config.off_cpu && config.time_one_in == Timed::None {
            return Err(ConfigError::UntimedWhere);
        }
        config.metrics.named_calls()?;
        if let Some(group) = config.metrics.untimed_group(config.time_one_in) {
            return Err(ConfigError::UntimedGroup(group.into()));
        }
        Ok(config)
    }

    /// Loads the settings of the file at `path`, or else of the default file if it exists.
    ///
    /// # Errors
    /// [`ConfigError::Toml`].
    pub fn load_file(path: Option<&Path>) -> Result<Self, ConfigError> {
        match path {
            Some(path) => Self::read(path),
            None => match Self::read(Path::new(DEFAULT_PATH)) {
                Err(ConfigError::Toml(error)) if error.is_missing() => Ok(Self::default()),
                read => read,
            },
        }
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = toml_file::read("configuration", path)?;
        Self::parse(&text, path)
    }

    /// Parses the settings in `text`. `path` is for messages.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        let parsed = toml::from_str(text);
        parsed.map_err(|error| TomlFileError::content(path, text, &error).into())
    }

    fn apply_flags(&mut self, args: &DaemonArgs) -> Result<(), ConfigError> {
        let kernel = &args.kernel;
        if let Some(listen) = &args.listen {
            self.listen.clone_from(listen);
        }
        if let Some(web_config) = &args.web_config {
            self.web_config.clone_from(web_config);
        }
        if let Some(interval) = args.interval {
            self.interval = interval;
        }
        if let Some(threads) = kernel.max_threads {
            self.max_threads = THREADS.of_flag("--max-threads", threads)?;
        }
        if let Some(memory) = kernel.max_memory {
            self.max_memory_mib = MEMORY_MIB.of_flag("--max-memory", memory)?;
        }
        if kernel.no_latency {
            self.time_one_in = Timed::None;
        } else if let Some(timed) = kernel.sample {
            self.time_one_in = timed;
        }
        self.off_cpu |= kernel.off_cpu;
        self.include_self |= kernel.include_self;
        self.bpf_stats |= args.bpf_stats;
        let filters = &args.filters;
        take_given(&mut self.cgroups, &filters.cgroup.concat());
        take_given(&mut self.units, &filters.unit);
        take_given(&mut self.containers, &filters.container);
        take_given(&mut self.pods, &filters.pod);
        take_given(&mut self.comms, &filters.comm.concat());
        take_given(&mut self.syscalls, &filters.patterns());
        Ok(())
    }

    /// The web configuration file, if there is one.
    ///
    /// # Errors
    /// [`ConfigError::Web`] if it cannot be read or used.
    pub fn web(&self) -> Result<Option<Arc<dyn WebConfig>>, ConfigError> {
        let path = &self.web_config;
        let is_given = !path.as_os_str().is_empty();
        Ok(is_given.then(|| web_config::open(path)).transpose()?)
    }

    /// Formats the settings as a configuration file.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("a flat table of plain values is always TOML");
        text::escaped_toml(&text)
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be used.
    #[error(transparent)]
    Toml(#[from] TomlFileError),
    /// The web configuration file cannot be used.
    #[error(transparent)]
    Web(#[from] WebError),
    /// `where` is set, but no call is timed.
    #[error("`where` splits the time of timed calls, but time_one_in = 0 times none")]
    UntimedWhere,
    /// `metrics.syscalls` excludes every syscall.
    #[error("metrics.syscalls excludes every syscall")]
    NoneNamed,
    /// A group ranks its members by time, and no call is timed.
    #[error("the group {0:?} ranks by time, but time_one_in = 0 times no call")]
    UntimedGroup(String),
    /// The value of a flag is out of range.
    #[error("{flag} {value}: expected {expected}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// The valid values.
        expected: String,
    },
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Toml(error) if error.is_missing() => {
                Some("without --config, the daemon uses its defaults".into())
            }
            Self::Toml(TomlFileError::Content { place, .. }) => Some(format!(
                "`profiler daemon --check-config --config {}` checks the file without starting the daemon",
                text::path(place.path())
            )),
            Self::UntimedGroup(_) => {
                Some("set time_one_in to 1 or more, or rank_by to \"calls\" or \"errors\"".into())
            }
            Self::UntimedWhere => Some("set time_one_in to 1 or more, or remove `where`".into()),
            Self::Web(WebError::NotBuilt) => {
                Some("build the profiler with `cargo build --features tls`".into())
            }
            Self::Web(_) => Some("see profiler/docs/web.md for the keys".into()),
            Self::Toml(TomlFileError::Read { .. }) | Self::Flag { .. } | Self::NoneNamed => None,
        }
    }
}

/// A range of whole numbers.
struct Range {
    min: u32,
    max: u32,
}

const THREADS: Range = Range { min: 1, max: MAX_THREADS };
const MEMORY_MIB: Range = Range { min: 1, max: MAX_EXTENTS / EXTENTS_PER_MIB };

impl Range {
    fn of_flag(&self, flag: &'static str, value: u32) -> Result<u32, ConfigError> {
        if (self.min..=self.max).contains(&value) {
            return Ok(value);
        }
        Err(ConfigError::Flag { flag, value: value.to_string(), expected: self.to_string() })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a whole number from {} to {}", self.min, self.max)
    }
}

impl de::Visitor<'_> for Range {
    type Value = u32;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<u32, E> {
        u32::try_from(value)
            .ok()
            .filter(|value| (self.min..=self.max).contains(value))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(value), &self))
    }
}

fn threads<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_u32(THREADS)
}

fn memory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_u32(MEMORY_MIB)
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Listen, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|why| de::Error::custom(format_args!("{text:?}: {why}")))
}

fn listen_text<S: Serializer>(listen: &Listen, serializer: S) -> Result<S::Ok, S::Error> {
    match listen {
        Listen::Tcp(address) => serializer.collect_str(address),
        // In the syntax of the file, so that the printed settings can be read again.
        Listen::Unix(path) => serializer.collect_str(&format_args!(
            "unix:{}",
            path.to_str().expect("a path of the file or a flag is text")
        )),
    }
}

/// Parses a list of texts, each of which is a `T`.
fn parsed<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: fmt::Display>,
{
    let texts = Vec::<String>::deserialize(deserializer)?;
    let parsed = |text: String| {
        text.parse().map_err(|error| de::Error::custom(format_args!("{text:?}: {error}")))
    };
    texts.into_iter().map(parsed).collect()
}

fn texts<S: Serializer, T: ToString>(list: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(ToString::to_string))
}

/// Replaces a list of the file by that of a flag, unless the flag's list is empty.
fn take_given<T: Clone>(setting: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *setting = given.to_vec();
    }
}
