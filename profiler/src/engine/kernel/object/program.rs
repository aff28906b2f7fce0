//! Descriptions of programs, and of those that count calls.

use profiler_common::wire::FURTHER_EXITS;

use super::spec::{RingEvent, When};

/// Describes a program.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ProgramSpec {
    /// Its name for people.
    pub(crate) name: &'static str,
    /// The tracepoint that it attaches to.
    pub(crate) tracepoint: &'static str,
    /// The queries that need it.
    pub(crate) when: When,
    /// The names of its copies in the object.
    pub(super) copies: &'static [&'static str],
}

macro_rules! spec {
    ($name:literal, $tracepoint:literal, $($copy:literal),+) => {
        ProgramSpec {
            name: $name,
            tracepoint: $tracepoint,
            when: When::Always,
            copies: &[$name, $(concat!($name, "_", $copy)),+],
        }
    };
}

/// Counts entries. It attaches last and detaches first, so that all other programs are attached
/// while it counts.
pub(crate) const ENTRY: ProgramSpec = spec!("sys_enter", "sys_enter", 2, 3, 4, 5, 6, 7, 8);

/// Counts exits.
const EXIT: ProgramSpec = spec!("sys_exit", "sys_exit", 2, 3, 4, 5, 6, 7, 8);

/// Follows threads that run another program.
pub(crate) const EXEC: ProgramSpec = spec!("process_exec", "sched_process_exec", 2, 3, 4);

/// A record has a counter for each further copy.
const _: () = assert!(EXIT.copies.len() == 1 + FURTHER_EXITS);

/// Follows tasks that move to another cgroup. It attaches before the programs that decide by
/// cgroup, so that a decision never outlives the cgroup that it was made by.
const CGROUP_ATTACH: ProgramSpec = ProgramSpec {
    when: When::CgroupMoves,
    ..spec!("cgroup_attach", "cgroup_attach_task", 2, 3, 4)
};

/// Reports new cgroups. The programs that report cgroups attach before the walk through the
/// existing cgroups, so that none is missed.
const CGROUP_MKDIR: ProgramSpec =
    ProgramSpec { when: When::Cgroups, ..spec!("cgroup_mkdir", "cgroup_mkdir", 2, 3, 4) };
const CGROUP_RMDIR: ProgramSpec =
    ProgramSpec { when: When::Cgroups, ..spec!("cgroup_rmdir", "cgroup_rmdir", 2, 3, 4) };
/// The names of the copies have no space for an underscore.
const CGROUP_RENAME: ProgramSpec = ProgramSpec {
    name: "cgroup_rename",
    tracepoint: "cgroup_rename",
    when: When::Cgroups,
    copies: &["cgroup_rename", "cgroup_rename2", "cgroup_rename3", "cgroup_rename4"],
};

/// Records which signals are sent to the profiler and to its command.
const SIGNAL_SENT: ProgramSpec = ProgramSpec {
    name: "signal_sent",
    tracepoint: "signal_generate",
    when: When::Command,
    // A second copy would record the same again.
    copies: &["signal_sent"],
};

/// Follows what interrupted calls end with. The names of the copies have no underscore before
/// the number, because a program's name has no space for it.
const SIGNAL_DELIVER: ProgramSpec = ProgramSpec {
    name: "signal_deliver",
    tracepoint: "signal_deliver",
    when: When::Always,
    copies: &["signal_deliver", "signal_deliver2", "signal_deliver3", "signal_deliver4"],
};

/// Follows tasks that leave a CPU and return to one. It attaches before entries and detaches after
/// exits, so that it covers every counted call. The kernel never preempts it, because the run queue
/// is locked: so one copy is enough.
const SCHED_SWITCH: ProgramSpec = ProgramSpec {
    name: "sched_switch",
    tracepoint: "sched_switch",
    when: When::OffCpu,
    copies: &["sched_switch"],
};

/// Notes when tasks are woken. Interrupts are off at this tracepoint, so one copy is enough.
const SCHED_WAKING: ProgramSpec = ProgramSpec {
    name: "sched_waking",
    tracepoint: "sched_waking",
    when: When::OffCpu,
    copies: &["sched_waking"],
};

