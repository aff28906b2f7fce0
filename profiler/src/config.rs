//! The daemon's settings: out of a TOML file, then out of flags, which win.

mod file;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use profiler_common::limits::{DEFAULT_EXTENTS, DEFAULT_THREADS, MAX_EXTENTS, MAX_THREADS};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{
    cli::{DaemonArgs, FilterArgs, KernelArgs},
    filter::{CallPattern, Comm},
    text::{self, Untrusted},
};

/// Where the settings are looked for when no flag says.
pub const DEFAULT_PATH: &str = "/etc/profiler/profiler.toml";

/// Shortest interval: at 10 ms a drain of a busy host still takes little of a CPU.
pub const MIN_INTERVAL: Duration = Duration::from_millis(10);
/// Longest interval: drains also give back the room of threads that have ended.
pub const MAX_INTERVAL: Duration = Duration::from_secs(3600);

const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 9494);
const EXTENTS_PER_MIB: u32 = 1024;

/// Every setting of the daemon, each with a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Address and port to serve metrics on.
    #[serde(deserialize_with = "listen")]
    pub listen: SocketAddr,
    /// Time between two drains of the kernel's maps.
    #[serde(serialize_with = "time_text", deserialize_with = "interval")]
    pub interval: Duration,
    /// Threads that can be recorded apart at one time.
    #[serde(deserialize_with = "threads")]
    pub max_threads: u32,
    /// Kernel memory for figures, MiB.
    #[serde(deserialize_with = "memory")]
    pub max_memory_mib: u32,
    /// One call in how many is timed, on average: 1 for all, 0 for none.
    pub time_one_in: u32,
    /// Count the profiler's own system calls too.
    pub include_self: bool,
    /// Have the kernel count and time the runs of the profiler's programs.
    pub bpf_stats: bool,
    /// Only processes in these cgroups, if any are named.
    pub cgroups: Vec<PathBuf>,
    /// Only processes of these names, if any are.
    #[serde(deserialize_with = "parsed")]
    pub comms: Vec<Comm>,
    /// Only these system calls, if any are; `!` before a name excludes it.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub syscalls: Vec<CallPattern>,
    /// Least severe messages to log.
    pub log_level: LogLevel,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            interval: Duration::from_secs(1),
            max_threads: DEFAULT_THREADS,
            max_memory_mib: DEFAULT_EXTENTS / EXTENTS_PER_MIB,
            time_one_in: 1,
            include_self: false,
            bpf_stats: false,
            cgroups: Vec::new(),
            comms: Vec::new(),
            syscalls: Vec::new(),
            log_level: LogLevel::Info,
        }
    }
}

/// How much to log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogLevel {
    /// What ends the daemon, or leaves something undone.
    Error,
    /// Also what an operator should look at.
    Warn,
    /// Also what the daemon does.
    Info,
    /// Also how.
    Debug,
    /// Also every drain.
    Trace,
}

impl Config {
    /// The settings that `args` ask for: the file's, or the defaults where there is
    /// none, overridden by flags.
    pub fn load(args: &DaemonArgs) -> Result<Self, ConfigError> {
        let mut config = match &args.config {
            Some(path) => Self::read(path)?,
            None => match Self::read(Path::new(DEFAULT_PATH)) {
                Err(ConfigError::Read { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    Self::default()
                }
                read => read?,
            },
        };
        config.apply_flags(args)?;
        Ok(config)
    }

    fn read(path: &Path) -> Result<Self, ConfigError> {
        let text = file::read(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// The settings in `text`, which came from `path`.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        toml::from_str(text).map_err(|error| ConfigError::File {
            place: Place::new(path, text, &error),
            message: error.message().trim_end().replace('\n', ", ").into(),
        })
    }

