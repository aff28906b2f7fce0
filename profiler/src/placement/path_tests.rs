//! Tests with one path of each form that the managers of cgroups write.

use proptest::prelude::*;

use super::*;
use crate::text::Untrusted;

const ID: &str = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";
const OTHER: &str = "00000000000000000000000000000000000000000000000000000000000000aa";
const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";
const STATIC_UID: &str = "0123456789abcdef0123456789abcdef";

/// `unit in slice (user)`, `runtime id`, `class uid`, each absent as `-`.
fn shown(placement: &Placement) -> [String; 3] {
    let none = || "-".to_owned();
    let unit = |unit: &Unit| {
        let slice = unit.slice.as_ref().map_or("root", Untrusted::raw);
        let user = unit.user.map(|user| format!(" ({user})")).unwrap_or_default();
        format!("{} in {slice}{user}", unit.name)
    };
    let container = |c: &Container| {
        let id = if c.id.raw() == ID { "ID" } else { c.id.raw() };
        format!("{} {id}", c.runtime.name())
    };
    let pod = |pod: &Pod| {
        let uid = match pod.uid.as_str() {
            UID => "UID",
            STATIC_UID => "STATIC",
            other => other,
        };
        format!("{} {uid}", pod.qos.name())
    };
    [
        placement.unit.as_ref().map_or_else(none, unit),
        placement.container.as_ref().map_or_else(none, container),
        placement.pod.as_ref().map_or_else(none, pod),
    ]
}

#[track_caller]
fn assert_placed(path: &str, unit: &str, container: &str, pod: &str) {
    let uid_of_slice = UID.replace('-', "_");
    let path = path.replace("ID64", ID).replace("UID36", UID).replace("UID_36", &uid_of_slice);
    let path = path.replace("UID32", STATIC_UID).replace("OTHER64", OTHER);
    assert_eq!(shown(&Placement::of_path(&path)), [unit, container, pod], "{path}");
}

#[test]
fn units_of_the_system_and_of_users() {
    for (path, unit) in [
        ("/", "-"),
        ("/init.scope", "init.scope in root"),
        ("/system.slice/ssh.service", "ssh.service in system.slice"),
        (
            "/system.slice/system-getty.slice/getty@tty1.service",
            "getty@tty1.service in system-getty.slice",
        ),
        // Below a unit that delegates its cgroup.
        ("/system.slice/app.service/workers/1", "app.service in system.slice"),
        ("/user.slice/user-1000.slice/session-3.scope", "session-3.scope in user-1000.slice"),
        ("/user.slice/user-1000.slice/user@1000.service/init.scope", "init.scope in root (1000)"),
        (
            "/user.slice/user-1000.slice/user@1000.service/app.slice/app-gnome-org\\x2dx-42.scope",
            "app-gnome-org\\x2dx-42.scope in app.slice (1000)",
        ),
        // A name that a file of the kernel could have, escaped.
        ("/system.slice/_cpu.service", "cpu.service in system.slice"),
        ("/system.slice/dev-hugepages.mount", "dev-hugepages.mount in system.slice"),
        // From inside a cgroup namespace.
        ("/../../system.slice/cron.service", "cron.service in system.slice"),
        // No units: a slice, a name with the suffix of a unit, a name that is invalid in systemd.
        ("/system.slice", "-"),
        ("/system.slice/.service", "-"),
        ("/a/ssh.service", "-"),
        ("/system.slice/a b.service", "-"),
        ("/system.slice/\u{202e}x.service", "-"),
    ] {
        assert_placed(path, unit, "-", "-");
    }
}