/// Sees which capability the kernel finds missing. If the kernel skips the program, the reason of a
/// failure is unknown, so one copy is enough.
pub(crate) const CAPABILITY_CHECKED: ProgramSpec = ProgramSpec {
    name: "cap_capable",
    tracepoint: "cap_capable",
    when: When::Capabilities,
    copies: &["cap_capable"],
};

/// A program for an event of io_uring, with these copies.
const fn ring(
    event: RingEvent,
    tracepoint: &'static str,
    copies: &'static [&'static str],
) -> ProgramSpec {
    ProgramSpec { name: copies[0], tracepoint, when: When::Ring(event), copies }
}

/// Remembers who creates rings.
const RING_CREATED: ProgramSpec = ring(RingEvent::Create, "io_uring_create", &["uring_create"]);

/// Counts completed operations of io_uring.
pub(crate) const OPERATION_COMPLETED: ProgramSpec = ring(
    RingEvent::Complete,
    "io_uring_complete",
    &["uring_complete", "uring_complete2", "uring_complete3", "uring_complete4"],
);

/// Counts completions that find the queue full. A second copy would count the same again.
pub(crate) const OPERATION_OVERFLOWED: ProgramSpec =
    ring(RingEvent::Overflow, "io_uring_cqe_overflow", &["uring_overflow"]);

/// Counts operations that the kernel refuses before it announces them.
pub(crate) const OPERATION_FAILED: ProgramSpec =
    ring(RingEvent::Fail, "io_uring_req_failed", &["uring_failed"]);

/// Counts submitted operations, before Linux 6.4.
pub(crate) const OPERATION_SUBMITTED_OLD: ProgramSpec =
    ring(RingEvent::SubmitOld, "io_uring_submit_sqe", &["uring_sqe"]);

/// Counts submitted operations.
pub(crate) const OPERATION_SUBMITTED: ProgramSpec = ring(
    RingEvent::Submit,
    "io_uring_submit_req",
    &["uring_submit", "uring_submit2", "uring_submit3", "uring_submit4"],
);

/// The programs of an object that counts calls, in the order in which they attach.
///
/// Forks come before entries, so that no child of a process in scope is missed. Exits come before
/// entries, so that no exit of a counted call is missed. For the same reason, completions come
/// before submissions, and the creation of rings before both.
pub(crate) static SYSCALL_PROGRAMS: [ProgramSpec; 21] = [
    CGROUP_MKDIR,
    CGROUP_RENAME,
    CGROUP_RMDIR,
    CGROUP_ATTACH,
    SIGNAL_SENT,
    spec!("process_exit", "sched_process_exit", 2, 3, 4),
    spec!("process_fork", "sched_process_fork", 2, 3, 4),
    EXEC,
    spec!("task_rename", "task_rename", 2, 3, 4),
    SIGNAL_DELIVER,
    RING_CREATED,
    OPERATION_COMPLETED,
    OPERATION_OVERFLOWED,
    OPERATION_FAILED,
    OPERATION_SUBMITTED_OLD,
    OPERATION_SUBMITTED,
    CAPABILITY_CHECKED,
    EXIT,
    SCHED_WAKING,
    SCHED_SWITCH,
    ENTRY,
];