    fn apply_flags(&mut self, args: &DaemonArgs) -> Result<(), ConfigError> {
        let kernel = &args.kernel;
        if let Some(listen) = args.listen {
            self.listen = listen;
        }
        if let Some(interval) = args.interval {
            if !is_interval(interval) {
                return Err(ConfigError::Flag {
                    flag: "--interval",
                    value: format_duration(interval),
                    expected: INTERVAL_EXPECTED.into(),
                });
            }
            self.interval = interval;
        }
        if let Some(threads) = kernel.max_threads {
            self.max_threads = THREADS.of_flag("--max-threads", threads)?;
        }
        if let Some(memory) = kernel.max_memory {
            self.max_memory_mib = MEMORY_MIB.of_flag("--max-memory", memory)?;
        }
        if kernel.no_latency {
            self.time_one_in = 0;
        } else if let Some(calls) = kernel.sample {
            self.time_one_in = calls;
        }
        self.include_self |= kernel.include_self;
        self.bpf_stats |= args.bpf_stats;
        let filters = &args.filters;
        take_given(&mut self.cgroups, &filters.cgroup);
        take_given(&mut self.comms, &filters.comm);
        take_given(&mut self.syscalls, &filters.patterns());
        Ok(())
    }

    /// What the kernel side is to do, by these settings and by the flags that have
    /// no setting.
    pub fn kernel_args(&self, flags: &KernelArgs) -> KernelArgs {
        KernelArgs {
            max_threads: Some(self.max_threads),
            max_memory: Some(self.max_memory_mib),
            include_self: self.include_self,
            force_fallback: flags.force_fallback,
            force_arrays: flags.force_arrays,
            no_latency: self.time_one_in == 0,
            sample: (self.time_one_in > 1).then_some(self.time_one_in),
        }
    }

    /// What is to count, by these settings.
    pub fn filter_args(&self) -> FilterArgs {
        FilterArgs {
            cgroup: self.cgroups.clone(),
            comm: self.comms.clone(),
            syscall: self.syscalls.clone(),
            exclude_syscall: Vec::new(),
        }
    }

    /// Takes over from `new` what can change while the daemon runs, and names the
    /// settings that differ and cannot.
    pub fn take_live(&mut self, new: &Self) -> Vec<&'static str> {
        let Self {
            listen,
            interval,
            max_threads,
            max_memory_mib,
            time_one_in,
            include_self,
            bpf_stats,
            cgroups,
            comms,
            syscalls,
            log_level,
        } = new;
        self.interval = *interval;
        self.log_level = *log_level;
        [
            ("listen", self.listen != *listen),
            ("max_threads", self.max_threads != *max_threads),
            ("max_memory_mib", self.max_memory_mib != *max_memory_mib),
            ("time_one_in", self.time_one_in != *time_one_in),
            ("include_self", self.include_self != *include_self),
            ("bpf_stats", self.bpf_stats != *bpf_stats),
            ("cgroups", self.cgroups != *cgroups),
            ("comms", self.comms != *comms),
            ("syscalls", self.syscalls != *syscalls),
        ]
        .into_iter()
        .filter_map(|(name, differs)| differs.then_some(name))
        .collect()
    }

    /// As a configuration file.
    pub fn to_toml(&self) -> String {
        let text = toml::to_string(self).expect("a flat table of plain values is always TOML");
        text::escaped_toml(&text)
    }
}

/// Why the settings are no good.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A text is no duration.
    #[error("{text:?} is no time: {fault}")]
    Duration {
        /// The text.
        text: String,
        /// What is wrong with it, and what would be right.
        fault: &'static str,
    },
    /// The file cannot be read.
    #[error("cannot read the configuration {}: {source}", text::path(path))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file does not say what it should.
    #[error("{place}: {message}")]
    File {
        /// Where.
        place: Place,
        /// What is wrong, and what was expected.
        message: Untrusted,
    },
    /// A flag has a value that it cannot have.
    #[error("{flag} {value}: expected {expected}")]
    Flag {
        /// The flag.
        flag: &'static str,
        /// Its value.
        value: String,
        /// What it can be.
        expected: String,
    },
}

impl ConfigError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Some("without --config the daemon runs on its defaults".into())
            }
            Self::File { place, .. } => Some(format!(
                "`profiler daemon --check-config --config {}` tries it without starting anything",
                text::path(&place.path)
            )),
            Self::Read { .. } | Self::Duration { .. } | Self::Flag { .. } => None,
        }
    }
}

