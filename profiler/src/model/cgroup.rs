//! Cgroups: where a call was made.

use serde::{Deserialize, Serialize};

use crate::{
    placement::{Named, Placement},
    text::Untrusted,
};

/// The id of calls whose cgroup is unknown, or is not recorded.
pub const NO_CGROUP: u64 = 0;

/// A cgroup.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroup {
    /// The path from the root of the hierarchy, such as `/system.slice/ssh.service`. The last path,
    /// if the cgroup was renamed or removed.
    pub path: Untrusted,
    /// Whether it was removed.
    pub removed: bool,
    /// The unit, container and pod in the path.
    pub placement: Placement,
    /// The names of the container and the pod.
    pub named: Named,
}

impl Cgroup {
    /// The cgroup at a path.
    pub fn at(path: &str) -> Self {
        Self { path: path.into(), placement: Placement::of_path(path), ..Self::default() }
    }
}
