//! On which paths and addresses calls failed, and why calls were refused (`--show-paths`).
//!
//! Every report is checked for sums: what is listed and what is not add up to the errors of the
//! table.

use std::{collections::BTreeMap, os::unix::fs::PermissionsExt as _, path::Path};

use crate::{
    report::{Failing, Report},
    run::{Mode, Stat},
};

/// The user id of nobody.
const NOBODY: &str = "uid=65534";

fn stat(mode: Mode) -> Stat {
    Stat::new(mode).args(["--show-paths"]).by_process_and_call()
}

/// The failures of the process that the workload states, by syscall and errno.
fn of(report: &Report, pid: u32) -> BTreeMap<(String, String), &Failing> {
    let failing = report.failing.as_ref().expect("with the flag");
    let of_process = failing.iter().filter(|failing| failing.pid == Some(pid));
    of_process
        .map(|failing| {
            let errno = failing.errno.clone().unwrap_or_default();
            let name = match failing.abi.as_str() {
                "x86_64" => failing.syscall.clone(),
                abi => format!("{abi}/{}", failing.syscall),
            };
            ((name, errno), failing)
        })
        .collect()
}

/// The targets of a failure, and the calls of each, which are exact.
fn targets(failing: &Failing) -> Vec<(String, u64)> {
    assert_eq!(failing.not_listed, 0, "{failing:#?}");
    assert!(failing.targets.iter().all(|target| target.at_most_more == 0), "{failing:#?}");
    let text = |target: &Option<String>| target.clone().unwrap_or_default();
    failing.targets.iter().map(|target| (text(&target.target), target.calls)).collect()
}

/// A directory that every user can enter.
fn directory() -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    for_all(directory.path(), 0o755);
    directory
}

fn for_all(path: &Path, mode: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("a file of ours");
}

pub(crate) fn targets_are_as_stated(mode: Mode) {
    let directory = directory();
    for name in ["a", "b"] {
        std::fs::create_dir(directory.path().join(name)).expect("a directory");
    }
    let path = directory.path().to_str().expect("text");
    let (report, statement) = stat(mode).workload(&["failing", &format!("path={path}")]);
    let found = of(&report, statement.processes[0].pid);
    let of = |syscall: &str, errno: &str| {
        let failing = found.get(&(syscall.to_owned(), errno.to_owned()));
        targets(failing.unwrap_or_else(|| panic!("no {syscall} {errno}: {found:#?}")))
    };
    let expected = |targets: &[(&str, u64)]| -> Vec<(String, u64)> {
        targets.iter().map(|&(target, calls)| (target.to_owned(), calls)).collect()
    };
    let (in_a, in_b) = (format!("{path}/a/missing"), format!("{path}/b/missing"));
    let gone = format!("{path}/gone");
    let opened = [("/no/such/file", 7), (&in_b, 5), (&gone, 4), (&in_a, 3)];
    let open: Vec<_> = of("openat", "ENOENT");
    // The loader of programs may also miss files.
    for target in expected(&opened) {
        assert!(open.contains(&target), "{target:?}: {open:#?}");
    }
    assert_eq!(of("openat", "EFAULT"), expected(&[("<unreadable>", 2)]));
    let cut = format!("/{}...", "x".repeat(254));
    assert_eq!(of("openat", "ENAMETOOLONG"), expected(&[(&cut, 1)]));
    assert_eq!(of("rename", "ENOENT"), expected(&[("/no/x -> /no/y", 2)]));
    assert_eq!(of("close", "EBADF"), expected(&[("fd -1", 6)]));
    assert_eq!(of("connect", "ECONNREFUSED"), expected(&[("127.0.0.1:1", 3)]));
    assert_eq!(of("connect", "ENOENT"), expected(&[("unix:/no/socket", 2)]));
    assert_eq!(of("i386/open", "ENOENT"), expected(&[("/no/i386", 2)]));
}

pub(crate) fn reasons_are_as_stated(mode: Mode) -> Result<(), String> {
    let directory = directory();
    for (name, permissions) in [("closed", 0o000), ("open", 0o644)] {
        let file = directory.path().join(name);
        std::fs::write(&file, "").expect("a file");
        for_all(&file, permissions);
    }
    let path = format!("path={}", directory.path().display());
    let stat = Stat::with_privileged_command(mode).args(["--show-paths"]).by_process_and_call();
    let (report, statement) = stat.workload(&["refused", &path, NOBODY]);
    let found = of(&report, statement.processes[0].pid);
    let of = |syscall: &str, errno: &str| {
        let failing = found.get(&(syscall.to_owned(), errno.to_owned()));
        let failing = failing.unwrap_or_else(|| panic!("no {syscall} {errno}: {found:#?}"));
        let [target] = &failing.targets[..] else { panic!("one target: {failing:#?}") };
        assert_eq!((target.calls, failing.not_listed), (failing.calls, 0), "{failing:#?}");
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (failing.calls, text(&target.reason), text(&target.capability))
    };
    let expected = |calls: u64, reason: &str, capability: &str| {
        (calls, reason.to_owned(), capability.to_owned())
    };
    assert_eq!(of("getsid", ""), expected(5, "seccomp_or_tracer", ""));
    assert_eq!(of("fchown", "EBADF"), expected(1, "", ""));
    if let Some(why) = report.reasons_missing.clone() {
        for (syscall, errno, calls) in
            [("openat", "EACCES", 4), ("chown", "EPERM", 2), ("kill", "EPERM", 3)]
        {
            assert_eq!(of(syscall, errno), expected(calls, "unknown", ""));
        }
        return Err(why);
    }
    assert_eq!(of("openat", "EACCES"), expected(4, "file_permissions", "CAP_DAC_OVERRIDE"));
    assert_eq!(of("chown", "EPERM"), expected(2, "capability", "CAP_CHOWN"));
    assert_eq!(of("kill", "EPERM"), expected(3, "capability", "CAP_KILL"));
    Ok(())
}

/// With more targets than rows, the bounds hold.
pub(crate) fn more_than_there_are_rows(mode: Mode) {
    let (report, statement) = stat(mode).workload(&["failing-many", "calls=40000"]);
    let found = of(&report, statement.processes[0].pid);
    let failing = found[&("openat".to_owned(), "ENOENT".to_owned())];
    assert!(failing.not_listed > 0, "{failing:#?}");
    // Every fourth of the second half.
    let late = 5_000;
    let listed = failing.targets.iter().find(|t| t.target.as_deref() == Some("/no/late"));
    match listed {
        Some(target) => {
            let most = target.calls + target.at_most_more;
            assert!(target.calls <= late && late - 1 <= most, "{target:#?}");
        }
        None => assert!(failing.not_listed >= late, "{failing:#?}"),
    }
    for target in &failing.targets {
        let is_late = target.target.as_deref() == Some("/no/late");
        assert!(is_late || target.calls == 1, "{target:#?}");
    }
}

pub(crate) fn without_the_flag_there_is_none(mode: Mode) {
    let (report, _) = Stat::new(mode).workload(&["counts", "threads=1", "calls=10"]);
    assert!(report.failing.is_none() && report.security_modules.is_none());
}
