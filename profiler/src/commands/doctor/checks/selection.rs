//! Checks of which processes and syscalls can be selected.

use profiler_common::settings::FieldGroup;

use crate::{
    commands::doctor::{finding::Finding, host::Host},
    text,
};

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    vec![pid_namespace(host), filters(host)]
}

fn pid_namespace(host: &Host) -> Finding {
    const WHAT: &str = "pid namespace";
    match host.features.host_pid_namespace {
        Some(true) => Finding::ok(WHAT, "the host's own"),
        Some(false) => Finding::warning(
            WHAT,
            "a container's",
            "the process ids in reports are the host's. -p and commands require the host's pid namespace\n\
             (docker run --pid=host, hostPID: true)",
        ),
        None => Finding::warning(
            WHAT,
            "unknown: /proc is not mounted",
            "mount /proc (mount -t proc proc /proc). Without it, the memory of the profiler and the\n\
             programs that the kernel skips are unknown too",
        ),
    }
}

fn filters(host: &Host) -> Finding {
    const WHAT: &str = "filters";
    let features = &host.features;
    if !features.layout.has(FieldGroup::Threads) {
        return Finding::warning(
            WHAT,
            "by syscall only",
            "--comm and --cgroup require type information (BTF)",
        );
    }
    if !features.layout.has(FieldGroup::Cgroup) || !features.cgroup_tracepoint {
        let remedy = "--cgroup requires a kernel with CONFIG_CGROUPS=y and its tracepoints";
        return Finding::warning(WHAT, "by syscall and name", remedy);
    }
    match &host.cgroups {
        Ok(mount) => {
            Finding::ok(WHAT, format!("by syscall, name and cgroup ({})", text::path(mount)))
        }
        Err(Some(v1)) => Finding::warning(
            WHAT,
            format!("by syscall, name, unit, container and pod (version 1: {})", text::path(v1)),
            "--cgroup requires cgroups of version 2: boot with systemd.unified_cgroup_hierarchy=1",
        ),
        Err(None) => Finding::warning(
            WHAT,
            "by syscall and name; cgroups are not mounted",
            "mount -t cgroup2 none /sys/fs/cgroup, for filters by cgroup, unit, container and pod",
        ),
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::settings::FieldGroup;

    use crate::{
        commands::doctor::{
            checks::fixture::{at, good},
            finding::Status,
        },
        engine::kernel::features::Layout,
    };

    #[test]
    fn filters_are_told_as_far_as_they_go() {
        let mut host = good();
        let found = at(&host, "filters").found;
        assert_eq!(found, "by syscall, name and cgroup (/sys/fs/cgroup)");
        host.cgroups = Err(Some("/sys/fs/cgroup/pids".into()));
        let finding = at(&host, "filters");
        let by = "by syscall, name, unit, container and pod (version 1: /sys/fs/cgroup/pids)";
        assert_eq!((finding.status, &*finding.found), (Status::Warning, by));
        host.cgroups = Err(None);
        let finding = at(&host, "filters");
        let by = "by syscall and name; cgroups are not mounted";
        assert_eq!((finding.status, &*finding.found), (Status::Warning, by));
        host.features.cgroup_tracepoint = false;
        assert_eq!(at(&host, "filters").found, "by syscall and name");
        host.features.layout = Layout::with(&[FieldGroup::Task]);
        assert_eq!(at(&host, "filters").found, "by syscall only");
    }
}
