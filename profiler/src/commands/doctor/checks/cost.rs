//! Checks for conditions that make the profiler cost more than necessary.

use crate::commands::doctor::{finding::Finding, host::Host};

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    [jit(host), clock(host), Some(statistics(host))].into_iter().flatten().collect()
}

fn jit(host: &Host) -> Option<Finding> {
    const WHAT: &str = "BPF compiler (JIT)";
    Some(match host.jit? {
        0 => Finding::warning(
            WHAT,
            "off",
            "the kernel interprets programs, at several times the cost: sysctl net.core.bpf_jit_enable=1",
        ),
        2 => Finding::warning(
            WHAT,
            "on, with debug output",
            "the kernel logs every program: sysctl net.core.bpf_jit_enable=1",
        ),
        _ => Finding::ok(WHAT, "on"),
    })
}

fn clock(host: &Host) -> Option<Finding> {
    const WHAT: &str = "clock source";
    let source = host.clock_source.as_deref()?;
    Some(if ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page"].contains(&source) {
        Finding::ok(WHAT, source)
    } else {
        Finding::warning(
            WHAT,
            source,
            "the profiler reads the clock twice per call, and this clock is slow or coarse; tsc is best",
        )
    })
}

/// The kernel's statistics of BPF programs. The profiler uses them only to report its own cost. So
/// it is a drawback if they are always on, but not if they are unavailable.
fn statistics(host: &Host) -> Finding {
    const WHAT: &str = "BPF statistics";
    match (host.bpf_stats, host.can_time) {
        (Some(1..), _) => Finding::warning(
            WHAT,
            "always on",
            "the kernel times every run of every BPF program, which adds to the cost of each call:\n\
             sysctl kernel.bpf_stats_enabled=0. `stat --self` and `top --self` enable the timing themselves",
        ),
        (_, Ok(())) => Finding::ok(WHAT, "available on request (--self, --bpf-stats)"),
        (_, Err(why)) => Finding::ok(WHAT, format!("unavailable: {why}")),
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        commands::doctor::{
            checks::fixture::{at, good},
            finding::Status,
        },
        model::Untimed,
    };

    #[test]
    fn statistics_that_are_always_kept_cost_and_none_are_no_drawback() {
        let mut host = good();
        assert!(at(&host, "trial").found.ends_with(
            "15.0 KiB of machine code; at most 14304 instructions verified for a program"
        ));
        host.can_time = Err(Untimed::Privilege);
        let finding = at(&host, "BPF statistics");
        assert_eq!(finding.status, Status::Ok);
        assert!(finding.found.contains("requires CAP_SYS_ADMIN"), "{finding:?}");
        host.bpf_stats = Some(1);
        let finding = at(&host, "BPF statistics");
        assert_eq!(finding.status, Status::Warning);
        assert!(finding.remedy.expect("a remedy").contains("bpf_stats_enabled=0"));
    }
}