#[test]
fn containers_by_each_runtime_and_driver() {
    let docker = "docker-ID64.scope";
    let scope = |scope: &str| scope.replace("ID64", ID);
    for (path, unit, container) in [
        ("/docker/ID64", "-".to_owned(), "docker ID"),
        (
            "/system.slice/docker-ID64.scope",
            format!("{} in system.slice", scope(docker)),
            "docker ID",
        ),
        // Docker without root.
        (
            "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID64.scope",
            format!("{} in user.slice (1000)", scope(docker)),
            "docker ID",
        ),
        // systemd inside a container.
        (
            "/system.slice/docker-ID64.scope/system.slice/cron.service",
            format!("{} in system.slice", scope(docker)),
            "docker ID",
        ),
        ("/batch/ID64", "-".to_owned(), "unknown ID"),
        (
            "/machine.slice/libpod-ID64.scope/container",
            format!("{} in machine.slice", scope("libpod-ID64.scope")),
            "podman ID",
        ),
        ("/libpod_parent/libpod-ID64", "-".to_owned(), "podman ID"),
        (
            "/machine.slice/machine-libpod_pod_OTHER64.slice/libpod-ID64.scope",
            format!("{} in machine-libpod_pod_{OTHER}.slice", scope("libpod-ID64.scope")),
            "podman ID",
        ),
        (
            "/system.slice/nerdctl-ID64.scope",
            format!("{} in system.slice", scope("nerdctl-ID64.scope")),
            "nerdctl ID",
        ),
        ("/lxc.payload.web", "-".to_owned(), "lxc web"),
        ("/lxc.payload/web/init.scope", "-".to_owned(), "lxc web"),
        ("/lxc/web", "-".to_owned(), "lxc web"),
        (
            "/machine.slice/systemd-nspawn@we\\x2db.service/payload/system.slice/x.service",
            "systemd-nspawn@we\\x2db.service in machine.slice".to_owned(),
            "nspawn we-b",
        ),
        (
            "/machine.slice/machine-web.scope/payload",
            "machine-web.scope in machine.slice".to_owned(),
            "nspawn web",
        ),
        // Nested containers: the innermost.
        ("/docker/OTHER64/docker/ID64", "-".to_owned(), "docker ID"),
    ] {
        assert_placed(path, &unit, container, "-");
    }
}

#[test]
fn what_is_beside_a_container_is_not_in_it() {
    for path in [
        "/machine.slice/libpod-conmon-ID64.scope",
        "/system.slice/crio-conmon-ID64.scope",
        "/libpod_parent/conmon",
        "/lxc.monitor.web",
        "/lxc.pivot",
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        // A virtual machine.
        "/machine.slice/machine-qemu\\x2d1\\x2dvm.scope",
        "/docker",
        "/docker/buildkit",
        "/docker/3f4a0c0b8f0d",
        "/system.slice/docker.service",
        "/default/web",
    ] {
        let placement = Placement::of_path(&path.replace("ID64", ID));
        assert_eq!((placement.container, placement.pod), (None, None), "{path}");
    }
}

#[test]
fn pods_of_each_driver_and_class() {
    for (path, container, pod) in [
        ("/kubepods/podUID36/ID64", "unknown ID", "Guaranteed UID"),
        ("/kubepods/burstable/podUID36/ID64", "unknown ID", "Burstable UID"),
        ("/kubepods/besteffort/podUID32/crio-ID64", "cri-o ID", "BestEffort STATIC"),
        (
            "/kubepods.slice/kubepods-podUID_36.slice/cri-containerd-ID64.scope",
            "containerd ID",
            "Guaranteed UID",
        ),
        (
            "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUID_36.slice/crio-ID64.scope",
            "cri-o ID",
            "Burstable UID",
        ),
        (
            "/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-podUID32.slice/docker-ID64.scope",
            "docker ID",
            "BestEffort STATIC",
        ),
        // A node that is itself a container, with its kubelet's root (kind).
        (
            "/docker/OTHER64/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUID_36.slice/cri-containerd-ID64.scope",
            "containerd ID",
            "Guaranteed UID",
        ),
    ] {
        let uid_of_slice = UID.replace('-', "_");
        let full = path.replace("ID64", ID).replace("UID36", UID).replace("UID_36", &uid_of_slice);
        let full = full.replace("UID32", STATIC_UID).replace("OTHER64", OTHER);
        let [_, in_container, in_pod] = shown(&Placement::of_path(&full));
        assert_eq!([in_container.as_str(), &in_pod], [container, pod], "{path}");
    }
    for path in [
        "/kubepods/burstable",
        "/kubepods/unheard-of/podUID36/x",
        "/podUID36/ID64",
        "/kubepods/podnot-a-uid/ID64",
        "/kubepods.slice/kubepods-podUID_36x.slice/crio-ID64.scope",
    ] {
        let path = path.replace("ID64", ID).replace("UID36", UID);
        let path = path.replace("UID_36", &UID.replace('-', "_"));
        assert_eq!(Placement::of_path(&path).pod, None, "{path}");
    }
}

