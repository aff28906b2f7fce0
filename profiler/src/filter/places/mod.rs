//! Filters by unit, container and pod.

mod error;
mod name;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, fmt};

pub use error::PlaceError;
pub use name::{ContainerName, PlaceNameError, PodName, UnitName};

use crate::{
    model::Cgroup,
    placement::{Container, Pod},
    text::Untrusted,
};

/// What a name can stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A systemd unit.
    Unit,
    /// A container.
    Container,
    /// A Kubernetes pod.
    Pod,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Unit, Self::Container, Self::Pod];

    /// The name in messages, which is also the name of the flag and of the dimension.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unit => "unit",
            Self::Container => "container",
            Self::Pod => "pod",
        }
    }
}

/// The units, containers and pods that a filter names. Different kinds are ANDed; several names of
/// one kind are ORed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Processes in one of these units, or in a cgroup below it.
    pub units: Vec<UnitName>,
    /// Processes in one of these containers, or in a cgroup below it.
    pub containers: Vec<ContainerName>,
    /// Processes in one of these pods.
    pub pods: Vec<PodName>,
}

impl Places {
    /// Whether there is no name of any kind.
    pub fn is_empty(&self) -> bool {
        self.kinds().next().is_none()
    }

    /// The number of names, of all kinds.
    pub fn len(&self) -> usize {
        self.units.len() + self.containers.len() + self.pods.len()
    }

    /// The kinds that have at least one name.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        let named = [!self.units.is_empty(), !self.containers.is_empty(), !self.pods.is_empty()];
        Kind::ALL.into_iter().zip(named).filter_map(|(kind, named)| named.then_some(kind))
    }

    /// Whether a match of this kind depends on names that are not in the path of a cgroup.
    pub fn needs_names(&self, kind: Kind) -> bool {
        match kind {
            Kind::Unit => false,
            Kind::Container => !self.containers.is_empty(),
            Kind::Pod => self.pods.iter().any(|pod| !pod.is_uid()),
        }
    }

    /// Whether the names of this kind match a cgroup. The cgroups below it may belong to something
    /// else, such as a container within a container.
    pub fn matches(&self, kind: Kind, cgroup: &Cgroup) -> bool {
        match kind {
            Kind::Unit => self.units.iter().any(|unit| unit.matches(cgroup)),
            Kind::Container => self.containers.iter().any(|name| name.matches(cgroup)),
            Kind::Pod => self.pods.iter().any(|pod| pod.matches(cgroup)),
        }
    }

    /// Checks the names against the cgroups that exist. Returns the names that match nothing.
    ///
    /// # Errors
    /// [`PlaceError::Ambiguous`] if a name matches several containers or pods. A unit of the system
    /// and units of several users can have the same name: the name stands for all of them, as in
    /// `--by unit`.
    pub fn check(&self, existing: &[Cgroup]) -> Result<Vec<PlaceError>, PlaceError> {
        let mut unknown = Vec::new();
        let missing = |kind, name: &Untrusted| PlaceError::unknown(kind, name, existing);
        for unit in &self.units {
            if !existing.iter().any(|cgroup| unit.matches(cgroup)) {
                unknown.push(missing(Kind::Unit, &unit.0));
            }
        }
        for name in &self.containers {
            let matching = existing.iter().filter(|cgroup| name.matches(cgroup));
            let matching: BTreeSet<String> = matching.filter_map(container_label).collect();
            match matching.len() {
                0 => unknown.push(missing(Kind::Container, &name.0)),
                1 => {}
                _ => return Err(PlaceError::ambiguous(Kind::Container, &name.0, matching)),
            }
        }
        for pod in &self.pods {
            let matching = existing.iter().filter(|cgroup| pod.matches(cgroup));
            let matching = matching.filter_map(|cgroup| Some(&cgroup.placement.pod.as_ref()?.uid));
            let matching: BTreeSet<String> = matching.cloned().collect();
            match matching.len() {
                0 => unknown.push(missing(Kind::Pod, &pod.0)),
                1 => {}
                // A pod that is replaced keeps its name for the moment in which both exist.
                _ if !pod.is_uid() => {}
                _ => return Err(PlaceError::ambiguous(Kind::Pod, &pod.0, matching)),
            }
        }
        Ok(unknown)
    }
}