/// A place in a configuration file.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// Counted from 1; `None` where the parser did not say.
    line: Option<usize>,
    /// What stands before the `=` of the line.
    key: Option<Untrusted>,
}

impl Place {
    fn new(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map(|span| span.start.min(text.len()));
        let before = start.and_then(|start| text.get(..start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        let key = line
            .and_then(|line| text.lines().nth(line - 1))
            .and_then(|line| line.split_once('='))
            .map(|(key, _)| key.trim())
            .filter(|key| !key.is_empty() && !key.starts_with('#'))
            .map(Untrusted::from);
        Self { path: path.to_owned(), line, key }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", text::path(&self.path))?;
        if let Some(line) = self.line {
            write!(f, ", line {line}")?;
        }
        match &self.key {
            Some(key) => write!(f, ", {key}"),
            None => Ok(()),
        }
    }
}

const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

/// A time such as `500ms`, `1.5s` or `2m`: a number above zero and one unit out of
/// ns, us, ms, s, m, h, without a space.
pub fn parse_duration(text: &str) -> Result<Duration, ConfigError> {
    let nanos = parse_nanos(text)
        .map_err(|fault| ConfigError::Duration { text: text.to_owned(), fault })?;
    Ok(Duration::from_nanos(nanos))
}

fn parse_nanos(text: &str) -> Result<u64, &'static str> {
    const FORM: &str = "write a number and a unit, as 500ms, 10s or 2m";
    const TOO_LONG: &str = "it is longer than 500 years";
    if text.is_empty() {
        return Err(FORM);
    }
    if text.starts_with('-') {
        return Err("it has to be more than zero");
    }
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    if unit.is_empty() && !number.is_empty() {
        return Err("it has no unit; write it as 500ms, 10s or 2m");
    }
    let unit_ns = UNITS
        .iter()
        .find_map(|&(name, ns)| (name == unit).then_some(ns))
        .ok_or("its unit has to be one of ns, us, ms, s, m, h; write it as 500ms, 10s or 2m")?;
    let (whole, fraction) = match number.split_once('.') {
        Some((_, "")) => return Err(FORM),
        Some((whole, fraction)) => (whole, fraction),
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') {
        return Err(FORM);
    }
    let whole: u64 = whole.parse().map_err(|_| TOO_LONG)?;
    let fraction = fraction.trim_end_matches('0');
    let fraction_ns = if fraction.is_empty() {
        0
    } else {
        const TOO_FINE: &str = "it is no whole number of nanoseconds";
        // An hour is 36 times ten to the eleventh nanoseconds: no unit can be
        // divided by ten more often than this and stay whole.
        const MAX_PLACES: usize = 13;
        let places = u32::try_from(fraction.len()).map_err(|_| TOO_FINE)?;
        if fraction.len() > MAX_PLACES {
            return Err(TOO_FINE);
        }
        let digits: u128 = fraction.parse().map_err(|_| FORM)?;
        let (scaled, divisor) = (digits * u128::from(unit_ns), 10_u128.pow(places));
        if !scaled.is_multiple_of(divisor) {
            return Err(TOO_FINE);
        }
        u64::try_from(scaled / divisor).map_err(|_| TOO_LONG)?
    };
    let nanos =
        whole.checked_mul(unit_ns).and_then(|ns| ns.checked_add(fraction_ns)).ok_or(TOO_LONG)?;
    if nanos == 0 { Err("it has to be more than zero") } else { Ok(nanos) }
}

/// `duration` as [`parse_duration`] takes it, in the largest unit that divides it.
pub fn format_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    UNITS
        .iter()
        .find(|&&(_, unit_ns)| nanos.is_multiple_of(u128::from(unit_ns)))
        .map_or_else(String::new, |&(name, unit_ns)| {
            format!("{}{name}", nanos / u128::from(unit_ns))
        })
}

const INTERVAL_EXPECTED: &str = "a time from 10ms to 1h, as 500ms or 2s";
const LISTEN_EXPECTED: &str = "an address and a port, as 127.0.0.1:9494 or [::]:9494";

fn is_interval(duration: Duration) -> bool {
    (MIN_INTERVAL..=MAX_INTERVAL).contains(&duration)
}

