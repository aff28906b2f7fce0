//! Checks of the privileges of this process.

use crate::commands::doctor::{finding::Finding, host::Host};

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    [Some(capabilities(host)), lockdown(host)].into_iter().flatten().collect()
}

fn capabilities(host: &Host) -> Finding {
    const WHAT: &str = "capabilities";
    let lacking = &host.features.missing_capabilities;
    if lacking.is_empty() {
        return Finding::ok(WHAT, "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN");
    }
    Finding::missing(
        WHAT,
        format!("lacks {}", lacking.join(" and ")),
        format!(
            "run as root (sudo), or: setcap {}=ep $(command -v profiler)",
            lacking.join(",").to_lowercase()
        ),
        Finding::NO_PRIVILEGE,
    )
}

fn lockdown(host: &Host) -> Option<Finding> {
    const WHAT: &str = "lockdown";
    Some(match host.lockdown.as_deref()? {
        "confidentiality" => Finding::missing(
            WHAT,
            "confidentiality",
            "this mode forbids reading kernel memory, and so tracing. The mode integrity allows both",
            Finding::NO_PRIVILEGE,
        ),
        other => Finding::ok(WHAT, other),
    })
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::doctor::{
            checks::fixture::{at, good},
            finding::Status,
        },
        engine::kernel::KernelError,
    };

    #[test]
    fn missing_capabilities_keep_the_profiler_from_running() {
        let mut host = good();
        host.features.missing_capabilities = vec!["CAP_PERFMON"];
        host.trial = Err(KernelError::Privilege { missing: vec!["CAP_PERFMON"] });
        let finding = at(&host, "capabilities");
        assert_eq!((finding.status, finding.exit_code), (Status::Missing, 3));
        assert!(finding.remedy.expect("a remedy").contains("setcap cap_perfmon=ep"));
    }

    #[test]
    fn lockdown_for_confidentiality_forbids_tracing() {
        let mut host = good();
        host.lockdown = Some("confidentiality".into());
        assert_eq!(at(&host, "lockdown").status, Status::Missing);
    }
}