/// `unit a.service or b.service, container web`, for people.
impl fmt::Display for Places {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn any<T: ToString>(kind: Kind, names: &[T]) -> Option<String> {
            let names: Vec<_> = names.iter().map(T::to_string).collect();
            (!names.is_empty()).then(|| format!("{} {}", kind.name(), names.join(" or ")))
        }
        let all = [
            any(Kind::Unit, &self.units),
            any(Kind::Container, &self.containers),
            any(Kind::Pod, &self.pods),
        ];
        f.write_str(&all.into_iter().flatten().collect::<Vec<_>>().join(", "))
    }
}

/// A container and its name, so that two containers differ.
fn container_label(cgroup: &Cgroup) -> Option<String> {
    let id = &cgroup.placement.container.as_ref()?.id;
    Some(match (cgroup_pod(cgroup), &cgroup.named.container) {
        (Some(pod), Some(name)) => format!("{id} ({name} of pod {pod})"),
        (None, Some(name)) => format!("{id} ({name})"),
        (_, None) => id.to_string(),
    })
}

/// `NAMESPACE/NAME` of the pod of a cgroup; its UID if the name is unknown.
fn cgroup_pod(cgroup: &Cgroup) -> Option<String> {
    let pod = cgroup.placement.pod.as_ref()?;
    Some(match (&cgroup.named.namespace, &cgroup.named.pod) {
        (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
        _ => pod.uid.clone(),
    })
}

/// The names by which these cgroups can be named, each with a description: units, containers or
/// pods.
pub fn names_in(kind: Kind, cgroups: &[Cgroup]) -> Vec<(String, String)> {
    let name = |cgroup: &Cgroup| {
        let placement = &cgroup.placement;
        match kind {
            Kind::Unit => {
                let unit = placement.unit.as_ref()?;
                let slice = unit.slice.as_ref().map_or("no slice".into(), ToString::to_string);
                Some((unit.name.raw().to_owned(), slice))
            }
            Kind::Container => {
                let container = placement.container.as_ref()?;
                let name = cgroup.named.container.clone();
                let name = name.unwrap_or_else(|| container.short_id());
                let label = placement.label(&cgroup.named).unwrap_or_default();
                Some((name.raw().to_owned(), label))
            }
            Kind::Pod => {
                let Pod { uid, qos } = placement.pod.as_ref()?;
                let name = cgroup_pod(cgroup).filter(|_| cgroup.named.pod.is_some());
                Some((name.unwrap_or_else(|| uid.clone()), qos.name().to_owned()))
            }
        }
    };
    // A container can have several cgroups, and a pod can have cgroups without a name.
    let names: BTreeSet<_> = cgroups.iter().filter_map(name).collect();
    let mut names: Vec<_> = names.into_iter().collect();
    names.dedup_by(|a, b| a.0 == b.0);
    names
}

/// Containers and pods that matched by name. They match by id from then on, even if their state
/// files can no longer be read.
#[derive(Clone, Debug, Default)]
pub struct Learned {
    containers: BTreeSet<(String, &'static str)>,
    pods: BTreeSet<String>,
}

impl Learned {
    /// Remembers the container or pod of a cgroup that matched.
    pub fn learn(&mut self, kind: Kind, cgroup: &Cgroup) {
        let placement = &cgroup.placement;
        match (kind, &placement.container, &placement.pod) {
            (Kind::Container, Some(container), _) => {
                self.containers.insert(key(container));
            }
            (Kind::Pod, _, Some(pod)) => {
                self.pods.insert(pod.uid.clone());
            }
            _ => {}
        }
    }

    /// Whether the container or the pod of a cgroup matched before.
    pub fn knows(&self, kind: Kind, cgroup: &Cgroup) -> bool {
        let placement = &cgroup.placement;
        match (kind, &placement.container, &placement.pod) {
            (Kind::Container, Some(container), _) => self.containers.contains(&key(container)),
            (Kind::Pod, _, Some(pod)) => self.pods.contains(&pod.uid),
            _ => false,
        }
    }
}

fn key(container: &Container) -> (String, &'static str) {
    (container.id.raw().to_owned(), container.runtime.name())
}
