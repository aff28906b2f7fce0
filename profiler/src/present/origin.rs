//! The origin of a report: the host, the time, the version and the command.

use std::{ffi::OsString, fs, time::SystemTime};

use crate::text::Untrusted;

/// Where and when a report was made, and of which command.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The host's name; `None` if it cannot be read.
    pub host: Option<Untrusted>,
    /// The profiler's version.
    pub version: &'static str,
    /// The command that was run, with its arguments; empty without a command.
    pub command: Vec<Untrusted>,
    /// When the figures begin, by the wall clock.
    pub start: SystemTime,
    /// When the figures end, by the wall clock.
    pub end: SystemTime,
}

impl Origin {
    /// The origin of a report of this host that begins now.
    pub fn here(command: &[OsString]) -> Self {
        // The name in the UTS namespace of this process, as hostname(1) prints it.
        let host = fs::read_to_string("/proc/sys/kernel/hostname").ok();
        let now = SystemTime::now();
        Self {
            host: host.map(|host| host.trim_end().to_owned().into()),
            version: env!("CARGO_PKG_VERSION"),
            command: command.iter().map(|word| word.as_os_str().into()).collect(),
            start: now,
            end: now,
        }
    }
}

/// A time for people: RFC 3339, in UTC, with milliseconds.
pub fn time(time: SystemTime) -> String {
    humantime::format_rfc3339_millis(time).to_string()
}

/// A time for programs: RFC 3339, in UTC, with nanoseconds.
pub fn exact_time(time: SystemTime) -> String {
    humantime::format_rfc3339_nanos(time).to_string()
}

/// A fixed time for tests.
#[cfg(test)]
pub(super) fn fixed() -> Origin {
    let end = SystemTime::UNIX_EPOCH + std::time::Duration::from_nanos(1_700_000_001_234_567_890);
    Origin {
        host: Some("a\"host".into()),
        version: "1.2.3",
        command: vec!["make".into(), "-j4".into()],
        start: end - std::time::Duration::from_millis(1_500),
        end,
    }
}
