//! Finds the systemd unit, container and pod of a process from the path of its cgroup.
//!
//! systemd, the container runtimes and the kubelet encode their names in the paths of cgroups. This
//! module recognises the forms that they write; `path_tests.rs` has an example of each. A cgroup
//! can have any name, so a path in an unknown form has no unit, container or pod.

mod container;
mod names;
mod pod;
mod proc;
mod unit;

pub use container::{Container, Runtime};
pub use names::{NameSource, Named, Names};
pub use pod::{Pod, Qos};
pub use unit::Unit;

use serde::{Deserialize, Serialize};

/// The maximum number of components of a path that are parsed, from its end. The kernel limits a
/// path to 4096 bytes (`PATH_MAX`). Nested managers use some thirty components.
const MAX_COMPONENTS: usize = 64;

/// The unit, container and pod of a process. Each is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Placement {
    /// The systemd unit.
    pub unit: Option<Unit>,
    /// The container, the innermost if they are nested.
    pub container: Option<Container>,
    /// The Kubernetes pod of the container.
    pub pod: Option<Pod>,
}

impl Placement {
    /// Parses the path of a cgroup. The path begins at the root of a hierarchy: `/` or
    /// `/system.slice/ssh.service`. In a cgroup namespace it may begin with `/..`.
    pub fn of_path(path: &str) -> Self {
        let mut components: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
        components.drain(..components.len().saturating_sub(MAX_COMPONENTS));
        let found = container::find(&components);
        let (container, at) = found.map_or((None, components.len()), |(c, at)| (Some(c), at));
        // A pod contains its containers. If a node of a cluster is itself a container, that
        // container contains the pod.
        Self { unit: unit::find(&components), container, pod: pod::find(&components[..at]) }
    }

    /// Parses the text of `/proc/PID/cgroup`, which has a line for each hierarchy.
    pub fn of_proc(text: &str) -> Self {
        proc::placement(text)
    }

    /// A short label: `docker web`, `docker 3f4a0c0b8f0d` if the name is unknown, or
    /// `nginx.service`. `None` if nothing is known.
    pub fn label(&self, named: &Named) -> Option<String> {
        let Some(container) = &self.container else {
            return self.unit.as_ref().map(|unit| unit.name.to_string());
        };
        let runtime = match container.runtime {
            Runtime::Unknown => "container",
            known => known.name(),
        };
        let name = named.container.clone().unwrap_or_else(|| container.short_id());
        let container = format!("{runtime} {name}");
        let Some(pod) = &self.pod else { return Some(container) };
        Some(match (&named.namespace, &named.pod) {
            (Some(namespace), Some(pod)) => format!("pod {namespace}/{pod}, {container}"),
            _ => format!("pod {}, {container}", pod.short_uid()),
        })
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod path_tests;
