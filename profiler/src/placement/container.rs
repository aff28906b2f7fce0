//! Recognises containers in the paths of cgroups.

use serde::{Deserialize, Serialize};

use crate::text::Untrusted;

/// Length of a container's id: SHA-256 in hexadecimal.
const ID_CHARS: usize = 64;

/// A container.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Container {
    /// The container runtime.
    pub runtime: Runtime,
    /// The id. For LXC and systemd-nspawn, whose cgroups have no id: the name.
    pub id: Untrusted,
}

/// A container runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Runtime {
    /// Docker.
    Docker,
    /// containerd, for the kubelet.
    Containerd,
    /// containerd, for nerdctl.
    Nerdctl,
    /// CRI-O.
    Crio,
    /// Podman.
    Podman,
    /// LXC and Incus.
    Lxc,
    /// systemd-nspawn.
    Nspawn,
    /// Unknown, because several runtimes use this form of path.
    Unknown,
}

impl Runtime {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Nerdctl => "nerdctl",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
            Self::Lxc => "lxc",
            Self::Nspawn => "nspawn",
            Self::Unknown => "unknown",
        }
    }
}

impl Container {
    /// Whether the id is a hash. Otherwise, it is a name.
    pub fn has_hash(&self) -> bool {
        is_id(self.id.raw())
    }

    /// The short id: the first twelve characters of a hash, or the whole name.
    pub fn short_id(&self) -> Untrusted {
        let id = self.id.raw();
        if is_id(id) { id[..12].into() } else { self.id.clone() }
    }
}

/// Prefixes of an id in the name of a cgroup. Helpers outside the container have other prefixes,
/// such as `libpod-conmon-`.
const PREFIXES: [(&str, Runtime); 5] = [
    ("docker-", Runtime::Docker),
    ("libpod-", Runtime::Podman),
    ("crio-", Runtime::Crio),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Nerdctl),
];

/// The innermost container that a path is in, and the index of its component.
pub(super) fn find(components: &[&str]) -> Option<(Container, usize)> {
    (0..components.len()).rev().find_map(|at| {
        let parent = at.checked_sub(1).map(|parent| components[parent]);
        let (runtime, id) = by_hash(components[at], parent)
            .or_else(|| by_lxc(components[at], parent))
            .or_else(|| by_nspawn(components[at], components.get(at + 1)))?;
        Some((Container { runtime, id: id.into() }, at))
    })
}

/// Matches `docker-ID.scope` if systemd creates the cgroups, `docker/ID` or `crio-ID` if the
/// runtime does.
fn by_hash(component: &str, parent: Option<&str>) -> Option<(Runtime, String)> {
    let name = component.strip_suffix(".scope").unwrap_or(component);
    if let Some(&(prefix, runtime)) = PREFIXES.iter().find(|(prefix, _)| name.starts_with(prefix)) {
        let id = &name[prefix.len()..];
        return is_id(id).then(|| (runtime, id.to_owned()));
    }
    let runtime = if parent == Some("docker") { Runtime::Docker } else { Runtime::Unknown };
    is_id(component).then(|| (runtime, component.to_owned()))
}

fn is_id(text: &str) -> bool {
    text.len() == ID_CHARS && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// Matches `lxc.payload.NAME`, and before LXC 4.0 `lxc/NAME`. `lxc.monitor.NAME` is outside the
/// container.
fn by_lxc(component: &str, parent: Option<&str>) -> Option<(Runtime, String)> {
    let name = match component.strip_prefix("lxc.payload.") {
        Some(name) => name,
        None if matches!(parent, Some("lxc" | "lxc.payload")) => component,
        None => return None,
    };
    (!name.is_empty()).then(|| (Runtime::Lxc, name.to_owned()))
}

/// Matches `systemd-nspawn@NAME.service/payload` and `machine-NAME.scope/payload`. Siblings of
/// `payload` belong to nspawn itself. A virtual machine has no `payload`.
fn by_nspawn(component: &str, child: Option<&&str>) -> Option<(Runtime, String)> {
    if child != Some(&"payload") {
        return None;
    }
    let instance = |prefix, suffix| component.strip_prefix(prefix)?.strip_suffix(suffix);
    let name =
        instance("systemd-nspawn@", ".service").or_else(|| instance("machine-", ".scope"))?;
    let name = unescaped(name);
    (!name.is_empty()).then_some((Runtime::Nspawn, name))
}

/// Removes systemd's escapes from a name (`unit_name_unescape`): `-` means `/`, and `\x2d` is a
/// byte.
fn unescaped(name: &str) -> String {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let code = rest.strip_prefix("\\x").and_then(|code| code.get(..2));
        if let Some(byte) = code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            bytes.push(byte);
            rest = &rest[4..];
            continue;
        }
        let mut text = [0; 4];
        let c_text = if c == '-' { "/" } else { c.encode_utf8(&mut text) };
        bytes.extend(c_text.as_bytes());
        rest = &rest[c.len_utf8()..];
    }
    Untrusted::from_bytes(&bytes).raw().to_owned()
}
