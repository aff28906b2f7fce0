//! The origin of a report: host, time and command, in the characters of the locale.

use std::{
    process::{Command, Stdio},
    time::SystemTime,
};

use crate::run::{Mode, Stat, profiler_command};

/// The current time, in a form that sorts by time.
fn now() -> String {
    humantime::format_rfc3339_nanos(SystemTime::now()).to_string()
}

pub(crate) fn json_says_where_and_when_it_was_made() {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").expect("a host has a name");
    let before = now();
    let command = ["sh", "-c", "sleep 1.5"];
    let stat = Stat::new(Mode::Main).args(["--interval", "100ms", "--"]).args(command);
    let reports = stat.start().end().reports();
    let after = now();
    assert!(reports.len() >= 2, "{}", reports.len());
    for report in &reports {
        assert_eq!(report.host.as_deref(), Some(host.trim_end()));
        assert_eq!(report.version, env!("CARGO_PKG_VERSION"));
        assert_eq!(report.command.as_ref().expect("a command"), &command);
        assert!(report.start < report.end, "{} {}", report.start, report.end);
    }
    for pair in reports.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
    }
    let [first, .., last] = &reports[..] else { panic!("several") };
    assert!(before < first.start && last.end < after, "{before} {first:?} {last:?} {after}");
    let of_host = Stat::new(Mode::Main).args(["--all", "--duration", "10ms"]).start().end();
    assert_eq!(of_host.report().command, None);
}

pub(crate) fn tables_say_when_they_were_made() {
    let day = &now()[..10];
    for args in [
        &["stat", "--all", "--interval", "100ms", "--duration", "1500ms"][..],
        &["top", "--batch", "--interval", "100ms", "--iterations", "3"],
    ] {
        let output = profiler_command().args(args).output().expect("the profiler");
        let text = String::from_utf8(output.stdout).expect("text");
        // Fails only at midnight.
        let times = text.lines().filter(|l| l.starts_with(day) || l.starts_with(&now()[..10]));
        assert!(times.clone().count() >= 2, "{text}");
        assert!(times.clone().all(|line| line.ends_with('Z')), "{text}");
    }
}

pub(crate) fn a_table_is_ascii_unless_the_locale_is_utf_8() {
    let directory = tempfile::tempdir().expect("a directory");
    let program = directory.path().join("n\u{e4}me\u{2713}");
    std::fs::copy("/bin/true", &program).expect("a program");
    let cases: [(&[(&str, &str)], bool); 6] = [
        (&[], false),
        (&[("LANG", "C")], false),
        (&[("LANG", "en_US.UTF-8"), ("LC_CTYPE", "POSIX")], false),
        (&[("LANG", "en_US.UTF-8"), ("LC_ALL", "de_DE.ISO-8859-1")], false),
        (&[("LANG", "C"), ("LC_CTYPE", "C.utf8")], true),
        (&[("LC_ALL", "en_US.UTF-8")], true),
    ];
    for (locale, is_utf8) in cases {
        let mut command: Command = profiler_command();
        command.args(["stat", "--by", "process", "--"]).arg(&program).stdin(Stdio::null());
        for name in ["LANG", "LC_ALL", "LC_CTYPE"] {
            command.env_remove(name);
        }
        let output = command.envs(locale.iter().copied()).output().expect("the profiler");
        let text = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(text.is_ascii(), !is_utf8, "{locale:?}: {text}");
        let shown = if is_utf8 { "n\u{e4}me\u{2713}" } else { "n?me?" };
        assert!(text.contains(shown), "{locale:?}: {text}");
    }
}
