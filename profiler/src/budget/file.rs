//! Reads and writes a budget as a TOML file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, de::Error as _};

use super::{Budget, Limits, Unlisted};
use crate::{duration::Bounded, filter::CallPattern, names::errnos::Errno};

/// A limit of time: 0 to 8760 h.
type Time = Bounded<0, 31_536_000_000>;

/// The file. Names are parsed in a second step, so that errors say where they are.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct File {
    #[serde(skip_serializing_if = "is_allowed")]
    unlisted: Choice,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forbidden: Vec<Pattern>,
    #[serde(skip_serializing_if = "Table::is_empty")]
    total: Table,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    syscalls: BTreeMap<Pattern, Table>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Choice {
    #[default]
    Allowed,
    Forbidden,
}

fn is_allowed(choice: &Choice) -> bool {
    *choice == Choice::Allowed
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Table {
    #[serde(skip_serializing_if = "Option::is_none")]
    calls: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    errors: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    denied: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p99: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max: Option<Time>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    errnos: BTreeMap<ErrnoKey, u64>,
}

impl Table {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn limits(self) -> Limits {
        Limits {
            calls: self.calls,
            errors: self.errors,
            errnos: self.errnos.into_iter().map(|(errno, count)| (errno.0, count)).collect(),
            denied: self.denied,
            total_time: self.total_time.map(Time::get),
            p99: self.p99.map(Time::get),
            max: self.max.map(Time::get),
        }
    }

    fn of(limits: &Limits) -> Self {
        Self {
            calls: limits.calls,
            errors: limits.errors,
            errnos: limits.errnos.iter().map(|(&errno, &count)| (ErrnoKey(errno), count)).collect(),
            denied: limits.denied,
            total_time: limits.total_time.map(Time::clamped),
            p99: limits.p99.map(Time::clamped),
            max: limits.max.map(Time::clamped),
        }
    }
}

/// An errno as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct ErrnoKey(Errno);

impl Serialize for ErrnoKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ErrnoKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(|why| D::Error::custom(format_args!("{text:?}: {why}")))
    }
}

/// A pattern of syscalls as a key.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern(CallPattern);

impl PartialOrd for Pattern {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Pattern {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.to_string().cmp(&other.0.to_string())
    }
}

impl Serialize for Pattern {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let pattern: CallPattern =
            text.parse().map_err(|why| D::Error::custom(format_args!("{text:?}: {why}")))?;
        if pattern.is_excluding() {
            return Err(D::Error::custom(format_args!(
                "{text:?}: a budget names the syscalls that it limits, without `!`"
            )));
        }
        Ok(Self(pattern))
    }
}

impl Budget {
    /// Parses the text of a budget file.
    ///
    /// # Errors
    /// If the text is not TOML, has an unknown key, names a syscall or an errno that does not
    /// exist, or has no limit.
    pub fn from_toml(text: &str) -> Result<Self, toml::de::Error> {
        let File { unlisted, forbidden, total, syscalls } = toml::from_str(text)?;
        let unlisted = match unlisted {
            Choice::Allowed => Unlisted::Allowed,
            Choice::Forbidden => Unlisted::Forbidden,
        };
        let is_empty = total.is_empty() && forbidden.is_empty();
        if is_empty && syscalls.values().all(Table::is_empty) && unlisted == Unlisted::Allowed {
            return Err(toml::de::Error::custom("the budget has no limit"));
        }
        Ok(Self {
            total: total.limits(),
            syscalls: syscalls.into_iter().map(|(name, table)| (name.0, table.limits())).collect(),
            forbidden: forbidden.into_iter().map(|pattern| pattern.0).collect(),
            unlisted,
        })
    }

    /// Formats the budget as a file that [`Self::from_toml`] can read.
    pub fn to_toml(&self) -> String {
        let file = File {
            unlisted: match self.unlisted {
                Unlisted::Allowed => Choice::Allowed,
                Unlisted::Forbidden => Choice::Forbidden,
            },
            forbidden: self.forbidden.iter().cloned().map(Pattern).collect(),
            total: Table::of(&self.total),
            syscalls: self
                .syscalls
                .iter()
                .map(|(pattern, limits)| (Pattern(pattern.clone()), Table::of(limits)))
                .collect(),
        };
        toml::to_string(&file).expect("tables of numbers and texts are always TOML")
    }
}
