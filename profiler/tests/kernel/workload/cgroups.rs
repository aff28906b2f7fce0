//! Processes in cgroups that are removed as soon as the process has ended.

use std::{fs, os::unix::fs::DirBuilderExt as _, path::PathBuf};

use super::{
    Made, Params, Process, Statement, fork, raw, reap,
    statement::{Calls, add},
};

/// The id of the container number `n`.
pub(crate) fn container_id(n: u64) -> String {
    format!("{n:064x}")
}

/// Starts `processes` children, one after the other. Each child moves into a cgroup of its own
/// below `directory`. That cgroup has the name of a Docker container, or the path `path` with the
/// container's id in place of `ID`. The ids start at the number `first`. Each child makes one call
/// more than the child before it, the first one `calls` calls, and then ends. Its cgroup is then
/// removed.
///
/// With `namespace=1`, each child makes its calls in a cgroup namespace of its own. With `rename=1`,
/// the cgroup is renamed after the child has ended; only version 1 can do that.
pub(super) fn short(params: &Params) -> Statement {
    params.hold();
    let directory = PathBuf::from(&params.0["directory"]);
    let template = params.0.get("path").map_or("docker/ID", String::as_str);
    let first = params.0.get("first").map_or(0, |first| first.parse().expect("a number"));
    let name = |n| template.replace("ID", &container_id(first + n));
    let docker = directory.join(name(0)).parent().expect("a parent").to_owned();
    let has_parent = docker != directory;
    if has_parent {
        fs::DirBuilder::new().mode(0o755).create(&docker).expect("a cgroup");
    }
    let child = |n: u64| {
        let is_renamed = params.has("rename");
        let path = if is_renamed { docker.join("before") } else { directory.join(name(n)) };
        fs::create_dir(&path).expect("a cgroup");
        let procs = path.join("cgroup.procs");
        let calls = params.number("calls") + n;
        let pid = fork(|| {
            let is_moved = fs::write(procs, "0").is_ok();
            if params.has("namespace") {
                unshare_cgroups();
            }
            for _ in 0..calls {
                raw::syscall(libc::SYS_getppid, [0; 4]);
            }
            is_moved
        });
        reap(pid);
        let mut last = path;
        if is_renamed {
            let renamed = docker.join(container_id(first + n));
            fs::rename(&last, &renamed).expect("a renamed cgroup");
            last = renamed;
        }
        remove(&last);
        let mut made = Calls::new();
        add(&mut made, "getppid", &Made::succeeded(calls));
        Process::new(pid, made)
    };
    let processes = (0..params.number("processes")).map(child).collect();
    if has_parent {
        remove(&docker);
    }
    Statement::of_all(processes)
}

/// Moves this process into a cgroup namespace of its own. A workload may run with limited
/// capabilities: without CAP_SYS_ADMIN, a user namespace is needed too (`create_new_namespaces`,
/// kernel/nsproxy.c).
fn unshare_cgroups() {
    // SAFETY: unshares namespaces, and touches no memory.
    let unshare = |flags| unsafe { libc::unshare(flags) };
    if unshare(libc::CLONE_NEWCGROUP) != 0 {
        let result = unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWCGROUP);
        assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
    }
}

/// Removes a cgroup whose processes have been reaped. Retries, since the last process may still be
/// in it.
fn remove(path: &std::path::Path) {
    while fs::remove_dir(path).is_err() {
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
