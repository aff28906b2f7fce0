//! Parses the names of units, containers and pods in flags and settings.

use std::{fmt, str::FromStr};

use serde::Serialize;

use crate::{model::Cgroup, text::Untrusted};

/// The minimum number of digits of an abbreviated container id.
const CONTAINER_DIGITS: usize = 12;

/// The minimum number of digits of an abbreviated pod UID.
const POD_DIGITS: usize = 8;

/// Suffixes of the units that can have processes.
const SUFFIXES: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

/// Suffixes of the units that have no processes.
const SUFFIXES_WITHOUT_PROCESSES: [&str; 5] =
    [".target", ".timer", ".path", ".device", ".automount"];

/// A systemd unit, by its full name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct UnitName(pub(super) Untrusted);

/// A container, by its name, its id, or the beginning of its id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ContainerName(pub(super) Untrusted);

/// A Kubernetes pod, by `NAMESPACE/NAME`, its UID, or the beginning of its UID.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PodName(pub(super) Untrusted);

/// Why a text names no unit, container or pod.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceNameError {
    /// The text is empty.
    #[error("expected the name of a {what}, for example {example}")]
    Empty {
        /// The kind of name.
        what: &'static str,
        /// An example of a name.
        example: &'static str,
    },
    /// The name has control characters, which are never printed.
    #[error("names with control characters are not supported")]
    Control,
    /// A slice has units, and no processes of its own.
    #[error("a slice is a group of units; use `--cgroup {0}`")]
    Slice(Untrusted),
    /// Units of this type have no processes.
    #[error("a {0} unit has no processes; name the service that it starts")]
    NoProcesses(&'static str),
    /// The text is a path.
    #[error("a unit has a name, not a path; use --cgroup for the path of a cgroup")]
    Path,
    /// The text is not a pod. A name of a pod is unique only within its namespace.
    #[error("expected NAMESPACE/NAME, or a UID or at least its first {POD_DIGITS} digits")]
    Pod,
}

fn checked(
    text: &str,
    what: &'static str,
    example: &'static str,
) -> Result<Untrusted, PlaceNameError> {
    if text.is_empty() {
        return Err(PlaceNameError::Empty { what, example });
    }
    if text.contains(char::is_control) {
        return Err(PlaceNameError::Control);
    }
    Ok(text.into())
}

impl FromStr for UnitName {
    type Err = PlaceNameError;

    /// Adds `.service` to a name without the suffix of a type, as systemctl(1) does.
    fn from_str(text: &str) -> Result<Self, PlaceNameError> {
        let name = checked(text, "unit", "nginx.service")?;
        if text.contains('/') {
            return Err(PlaceNameError::Path);
        }
        if text.ends_with(".slice") {
            return Err(PlaceNameError::Slice(name));
        }
        if let Some(suffix) = SUFFIXES_WITHOUT_PROCESSES.iter().find(|end| text.ends_with(**end)) {
            return Err(PlaceNameError::NoProcesses(&suffix[1..]));
        }
        let has_suffix = SUFFIXES.iter().any(|suffix| text.ends_with(suffix));
        Ok(Self(if has_suffix { name } else { format!("{text}.service").into() }))
    }
}

impl FromStr for ContainerName {
    type Err = PlaceNameError;

    fn from_str(text: &str) -> Result<Self, PlaceNameError> {
        checked(text, "container", "web").map(Self)
    }
}

impl FromStr for PodName {
    type Err = PlaceNameError;

    fn from_str(text: &str) -> Result<Self, PlaceNameError> {
        let name = checked(text, "pod", "default/web-0")?;
        let is_named = text.split_once('/').is_some_and(|(namespace, name)| {
            !namespace.is_empty() && !name.is_empty() && !name.contains('/')
        });
        let is_uid = text.len() >= POD_DIGITS
            && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f' | b'-'));
        if is_named || is_uid { Ok(Self(name)) } else { Err(PlaceNameError::Pod) }
    }
}

impl UnitName {
    pub(super) fn matches(&self, cgroup: &Cgroup) -> bool {
        cgroup.placement.unit.as_ref().is_some_and(|unit| unit.name == self.0)
    }
}

impl ContainerName {
    pub(super) fn matches(&self, cgroup: &Cgroup) -> bool {
        let Some(container) = &cgroup.placement.container else { return false };
        let (id, wanted) = (container.id.raw(), self.0.raw());
        let begins = wanted.len() >= CONTAINER_DIGITS && container.has_hash();
        cgroup.named.container.as_ref() == Some(&self.0)
            || id == wanted
            || begins && id.starts_with(wanted)
    }
}

impl PodName {
    pub(super) fn is_uid(&self) -> bool {
        !self.0.raw().contains('/')
    }

    pub(super) fn matches(&self, cgroup: &Cgroup) -> bool {
        let Some(pod) = &cgroup.placement.pod else { return false };
        match (self.0.raw().split_once('/'), &cgroup.named.namespace, &cgroup.named.pod) {
            (None, ..) => pod.uid.starts_with(self.0.raw()),
            (Some((namespace, name)), Some(of), Some(named)) => {
                of.raw() == namespace && named.raw() == name
            }
            _ => false,
        }
    }
}

macro_rules! shown_as_text {
    ($($name:ident),+) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl $name {
            /// The text, for a configuration file.
            pub fn raw(&self) -> &str {
                self.0.raw()
            }
        }
    )+};
}

shown_as_text!(UnitName, ContainerName, PodName);
