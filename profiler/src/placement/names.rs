//! Reads the names of containers and pods from the state files of their runtimes.
//!
//! This module reads only files, because the sockets of Docker and containerd give their clients
//! the rights of root. Only root can read most of these files. If the file of a container cannot be
//! read, or if an unusual configuration stores it elsewhere, the container has no name.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::{Container, Runtime};
use crate::{regular_file, text::Untrusted};

/// The maximum number of cached containers. If it is reached, the cache is cleared.
const MAX_KNOWN: usize = 4_096;

/// The maximum number of containerd namespaces that are searched.
const MAX_NAMESPACES: usize = 16;

/// The names of a container. Each is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// The name of the container. In a pod, the name in the manifest of the pod.
    pub container: Option<Untrusted>,
    /// The name of its image.
    pub image: Option<Untrusted>,
    /// The name of its pod.
    pub pod: Option<Untrusted>,
    /// The namespace of its pod.
    pub namespace: Option<Untrusted>,
}

/// Returns the names of a container, if they can be found.
pub type NameSource = Box<dyn FnMut(&Container) -> Option<Named> + Send>;

/// Looks up the names of containers, each once.
pub struct Names {
    root: PathBuf,
    known: HashMap<Container, Named>,
    /// Somebody who may read more files.
    source: Option<NameSource>,
}

impl Default for Names {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Names {
    /// Reads the state files below `root`: `/`, or the directory where the host's files are
    /// mounted.
    pub fn below(root: &Path) -> Self {
        Self { root: root.to_owned(), known: HashMap::new(), source: None }
    }

    /// Asks `source` from now on, if this process finds no name in the files.
    pub fn ask(&mut self, source: NameSource) {
        self.source = Some(source);
    }

