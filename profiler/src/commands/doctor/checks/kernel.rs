//! Checks of the kernel and its features.

use profiler_common::settings::{FieldGroup, OLDEST_KERNEL};

use crate::commands::doctor::{finding::Finding, host::Host};

pub(super) fn findings(host: &Host) -> Vec<Finding> {
    let mut findings = vec![
        architecture(host),
        version(host),
        type_information(host),
        tracepoints(host),
        task_storage(host),
        arena(host),
        io_uring(host),
    ];
    findings.extend(preemption(host));
    findings
}

fn architecture(host: &Host) -> Finding {
    const WHAT: &str = "architecture";
    match host.architecture {
        "x86_64" => Finding::ok(WHAT, "x86_64"),
        other => {
            Finding::missing(WHAT, other, "the profiler supports only x86_64", Finding::NO_FEATURE)
        }
    }
}

fn version(host: &Host) -> Finding {
    const WHAT: &str = "kernel";
    let found = format!("Linux {}", host.features.release);
    if host.features.version >= OLDEST_KERNEL {
        return Finding::ok(WHAT, found);
    }
    let (major, minor) = OLDEST_KERNEL;
    Finding::missing(
        WHAT,
        found,
        format!("the profiler requires Linux {major}.{minor} or later"),
        Finding::NO_FEATURE,
    )
}

fn type_information(host: &Host) -> Finding {
    const WHAT: &str = "type information (BTF)";
    if host.features.layout.has(FieldGroup::Task) {
        return Finding::ok(WHAT, "/sys/kernel/btf/vmlinux");
    }
    Finding::warning(
        WHAT,
        "none",
        "without it, the profiler falls back to programs that cannot follow children\n\
         (stat -p, stat -- COMMAND). It requires a kernel with CONFIG_DEBUG_INFO_BTF=y",
    )
}

fn tracepoints(host: &Host) -> Finding {
    const WHAT: &str = "typed tracepoints (tp_btf)";
    if host.features.tp_btf {
        return Finding::ok(WHAT, "raw_syscalls and sched, by name");
    }
    Finding::warning(
        WHAT,
        "not found",
        "the profiler falls back to raw tracepoints, which are as exact",
    )
}

fn task_storage(host: &Host) -> Finding {
    const WHAT: &str = "task storage";
    if host.features.task_storage {
        return Finding::ok(WHAT, "available");
    }
    if !host.features.missing_capabilities.is_empty() {
        return Finding::warning(WHAT, "cannot be probed", "see the capabilities below");
    }
    Finding::warning(
        WHAT,
        "none",
        "the profiler falls back to a table of tasks, which is as exact, and costs somewhat more.\n\
         Linux 5.11 and later have it",
    )
}

fn arena(host: &Host) -> Finding {
    const WHAT: &str = "memory shared with programs (arena)";
    if host.features.arena.is_some() {
        return Finding::ok(WHAT, "available");
    }
    Finding::warning(
        WHAT,
        "none",
        "the profiler falls back to arrays, which are as exact, and cost somewhat more.\n\
         Linux 6.9 and later have it",
    )
}

fn io_uring(host: &Host) -> Finding {
    const WHAT: &str = "operations of io_uring";
    match &host.features.rings {
        Ok(rings) if rings.names_requests() => Finding::ok(WHAT, "counted by process and opcode"),
        Ok(_) => Finding::ok(
            WHAT,
            "counted; the opcode of a completion is known if its user_data is unique",
        ),
        Err(missing) => Finding::warning(
            WHAT,
            "not counted",
            format!(
                "the kernel lacks {missing}.\n\
                 I/O through io_uring bypasses syscalls, so no report includes it"
            ),
        ),
    }
}

/// Warns if the kernel can preempt programs in tracepoints, as since Linux 7.1. `prog->active`,
/// which prevents that a program runs twice at a time, is per CPU (kernel/trace/bpf_trace.c).
fn preemption(host: &Host) -> Option<Finding> {
    host.features.preemptible_tracepoints().then(|| {
        Finding::warning(
            "preemption",
            "tracepoints can be preempted",
            "while a thread is preempted within a program, the kernel skips that program for other\n\
             threads on the CPU. So the profiler attaches several copies of each program, which\n\
             costs more. If more threads compete for a CPU than there are copies, calls may be\n\
             lost. The reports count lost calls",
        )
    })
}

#[cfg(test)]
mod tests {
    use crate::commands::doctor::{
        checks::{
            all,
            fixture::{at, good},
        },
        finding::Status,
    };

    #[test]
    fn an_old_kernel_is_told_what_it_needs() {
        let mut host = good();
        host.features.version = (5, 4);
        assert_eq!(at(&host, "kernel").exit_code, 4);
        host.features.version = (5, 10);
        assert_eq!(at(&host, "kernel").status, Status::Ok);
    }

    #[test]
    fn preemptible_tracepoints_are_told() {
        let mut host = good();
        host.features.version = (7, 0);
        assert!(all(&host).iter().all(|f| f.what != "preemption"));
        host.features.version = (7, 1);
        assert_eq!(at(&host, "preemption").status, Status::Warning);
    }
}
