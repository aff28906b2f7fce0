//! Where a process belongs, by the path of its cgroup: systemd unit and slice, container, pod.
//!
//! systemd, the container runtimes and the kubelet encode their names in the paths of cgroups. The
//! forms here are those that they write; `path_tests.rs` has one of each. What has no known form
//! is absent rather than wrong: a cgroup may be called anything.

mod container;
mod names;
mod pod;
mod proc;
mod unit;

pub use container::{Container, Runtime};
pub use names::{Named, Names};
pub use pod::{Pod, Qos};
pub use unit::Unit;

use serde::{Deserialize, Serialize};

/// The most components of a path that are looked at, from its end. The kernel bounds a path to
/// 4096 bytes (`PATH_MAX`); nested managers need some thirty components.
const MAX_COMPONENTS: usize = 64;

/// Where a process belongs. Everything is optional.
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
    /// What the path of a cgroup says. The path begins at the root of a hierarchy: `/` or
    /// `/system.slice/ssh.service`. In a cgroup namespace it may begin with `/..`.
    pub fn of_path(path: &str) -> Self {
        let mut components: Vec<&str> =
            path.split('/').filter(|part| !part.is_empty() && *part != "..").collect();
        components.drain(..components.len().saturating_sub(MAX_COMPONENTS));
        let found = container::find(&components);
        let (container, at) = found.map_or((None, components.len()), |(c, at)| (Some(c), at));
        // A pod holds its containers, and a node of a cluster may itself be a container.
        Self { unit: unit::find(&components), container, pod: pod::find(&components[..at]) }
    }

    /// What the text of `/proc/PID/cgroup` says: a line for each hierarchy.
    pub fn of_proc(text: &str) -> Self {
        proc::placement(text)
    }

    /// Where the process belongs, in few words: `docker web`, `docker 3f4a0c0b8f0d` if its name
    /// is not known, `nginx.service`, or nothing.
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
