//! Prints findings as text or JSON.

use std::io::{self, Write};

use super::finding::{Finding, Status};
use crate::{
    present::paint::{BAD, GOOD, WARNING},
    text,
};

/// Prints the findings as text.
pub(super) fn table(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    let width = findings.iter().map(|f| f.what.len()).max().unwrap_or(0);
    for finding in findings {
        let (word, paint) = match finding.status {
            Status::Ok => ("ok     ", GOOD),
            Status::Warning => ("warning", WARNING),
            Status::Missing => ("MISSING", BAD),
        };
        let found = text::harmless_lines(&finding.found);
        let mut lines = found.lines();
        writeln!(
            out,
            "{paint}{word}{paint:#}  {:width$}  {}",
            finding.what,
            lines.next().unwrap_or("")
        )?;
        for line in lines.chain(finding.remedy.iter().flat_map(|r| r.lines())) {
            writeln!(out, "         {:width$}  {line}", "")?;
        }
    }
    let missing = findings.iter().filter(|f| f.status == Status::Missing).count();
    let warnings = findings.iter().filter(|f| f.status == Status::Warning).count();
    match (missing, warnings) {
        (0, 0) => writeln!(out, "\nThe profiler can run on this host. Nothing is missing."),
        (0, n) => writeln!(out, "\nThe profiler can run on this host, with {n} warning(s)."),
        _ if findings.iter().all(lacks_at_most_privilege) => writeln!(
            out,
            "\nThis process lacks the privilege to run the profiler. No other check failed.\n\
             To run the checks that require privilege, run this command as root."
        ),
        _ => writeln!(out, "\nThe profiler cannot run on this host."),
    }
}

/// Whether the finding is no obstacle if this process had more privilege.
fn lacks_at_most_privilege(finding: &Finding) -> bool {
    finding.status != Status::Missing || finding.exit_code == Finding::NO_PRIVILEGE
}

/// Prints the findings as one JSON object.
pub(super) fn json(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    let runs = findings.iter().all(|f| f.status != Status::Missing);
    let report = serde_json::json!({ "schema": 1, "runs": runs, "findings": findings });
    text::json::write(out, &report)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::streams;

    fn finding(what: &'static str, status: Status, remedy: Option<&str>) -> Finding {
        let remedy = remedy.map(str::to_owned);
        Finding { what, status, found: "found".into(), remedy, exit_code: 4 }
    }

    #[test]
    fn want_of_privilege_is_no_fault_of_the_host() {
        let verdict = |codes: &[u8]| {
            let findings: Vec<_> = codes
                .iter()
                .map(|&exit_code| Finding { exit_code, ..finding("x", Status::Missing, None) })
                .chain([finding("kernel", Status::Ok, None)])
                .collect();
            let mut out = Vec::new();
            table(&mut out, &findings).expect("a vector takes everything");
            String::from_utf8(out).expect("UTF-8")
        };
        assert!(verdict(&[3, 3]).contains("This process lacks the privilege"));
        for codes in [&[4][..], &[3, 4]] {
            assert!(verdict(codes).contains("cannot run on this host"), "{codes:?}");
        }
    }

    #[test]
    fn remedies_stand_below_what_they_mend() {
        let findings = [
            finding("kernel", Status::Ok, None),
            finding("capabilities", Status::Missing, Some("run as root,\nor with sudo")),
        ];
        let mut out = Vec::new();
        table(&mut out, &findings).expect("a vector takes everything");
        let text = String::from_utf8(out).expect("UTF-8");
        insta::assert_snapshot!(streams::unstyled(&text), @r"
        ok       kernel        found
        MISSING  capabilities  found
                               run as root,
                               or with sudo

        The profiler cannot run on this host.
        ");
        let mut out = Vec::new();
        json(&mut out, &findings).expect("a vector takes everything");
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        assert_eq!(json["runs"], false);
        assert_eq!(json["findings"][1]["status"], "missing");
    }
}
