//! Formats the verdict on a budget, as text and as JSON.

use serde::Serialize;

use super::units::{counted, grouped, time};
use crate::budget::{Check, Doubt, Limit, Verdict};

/// The verdict as text: a headline, and a line for each exceeded limit. `file` is the path of the
/// budget.
pub fn text(verdict: &Verdict, file: &str) -> String {
    let of = counted(verdict.checks.len() as u64, "limit");
    let exceeded: Vec<_> = verdict.exceeded().collect();
    let mut text = match (exceeded.len(), verdict.doubt) {
        (0, None) => format!("budget {file}: the run is within {of}\n"),
        (0, Some(doubt)) => {
            format!("budget {file}: not verified, because {}\n", reason(doubt))
        }
        (n, _) => format!("budget {file}: the run exceeds {} of {of}\n", grouped(n as u64)),
    };
    for check in exceeded {
        text.push_str(&format!("  {}\n", line(check)));
    }
    text
}

fn reason(doubt: Doubt) -> String {
    match doubt {
        Doubt::Uncounted(calls) => {
            format!("up to {} may be uncounted", counted(calls, "call"))
        }
        Doubt::CutShort => "the profiler ended before the command".into(),
    }
}

/// Formats a check: `openat: 130 calls, limit 120`.
fn line(check: &Check) -> String {
    let of = check.of.as_deref().unwrap_or("all syscalls");
    let (found, allowed) = (check.found, check.allowed);
    let limited = |found: String| format!("{of}: {found}, limit {}", grouped(allowed));
    match check.limit {
        Limit::Calls => limited(counted(found, "call")),
        Limit::Errors => limited(counted(found, "error")),
        Limit::Errno(errno) => limited(format!("{} with {errno}", counted(found, "error"))),
        Limit::Denied => limited(format!("{} denied", counted(found, "call"))),
        Limit::TotalTime => format!("{of}: total time {}", times(found, allowed)),
        Limit::P99 => format!("{of}: p99 {}", times(found, allowed)),
        Limit::Max => format!("{of}: max {}", times(found, allowed)),
        Limit::Forbidden => format!("{of}: {}, forbidden", counted(found, "call")),
        Limit::Unlisted => format!("{of}: {}, not in the budget", counted(found, "call")),
    }
}

/// Formats two times. In nanoseconds, if they would look the same otherwise.
fn times(found: u64, allowed: u64) -> String {
    let (short, limit) = (time(found), time(allowed));
    if short == limit {
        return format!("{} ns, limit {} ns", grouped(found), grouped(allowed));
    }
    format!("{short}, limit {limit}")
}

/// The field `budget` of JSON.
#[derive(Serialize)]
pub(super) struct Object<'a> {
    /// Whether the run is within every limit, and its figures are complete.
    met: bool,
    /// Upper bound of the calls that no figure includes. Null if the profiler ended before the
    /// command.
    uncounted: Option<u64>,
    limits: Vec<Limited<'a>>,
}

/// A limit.
#[derive(Serialize)]
struct Limited<'a> {
    /// The syscall, as the budget names it. Null for all syscalls together.
    syscall: Option<&'a str>,
    limit: &'static str,
    /// The errno, if the limit is for an errno.
    #[serde(skip_serializing_if = "Option::is_none")]
    errno: Option<String>,
    /// The limit: calls, or nanoseconds.
    allowed: u64,
    found: u64,
    exceeded: bool,
}

impl<'a> Object<'a> {
    pub(super) fn new(verdict: &'a Verdict) -> Self {
        Self {
            met: verdict.is_met(),
            uncounted: match verdict.doubt {
                None => Some(0),
                Some(Doubt::Uncounted(calls)) => Some(calls),
                Some(Doubt::CutShort) => None,
            },
            limits: verdict.checks.iter().map(Limited::new).collect(),
        }
    }
}

impl<'a> Limited<'a> {
    fn new(check: &'a Check) -> Self {
        let errno = match check.limit {
            Limit::Errno(errno) => Some(errno.to_string()),
            _ => None,
        };
        Self {
            syscall: check.of.as_deref(),
            limit: check.limit.name(),
            errno,
            allowed: check.allowed,
            found: check.found,
            exceeded: check.is_exceeded(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(of: Option<&str>, limit: Limit, allowed: u64, found: u64) -> Check {
        Check { of: of.map(str::to_owned), limit, allowed, found }
    }

    #[test]
    fn each_limit_that_is_exceeded_has_a_line() {
        let enoent = "ENOENT".parse().expect("an errno");
        let verdict = Verdict {
            checks: vec![
                check(None, Limit::Calls, 1_000, 1_200),
                check(Some("read"), Limit::Calls, 5, 5),
                check(Some("openat"), Limit::Errno(enoent), 4, 1),
                check(Some("openat"), Limit::Errno(enoent), 0, 1),
                check(Some("fsync"), Limit::P99, 2_000_000, 3_100_000),
                check(Some("fsync"), Limit::Max, 2_000_000, 2_000_001),
                check(Some("ptrace"), Limit::Forbidden, 0, 2),
                check(Some("i386:open"), Limit::Unlisted, 0, 1),
            ],
            doubt: None,
        };
        assert!(!verdict.is_met());
        assert_eq!(
            text(&verdict, "b.toml"),
            "budget b.toml: the run exceeds 6 of 8 limits\n  \
             all syscalls: 1,200 calls, limit 1,000\n  \
             openat: 1 error with ENOENT, limit 0\n  \
             fsync: p99 3.10ms, limit 2.00ms\n  \
             fsync: max 2,000,001 ns, limit 2,000,000 ns\n  \
             ptrace: 2 calls, forbidden\n  \
             i386:open: 1 call, not in the budget\n"
        );
    }

    #[test]
    fn a_run_with_uncounted_calls_proves_nothing() {
        let checks = vec![check(Some("read"), Limit::Calls, 5, 5)];
        let kept = Verdict { checks, doubt: None };
        assert!(kept.is_met());
        assert_eq!(text(&kept, "b"), "budget b: the run is within 1 limit\n");
        let doubtful = Verdict { doubt: Some(Doubt::Uncounted(3)), ..kept.clone() };
        assert!(!doubtful.is_met());
        let why = "budget b: not verified, because up to 3 calls may be uncounted\n";
        assert_eq!(text(&doubtful, "b"), why);
        let cut = Verdict { doubt: Some(Doubt::CutShort), ..kept };
        assert!(!cut.is_met());
        assert_eq!(
            text(&cut, "b"),
            "budget b: not verified, because the profiler ended before the command\n"
        );
    }
}
