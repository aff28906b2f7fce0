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

/// What counts; everything where it names nothing. Of each kind one has to be met, and all
/// kinds that are named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Processes in one of these cgroups, or below it.
    pub cgroups: Vec<Cgroup>,
    /// Processes in these units, containers and pods.
    pub places: Places,
    /// Processes that have one of these names.
    pub comms: Vec<Comm>,
    /// System calls; all where there is none.
    pub calls: Option<Calls>,
}

/// Why a filter is none.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// A cgroup cannot be had.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// A unit, container or pod cannot be told.
    #[error(transparent)]
    Place(#[from] PlaceError),
    /// No system call is left.
    #[error(transparent)]
    Calls(#[from] CallError),
    /// There are more than the kernel side has room for.
    #[error("{count} {what} exceed the limit of {most}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there can be.
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
    /// A filter of cgroups, names of processes and syscalls. The cgroups are looked up now.
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

    /// Adds units, containers and pods. [`Places::check`] says whether they exist.
    ///
    /// # Errors
    /// [`FilterError::TooMany`].
    pub fn in_places(self, places: Places) -> Result<Self, FilterError> {
        use profiler_common::limits::MAX_CGROUPS;
        within("units, containers and pods", places.len(), MAX_CGROUPS)?;
        Ok(Self { places, ..self })
    }

    /// Whether a process can come into it and leave it.
    pub fn changes(&self) -> bool {
        !self.cgroups.is_empty() || !self.places.is_empty() || !self.comms.is_empty()
    }
}

fn within(what: &'static str, count: usize, most: u32) -> Result<(), FilterError> {
    if count <= most as usize { Ok(()) } else { Err(FilterError::TooMany { what, count, most }) }
}

/// For people: `cgroup /a or /b, comm nginx, syscall read or write`; nothing where it names
/// nothing.
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
