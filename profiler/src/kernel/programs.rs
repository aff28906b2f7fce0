//! The programs of an object: which there are, and in which order they attach.

/// A program and its tracepoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct ProgramSpec {
    /// Its name in the object.
    pub(super) name: &'static str,
    /// Where it attaches.
    pub(super) tracepoint: &'static str,
}

const fn spec(name: &'static str, tracepoint: &'static str) -> ProgramSpec {
    ProgramSpec { name, tracepoint }
}

/// The last to attach and the first to detach: with it the counting begins and
/// ends. Whatever it counts finds all others in place.
pub(super) const ENTRY: ProgramSpec = spec("sys_enter", "sys_enter");

/// All, in the order in which they attach. Births come first, so that a child of
/// a process in scope is never missed; exits before entries, so that no call can
/// enter and leave without its exit being seen.
pub(super) const PROGRAMS: [ProgramSpec; 6] = [
    spec("process_exit", "sched_process_exit"),
    spec("process_fork", "sched_process_fork"),
    spec("process_exec", "sched_process_exec"),
    spec("task_rename", "task_rename"),
    spec("sys_exit", "sys_exit"),
    ENTRY,
];
