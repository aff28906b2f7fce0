//! Names of units, containers and pods against the cgroups of a host.

use super::*;
use crate::filter::PlaceNameError;

const WEB: &str = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f";
const DB: &str = "3f4a0c0b8f0d4e1c9a7b6c5d4e3f2a1b0c9d8e7f6a5b4c3d2e1f0a9b8c7d0000";
const UID: &str = "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0";

fn named(path: &str, container: &str, pod: Option<(&str, &str)>) -> Cgroup {
    let mut cgroup = Cgroup::at(path);
    cgroup.named.container = Some(container.into());
    cgroup.named.namespace = pod.map(|(namespace, _)| namespace.into());
    cgroup.named.pod = pod.map(|(_, name)| name.into());
    cgroup
}

fn host() -> Vec<Cgroup> {
    vec![
        Cgroup::at("/"),
        Cgroup::at("/system.slice"),
        Cgroup::at("/system.slice/nginx.service"),
        Cgroup::at("/system.slice/nginx.service/worker"),
        Cgroup::at("/user.slice/user-1000.slice/user@1000.service/app.slice/dbus.service"),
        named(&format!("/docker/{WEB}"), "web", None),
        named(&format!("/docker/{DB}"), "db", None),
        named(&format!("/kubepods/burstable/pod{UID}/crio-{WEB}"), "app", Some(("shop", "web-0"))),
    ]
}

fn places(units: &[&str], containers: &[&str], pods: &[&str]) -> Places {
    Places {
        units: units.iter().map(|name| name.parse().expect("a unit")).collect(),
        containers: containers.iter().map(|name| name.parse().expect("a name")).collect(),
        pods: pods.iter().map(|name| name.parse().expect("a pod")).collect(),
    }
}

fn matching(places: &Places) -> Vec<usize> {
    let kind = places.kinds().next().expect("a kind");
    let host = host();
    (0..host.len()).filter(|&at| places.matches(kind, &host[at])).collect()
}

#[test]
fn units_are_named_with_or_without_their_suffix() {
    for name in ["nginx", "nginx.service"] {
        assert_eq!(matching(&places(&[name], &[], &[])), [2, 3], "{name}");
    }
    assert_eq!(matching(&places(&["dbus"], &[], &[])), [4]);
    let shown = |text: &str| text.parse::<UnitName>().map(|name| name.to_string());
    assert_eq!(shown("org.a.B").as_deref(), Ok("org.a.B.service"));
    assert_eq!(shown("session-3.scope").as_deref(), Ok("session-3.scope"));
    assert_eq!(shown("a.timer"), Err(PlaceNameError::NoProcesses("timer")));
    assert_eq!(shown("a.slice"), Err(PlaceNameError::Slice("a.slice".into())));
    assert_eq!(shown("/a/b.service"), Err(PlaceNameError::Path));
    assert!(shown("").is_err() && shown("a\n").is_err());
}

#[test]
fn containers_are_named_by_name_id_or_its_beginning() {
    for name in ["db", DB, &DB[..61]] {
        assert_eq!(matching(&places(&[], &[name], &[])), [6], "{name}");
    }
    // Shorter than the minimum, and no container has this name.
    assert_eq!(matching(&places(&[], &[&DB[..11]], &[])), [0; 0]);
    assert_eq!(matching(&places(&[], &[&DB[..12]], &[])), [5, 6, 7]);
}

#[test]
fn pods_are_named_by_uid_or_by_namespace_and_name() {
    for name in ["shop/web-0", UID, &UID[..8]] {
        assert_eq!(matching(&places(&[], &[], &[name])), [7], "{name}");
    }
    assert_eq!(matching(&places(&[], &[], &["other/web-0"])), [0; 0]);
    for bad in ["", "web-0", "0f1e2d3", "/web-0", "shop/", "a/b/c", "shop"] {
        assert!(bad.parse::<PodName>().is_err(), "{bad}");
    }
}

#[test]
fn what_matches_nothing_is_unknown_and_says_what_resembles_it() {
    let told = |places: &Places| {
        let unknown = places.check(&host()).expect("not ambiguous");
        unknown.iter().map(|e| format!("{e}\n{}", e.hint())).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(told(&places(&["nginx", "dbus"], &["web", DB], &["shop/web-0"])), "");
    insta::assert_snapshot!(told(&places(&["ngnix"], &["wbe"], &["shop/web-1"])), @r"
    there is no unit ngnix.service
    similar: nginx.service;
    `profiler stat -a --by unit -d 1s` lists what runs;
    --allow-missing waits until the unit exists
    there is no container wbe
    running: app, db, web;
    `profiler stat -a --by container -d 1s` lists what runs;
    --allow-missing waits until the container exists
    names of containers are in files that only root can read; ids always work
    there is no pod shop/web-1
    similar: shop/web-0;
    `profiler stat -a --by pod -d 1s` lists what runs;
    --allow-missing waits until the pod exists
    names of pods are in files that only root can read; UIDs always work
    ");
    let unknown = places(&[], &[], &["a/b"]).check(&[]).expect("unknown");
    assert_eq!(
        unknown[0].waiting(),
        "there is no pod a/b (no pod is running, or its cgroup is not visible here); its calls \
         will be counted once it starts"
    );
}

#[test]
fn what_matches_several_is_ambiguous() {
    let told = |places: &Places| {
        let error = places.check(&host()).expect_err("ambiguous");
        format!("{error}\n{}", error.hint())
    };
    let ambiguous = told(&places(&[], &[&WEB[..12]], &[])).replace(WEB, "WEB").replace(DB, "DB");
    insta::assert_snapshot!(ambiguous, @r"
    3f4a0c0b8f0d matches 3 containers
    matching: DB (db), WEB (app of pod shop/web-0), WEB (web);
    use an id, or several ids separated by commas, or name the pod with --pod
    ");
}

#[test]
fn names_for_completion_are_listed_once() {
    let names =
        |kind| -> Vec<_> { names_in(kind, &host()).into_iter().map(|(name, _)| name).collect() };
    assert_eq!(names(Kind::Unit), ["dbus.service", "nginx.service"]);
    assert_eq!(names(Kind::Container), ["app", "db", "web"]);
    assert_eq!(names(Kind::Pod), ["shop/web-0"]);
}

#[test]
fn a_container_that_matched_is_known_without_its_name() {
    let mut learned = Learned::default();
    let host = host();
    learned.learn(Kind::Container, &host[5]);
    let again = Cgroup::at(&format!("/docker/{WEB}"));
    assert!(learned.knows(Kind::Container, &again));
    assert!(!learned.knows(Kind::Container, &host[6]));
    learned.learn(Kind::Pod, &host[7]);
    assert!(learned.knows(Kind::Pod, &Cgroup::at(&format!("/kubepods/burstable/pod{UID}"))));
}

#[test]
fn places_say_what_they_are() {
    let places = places(&["a", "b.scope"], &["web"], &["shop/web-0"]);
    assert_eq!(places.to_string(), "unit a.service or b.scope, container web, pod shop/web-0");
    assert!(Places::default().is_empty() && !places.is_empty());
}
