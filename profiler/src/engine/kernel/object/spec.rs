//! Descriptions of objects: programs, maps, settings and requirements.

use std::borrow::Cow;

use super::{file::File, program::ProgramSpec};

/// The objects, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ObjectName {
    /// Counts calls: typed tracepoints, task storage, an arena.
    Arena,
    /// Counts calls: typed tracepoints, task storage, arrays.
    Arrays,
    /// Counts calls: raw tracepoints, a table of tasks, arrays.
    Fallback,
    /// Reports the profiler's process id on the host and the kernel's clock.
    Identity,
    /// Puts indexes onto the free stacks.
    Fill,
    /// Follows single calls: raw tracepoints, a table of tasks, a ring buffer.
    Trace,
    /// Sums up stacks of calls: raw tracepoints, a table of tasks, a ring buffer.
    Stacks,
}

/// Describes an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ObjectSpec {
    /// Its name.
    pub(crate) name: ObjectName,
    /// The kernel features that its programs use, for people.
    pub(crate) description: &'static str,
    /// Its compiled form.
    pub(super) file: File,
    /// What the kernel requires to run it.
    pub(crate) requires: &'static [Requirement],
    /// The queries that need it.
    pub(crate) when: When,
    /// How its programs attach.
    pub(crate) hook: Hook,
    /// Its programs, in the order in which they attach.
    pub(crate) programs: &'static [ProgramSpec],
    /// The program that lists the calls in flight at the attach, by a task iterator.
    pub(crate) call_lister: Option<&'static str>,
    /// The program that sees which capability the kernel finds missing, on kernels without the
    /// tracepoint.
    pub(crate) capability_checks: Option<&'static str>,
    /// Its maps, except those that the loader makes for itself (`.rodata`, `.bss`, `AYA_LOGS`).
    pub(crate) maps: &'static [MapSpec],
    /// Further maps that it has only because it is linked with the library. Its programs use few of
    /// them.
    pub(super) library_maps: &'static [MapSpec],
    /// The groups of settings that it has.
    pub(crate) settings: &'static [Group],
}

impl ObjectSpec {
    /// Its compiled form.
    pub(crate) fn bytes(&self) -> Cow<'static, [u8]> {
        self.file.bytes()
    }

    /// The programs that `is_needed` chooses, in the order in which they attach.
    pub(crate) fn programs_for(
        &self,
        is_needed: impl Fn(When) -> bool,
    ) -> impl Iterator<Item = &'static ProgramSpec> {
        self.programs.iter().filter(move |program| is_needed(program.when))
    }

    /// The first requirement that a kernel does not meet, if there is one.
    pub(crate) fn unmet(&self, meets: impl Fn(Requirement) -> bool) -> Option<Requirement> {
        self.requires.iter().copied().find(|&requirement| !meets(requirement))
    }

    /// Its maps, and those of the library.
    pub(crate) fn all_maps(&self) -> impl Iterator<Item = &'static MapSpec> {
        self.maps.iter().chain(self.library_maps)
    }

    /// Whether it has a map of this name.
    pub(crate) fn has_map(&self, name: &str) -> bool {
        self.all_maps().any(|map| map.name == name)
    }
}

/// What a kernel must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Requirement {
    /// Typed tracepoints (Linux 5.5) and BTF.
    TypedTracepoints,
    /// Task storage (Linux 5.11).
    TaskStorage,
    /// Arenas (Linux 6.9).
    Arena,
}

impl Requirement {
    /// The name, and the kernel version or option that provides it, for people.
    pub(crate) fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::TypedTracepoints => {
                ("typed tracepoints", "Linux 5.5 and CONFIG_DEBUG_INFO_BTF=y")
            }
            Self::TaskStorage => ("task storage", "Linux 5.11"),
            Self::Arena => ("arenas", "Linux 6.9"),
        }
    }
}

