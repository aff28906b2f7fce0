//! The errors of a row: on what its calls failed, and why they were refused.

use std::sync::Arc;

use insta::assert_snapshot;

use super::{FULL, PLAIN, app_of, draw, press};
use crate::{
    commands::top::{fixtures, style::Look},
    model::{FailureCoverage, FailureGroup, FailureTarget, Failures, PathName, Snapshot, Target},
    names::syscalls,
};

fn target(path: &str, capability: Option<u32>, calls: u64) -> FailureTarget {
    let path = PathName { bytes: Some(path.as_bytes().to_vec()), is_cut: false, directory: None };
    FailureTarget {
        target: Arc::new(Target { paths: vec![path], ..Target::default() }),
        directories: [None, None],
        capability,
        calls: 10 * calls,
        recent: calls,
        missed: 0,
    }
}

/// The shell of [`fixtures::busy_host`] missed files, and was refused one.
fn host(coverage: FailureCoverage) -> Snapshot {
    let mut snapshot = fixtures::busy_host();
    let bash = snapshot.processes.iter().find(|row| row.process.comm.raw() == "bash");
    let process = Arc::clone(&bash.expect("a shell").process);
    let key = snapshot.calls.iter().map(|row| row.key);
    let key = key.into_iter().find(|&key| syscalls::name(key) == "openat").expect("a call");
    let group = |errno: u16, targets: Vec<FailureTarget>| {
        let recent = targets.iter().map(|target| target.recent).sum();
        let process = Arc::clone(&process);
        let noted = 10 * recent;
        FailureGroup {
            process,
            key,
            errno: Some(errno),
            denied: false,
            noted,
            recent,
            dropped: 0,
            targets,
        }
    };
    let missing = vec![target("/etc/\u{202e}ld.so", None, 100), target("/usr/lib/é", None, 15)];
    let groups = vec![group(2, missing), group(13, vec![target("/etc/shadow", Some(1), 1)])];
    snapshot.failures = Failures { coverage, modules: None, groups };
    snapshot
}

fn errors(keys: &str, coverage: FailureCoverage, size: (u16, u16), look: Look) -> String {
    let mut app = app_of([host(coverage)]);
    press(&mut app, keys);
    draw(&mut app, size.0, size.1, look).to_string()
}

#[test]
fn errors_of_a_process_80x24() {
    assert_snapshot!(errors("/bash\nE", FailureCoverage::Noted, (80, 24), FULL));
}

#[test]
fn errors_of_a_call_by_all_60x16_ascii() {
    let text = errors("2/openat\nE", FailureCoverage::Noted, (60, 16), PLAIN);
    assert!(text.is_ascii());
    assert_snapshot!(text);
}

#[test]
fn from_latencies_to_errors() {
    let text = errors("/bash\nhE", FailureCoverage::Noted, (80, 24), FULL);
    assert!(text.contains("/etc/shadow") && text.contains("CAP_DAC_OVERRIDE missing"), "{text}");
}

#[test]
fn without_the_flag_it_is_named() {
    let text = errors("/bash\nE", FailureCoverage::NotNoted, (80, 24), FULL);
    assert!(text.contains("--show-paths"), "{text}");
    assert!(!text.contains("/etc/"), "{text}");
}