/// A program of the object that follows single calls. It has no further copies: a second one would
/// send the same again.
const fn of_trace(tracepoint: &'static str, copies: &'static [&'static str]) -> ProgramSpec {
    ProgramSpec { name: copies[0], tracepoint, when: When::Always, copies }
}

/// The programs of the object that follows single calls, in the order in which they attach. Entries
/// come before exits, in contrast to [`SYSCALL_PROGRAMS`]: the first exit without an entry is that of
/// a call that entered before, and a further one would look denied.
pub(crate) static TRACE_PROGRAMS: [ProgramSpec; 8] = [
    ProgramSpec { when: When::CgroupMoves, ..of_trace("cgroup_attach_task", &["cgroup_attach"]) },
    of_trace("sched_process_exit", &["process_exit"]),
    of_trace("sched_process_fork", &["process_fork"]),
    of_trace("sched_process_exec", &["process_exec"]),
    of_trace("task_rename", &["task_rename"]),
    of_trace("signal_deliver", &["signal_deliver"]),
    of_trace("sys_enter", &["sys_enter"]),
    of_trace("sys_exit", &["sys_exit"]),
];

/// The programs of the object that sums up stacks, in the order in which they attach. Exits come
/// before entries, so that no call is followed whose exit is missed.
pub(crate) static STACK_PROGRAMS: [ProgramSpec; 8] = [
    ProgramSpec { when: When::CgroupMoves, ..of_trace("cgroup_attach_task", &["cgroup_attach"]) },
    of_trace("sched_process_exit", &["process_exit"]),
    of_trace("sched_process_fork", &["process_fork"]),
    of_trace("sched_process_exec", &["process_exec"]),
    of_trace("task_rename", &["task_rename"]),
    ProgramSpec { when: When::KernelStacks, ..of_trace("sched_switch", &["sched_switch"]) },
    ProgramSpec { when: When::StackExits, ..of_trace("sys_exit", &["sys_exit"]) },
    of_trace("sys_enter", &["sys_enter"]),
];

/// The names of all programs that count calls.
pub fn program_names() -> impl Iterator<Item = &'static str> {
    SYSCALL_PROGRAMS.iter().map(|program| program.name)
}

/// The first kernel that can preempt a program in a tracepoint. Earlier kernels run the program
/// with preemption off (`__BPF_DECLARE_TRACE` in include/trace/bpf_probe.h).
const PREEMPTIBLE: (u32, u32) = (7, 1);

/// Whether a kernel of this version can preempt programs in tracepoints.
///
/// The kernel skips a program on a CPU on which the program is already running, for whichever
/// thread (`bpf_prog_get_recursion_context`, include/linux/bpf.h). So while a thread is preempted
/// within a program, the kernel skips the program for every other thread of that CPU. On such a
/// kernel, a second copy counts what the first one was skipped for, and so on. A thread holds up
/// at most one copy of a program. So nothing is lost if there are as many copies as threads that
/// share a CPU.
pub(crate) fn preemptible(version: (u32, u32)) -> bool {
    version >= PREEMPTIBLE
}

impl ProgramSpec {
    /// The names of the copies to load.
    pub(crate) fn copies(&self, preemptible: bool) -> &'static [&'static str] {
        if preemptible { self.copies } else { &self.copies[..1] }
    }

    /// Whether the program counts submissions of io_uring.
    pub(crate) fn counts_submissions(&self) -> bool {
        use RingEvent::{Fail, Submit, SubmitOld};
        matches!(self.when, When::Ring(Submit | SubmitOld | Fail))
    }

    /// How many copies attach at the start. Half of them, because each copy adds cost to every
    /// call. Further copies attach if the kernel skips all of these.
    pub(crate) fn copies_at_start(&self, preemptible: bool) -> usize {
        self.copies(preemptible).len().div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_is_enough_where_tracepoints_are_not_preempted() {
        let is_needed = |spec: &&ProgramSpec| matches!(spec.when, When::Always | When::CgroupMoves);
        let needed = || SYSCALL_PROGRAMS.iter().filter(is_needed);
        assert!(needed().all(|spec| spec.copies(false) == [spec.name]));
        assert!(needed().all(|spec| spec.copies(true).len() > 1));
        assert!(!preemptible((5, 10)) && !preemptible((7, 0)));
        assert!(preemptible((7, 1)) && preemptible((8, 0)));
    }

    /// The kernel cuts a longer name (`BPF_OBJ_NAME_LEN`, include/uapi/linux/bpf.h), and
    /// copies would look alike in bpftool.
    #[test]
    fn names_fit() {
        for name in SYSCALL_PROGRAMS.iter().flat_map(|spec| spec.copies) {
            assert!(name.len() < 16, "{name}");
        }
    }
}
