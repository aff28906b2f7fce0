//! Where calls are made: cgroup, systemd unit, container and pod.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    model::{Cgroup, Dimension, NO_CGROUP},
    placement::{Container, Pod, Runtime, Unit},
    text::Untrusted,
};

/// The cgroup of calls, with the unit, container and pod in its path.
#[derive(Clone, Debug)]
pub struct Place {
    /// The id of the cgroup.
    pub id: u64,
    /// The cgroup. `None` if its path is unknown.
    pub cgroup: Option<Arc<Cgroup>>,
}

impl Place {
    /// The systemd unit.
    fn unit(&self) -> Option<&Unit> {
        self.cgroup.as_ref()?.placement.unit.as_ref()
    }

    /// The container.
    fn container(&self) -> Option<(&Container, &Cgroup)> {
        let cgroup = self.cgroup.as_ref()?;
        Some((cgroup.placement.container.as_ref()?, cgroup))
    }

    /// The pod.
    fn pod(&self) -> Option<(&Pod, &Cgroup)> {
        let cgroup = self.cgroup.as_ref()?;
        Some((cgroup.placement.pod.as_ref()?, cgroup))
    }

    /// Identifies the place in a dimension. Equal for all cgroups of, for example, one container.
    pub fn id(&self, dimension: Dimension) -> (u64, u64, &str) {
        let id = match dimension {
            Dimension::Unit => self.unit().map(|unit| {
                let user = unit.user.map_or(0, |user| u64::from(user) + 1);
                (1, user, unit.name.raw())
            }),
            Dimension::Container => self
                .container()
                .map(|(container, _)| (1, container.runtime as u64, container.id.raw())),
            Dimension::Pod => self.pod().map(|(pod, _)| (1, 0, pod.uid.as_str())),
            // If a cgroup was removed and created again at the same path, its calls are in the same
            // row.
            _ => Some(match &self.cgroup {
                Some(cgroup) => (1, 0, cgroup.path.raw()),
                None => (0, self.id, ""),
            }),
        };
        id.unwrap_or_default()
    }

    /// The name in a dimension, for people. `None` if there is none.
    pub fn name(&self, dimension: Dimension) -> Option<String> {
        match dimension {
            Dimension::Unit => self.unit().map(|unit| unit.name.to_string()),
            Dimension::Container => self.container().map(|(container, cgroup)| {
                let name = cgroup.named.container.clone();
                name.unwrap_or_else(|| container.short_id()).to_string()
            }),
            Dimension::Pod => self.pod().map(|(pod, cgroup)| {
                let Some(name) = &cgroup.named.pod else { return pod.uid.clone() };
                match &cgroup.named.namespace {
                    Some(namespace) => format!("{namespace}/{name}"),
                    None => name.to_string(),
                }
            }),
            _ => match &self.cgroup {
                Some(cgroup) => Some(cgroup.path.to_string()),
                None if self.id == NO_CGROUP => None,
                None => Some(format!("(cgroup {})", self.id)),
            },
        }
    }

    /// The path, in JSON.
    pub(super) fn path(&self) -> Option<&Untrusted> {
        self.cgroup.as_ref().map(|cgroup| &cgroup.path)
    }

    /// The unit, in JSON.
    pub(super) fn unit_object(&self) -> Option<UnitObject<'_>> {
        self.unit().map(|Unit { name, slice, user }| UnitObject {
            name,
            slice: slice.as_ref(),
            user: *user,
        })
    }

    /// The container, in JSON.
    pub(super) fn container_object(&self) -> Option<ContainerObject<'_>> {
        self.container().map(|(Container { runtime, id }, cgroup)| ContainerObject {
            name: cgroup.named.container.as_ref(),
            id,
            runtime: (*runtime != Runtime::Unknown).then(|| runtime.name()),
            image: cgroup.named.image.as_ref(),
        })
    }

    /// The pod, in JSON.
    pub(super) fn pod_object(&self) -> Option<PodObject<'_>> {
        self.pod().map(|(Pod { uid, qos }, cgroup)| PodObject {
            name: cgroup.named.pod.as_ref(),
            namespace: cgroup.named.namespace.as_ref(),
            uid,
            qos: qos.name(),
        })
    }
}

/// A systemd unit.
#[derive(Serialize)]
pub(super) struct UnitObject<'a> {
    name: &'a Untrusted,
    /// The innermost slice; null for the root slice.
    slice: Option<&'a Untrusted>,
    /// The id of the user whose service manager runs the unit; null for that of the system.
    user: Option<u32>,
}

/// A container.
#[derive(Serialize)]
pub(super) struct ContainerObject<'a> {
    /// Null if it is unknown.
    name: Option<&'a Untrusted>,
    id: &'a Untrusted,
    /// Null if the path does not say.
    runtime: Option<&'static str>,
    image: Option<&'a Untrusted>,
}

/// A Kubernetes pod.
#[derive(Serialize)]
pub(super) struct PodObject<'a> {
    /// Null if it is unknown, as is the namespace.
    name: Option<&'a Untrusted>,
    namespace: Option<&'a Untrusted>,
    uid: &'a str,
    qos: &'static str,
}
