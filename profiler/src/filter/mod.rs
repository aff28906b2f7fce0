//! Filters: which processes and syscalls are counted. Processes are chosen by cgroup, unit,
//! container, pod or name. The user names them, this module resolves them, and the kernel side
//! decides.

mod calls;
mod cgroup;
mod comm;
mod mounts;
mod places;

use std::{fmt, path::PathBuf};

pub use calls::{CallError, CallPattern, Calls};
pub use cgroup::{Cgroup, CgroupError, mount as cgroup_mount};
pub use comm::{Comm, CommError};
pub(crate) use mounts::{MOUNTINFO, Mount, mounts};
pub use places::{
    ContainerName, Kind as PlaceKind, Learned, PlaceError, PlaceNameError, Places, PodName,
    UnitName, names_in,
};

/// The filters of a run. Different filters are ANDed; several values of one filter are ORed. An
/// empty filter matches everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Processes in one of these cgroups, or below it.
    pub cgroups: Vec<Cgroup>,
    /// Processes in these units, containers and pods.
    pub places: Places,
    /// Processes that have one of these names.
    pub comms: Vec<Comm>,
    /// The syscalls that are counted. `None` means all.
    pub calls: Option<Calls>,
}

/// Why a filter cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A path is not a cgroup.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The name of a unit, container or pod matches nothing, or is ambiguous.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// The filters exclude every syscall.
    #[error(transparent)]
    Calls(#[from] CallError),
    /// A filter has more values than the kernel side supports.
    #[error("{count} {what} exceed the limit of {most}")]
    TooMany {
        /// The kind of values.
        what: &'static str,
        /// The number of values.
        count: usize,
        /// The maximum number of values.
        most: u32,
    },
}

impl FilterError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cgroup(error) => error.hint(),
            Self::Place(error) => Some(error.hint()),
            Self::Calls(_) | Self::TooMany { .. } => None,
        }
    }

    /// The exit code, as `--help` lists them.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Cgroup(CgroupError::NoHierarchy { .. }) => 4,
            _ => 2,
        }
    }
}

impl Filter {
    /// Creates a filter by cgroup, name and syscall. Looks up the cgroups now.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn new(
        cgroups: &[PathBuf],
        comms: Vec<Comm>,
        patterns: &[CallPattern],
    ) -> Result<Self, FilterError> {
        use profiler_common::limits::{MAX_CGROUPS, MAX_COMMS};
        within("cgroups", cgroups.len(), MAX_CGROUPS)?;
        within("names of processes", comms.len(), MAX_COMMS)?;
        let (cgroups, calls) = (cgroup::resolve(cgroups)?, Calls::new(patterns)?);
        Ok(Self { cgroups, places: Places::default(), comms, calls })
    }

    /// Adds units, containers and pods. [`Places::check`] checks whether they exist.
    ///
    /// # Errors
    /// [`FilterError::TooMany`].
    pub fn in_places(self, places: Places) -> Result<Self, FilterError> {
        use profiler_common::limits::MAX_CGROUPS;
        within("units, containers and pods", places.len(), MAX_CGROUPS)?;
        Ok(Self { places, ..self })
    }

    /// Whether this syscall is counted.
    pub fn counts(&self, key: profiler_common::call::CallKey) -> bool {
        let of = |calls: &Calls| calls.counts().get(key.overflow_index() as usize).copied();
        self.calls.as_ref().is_none_or(|calls| of(calls).unwrap_or(false))
    }

    /// Whether a running process can start or stop to match the filter.
    pub fn changes(&self) -> bool {
        !self.cgroups.is_empty() || !self.places.is_empty() || !self.comms.is_empty()
    }
}

fn within(what: &'static str, count: usize, most: u32) -> Result<(), FilterError> {
    if count <= most as usize { Ok(()) } else { Err(FilterError::TooMany { what, count, most }) }
}

/// Formats the filter for people: `cgroup /a or /b, comm nginx, syscall read or write`. An empty
/// filter prints nothing.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let any = |all: Vec<String>| all.join(" or ");
        let cgroups = any(self.cgroups.iter().map(|cgroup| cgroup.path.to_string()).collect());
        let comms = any(self.comms.iter().map(ToString::to_string).collect());
        let calls = self.calls.as_ref().map(ToString::to_string).unwrap_or_default();
        let kinds = [("cgroup ", cgroups), ("", self.places.to_string()), ("comm ", comms)];
        let kinds = kinds.into_iter().chain([("syscall ", calls)]);
        let named = kinds.filter(|(_, what)| !what.is_empty());
        let parts: Vec<_> = named.map(|(kind, what)| format!("{kind}{what}")).collect();
        f.write_str(&parts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_says_what_it_is() {
        assert_eq!(Filter::default().to_string(), "");
        let comms = ["nginx", "a b"].map(|name| name.parse().expect("a name")).into();
        let calls = ["read", "i386:open"].map(|call| call.parse().expect("a call"));
        let filter = Filter::new(&[], comms, &calls).expect("a filter");
        assert_eq!(filter.to_string(), "comm nginx or a b, syscall read or i386:open");
        assert!(filter.changes());
    }

    #[test]
    fn there_is_room_for_so_many() {
        let name: Comm = "a".parse().expect("a name");
        let error = Filter::new(&[], vec![name; 257], &[]).expect_err("too many");
        assert_eq!(error.to_string(), "257 names of processes exceed the limit of 256");
        assert_eq!(error.exit_code(), 2);
    }
}