#[test]
fn a_label_has_the_innermost_of_what_is_known() {
    let label = |path: &str| {
        Placement::of_path(&path.replace("ID64", ID).replace("UID36", UID)).label(&Named::default())
    };
    assert_eq!(label("/"), None);
    assert_eq!(label("/system.slice/nginx.service").as_deref(), Some("nginx.service"));
    assert_eq!(label("/system.slice/docker-ID64.scope").as_deref(), Some("docker 3f4a0c0b8f0d"));
    assert_eq!(label("/x/ID64").as_deref(), Some("container 3f4a0c0b8f0d"));
    assert_eq!(label("/lxc.payload.we\u{202e}b").as_deref(), Some("lxc we\u{fffd}b"));
    assert_eq!(
        label("/kubepods/podUID36/crio-ID64").as_deref(),
        Some("pod 0f1e2d3c, cri-o 3f4a0c0b8f0d")
    );
    let named = Named {
        container: Some("w\u{1b}b".into()),
        pod: Some("web-0".into()),
        namespace: Some("shop".into()),
        ..Named::default()
    };
    let label = |path: &str| {
        let path = path.replace("ID64", ID).replace("UID36", UID);
        Placement::of_path(&path).label(&named)
    };
    assert_eq!(label("/docker/ID64").as_deref(), Some("docker w\u{fffd}b"));
    assert_eq!(
        label("/kubepods/podUID36/crio-ID64").as_deref(),
        Some("pod shop/web-0, cri-o w\u{fffd}b")
    );
}

#[test]
fn a_process_is_placed_by_all_its_hierarchies() {
    let v1 =
        format!("9:name=systemd:/docker/{ID}\n8:memory:/docker/{ID}\n0::/system.slice/x.service\n");
    let placed = Placement::of_proc(&v1);
    assert_eq!(shown(&placed), ["x.service in system.slice", "docker ID", "-"]);
    let hybrid = format!(
        "12:freezer:/a\n5:cpu,cpuacct:/kubepods/pod{UID}/{ID}\n1:name=systemd:/init.scope\n0::/\n"
    );
    assert_eq!(
        shown(&Placement::of_proc(&hybrid)),
        ["init.scope in root", "unknown ID", "Guaranteed UID"]
    );
    assert_eq!(
        shown(&Placement::of_proc("0::/system.slice/a:b.service\n"))[0],
        "a:b.service in system.slice"
    );
    assert_eq!(
        shown(&Placement::of_proc("0::/system.slice/a.service (deleted)\n"))[0],
        "a.service in system.slice"
    );
    for nothing in ["", "\n", "0::/\n", "x", "0:/docker", "0::", ":::"] {
        assert!(Placement::of_proc(nothing).is_empty(), "{nothing:?}");
    }
}

proptest! {
    /// A user who can create cgroups can give them any name.
    #[test]
    fn no_path_does_harm(
        parts in prop::collection::vec(
            prop_oneof![
                "\\PC{0,12}",
                prop::sample::select(vec![
                    "docker", "payload", "lxc", "kubepods", "pod", "-pod", ".slice", "\\x2", "\\xé",
                    "machine-\\x.scope", "systemd-nspawn@.service", "user@4294967296.service",
                ]).prop_map(str::to_owned),
            ],
            0..80,
        ),
    ) {
        let path = format!("/{}", parts.join("/"));
        let placement = Placement::of_path(&path);
        if let Some(container) = &placement.container {
            prop_assert!(!container.id.raw().is_empty());
            let _ = container.short_id();
        }
        let _ = Placement::of_proc(&path);
        let _ = Placement::of_proc(&format!("0::{path}"));
    }
}
