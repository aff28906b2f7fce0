//! The table `[metrics]`: which series `/metrics` has.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer, Serialize, de};

use super::{ConfigError, bounds::LatencyBounds, parsed, texts};
use crate::{
    aggregate::{
        OwnerKind,
        groups::{GroupSpec, RESERVED_SERIES, RankBy},
    },
    duration::Bounded,
    filter::{CallPattern, Calls},
    model::{Dimension, Timed},
    present::metrics::Options,
};

/// The maximum number of groups.
const MAX_GROUPS: usize = 8;
/// The maximum of `top`.
const MAX_TOP: u32 = 1_000;
/// The minimum of `max_series`.
const MIN_SERIES: u32 = 100;
const MAX_SERIES: u32 = 100_000;
/// The maximum length of the name of a group.
const MAX_NAME: usize = 64;

const _: () = assert!(MIN_SERIES as usize >= RESERVED_SERIES);

/// The dimensions that a group can have. Processes and threads would make too many series.
const DIMENSIONS: [Dimension; 5] =
    [Dimension::Comm, Dimension::Unit, Dimension::Container, Dimension::Pod, Dimension::Cgroup];

/// How long a member of a group stays without a call: one minute to one day.
type Expire = Bounded<60_000, 86_400_000>;

/// The table `[metrics]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MetricsConfig {
    /// Only these syscalls have series of their own. Empty means all. `!` before a name excludes
    /// the syscall. All others share the series `other` of their ABI.
    #[serde(serialize_with = "texts", deserialize_with = "parsed")]
    pub syscalls: Vec<CallPattern>,
    /// The bounds of latencies in classic buckets.
    pub latency_bounds: LatencyBounds,
    /// Whether counters and histograms have samples `_created` in OpenMetrics.
    pub openmetrics_created: bool,
    /// The groups.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "groups")]
    pub groups: Vec<GroupConfig>,
}

/// A table `[[metrics.groups]]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupConfig {
    /// The value of the label `group`.
    #[serde(deserialize_with = "name")]
    pub name: String,
    /// The dimensions.
    #[serde(serialize_with = "names", deserialize_with = "dimensions")]
    pub by: Vec<Dimension>,
    /// The maximum number of members.
    #[serde(default = "default_top", deserialize_with = "top")]
    pub top: u32,
    /// The score by which members are chosen.
    #[serde(default)]
    pub rank_by: RankKey,
    /// The maximum number of series, including those of `other` and `folded`.
    #[serde(default = "default_series", deserialize_with = "series")]
    pub max_series: u32,
    /// How long a member stays without a call.
    #[serde(default = "default_expire")]
    pub expire: Bounded<60_000, 86_400_000>,
}

/// The score by which members are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RankKey {
    /// Calls
    #[default]
    Calls,
    /// Total time
    Time,
    /// Errors and denied calls
    Errors,
}

fn default_top() -> u32 {
    20
}

fn default_series() -> u32 {
    10_000
}

fn default_expire() -> Expire {
    Expire::clamped(std::time::Duration::from_secs(900))
}

impl MetricsConfig {
    /// Which syscalls have series of their own. `None` if all have.
    ///
    /// # Errors
    /// [`ConfigError::NoneNamed`].
    pub fn named_calls(&self) -> Result<Option<Calls>, ConfigError> {
        Calls::new(&self.syscalls).map_err(|_| ConfigError::NoneNamed)
    }

    /// The options of the encoders.
    pub fn options(&self) -> Options {
        Options { bounds: self.latency_bounds.bounds(), created_samples: self.openmetrics_created }
    }

    /// The dimensions that the groups require.
    pub fn owners(&self) -> OwnerKind {
        let any = |is: fn(Dimension) -> bool| {
            self.groups.iter().flat_map(|group| &group.by).any(|&dimension| is(dimension))
        };
        OwnerKind {
            comm: any(|dimension| dimension == Dimension::Comm),
            cgroup: any(Dimension::is_of_cgroup),
        }
    }

    /// The first group that ranks by time, if no call is timed.
    pub(super) fn untimed_group(&self, timed: Timed) -> Option<&str> {
        let ranks_by_time = |group: &&GroupConfig| group.rank_by == RankKey::Time;
        let group = self.groups.iter().find(ranks_by_time).filter(|_| timed == Timed::None)?;
        Some(&group.name)
    }
}

impl GroupConfig {
    /// The group that these settings describe.
    pub fn spec(&self) -> GroupSpec {
        GroupSpec {
            name: self.name.as_str().into(),
            dimensions: self.by.as_slice().into(),
            rank_by: match self.rank_by {
                RankKey::Calls => RankBy::Calls,
                RankKey::Time => RankBy::Time,
                RankKey::Errors => RankBy::Errors,
            },
            top: self.top as usize,
            max_series: self.max_series as usize,
            expire: self.expire.get(),
        }
    }
}

fn groups<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<GroupConfig>, D::Error> {
    let groups = Vec::<GroupConfig>::deserialize(deserializer)?;
    if groups.len() > MAX_GROUPS {
        let count = groups.len();
        return Err(de::Error::custom(format_args!(
            "{count} groups exceed the limit of {MAX_GROUPS}"
        )));
    }
    let mut known = BTreeSet::new();
    match groups.iter().find(|group| !known.insert(&group.name)) {
        Some(twice) => {
            Err(de::Error::custom(format_args!("two groups have the name {:?}", twice.name)))
        }
        None => Ok(groups),
    }
}

fn name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if name.is_empty() || name.len() > MAX_NAME || !name.chars().all(is_plain) {
        return Err(de::Error::custom(format_args!(
            "{name:?}: expected a name of 1 to {MAX_NAME} letters, digits, `_`, `-` and `.`"
        )));
    }
    Ok(name)
}

fn dimensions<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Dimension>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let all = || DIMENSIONS.map(Dimension::name).join(", ");
    let named = |name: &String| {
        DIMENSIONS.into_iter().find(|of| of.name() == name).ok_or_else(|| {
            de::Error::custom(format_args!("{name:?}: expected one or more of {}", all()))
        })
    };
    let dimensions: Vec<_> = names.iter().map(named).collect::<Result<_, _>>()?;
    if dimensions.is_empty() {
        return Err(de::Error::custom(format_args!("expected one or more of {}", all())));
    }
    let twice = dimensions.iter().enumerate().find(|&(at, of)| dimensions[..at].contains(of));
    match twice {
        Some((_, of)) => Err(de::Error::custom(format_args!("{:?} is given twice", of.name()))),
        None => Ok(dimensions),
    }
}

fn names<S: serde::Serializer>(by: &[Dimension], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(by.iter().map(|dimension| dimension.name()))
}

fn top<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_u32(super::Range { min: 1, max: MAX_TOP })
}

fn series<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    deserializer.deserialize_u32(super::Range { min: MIN_SERIES, max: MAX_SERIES })
}
