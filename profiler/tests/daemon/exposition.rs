//! What Prometheus gets.

use std::{
    io::Write,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use profiler::export::prometheus::{self, Exposition, Service};

use crate::fake;

fn text() -> String {
    let service = Service { drain_time_total: Duration::from_millis(63), reload_failed: true };
    let exposition = Exposition { snapshot: Arc::new(fake::snapshot()), service };
    prometheus::text(&exposition).expect("encodes")
}

#[test]
fn golden() {
    // The version is the only thing in it that a release changes.
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

/// What promtool makes of `input`, or `None` where there is none. In CI there has to
/// be one, or this would pass for ever without having looked.
fn promtool(arguments: &[&str], input: &str) -> Option<std::process::Output> {
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