/// The queries for which something is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Every query.
    Always,
    /// Queries that record the cgroups of calls.
    Cgroups,
    /// Queries that record the cgroups of calls, or filter by cgroup.
    CgroupMoves,
    /// Queries with a command to which the profiler passes signals on.
    Command,
    /// Queries that measure the time off the CPU.
    OffCpu,
    /// Queries of stacks that choose calls when they leave.
    StackExits,
    /// Queries of stacks in the kernel.
    KernelStacks,
    /// Queries that note the targets of calls that fail, if the kernel has the tracepoint of checks
    /// of capabilities.
    Capabilities,
    /// Every query, if the kernel has the tracepoint of this event of io_uring. If the kernel
    /// refuses the programs, the query continues without io_uring.
    Ring(RingEvent),
}

/// Events of io_uring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RingEvent {
    /// A ring was created.
    Create,
    /// A request was submitted (Linux 6.4).
    Submit,
    /// A request was submitted, under the tracepoint's former name.
    SubmitOld,
    /// A request was refused.
    Fail,
    /// A request completed.
    Complete,
    /// A completion found its queue full.
    Overflow,
}

/// How the programs of an object attach to a tracepoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// As `tp_btf`, with typed arguments.
    Typed,
    /// As `raw_tp`.
    Raw,
}

/// A map of an object.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MapSpec {
    /// Its name in the object.
    pub(crate) name: &'static str,
    /// The number of entries.
    pub(crate) size: Size,
}

/// The number of entries of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    /// As many as it was compiled with.
    Compiled,
    /// One per record.
    Records,
    /// One per record, if records have cgroups.
    RecordsByTask,
    /// One per extent.
    Extents,
    /// One per cell.
    Cells,
    /// One per record, if the time off the CPU is measured.
    RecordsOffCpu,
    /// One per cell, if the time off the CPU is measured.
    CellsOffCpu,
    /// One per cell, if sampling is adaptive.
    Samplers,
    /// One per syscall, if sampling is adaptive.
    OverflowSamplers,
    /// One per page of the arena.
    ArenaPages,
    /// One per thread, in scope or not.
    TaskStates,
    /// One per call that entered before the attach.
    CallsBefore,
    /// One per remembered rename, if there is a filter by name.
    Renames,
    /// One per cgroup that can be in scope, if there is a filter by unit, container or pod.
    Places,
    /// One per process and opcode of io_uring.
    Operations,
    /// One per ring of io_uring.
    Rings,
    /// One per request of io_uring, if completions name their request.
    Requests,
    /// One per request of io_uring whose completions do not name it.
    DataRequests,
    /// One per thread of the host, in the scope of a trace or not.
    TracedTasks,
    /// One per thread of a trace of which memory is copied.
    Pending,
    /// The bytes of the ring buffer of a trace.
    Ring,
    /// One per thread of the host, in the scope of stacks or not.
    StackTasks,
    /// One per different stack.
    StackFrames,
    /// One per row of stacks.
    StackRows,
    /// The bytes of the ring buffer of stacks.
    StackRing,
    /// One per process, call, errno, reason and target, if the targets of calls that fail are noted.
    Failures,
    /// One per record, if checks of capabilities are followed.
    CapabilityChecks,
    /// One per thread that a flight recorder records.
    Recorded,
    /// One per event that a flight recorder keeps.
    Slots,
    /// The map is that of the same name in an object that was loaded before.
    Shared,
}

/// Settings that belong together: constants that are patched before the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Group {
    /// Which processes are in scope.
    Scope,
    /// The filters, and the offsets that they require.
    Filter,
    /// Which calls are timed.
    Sampling,
    /// What differs between versions of the kernel.
    Kernel,
    /// Offsets in `task_struct`.
    Task,
    /// Offsets with which denied calls are recognised.
    Seccomp,
    /// Offsets with which the calls that entered before the attach are listed.
    CallLister,
    /// The layout of the arena.
    Arena,
    /// The processes whose signals are watched.
    Signals,
    /// The arguments of the tracepoints of io_uring, and offsets in its requests.
    IoUring,
    /// The filters and limits of a trace, and offsets that a trace requires.
    Trace,
    /// Which stacks are taken, and how many.
    Stacks,
    /// Offsets with which open files and directories are found.
    Files,
    /// Whether the targets of calls that fail are noted.
    Failures,
}