    /// The names of `container`. The first lookup of a container reads one or two files.
    pub fn of(&mut self, container: &Container) -> &Named {
        if self.known.len() >= MAX_KNOWN && !self.known.contains_key(container) {
            self.known.clear();
        }
        let (root, source) = (&self.root, &mut self.source);
        self.known.entry(container.clone()).or_insert_with(|| {
            let found = named(root, container);
            if found != Named::default() {
                return found;
            }
            source.as_mut().and_then(|source| source(container)).unwrap_or_default()
        })
    }
}

fn named(root: &Path, container: &Container) -> Named {
    let id = container.id.raw();
    let found = match container.runtime {
        Runtime::Docker => docker(root, id),
        Runtime::Podman => podman(root, id),
        Runtime::Crio => crio(root, id),
        Runtime::Containerd | Runtime::Nerdctl => containerd(root, id),
        // The runtime is unknown, so try each.
        Runtime::Unknown => {
            docker(root, id).or_else(|| containerd(root, id)).or_else(|| crio(root, id))
        }
        // The path already has the name.
        Runtime::Lxc | Runtime::Nspawn => None,
    };
    found.unwrap_or_default()
}

/// Parses a JSON file. `None` if the file cannot be read or has another structure.
fn parsed<T: DeserializeOwned>(path: &Path) -> Option<T> {
    serde_json::from_str(&regular_file::read(path).ok()?).ok()
}

/// Labels of a container, or the annotations of its OCI specification.
type Labels = HashMap<String, String>;

fn text(labels: &Labels, keys: &[&str]) -> Option<Untrusted> {
    let value = keys.iter().find_map(|key| labels.get(*key))?;
    (!value.is_empty()).then(|| value.as_str().into())
}

/// `config.v2.json` of Docker (moby, container/container.go).
fn docker(root: &Path, id: &str) -> Option<Named> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct State {
        name: String,
        config: Config,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Config {
        image: String,
        #[serde(default)]
        labels: Option<Labels>,
    }
    let path = root.join("var/lib/docker/containers").join(id).join("config.v2.json");
    let State { name, config } = parsed(&path)?;
    let labels = config.labels.unwrap_or_default();
    let name = name.strip_prefix('/').unwrap_or(&name);
    Some(Named {
        container: text(&labels, &["io.kubernetes.container.name"])
            .or_else(|| (!name.is_empty()).then(|| name.into())),
        image: Some(config.image.into()),
        pod: text(&labels, &["io.kubernetes.pod.name"]),
        namespace: text(&labels, &["io.kubernetes.pod.namespace"]),
    })
}

/// `config.json`: the OCI specification of a running container.
fn annotations(path: &Path) -> Option<Labels> {
    #[derive(Deserialize)]
    struct Specification {
        annotations: Labels,
    }
    parsed::<Specification>(path).map(|specification| specification.annotations)
}

/// The annotations of containerd's CRI plugin (containerd, internal/cri/annotations), and of nerdctl.
fn containerd(root: &Path, id: &str) -> Option<Named> {
    let tasks = root.join("run/containerd/io.containerd.runtime.v2.task");
    let namespaces = fs::read_dir(tasks).ok()?.take(MAX_NAMESPACES).flatten();
    let labels = namespaces.map(|namespace| namespace.path().join(id).join("config.json"));
    let labels = labels.into_iter().find_map(|path| annotations(&path))?;
    Some(Named {
        container: text(&labels, &["io.kubernetes.cri.container-name", "nerdctl/name"]),
        image: text(&labels, &["io.kubernetes.cri.image-name", "nerdctl/image-ref"]),
        pod: text(&labels, &["io.kubernetes.cri.sandbox-name"]),
        namespace: text(&labels, &["io.kubernetes.cri.sandbox-namespace"]),
    })
}

/// The annotations of CRI-O (pkg/annotations), which keeps its state where Podman does.
fn crio(root: &Path, id: &str) -> Option<Named> {
    let state = root.join("run/containers/storage/overlay-containers");
    let labels = annotations(&state.join(id).join("userdata/config.json"))?;
    Some(Named {
        container: text(&labels, &["io.kubernetes.container.name"]),
        image: text(&labels, &["io.kubernetes.cri-o.ImageName"]),
        pod: text(&labels, &["io.kubernetes.pod.name"]),
        namespace: text(&labels, &["io.kubernetes.pod.namespace"]),
    })
}

/// `containers.json` of the storage that Podman uses (containers/storage, containers.go). Its
/// metadata is JSON in a string.
fn podman(root: &Path, id: &str) -> Option<Named> {
    #[derive(Deserialize)]
    struct Stored {
        id: String,
        #[serde(default)]
        names: Vec<String>,
        #[serde(default)]
        metadata: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default, rename_all = "kebab-case")]
    struct Metadata {
        image_name: String,
    }
    let path = root.join("var/lib/containers/storage/overlay-containers/containers.json");
    let stored = parsed::<Vec<Stored>>(&path)?.into_iter().find(|stored| stored.id == id)?;
    let image = serde_json::from_str::<Metadata>(&stored.metadata).unwrap_or_default().image_name;
    Some(Named {
        container: stored.names.into_iter().next().map(Untrusted::from),
        image: (!image.is_empty()).then(|| image.into()),
        ..Named::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";

    /// Creates files below a temporary root.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("a directory");
        for (path, text) in files {
            let path = root.path().join(path.replace("ID", ID));
            fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
            fs::write(path, text.replace("ID", ID)).expect("a file");
        }
        root
    }

    /// Container, image, pod and namespace; `-` for none.
    fn found(root: &Path, runtime: Runtime) -> String {
        let mut names = Names::below(root);
        let Named { container, image, pod, namespace } =
            names.of(&Container { runtime, id: ID.into() }).clone();
        let parts = [container, image, pod, namespace];
        parts.map(|part| part.map_or("-".into(), |text| text.to_string())).join(" ")
    }

    const DOCKER: (&str, &str) = (
        "var/lib/docker/containers/ID/config.v2.json",
        r#"{"ID":"ID","Name":"/web","State":{"Running":true},"Config":{"Image":"nginx:1","Labels":null}}"#,
    );

    #[test]
    fn each_runtime_has_its_state_files() {
        let of = |files: &[(&str, &str)], runtime| found(root(files).path(), runtime);
        assert_eq!(of(&[DOCKER], Runtime::Docker), "web nginx:1 - -");
        let in_pod = r#"{"Name":"/k8s_web_x","Config":{"Image":"sha256:1","Labels":{
            "io.kubernetes.container.name":"web","io.kubernetes.pod.name":"web-7d4",
            "io.kubernetes.pod.namespace":"shop"}}}"#;
        assert_eq!(of(&[(DOCKER.0, in_pod)], Runtime::Docker), "web sha256:1 web-7d4 shop");
        let task = "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json";
        let cri = r#"{"ociVersion":"1.1.0","annotations":{
            "io.kubernetes.cri.container-name":"db","io.kubernetes.cri.image-name":"pg:16",
            "io.kubernetes.cri.sandbox-name":"db-0","io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
        assert_eq!(of(&[(task, cri)], Runtime::Containerd), "db pg:16 db-0 shop");
        let crio = r#"{"annotations":{"io.kubernetes.container.name":"db",
            "io.kubernetes.cri-o.ImageName":"pg:16","io.kubernetes.pod.name":"db-0",
            "io.kubernetes.pod.namespace":"shop"}}"#;
        let userdata = "run/containers/storage/overlay-containers/ID/userdata/config.json";
        assert_eq!(of(&[(userdata, crio)], Runtime::Crio), "db pg:16 db-0 shop");
        let storage = "var/lib/containers/storage/overlay-containers/containers.json";
        let podman = r#"[{"id":"other","names":["no"]},
            {"id":"ID","names":["cache"],"metadata":"{\"image-name\":\"redis:7\",\"x\":1}"}]"#;
        assert_eq!(of(&[(storage, podman)], Runtime::Podman), "cache redis:7 - -");
        // Without its name in the path, each is tried.
        assert_eq!(of(&[DOCKER], Runtime::Unknown), "web nginx:1 - -");
        assert_eq!(of(&[(task, cri)], Runtime::Unknown), "db pg:16 db-0 shop");
    }

    #[test]
    fn what_cannot_be_read_has_no_name() {
        for text in ["", "{", "[]", "null", "{\"Name\":1}", "\u{feff}", "{\"annotations\":[]}"] {
            assert_eq!(
                found(root(&[(DOCKER.0, text)]).path(), Runtime::Docker),
                "- - - -",
                "{text}"
            );
        }
        let none = root(&[]);
        for runtime in [Runtime::Docker, Runtime::Unknown, Runtime::Podman, Runtime::Lxc] {
            assert_eq!(found(none.path(), runtime), "- - - -");
        }
    }

    #[test]
    fn a_container_is_looked_up_once() {
        let files = root(&[DOCKER]);
        let mut names = Names::below(files.path());
        let container = Container { runtime: Runtime::Docker, id: ID.into() };
        let first = names.of(&container).clone();
        fs::remove_dir_all(files.path().join("var")).expect("files of ours");
        assert_eq!(*names.of(&container), first);
        for n in 0..MAX_KNOWN {
            names.of(&Container { runtime: Runtime::Docker, id: format!("{n:064x}").into() });
        }
        assert!(names.known.len() <= MAX_KNOWN);
    }
}
