//! The programs of an object: which there are, and in which order they attach.

use profiler_common::wire::FURTHER_EXITS;

/// A program and its tracepoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgramSpec {
    /// What it does: its name for people.
    pub(super) name: &'static str,
    /// Where it attaches.
    pub(super) tracepoint: &'static str,
    /// Its copies in the object, by their names there.
    copies: &'static [&'static str],
}

macro_rules! spec {
    ($name:literal, $tracepoint:literal, $($copy:literal),+) => {
        ProgramSpec {
            name: $name,
            tracepoint: $tracepoint,
            copies: &[$name, $(concat!($name, "_", $copy)),+],
        }
    };
}

/// The last to attach and the first to detach: with it the counting begins and
/// ends. Whatever it counts finds all others in place.
pub(super) const ENTRY: ProgramSpec = spec!("sys_enter", "sys_enter", 2, 3, 4, 5, 6, 7, 8);

/// See there.
pub(super) const EXIT: ProgramSpec = spec!("sys_exit", "sys_exit", 2, 3, 4, 5, 6, 7, 8);

/// A record has room for what each further copy has seen.
const _: () = assert!(EXIT.copies.len() == 1 + FURTHER_EXITS);

/// Where a task has been moved to another cgroup. Only where cgroups decide, and before all
/// others, so that no decision outlives what it was made by.
pub(super) const CGROUP_ATTACH: ProgramSpec = spec!("cgroup_attach", "cgroup_attach_task", 2, 3, 4);

/// Where a signal is sent. Only with a command, to know which signals it got.
pub(super) const SIGNAL_SENT: ProgramSpec = ProgramSpec {
    name: "signal_sent",
    tracepoint: "signal_generate",
    // The second of two copies would only say the same.
    copies: &["signal_sent"],
};

/// All, in the order in which they attach. Births come first, so that a child of
/// a process in scope is never missed; exits before entries, so that no call can
/// enter and leave without its exit being seen.
pub(super) const PROGRAMS: [ProgramSpec; 7] = [
    spec!("process_exit", "sched_process_exit", 2, 3, 4),
    spec!("process_fork", "sched_process_fork", 2, 3, 4),
    spec!("process_exec", "sched_process_exec", 2, 3, 4),
    spec!("task_rename", "task_rename", 2, 3, 4),
    SIGNAL,
    EXIT,
    ENTRY,
];

/// Where a task takes a signal. Without underscores before the numbers, for which there is no
/// room in a program's name.
const SIGNAL: ProgramSpec = ProgramSpec {
    name: "signal_deliver",
    tracepoint: "signal_deliver",
    copies: &["signal_deliver", "signal_deliver2", "signal_deliver3", "signal_deliver4"],
};

/// The first kernel in which a program in a tracepoint can be preempted: until then
/// `__BPF_DECLARE_TRACE` and its kin (include/trace/bpf_probe.h) ran it with preemption
/// off.
const PREEMPTIBLE: (u32, u32) = (7, 1);

/// Whether programs in tracepoints can be preempted on a kernel of this version.
///
/// The kernel skips a program on a CPU on which it is running already
/// (`bpf_prog_get_recursion_context`, include/linux/bpf.h), and does not ask for whom:
/// while a thread is preempted within a program, every other thread of that CPU goes
/// without it. So there a second copy counts what the first was skipped for, and so on.
/// A thread can hold up one copy of a program at a time, so that with as many copies as
/// threads that share a CPU nothing is lost.
pub(super) fn preemptible(version: (u32, u32)) -> bool {
    version >= PREEMPTIBLE
}

impl ProgramSpec {
    /// The copies to load.
    pub(super) fn copies(&self, preemptible: bool) -> &'static [&'static str] {
        if preemptible { self.copies } else { &self.copies[..1] }
    }

    /// How many of them to attach at once: half, as each costs something at every call.
    /// The others follow when these turn out to be too few.
    pub(super) fn at_first(&self, preemptible: bool) -> usize {
        self.copies(preemptible).len().div_ceil(2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_copy_is_enough_where_tracepoints_are_not_preempted() {
        assert!(PROGRAMS.iter().all(|spec| spec.copies(false) == [spec.name]));
        assert!(PROGRAMS.iter().all(|spec| spec.copies(true).len() > 1));
        assert!(!preemptible((5, 10)) && !preemptible((7, 0)));
        assert!(preemptible((7, 1)) && preemptible((8, 0)));
    }

    /// The kernel cuts a longer name (`BPF_OBJ_NAME_LEN`, include/uapi/linux/bpf.h), and
    /// copies would look alike in bpftool.
    #[test]
    fn names_fit() {
        for name in
            PROGRAMS.iter().chain([&CGROUP_ATTACH, &SIGNAL_SENT]).flat_map(|spec| spec.copies)
        {
            assert!(name.len() < 16, "{name}");
        }
    }
}
