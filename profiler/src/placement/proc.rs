//! Parses `/proc/PID/cgroup`, which has a line for each hierarchy (cgroups(7)).

use super::Placement;

/// The maximum number of lines that are read. Version 1 has at most one line per controller.
const MAX_LINES: usize = 32;

/// A hierarchy. Earlier variants take precedence.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Hierarchy {
    /// Version 2.
    Unified,
    /// The hierarchy that systemd names on a host with version 1.
    Systemd,
    /// A controller of version 1 that runtimes use.
    Controller,
}

/// Finds the unit in version 2 or in systemd's own hierarchy. A container is in all hierarchies; on
/// a host with both versions, a runtime may leave it out of version 2.
pub(super) fn placement(text: &str) -> Placement {
    let mut found: Vec<(Hierarchy, Placement)> = text
        .lines()
        .take(MAX_LINES)
        .filter_map(hierarchy)
        .map(|(hierarchy, path)| (hierarchy, Placement::of_path(path)))
        .collect();
    found.sort_by_key(|(hierarchy, _)| *hierarchy);
    let (mut unit, mut of_container) = (None, None);
    for (hierarchy, placement) in found {
        if hierarchy != Hierarchy::Controller && unit.is_none() {
            unit = placement.unit;
        }
        if placement.container.is_some() && of_container.is_none() {
            of_container = Some((placement.container, placement.pod));
        }
    }
    let (container, pod) = of_container.unwrap_or_default();
    Placement { unit, container, pod }
}

/// The hierarchy and the path of a line. `None` for hierarchies that are not used.
fn hierarchy(line: &str) -> Option<(Hierarchy, &str)> {
    let (id, rest) = line.split_once(':')?;
    // A path can contain colons. A list of controllers cannot.
    let (controllers, path) = rest.split_once(':')?;
    // The kernel adds this to the path of a cgroup that was removed (`cgroup_show_path`).
    let path = path.strip_suffix(" (deleted)").unwrap_or(path);
    let hierarchy = match (id, controllers) {
        ("0", "") => Hierarchy::Unified,
        (_, "name=systemd") => Hierarchy::Systemd,
        (_, "memory" | "pids" | "cpu" | "cpu,cpuacct" | "cpuset") => Hierarchy::Controller,
        _ => return None,
    };
    Some((hierarchy, path))
}
