//! Recognises Kubernetes pods in the paths of cgroups.
//!
//! With the driver `cgroupfs`: `kubepods/burstable/podUID`. With `systemd`:
//! `kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID.slice`, in which the dashes
//! of the UID are underscores (kubelet, pkg/kubelet/cm/cgroup_manager_linux.go). A pod of the class
//! `guaranteed` is directly below `kubepods`.

use serde::{Deserialize, Serialize};

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pod {
    /// Its UID: a UUID, or 32 hexadecimal digits for a static pod.
    pub uid: String,
    /// Its QoS class.
    pub qos: Qos,
}

impl Pod {
    /// The short UID: its first eight digits, which distinguish the pods of a node.
    pub fn short_uid(&self) -> &str {
        &self.uid[..8]
    }
}

/// Classes of quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Qos {
    /// Limits equal requests.
    Guaranteed,
    /// Some requests or limits.
    Burstable,
    /// Neither.
    BestEffort,
}

impl Qos {
    /// The name in Kubernetes.
    pub fn name(self) -> &'static str {
        match self {
            Self::Guaranteed => "Guaranteed",
            Self::Burstable => "Burstable",
            Self::BestEffort => "BestEffort",
        }
    }
}

/// The innermost pod among `components`.
pub(super) fn find(components: &[&str]) -> Option<Pod> {
    (0..components.len()).rev().find_map(|at| pod(&components[..at], components[at]))
}

fn pod(above: &[&str], component: &str) -> Option<Pod> {
    match component.strip_suffix(".slice") {
        // The name contains the whole path. A kubelet in a container prepends its own root.
        Some(slice) => {
            let (path, uid) = slice.rsplit_once("-pod")?;
            let at = path.rfind("kubepods")?;
            qos_and_uid(&path[at + "kubepods".len()..], '-', uid)
        }
        None => {
            let uid = component.strip_prefix("pod")?;
            let at = above.iter().rposition(|name| *name == "kubepods")?;
            qos_and_uid(&above[at + 1..].join("/"), '/', uid)
        }
    }
}

fn qos_and_uid(class: &str, separator: char, uid: &str) -> Option<Pod> {
    let qos = match class.trim_start_matches(separator) {
        "" => Qos::Guaranteed,
        "burstable" => Qos::Burstable,
        "besteffort" => Qos::BestEffort,
        _ => return None,
    };
    let uid = uid.replace('_', "-");
    is_uid(&uid).then_some(Pod { uid, qos })
}

/// Whether the text is a UID: `8-4-4-4-12` hexadecimal digits, or 32 without dashes.
fn is_uid(uid: &str) -> bool {
    let is_hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let groups: Vec<&str> = uid.split('-').collect();
    let lengths: Vec<usize> = groups.iter().map(|group| group.len()).collect();
    (lengths == [8, 4, 4, 4, 12] || lengths == [32]) && groups.iter().all(|group| is_hex(group))
}