/// Whole numbers that a setting can have.
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

/// A text that `parse` understands.
struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Option<T>,
}

impl<T> de::Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<T, E> {
        (self.parse)(value).ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    deserializer
        .deserialize_str(Text { expected: LISTEN_EXPECTED, parse: |text| text.parse().ok() })
}

fn interval<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_str(Text {
        expected: INTERVAL_EXPECTED,
        parse: |text| parse_duration(text).ok().filter(|&time| is_interval(time)),
    })
}

/// A list of texts, each of which is a `T`.
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

/// What flags name takes the place of what the file names.
fn take_given<T: Clone>(setting: &mut Vec<T>, given: &[T]) {
    if !given.is_empty() {
        *setting = given.to_vec();
    }
}

fn time_text<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format_duration(*duration))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fault(text: &str) -> String {
        parse_duration(text).expect_err("no time").to_string()
    }

    #[test]
    fn times() {
        for (text, ns) in [
            ("1ns", 1),
            ("2us", 2_000),
            ("500ms", 500_000_000),
            ("10s", 10_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0.000000001s", 1),
            ("1.50m", 90_000_000_000),
            ("2m", 120_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0.00000000025h", 900),
        ] {
            assert_eq!(parse_duration(text).expect(text), Duration::from_nanos(ns), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_says_why() {
        let of = |texts: &[&str]| texts.iter().map(|t| fault(t)).collect::<Vec<_>>().join("\n");
        insta::assert_snapshot!(of(&[
            "", "5", "s", ".5s", "5.s", "1.2.3s", "1 s", "5 parsecs", "5S", "0s", "0.0h", "-1s",
            "-", "0.5ns", "1.0000000001s", "18446744073709551615s", "99999999999999999999ns",
            "5845550h", "\u{1b}[31m1s",
        ]), @r#"
        "" is no time: write a number and a unit, as 500ms, 10s or 2m
        "5" is no time: it has no unit; write it as 500ms, 10s or 2m
        "s" is no time: write a number and a unit, as 500ms, 10s or 2m
        ".5s" is no time: write a number and a unit, as 500ms, 10s or 2m
        "5.s" is no time: write a number and a unit, as 500ms, 10s or 2m
        "1.2.3s" is no time: write a number and a unit, as 500ms, 10s or 2m
        "1 s" is no time: its unit has to be one of ns, us, ms, s, m, h; write it as 500ms, 10s or 2m
        "5 parsecs" is no time: its unit has to be one of ns, us, ms, s, m, h; write it as 500ms, 10s or 2m
        "5S" is no time: its unit has to be one of ns, us, ms, s, m, h; write it as 500ms, 10s or 2m
        "0s" is no time: it has to be more than zero
        "0.0h" is no time: it has to be more than zero
        "-1s" is no time: it has to be more than zero
        "-" is no time: it has to be more than zero
        "0.5ns" is no time: it is no whole number of nanoseconds
        "1.0000000001s" is no time: it is no whole number of nanoseconds
        "18446744073709551615s" is no time: it is longer than 500 years
        "99999999999999999999ns" is no time: it is longer than 500 years
        "5845550h" is no time: it is longer than 500 years
        "\u{1b}[31m1s" is no time: its unit has to be one of ns, us, ms, s, m, h; write it as 500ms, 10s or 2m
        "#);
    }

    proptest! {
        #[test]
        fn a_time_survives_being_written(ns in 1..=u64::MAX) {
            let time = Duration::from_nanos(ns);
            prop_assert_eq!(parse_duration(&format_duration(time)).ok(), Some(time));
        }

        #[test]
        fn round_times_survive_too(number in 1_u64..=100_000, unit in 0..UNITS.len()) {
            let (name, ns) = UNITS[unit];
            let time = parse_duration(&format!("{number}{name}"));
            prop_assert_eq!(time.ok(), Some(Duration::from_nanos(number * ns)));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9.]{0,24}(ns|us|ms|s|m|h)?") {
            if let Ok(time) = parse_duration(&text) {
                prop_assert!(!time.is_zero());
            }
        }
    }
}
