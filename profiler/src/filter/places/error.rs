//! Names that match nothing, or too much.

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

/// So many names are in a hint.
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
                "{known};\nname one by its id, or several separated by commas, or the pod by --pod"
            ),
            Self::Ambiguous { .. } => format!("{known};\nwrite more of the UID"),
            Self::Unknown { kind, .. } => {
                let files = match kind {
                    Kind::Unit => "",
                    Kind::Container => {
                        "\nthe name of a container is read from root's files; its id always works"
                    }
                    Kind::Pod => {
                        "\nthe name of a pod is read from root's files; its UID always works"
                    }
                };
                format!(
                    "{known};\n`profiler stat -a --by {0} -d 1s` lists what runs;\n\
                     --allow-missing waits for a {0} that does not exist yet{files}",
                    kind.name()
                )
            }
        }
    }

    /// The same in one line, for a daemon, which waits for the name.
    pub fn waiting(&self) -> String {
        format!("{self} ({}); its calls are counted from its start on", self.known())
    }
}
