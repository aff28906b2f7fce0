//! The exposition that Prometheus gets.

use std::{
    collections::BTreeSet,
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use profiler::{
    model::{Snapshot, Times, Timing, Unlogged, Untimed},
    present::metrics::{self, Exposition, Service},
};

use crate::fake;

fn text() -> String {
    text_of(fake::snapshot())
}

fn text_of(snapshot: Snapshot) -> String {
    metrics::text(&exposition_of(snapshot)).expect("encodes")
}

pub(crate) fn exposition_of(snapshot: Snapshot) -> Exposition {
    let mut scrapes = Times::default();
    scrapes.add(Duration::from_millis(3));
    let service = Service {
        attached: None,
        scrapes,
        missed_drains: 3,
        interval: Duration::from_secs(73),
        last_drain_late: Duration::from_millis(20),
        reload_failed: true,
        unlogged: Unlogged { dropped: 91, repeated: 92 },
        ..Service::default()
    };
    Exposition { snapshot: Arc::new(snapshot), service, ..Exposition::default() }
}

#[test]
fn without_the_kernel_s_statistics_programs_have_no_series_rather_than_zeros() {
    let mut snapshot = fake::snapshot();
    snapshot.health.cost.timing = Timing::No(Untimed::Privilege);
    let text = text_of(snapshot);
    assert!(text.contains("\nprofiler_program_statistics_enabled 0\n"), "{text}");
    for what in ["runs_total", "run_seconds_total", "jited_bytes", "verified_instructions"] {
        assert!(!text.contains(&format!("profiler_program_{what}")), "{text}");
    }
    // Metrics of losses do not require statistics.
    assert!(text.contains("profiler_program_misses_total{program=\"sys_exit\"} 62\n"));
}

#[test]
fn golden() {
    // A release changes only the version.
    let text = text().replace(env!("CARGO_PKG_VERSION"), "VERSION");
    insta::assert_snapshot!(text);
}

#[test]
fn every_family_has_help_and_type_once() {
    let text = text();
    for kind in ["# HELP ", "# TYPE "] {
        let mut names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix(kind))
            .filter_map(|rest| rest.split(' ').next())
            .collect();
        let all = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), all, "{kind}");
        assert!(names.iter().all(|name| name.starts_with("profiler_")), "{names:?}");
    }
}

/// All metrics, including those that this snapshot lacks.
#[test]
fn every_metric_is_documented_and_no_other() {
    let page = include_str!("../../docs/metrics.md");
    let is_in_name = |c: char| c.is_ascii_lowercase() || c == '_';
    let documented: BTreeSet<&str> = page
        .split(|c| !is_in_name(c))
        .filter(|word| word.strip_prefix("profiler_").is_some_and(|rest| !rest.is_empty()))
        .collect();
    let exposition = exposition_of(fake::snapshot());
    let metrics = metrics::collect(&exposition);
    let exported: BTreeSet<&str> = metrics.families().iter().map(|family| family.name).collect();
    assert_eq!(documented, exported);
}

#[test]
fn no_series_is_there_twice() {
    let text = text();
    let mut series: Vec<_> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' '))
        .map(|(series, _)| series)
        .collect();
    let all = series.len();
    series.sort_unstable();
    series.dedup();
    assert_eq!(series.len(), all);
}

#[test]
fn promtool_has_nothing_to_say() {
    let Some(output) = promtool(&["check", "metrics"], &text()) else { return };
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success() && said.is_empty(), "{}", String::from_utf8_lossy(&said));
}

#[test]
fn the_example_of_a_scrape_is_valid() {
    let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus/scrape.yml");
    let Some(output) = promtool(&["check", "config", example], "") else { return };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_alerts_are_valid_and_fire_as_they_should() {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/prometheus");
    for (command, file) in [("check", "alerts.yml"), ("test", "alerts.test.yml")] {
        let file = format!("{directory}/{file}");
        let Some(output) = promtool(&[command, "rules", &file], "") else { return };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    }
}

/// The output of promtool for `input`. `None` without promtool. In CI, promtool is required, so
/// that the check always runs there.
pub(crate) fn promtool(arguments: &[&str], input: &str) -> Option<std::process::Output> {
    let child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match child {
        Ok(child) => child,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(
                std::env::var("CI").as_deref() != Ok("true"),
                "promtool is missing; CI installs it with the package prometheus"
            );
            eprintln!("skipped: no promtool");
            return None;
        }
        Err(error) => panic!("cannot run promtool: {error}"),
    };
    let mut stdin = child.stdin.take().expect("is piped");
    stdin.write_all(input.as_bytes()).expect("promtool reads");
    drop(stdin);
    Some(child.wait_with_output().expect("promtool ends"))
}
