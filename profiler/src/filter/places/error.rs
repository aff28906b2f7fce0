//! Errors about names of units, containers and pods that match nothing, or several.

use std::collections::BTreeSet;

use super::{Kind, names_in};
use crate::{model::Cgroup, names::near::near, text::Untrusted};

/// Why a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Nothing has this name.
    #[error("there is no {} {name}", kind.name())]
    Unknown {
        /// What was looked for.
        kind: Kind,
        /// The name.
        name: Untrusted,
        /// Names that resemble it, the most similar first.
        near: Vec<String>,
        /// All names.
        known: Vec<String>,
    },
    /// Several have this name.
    #[error("{name} matches {} {}s", matching.len(), kind.name())]
    Ambiguous {
        /// What was looked for.
        kind: Kind,
        /// The name.
        name: Untrusted,
        /// What has the name.
        matching: Vec<String>,
    },
}

/// The maximum number of names in a hint.
const NAMED: usize = 8;

fn listed(what: &str, names: &[String]) -> String {
    let more = if names.len() > NAMED { ", ..." } else { "" };
    format!("{what}: {}{more}", names[..names.len().min(NAMED)].join(", "))
}

impl PlaceError {
    pub(super) fn unknown(kind: Kind, name: &Untrusted, existing: &[Cgroup]) -> Self {
        let known: Vec<String> = names_in(kind, existing)
            .into_iter()
            .map(|(name, _)| Untrusted::from(name).to_string())
            .collect();
        let near = near(name.raw(), known.iter().cloned());
        Self::Unknown { kind, name: name.clone(), near, known }
    }

    pub(super) fn ambiguous(kind: Kind, name: &Untrusted, matching: BTreeSet<String>) -> Self {
        Self::Ambiguous { kind, name: name.clone(), matching: matching.into_iter().collect() }
    }

    /// The names that resemble an unknown name, or else all names.
    fn known(&self) -> String {
        match self {
            Self::Unknown { near, .. } if !near.is_empty() => {
                format!("similar: {}", near.join(", "))
            }
            Self::Unknown { kind, known, .. } if known.is_empty() => {
                format!("no {} is running, or its cgroup is not visible here", kind.name())
            }
            Self::Unknown { known, .. } => listed("running", known),
            Self::Ambiguous { matching, .. } => listed("matching", matching),
        }
    }

    /// What the user can do.
    pub fn hint(&self) -> String {
        let known = self.known();
        match self {
            Self::Ambiguous { kind: Kind::Container, .. } => format!(
                "{known};\nuse an id, or several ids separated by commas, or name the pod with --pod"
            ),
            Self::Ambiguous { .. } => format!("{known};\nuse more digits of the UID"),
            Self::Unknown { kind, .. } => {
                let files = match kind {
                    Kind::Unit => "",
                    Kind::Container => {
                        "\nnames of containers are in files that only root can read; ids always work"
                    }
                    Kind::Pod => {
                        "\nnames of pods are in files that only root can read; UIDs always work"
                    }
                };
                format!(
                    "{known};\n`profiler stat -a --by {0} -d 1s` lists what runs;\n\
                     --allow-missing waits until the {0} exists{files}",
                    kind.name()
                )
            }
        }
    }

    /// The error in one line, for the daemon, which waits until the name exists.
    pub fn waiting(&self) -> String {
        format!("{self} ({}); its calls will be counted once it starts", self.known())
    }
}
