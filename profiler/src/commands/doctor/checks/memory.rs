//! Checks of memory: its limits, and how much is available.

use crate::{
    commands::doctor::{finding::Finding, host::Host},
    engine::kernel::Fit,
};

pub(super) const MIB: u64 = 1024 * 1024;

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    let findings = [locked_memory_limit(host), Some(memory_limit(host)), memory(host)];
    findings.into_iter().flatten().collect()
}

/// The limit against which maps count before Linux 5.11. Since then, maps count against the memory
/// cgroup.
fn locked_memory_limit(host: &Host) -> Option<Finding> {
    const WHAT: &str = "locked-memory limit";
    if host.features.version >= (5, 11) {
        return None;
    }
    let limit = host.memlock?;
    Some(if limit >= 128 * MIB {
        Finding::ok(WHAT, if limit == u64::MAX { "unlimited".into() } else { mib(limit) })
    } else {
        Finding::warning(
            WHAT,
            mib(limit),
            "before Linux 5.11, maps count against this limit: ulimit -l unlimited,\n\
             LimitMEMLOCK=infinity, or CAP_SYS_RESOURCE, with which the profiler raises the limit",
        )
    })
}

/// Whether the tables fit into the memory cgroup.
fn memory_limit(host: &Host) -> Finding {
    const WHAT: &str = "memory limit";
    match &host.memory_fit {
        Ok(Fit { why: None, .. }) => match &host.memory_limit {
            Some(limit) => Finding::ok(
                WHAT,
                format!("{}, of which {} are free", mib(limit.bytes), mib(limit.available)),
            ),
            None => Finding::ok(WHAT, "none"),
        },
        Ok(Fit { why: Some(why), .. }) => Finding::warning(
            WHAT,
            why.clone(),
            "raise the limit: MemoryMax= of the unit, or the memory limit of the pod",
        ),
        Err(error) => Finding::missing(
            WHAT,
            error.to_string(),
            error.hint().unwrap_or_default(),
            error.exit_code(),
        ),
    }
}

fn memory(host: &Host) -> Option<Finding> {
    const WHAT: &str = "memory";
    let available = host.available_bytes?;
    Some(if available >= 256 * MIB {
        Finding::ok(WHAT, format!("{} available", mib(available)))
    } else {
        Finding::warning(
            WHAT,
            format!("{} available", mib(available)),
            "reduce --max-memory and --max-threads",
        )
    })
}

/// Bytes as text, in MiB.
pub(super) fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

#[cfg(test)]
mod tests {
    use super::findings;
    use crate::commands::doctor::{
        checks::fixture::{at, good},
        finding::Status,
    };

    #[test]
    fn the_limit_of_locked_memory_counts_on_old_kernels_only() {
        let mut host = good();
        host.features.version = (5, 10);
        assert_eq!(at(&host, "locked-memory limit").status, Status::Warning);
        host.features.version = (5, 11);
        assert!(findings(&host).iter().all(|finding| finding.what != "locked-memory limit"));
    }
}
