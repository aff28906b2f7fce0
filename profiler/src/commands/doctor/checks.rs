//! Judges what was found: pure functions of [`Host`].

use profiler_common::settings::{FieldGroup, OLDEST_KERNEL};

use super::{
    Finding, Status,
    host::{Host, Trial},
};
use crate::{engine::kernel::Fit, text};

pub(super) const EXIT_PRIVILEGE: u8 = 3;
const EXIT_KERNEL: u8 = 4;

const MIB: u64 = 1024 * 1024;

fn ok(what: &'static str, found: impl Into<String>) -> Finding {
    Finding { what, status: Status::Ok, found: found.into(), remedy: None, exit_code: 0 }
}

fn warning(what: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Finding {
    Finding { status: Status::Warning, remedy: Some(remedy.into()), ..ok(what, found) }
}

fn missing(
    what: &'static str,
    found: impl Into<String>,
    remedy: impl Into<String>,
    exit_code: u8,
) -> Finding {
    Finding { status: Status::Missing, exit_code, ..warning(what, found, remedy) }
}

/// Every check, in an order that tells the story.
pub(super) fn all(host: &Host) -> Vec<Finding> {
    [
        Some(architecture(host)),
        Some(kernel(host)),
        Some(type_information(host)),
        Some(tracepoints(host)),
        Some(task_storage(host)),
        Some(arena(host)),
        Some(io_uring(host)),
        preemption(host),
        Some(capabilities(host)),
        lockdown(host),
        locked_memory_limit(host),
        Some(memory_limit(host)),
        memory(host),
        jit(host),
        clock(host),
        Some(statistics(host)),
        Some(pid_namespace(host)),
        Some(filters(host)),
        Some(confinement(host)),
        Some(trial(host)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn architecture(host: &Host) -> Finding {
    const WHAT: &str = "architecture";
    match host.architecture {
        "x86_64" => ok(WHAT, "x86_64"),
        other => missing(WHAT, other, "only x86_64 is supported so far", EXIT_KERNEL),
    }
}

fn kernel(host: &Host) -> Finding {
    const WHAT: &str = "kernel";
    let found = format!("Linux {}", host.features.release);
    if host.features.version >= OLDEST_KERNEL {
        return ok(WHAT, found);
    }
    let (major, minor) = OLDEST_KERNEL;
    missing(WHAT, found, format!("Linux {major}.{minor} or later is needed"), EXIT_KERNEL)
}

fn type_information(host: &Host) -> Finding {
    const WHAT: &str = "type information (BTF)";
    if host.features.layout.has(FieldGroup::Task) {
        return ok(WHAT, "/sys/kernel/btf/vmlinux");
    }
    warning(
        WHAT,
        "none",
        "without it the fallback runs, which cannot follow children (stat -p, stat -- COMMAND);\n\
         a kernel with CONFIG_DEBUG_INFO_BTF=y has it",
    )
}

fn tracepoints(host: &Host) -> Finding {
    const WHAT: &str = "typed tracepoints (tp_btf)";
    if host.features.tp_btf {
        return ok(WHAT, "raw_syscalls and sched, by name");
    }
    warning(WHAT, "not found", "raw tracepoints are used instead; they count as exactly")
}

fn arena(host: &Host) -> Finding {
    const WHAT: &str = "memory shared with programs (arena)";
    if host.features.arena.is_some() {
        return ok(WHAT, "there");
    }
    warning(
        WHAT,
        "none",
        "arrays are used instead; they count as exactly and cost somewhat more.\n\
         Linux 6.9 and later have it",
    )
}

fn io_uring(host: &Host) -> Finding {
    const WHAT: &str = "operations of io_uring";
    match &host.features.rings {
        Ok(rings) if rings.names_requests() => ok(WHAT, "counted by process and opcode"),
        Ok(_) => {
            ok(WHAT, "counted; the opcode of a completion is known if its user_data is unique")
        }
        Err(missing) => warning(
            WHAT,
            "not counted",
            format!(
                "the kernel lacks {missing}.\n\
                 I/O that programs do through io_uring is no system call, and is not shown"
            ),
        ),
    }
}

fn task_storage(host: &Host) -> Finding {
    const WHAT: &str = "task storage";
    if host.features.task_storage {
        return ok(WHAT, "there");
    }
    if !host.features.missing_capabilities.is_empty() {
        return warning(WHAT, "cannot be probed", "see the capabilities below");
    }
    warning(
        WHAT,
        "none",
        "a table by task is used instead; it counts as exactly and costs somewhat more.\n\
         Linux 5.11 and later have it",
    )
}

/// Since Linux 7.1 a program in a tracepoint can be preempted, and `prog->active`, which
/// keeps it from running twice at a time, is per CPU (kernel/trace/bpf_trace.c).
fn preemption(host: &Host) -> Option<Finding> {
    host.features.preemptible_tracepoints().then(|| {
        warning(
            "preemption",
            "tracepoints can be preempted",
            "while a thread is preempted within a program, the kernel skips that program for\n\
             others on its CPU. So each is attached several times over, which costs more; where\n\
             more threads compete for a CPU than there are copies, calls may be lost, and shown as lost",
        )
    })
}

fn capabilities(host: &Host) -> Finding {
    const WHAT: &str = "capabilities";
    let lacking = &host.features.missing_capabilities;
    if lacking.is_empty() {
        return ok(WHAT, "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN");
    }
    missing(
        WHAT,
        format!("{} not held", lacking.join(" and ")),
        format!(
            "run as root (sudo), or: setcap {}=ep $(command -v profiler)",
            lacking.join(",").to_lowercase()
        ),
        EXIT_PRIVILEGE,
    )
}

fn lockdown(host: &Host) -> Option<Finding> {
    const WHAT: &str = "lockdown";
    Some(match host.lockdown.as_deref()? {
        "confidentiality" => missing(
            WHAT,
            "confidentiality",
            "it forbids reading kernel memory, and so tracing; integrity mode does not",
            EXIT_PRIVILEGE,
        ),
        other => ok(WHAT, other),
    })
}

/// Since Linux 5.11 maps count against the memory cgroup instead.
fn locked_memory_limit(host: &Host) -> Option<Finding> {
    const WHAT: &str = "locked-memory limit";
    if host.features.version >= (5, 11) {
        return None;
    }
    let limit = host.memlock?;
    Some(if limit >= 128 * MIB {
        ok(WHAT, if limit == u64::MAX { "unlimited".into() } else { mib(limit) })
    } else {
        warning(
            WHAT,
            mib(limit),
            "before Linux 5.11 maps count against it: ulimit -l unlimited, LimitMEMLOCK=infinity,\n\
             or CAP_SYS_RESOURCE, with which the profiler raises it itself",
        )
    })
}

/// Whether the tables fit into the memory cgroup.
fn memory_limit(host: &Host) -> Finding {
    const WHAT: &str = "memory limit";
    match &host.memory_fit {
        Ok(Fit { why: None, .. }) => match &host.memory_limit {
            Some(limit) => {
                ok(WHAT, format!("{}, {} of it left", mib(limit.bytes), mib(limit.available)))
            }
            None => ok(WHAT, "none"),
        },
        Ok(Fit { why: Some(why), .. }) => {
            warning(WHAT, why.clone(), "raise the limit: MemoryMax= of a unit, or that of a pod")
        }
        Err(error) => {
            missing(WHAT, error.to_string(), error.hint().unwrap_or_default(), error.exit_code())
        }
    }
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MIB as f64)
}

fn memory(host: &Host) -> Option<Finding> {
    const WHAT: &str = "memory";
    let available = host.available_bytes?;
    Some(if available >= 256 * MIB {
        ok(WHAT, format!("{} available", mib(available)))
    } else {
        warning(
            WHAT,
            format!("{} available", mib(available)),
            "ask for less with --max-memory and --max-threads",
        )
    })
}

fn jit(host: &Host) -> Option<Finding> {
    const WHAT: &str = "BPF compiler (JIT)";
    Some(match host.jit? {
        0 => warning(
            WHAT,
            "off",
            "programs are interpreted, at several times the cost: sysctl net.core.bpf_jit_enable=1",
        ),
        2 => warning(
            WHAT,
            "on, in its debugging mode",
            "it logs every program: sysctl net.core.bpf_jit_enable=1",
        ),
        _ => ok(WHAT, "on"),
    })
}

fn clock(host: &Host) -> Option<Finding> {
    const WHAT: &str = "clock source";
    let source = host.clock_source.as_deref()?;
    Some(if ["tsc", "kvm-clock", "hyperv_clocksource_tsc_page"].contains(&source) {
        ok(WHAT, source)
    } else {
        warning(
            WHAT,
            source,
            "every call reads the clock twice, and this one is slow or coarse; tsc is the best",
        )
    })
}

/// Of no use to the profiler but for saying what it costs, so that lacking them is no
/// drawback; having them is one.
fn statistics(host: &Host) -> Finding {
    const WHAT: &str = "BPF statistics";
    match (host.bpf_stats, host.can_time) {
        (Some(1..), _) => warning(
            WHAT,
            "kept all the time",
            "the kernel times every run of every BPF program, which makes each call dearer:\n\
             sysctl kernel.bpf_stats_enabled=0; `stat --self` and `top --self` ask for it themselves",
        ),
        (_, Ok(())) => ok(WHAT, "kept when asked for (--self, --bpf-stats)"),
        (_, Err(why)) => ok(WHAT, format!("not kept when asked for: {why}")),
    }
}

fn pid_namespace(host: &Host) -> Finding {
    const WHAT: &str = "pid namespace";
    match host.features.host_pid_namespace {
        Some(true) => ok(WHAT, "the host's own"),
        Some(false) => warning(
            WHAT,
            "a container's",
            "process ids shown are the host's; -p and commands need the host's pid namespace\n\
             (docker run --pid=host, hostPID: true)",
        ),
        None => warning(
            WHAT,
            "not known: /proc is not mounted",
            "mount it (mount -t proc proc /proc): without it the profiler's memory and the\n\
             programs that the kernel skips are not known either",
        ),
    }
}

fn programs(trial: &Trial) -> String {
    let code = match trial.jited_bytes {
        0 => "no machine code".to_owned(),
        bytes => format!("{:.1} KiB of machine code", bytes as f64 / 1024.0),
    };
    match trial.verified_instructions {
        Some(most) => format!("{code}; at most {most} instructions verified for a program"),
        None => code,
    }
}

fn filters(host: &Host) -> Finding {
    const WHAT: &str = "filters";
    let features = &host.features;
    if !features.layout.has(FieldGroup::Threads) {
        return warning(
            WHAT,
            "by system call only",
            "--comm and --cgroup need type information (BTF)",
        );
    }
    if !features.layout.has(FieldGroup::Cgroup) || !features.cgroup_tracepoint {
        let remedy = "--cgroup needs a kernel with CONFIG_CGROUPS=y and its tracepoints";
        return warning(WHAT, "by system call and name", remedy);
    }
    match &host.cgroups {
        Some(mount) => ok(WHAT, format!("by system call, name and cgroup ({})", text::path(mount))),
        None => warning(
            WHAT,
            "by system call and name; cgroups of version 2 are not mounted",
            "mount -t cgroup2 none /sys/fs/cgroup/unified, for --cgroup",
        ),
    }
}

/// Tried in a process of its own, and read back from the kernel.
fn confinement(host: &Host) -> Finding {
    const WHAT: &str = "confinement of the daemon";
    match &host.confinement {
        Ok((left, amiss)) if amiss.is_empty() => ok(WHAT, left),
        Ok((left, amiss)) => warning(WHAT, left, amiss.join("\n")),
        Err(why) => warning(WHAT, why, "a daemon that is started here would end with this error"),
    }
}

fn trial(host: &Host) -> Finding {
    const WHAT: &str = "trial";
    match &host.trial {
        Ok(trial) => ok(
            WHAT,
            format!(
                "loaded and attached in {} ms with {}; {} of kernel memory\n{}",
                trial.took.as_millis(),
                trial.mode,
                mib(trial.kernel_memory_bytes),
                programs(trial)
            ),
        ),
        Err(error) => missing(
            WHAT,
            error.to_string(),
            error.hint().unwrap_or_else(|| "please report this".into()),
            error.exit_code(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{super::host::Trial, *};
    use crate::{
        engine::kernel::{
            Cast, KernelError, Options, Rings,
            features::{Features, Layout},
        },
        model::Untimed,
    };

    fn good() -> Host {
        Host {
            features: Features {
                release: "6.12.1".into(),
                version: (6, 12),
                layout: Layout::with(&FieldGroup::ALL),
                tp_btf: true,
                cgroup_tracepoint: true,
                controllers: [None; 3],
                task_storage: true,
                arena: Some(Cast::default()),
                rings: Ok(Rings::of_6_12()),
                unread: None,
                missing_capabilities: Vec::new(),
                host_pid_namespace: Some(true),
                attach_btf: Vec::new(),
            },
            architecture: "x86_64",
            jit: Some(1),
            lockdown: Some("none".into()),
            bpf_stats: Some(0),
            can_time: Ok(()),
            clock_source: Some("tsc".into()),
            memlock: Some(8 * MIB),
            cgroups: Some("/sys/fs/cgroup".into()),
            memory_limit: None,
            memory_fit: Fit::new(&Options::default(), None),
            available_bytes: Some(1024 * MIB),
            confinement: Ok(("uid 65534, gid 65534, no capability".into(), Vec::new())),
            trial: Ok(Trial {
                mode: "tp_btf, task storage, arena".into(),
                took: Duration::from_millis(90),
                kernel_memory_bytes: 50 * MIB,
                jited_bytes: 15 * 1024,
                verified_instructions: Some(14_304),
            }),
        }
    }

    fn at(host: &Host, what: &str) -> Finding {
        all(host).into_iter().find(|f| f.what == what).expect("such a check")
    }

    #[test]
    fn a_good_host_has_nothing_to_mend() {
        assert!(all(&good()).iter().all(|f| f.status == Status::Ok && f.remedy.is_none()));
    }

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
    fn an_old_kernel_is_told_what_it_needs() {
        let mut host = good();
        host.features.version = (5, 4);
        assert_eq!(at(&host, "kernel").exit_code, 4);
        host.features.version = (5, 10);
        assert_eq!(at(&host, "kernel").status, Status::Ok);
        assert_eq!(at(&host, "locked-memory limit").status, Status::Warning);
    }

    #[test]
    fn a_daemon_that_stays_privileged_is_a_drawback() {
        let mut host = good();
        host.confinement = Ok(("uid 0".into(), vec!["it runs as root".into()]));
        let finding = at(&host, "confinement of the daemon");
        assert_eq!((finding.status, finding.found.as_str()), (Status::Warning, "uid 0"));
        assert_eq!(finding.remedy.as_deref(), Some("it runs as root"));
    }

    #[test]
    fn preemptible_tracepoints_are_told() {
        let mut host = good();
        host.features.version = (7, 0);
        assert!(all(&host).iter().all(|f| f.what != "preemption"));
        host.features.version = (7, 1);
        assert_eq!(at(&host, "preemption").status, Status::Warning);
    }

    #[test]
    fn drawbacks_are_warnings() {
        let mut host = good();
        host.features.layout = Layout::default();
        host.features.task_storage = false;
        host.features.arena = None;
        host.jit = Some(0);
        host.clock_source = Some("hpet".into());
        host.features.host_pid_namespace = Some(false);
        for what in [
            "type information (BTF)",
            "task storage",
            "memory shared with programs (arena)",
            "BPF compiler (JIT)",
            "clock source",
            "pid namespace",
        ] {
            let finding = at(&host, what);
            assert_eq!(finding.status, Status::Warning, "{what}");
            assert!(finding.remedy.is_some(), "{what}");
        }
    }

    #[test]
    fn statistics_that_are_always_kept_cost_and_none_are_no_drawback() {
        let mut host = good();
        assert!(at(&host, "trial").found.ends_with(
            "15.0 KiB of machine code; at most 14304 instructions verified for a program"
        ));
        host.can_time = Err(Untimed::Privilege);
        let finding = at(&host, "BPF statistics");
        assert_eq!(finding.status, Status::Ok);
        assert!(finding.found.contains("needs CAP_SYS_ADMIN"), "{finding:?}");
        host.bpf_stats = Some(1);
        let finding = at(&host, "BPF statistics");
        assert_eq!(finding.status, Status::Warning);
        assert!(finding.remedy.expect("a remedy").contains("bpf_stats_enabled=0"));
    }

    #[test]
    fn filters_are_told_as_far_as_they_go() {
        let mut host = good();
        let found = at(&host, "filters").found;
        assert_eq!(found, "by system call, name and cgroup (/sys/fs/cgroup)");
        host.cgroups = None;
        assert_eq!(at(&host, "filters").status, Status::Warning);
        host.features.cgroup_tracepoint = false;
        assert_eq!(at(&host, "filters").found, "by system call and name");
        host.features.layout = Layout::with(&[FieldGroup::Task]);
        assert_eq!(at(&host, "filters").found, "by system call only");
    }

    #[test]
    fn lockdown_for_confidentiality_forbids_tracing() {
        let mut host = good();
        host.lockdown = Some("confidentiality".into());
        assert_eq!(at(&host, "lockdown").status, Status::Missing);
    }
}
