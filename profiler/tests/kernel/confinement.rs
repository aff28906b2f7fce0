//! The remaining privileges of a daemon that root started: as the kernel reports them, and as
//! another process of the same user finds out.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    process::{Command, Output},
};

use crate::{
    run::{Held, Mode, PROFILER, capabilities_are_bounded, wait_until},
    service::{Daemon, Name, RARE, assert_added},
};

/// The user id that the daemon changes to.
const NOBODY: u32 = 65534;
const CAP_BPF: u64 = 1 << 39;

/// Every thread is unprivileged, filtered, and cannot gain privileges.
#[track_caller]
pub(crate) fn assert_confined(pid: u32, user: u32) {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).expect("a running process");
    for thread in threads {
        let path = thread.expect("an entry").path();
        let status = fs::read_to_string(path.join("status")).expect("a running thread");
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            line.unwrap_or_else(|| panic!("{name} in {status}")).trim()
        };
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let held = u64::from_str_radix(field(set), 16).expect("hexadecimal");
            assert_eq!(held & !CAP_BPF, 0, "{set}");
        }
        assert_eq!((field("NoNewPrivs"), field("Seccomp")), ("1", "2"), "{}", path.display());
        // Without CAP_SETUID, the daemon keeps its user, and says so.
        if !capabilities_are_bounded() {
            let all_four = vec![user.to_string(); 4].join("\t");
            assert_eq!((field("Uid"), field("Gid"), field("Groups")), (&*all_four, &*all_four, ""));
        }
    }
}

/// Runs a program as the user that the daemon changed to.
fn as_user(user: u32, program: &[&str]) -> Output {
    let user = user.to_string();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", &user, "--regid", &user, "--clear-groups", "--"]).args(program);
    command.output().expect("setpriv of util-linux")
}

/// The daemon changes to nobody and continues counting. Other processes of nobody can neither trace
/// it nor read its memory.
pub(crate) fn started_as_root_it_becomes_nobody(mode: Mode) {
    let name = Name::new();
    let daemon = Daemon::start_watching(mode, &name);
    assert_confined(daemon.pid(), NOBODY);
    for file in ["maps", "mem", "environ"] {
        let path = format!("/proc/{}/{file}", daemon.pid());
        let output = as_user(NOBODY, &["head", "-c", "1", &path]);
        assert!(!output.status.success(), "{path}: {output:?}");
    }
    let before = daemon.metrics();
    let workload = ["counts", "threads=2", "calls=100", "processes=20", &name.arg()];
    let statement = Held::start(&workload).go();
    assert_added(&before, &daemon.metrics(), &statement, &RARE);
    daemon.end();
}

/// The daemon changes to the user in its configuration. A reload reads the configuration as that
/// user.
pub(crate) fn a_reload_is_as_the_user_that_it_has_become() {
    const USER: u32 = 3_999;
    let directory = tempfile::tempdir().expect("a directory");
    let for_all = |mode| fs::Permissions::from_mode(mode);
    fs::set_permissions(directory.path(), for_all(0o700)).expect("a directory of ours");
    let config = directory.path().join("profiler.toml");
    fs::write(&config, format!("user = \"{USER}\"\n")).expect("written");
    let path = config.to_str().expect("text");
    let daemon = Daemon::start_with(Mode::Main, "100ms", &["--config", path]);
    assert_confined(daemon.pid(), USER);
    let reloaded = |expected: f64| {
        daemon.reload();
        wait_until("the configuration was read again", || {
            daemon.metrics()["profiler_config_last_reload_successful"] == expected
        });
    };
    // Only root can access the directory.
    reloaded(0.0);
    fs::set_permissions(directory.path(), for_all(0o755)).expect("a directory of ours");
    fs::set_permissions(&config, for_all(0o644)).expect("a file of ours");
    reloaded(1.0);
    daemon.end();
}

/// `doctor` reports the remaining privileges of a daemon, as the kernel reports them.
pub(crate) fn doctor_tries_it() {
    let output = Command::new(PROFILER).args(["doctor", "--format", "json"]).output();
    let output = output.expect("the profiler").stdout;
    let report: serde_json::Value = serde_json::from_slice(&output).expect("JSON");
    let findings = report["findings"].as_array().expect("a list");
    let of = |finding: &&serde_json::Value| finding["what"] == "confinement of the daemon";
    let found = findings.iter().find(of).expect("such a check");
    assert_eq!(found["status"], "ok", "{found}");
    let text = found["found"].as_str().expect("text");
    assert!(text.starts_with("uid 65534, gid 65534, "), "{text}");
    assert!(text.ends_with("no_new_privs yes, seccomp filters 3, dumpable no"), "{text}");
}
