//! The catalogue: each object, described once.

use profiler_common::maps;

use super::{
    file,
    program::{ProgramSpec, STACK_PROGRAMS, SYSCALL_PROGRAMS, TRACE_PROGRAMS},
    spec::{Group, Hook, MapSpec, ObjectName, ObjectSpec, Requirement, Size, When},
};

/// The objects that count calls, the best one first. A session loads the first one whose
/// requirements the kernel meets.
pub(crate) const COUNTERS: [ObjectName; 3] =
    [ObjectName::Arena, ObjectName::Arrays, ObjectName::Fallback];

/// The objects that a session loads beside the one that counts calls, if the query needs them.
const COMPANIONS: [ObjectName; 0] = [];

const fn map(name: &'static str, size: Size) -> MapSpec {
    MapSpec { name, size }
}

/// The maps that every object that counts calls has, and the sizes of those that differ.
macro_rules! counting_maps {
    ($records:expr, $cells:expr, $samplers:expr, $before:expr, $($own:expr),+) => {
        &[
            map(maps::RECORDS, $records),
            map(maps::IDENTITIES, $records),
            map(maps::CELLS, $cells),
            map(maps::SAMPLERS, $samplers),
            map(maps::OVERFLOW_SAMPLERS, Size::OverflowSamplers),
            map(maps::CALLS_BEFORE, $before),
            map(maps::CALLS_BEFORE_BY_TASK, $before),
            map(maps::FREE_RECORDS, Size::Records),
            map(maps::FREE_EXTENTS, Size::Extents),
            map(maps::EXTENT_OWNERS, Size::Extents),
            map(maps::RENAMED, Size::Renames),
            map(maps::OPERATIONS, Size::Operations),
            map(maps::OPERATION_INDEX, Size::Operations),
            map(maps::FREE_OPERATIONS, Size::Operations),
            map(maps::REQUESTS, Size::Requests),
            map(maps::DATA_REQUESTS, Size::DataRequests),
            map(maps::RINGS, Size::Rings),
            map(maps::CALLS, Size::Compiled),
            map(maps::CGROUPS, Size::Compiled),
            map(maps::CGROUP_EVENTS, Size::Compiled),
            map(maps::PLACES, Size::Places),
            map(maps::COMMS, Size::Compiled),
            map(maps::CONTROL, Size::Compiled),
            map(maps::COUNTERS, Size::Compiled),
            map(maps::OFF_CPU, Size::CellsOffCpu),
            map(maps::OFF_CPU_CALLS, Size::RecordsOffCpu),
            map(maps::OFF_CPU_OVERFLOW, Size::Compiled),
            map(maps::OVERFLOW, Size::Compiled),
            map(maps::OVERFLOW_EXTREMES, Size::Compiled),
            map(maps::SIGNALS_SENT, Size::Compiled),
            map(maps::TARGETS, Size::Compiled),
            map(maps::USERS, Size::Compiled),
            map(maps::WAKE, Size::Compiled),
            map(maps::FAILURES, Size::Failures),
            map(maps::FAILURE_INDEX, Size::Failures),
            map(maps::FREE_FAILURES, Size::Failures),
            map(maps::TARGET_PLANS, Size::Compiled),
            map(maps::FAILURE_SCRATCH, Size::Compiled),
            map(maps::CAPABILITY_CHECKS, Size::CapabilityChecks),
            map("REPORTED", Size::Compiled),
            $($own),+
        ]
    };
}

/// The groups of settings that every object that counts calls has.
macro_rules! counting_settings {
    ($($own:expr),*) => {
        &[
            Group::Scope,
            Group::Filter,
            Group::Sampling,
            Group::Kernel,
            Group::Task,
            Group::Seccomp,
            Group::Signals,
            Group::IoUring,
            Group::Files,
            Group::Failures,
            $($own),*
        ]
    };
}

static ARENA: ObjectSpec = ObjectSpec {
    name: ObjectName::Arena,
    description: "tp_btf, task storage, arena",
    file: file::ARENA,
    requires: &[Requirement::TypedTracepoints, Requirement::TaskStorage, Requirement::Arena],
    when: When::Always,
    hook: Hook::Typed,
    programs: &SYSCALL_PROGRAMS,
    call_lister: Some("calls_before"),
    capability_checks: Some("cap_capable_ret"),
    // Records and cells are in the arena.
    maps: counting_maps!(
        Size::Compiled,
        Size::Compiled,
        Size::Compiled,
        Size::CallsBefore,
        map(maps::ARENA, Size::ArenaPages),
        map("TASK_STORAGE", Size::Compiled)
    ),
    library_maps: &[],
    settings: counting_settings!(Group::CallLister, Group::Arena),
};

static ARRAYS: ObjectSpec = ObjectSpec {
    name: ObjectName::Arrays,
    description: "tp_btf, task storage",
    file: file::TASK,
    requires: &[Requirement::TypedTracepoints, Requirement::TaskStorage],
    when: When::Always,
    hook: Hook::Typed,
    programs: &SYSCALL_PROGRAMS,
    call_lister: Some("calls_before"),
    capability_checks: Some("cap_capable_ret"),
    maps: counting_maps!(
        Size::Records,
        Size::Cells,
        Size::Samplers,
        Size::CallsBefore,
        map("TASK_STORAGE", Size::Compiled),
        map(maps::RECORDS_BY_TASK, Size::RecordsByTask)
    ),
    library_maps: &[],
    settings: counting_settings!(Group::CallLister),
};

static FALLBACK: ObjectSpec = ObjectSpec {
    name: ObjectName::Fallback,
    description: "raw_tp, table by task",
    file: file::TID,
    requires: &[],
    when: When::Always,
    hook: Hook::Raw,
    programs: &SYSCALL_PROGRAMS,
    call_lister: None,
    capability_checks: None,
    maps: counting_maps!(
        Size::Records,
        Size::Cells,
        Size::Samplers,
        Size::Compiled,
        map(maps::TASKS, Size::TaskStates)
    ),
    library_maps: &[],
    settings: counting_settings!(),
};

static IDENTITY: ObjectSpec = ObjectSpec {
    name: ObjectName::Identity,
    description: "raw_tp, run once",
    file: file::IDENTITY,
    requires: &[],
    when: When::Always,
    hook: Hook::Raw,
    // Its program attaches nowhere.
    programs: &[],
    call_lister: None,
    capability_checks: None,
    maps: &[],
    library_maps: &[],
    settings: &[],
};

static FILL: ObjectSpec = ObjectSpec {
    name: ObjectName::Fill,
    description: "raw_tp, run at the start",
    file: file::FILL,
    requires: &[],
    when: When::Always,
    hook: Hook::Raw,
    // Its program attaches nowhere.
    programs: &[],
    call_lister: None,
    capability_checks: None,
    maps: &[map(maps::FREE_RECORDS, Size::Shared), map(maps::FREE_EXTENTS, Size::Shared)],
    library_maps: &[],
    settings: &[],
};

/// The maps of the library, which each object has, at the sizes to which they are compiled. The objects
/// that count calls use them, and list them with their sizes instead.
static OF_LIBRARY: [MapSpec; 39] = [
    map(maps::RECORDS, Size::Compiled),
    map(maps::IDENTITIES, Size::Compiled),
    map(maps::CELLS, Size::Compiled),
    map(maps::SAMPLERS, Size::Compiled),
    map(maps::OVERFLOW_SAMPLERS, Size::Compiled),
    map(maps::CALLS_BEFORE, Size::Compiled),
    map(maps::CALLS_BEFORE_BY_TASK, Size::Compiled),
    map(maps::FREE_RECORDS, Size::Compiled),
    map(maps::FREE_EXTENTS, Size::Compiled),
    map(maps::EXTENT_OWNERS, Size::Compiled),
    map(maps::OPERATIONS, Size::Compiled),
    map(maps::OPERATION_INDEX, Size::Compiled),
    map(maps::FREE_OPERATIONS, Size::Compiled),
    map(maps::REQUESTS, Size::Compiled),
    map(maps::DATA_REQUESTS, Size::Compiled),
    map(maps::RINGS, Size::Compiled),
    map(maps::CALLS, Size::Compiled),
    map(maps::CGROUPS, Size::Compiled),
    map(maps::CGROUP_EVENTS, Size::Compiled),
    map(maps::PLACES, Size::Compiled),
    map(maps::COMMS, Size::Compiled),
    map(maps::CONTROL, Size::Compiled),
    map(maps::COUNTERS, Size::Compiled),
    map(maps::OFF_CPU, Size::Compiled),
    map(maps::OFF_CPU_CALLS, Size::Compiled),
    map(maps::OFF_CPU_OVERFLOW, Size::Compiled),
    map(maps::OVERFLOW, Size::Compiled),
    map(maps::OVERFLOW_EXTREMES, Size::Compiled),
    map(maps::SIGNALS_SENT, Size::Compiled),
    map(maps::TARGETS, Size::Compiled),
    map(maps::USERS, Size::Compiled),
    map(maps::WAKE, Size::Compiled),
    map(maps::FAILURES, Size::Compiled),
    map(maps::FAILURE_INDEX, Size::Compiled),
    map(maps::FREE_FAILURES, Size::Compiled),
    map(maps::TARGET_PLANS, Size::Compiled),
    map(maps::FAILURE_SCRATCH, Size::Compiled),
    map(maps::CAPABILITY_CHECKS, Size::Compiled),
    map("REPORTED", Size::Compiled),
];

static TRACE: ObjectSpec = ObjectSpec {
    name: ObjectName::Trace,
    description: "raw_tp, table by task, ring buffer",
    file: file::TRACE,
    requires: &[],
    when: When::Always,
    hook: Hook::Raw,
    programs: &TRACE_PROGRAMS,
    call_lister: None,
    capability_checks: None,
    maps: &[
        map(maps::TASKS, Size::TracedTasks),
        map(maps::PENDING, Size::Pending),
        map(maps::FREE_PENDING, Size::Pending),
        map(maps::EVENTS, Size::Ring),
        map(maps::RECORDED, Size::Recorded),
        map(maps::OWNERS, Size::Recorded),
        map(maps::SLOTS, Size::Slots),
        map(maps::FREE_RINGS, Size::Recorded),
        map(maps::PLANS, Size::Compiled),
        map(maps::NUMBERS, Size::Compiled),
        map(maps::ERRNOS, Size::Compiled),
        map(maps::LOSSES, Size::Compiled),
        map(maps::RENAMED, Size::Renames),
    ],
    library_maps: &OF_LIBRARY,
    settings: &[
        Group::Scope,
        Group::Filter,
        Group::Kernel,
        Group::Task,
        Group::Seccomp,
        Group::Trace,
        Group::Files,
    ],
};

static STACKS: ObjectSpec = ObjectSpec {
    name: ObjectName::Stacks,
    description: "raw_tp, table by task, hash of stacks, ring buffer",
    file: file::STACKS,
    requires: &[],
    when: When::Always,
    hook: Hook::Raw,
    programs: &STACK_PROGRAMS,
    call_lister: None,
    capability_checks: None,
    maps: &[
        map(maps::TASKS, Size::StackTasks),
        map(maps::FRAMES, Size::StackFrames),
        map(maps::STACK_ROWS, Size::StackRows),
        map(maps::STACK_COPIES, Size::StackRing),
        map(maps::STACK_SAMPLERS, Size::Compiled),
        map(maps::STACK_LOSSES, Size::Compiled),
        map("STACK_PACE", Size::Compiled),
        map("SCRATCH", Size::Compiled),
        map("COPY_SCRATCH", Size::Compiled),
        map(maps::RENAMED, Size::Renames),
    ],
    library_maps: &OF_LIBRARY,
    settings: &[Group::Scope, Group::Filter, Group::Kernel, Group::Task, Group::Stacks],
};

/// The description of an object.
pub(crate) fn find(name: ObjectName) -> &'static ObjectSpec {
    match name {
        ObjectName::Arena => &ARENA,
        ObjectName::Arrays => &ARRAYS,
        ObjectName::Fallback => &FALLBACK,
        ObjectName::Identity => &IDENTITY,
        ObjectName::Fill => &FILL,
        ObjectName::Trace => &TRACE,
        ObjectName::Stacks => &STACKS,
    }
}

/// The best object that counts calls, of those that `is_allowed` names, on a kernel that `meets`
/// requirements. The fallback requires nothing.
pub(crate) fn best_counter(
    is_allowed: impl Fn(ObjectName) -> bool,
    meets: impl Fn(Requirement) -> bool,
) -> &'static ObjectSpec {
    let allowed = COUNTERS.into_iter().filter(|&name| is_allowed(name)).map(find);
    allowed.into_iter().find(|spec| spec.unmet(&meets).is_none()).unwrap_or(&FALLBACK)
}

/// The objects that a session loads beside the one that counts calls, if `is_needed` says so.
pub(crate) fn companions(
    is_needed: impl Fn(When) -> bool,
) -> impl Iterator<Item = &'static ObjectSpec> {
    COMPANIONS.into_iter().map(find).filter(move |spec| is_needed(spec.when))
}

/// The program that has this name in an object, or whose copy has it.
pub(crate) fn program_named(in_object: &str) -> Option<&'static ProgramSpec> {
    let objects = COUNTERS.into_iter().chain(COMPANIONS).map(find);
    let mut programs = objects.flat_map(|object| object.programs);
    programs.find(|spec| spec.copies.contains(&in_object))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use object::{
        Object as _, ObjectSection as _, ObjectSymbol as _, SymbolKind, read::elf::ElfFile64,
    };

    use super::*;

    const ALL: [ObjectName; 7] = [
        ObjectName::Arena,
        ObjectName::Arrays,
        ObjectName::Fallback,
        ObjectName::Identity,
        ObjectName::Fill,
        ObjectName::Trace,
        ObjectName::Stacks,
    ];

    /// The names of the symbols of a kind in the sections for which `is_wanted` returns true.
    fn symbols(
        bytes: &[u8],
        kind: SymbolKind,
        is_wanted: impl Fn(&str) -> bool,
    ) -> BTreeSet<String> {
        let elf: ElfFile64<'_> = ElfFile64::parse(bytes).expect("an ELF file");
        elf.symbols()
            .filter(|symbol| symbol.kind() == kind)
            .filter(|symbol| {
                let section = symbol.section_index().and_then(|i| elf.section_by_index(i).ok());
                section.is_some_and(|section| section.name().is_ok_and(&is_wanted))
            })
            .filter_map(|symbol| symbol.name().ok().map(str::to_owned))
            .collect()
    }

    #[test]
    fn the_best_object_that_the_kernel_runs_is_chosen() {
        use ObjectName::{Arena, Arrays, Fallback};
        use Requirement::{TaskStorage, TypedTracepoints};
        let best = |allowed: &[ObjectName], met: &[Requirement]| {
            best_counter(|name| allowed.contains(&name), |r| met.contains(&r)).name
        };
        let all = [TypedTracepoints, TaskStorage, Requirement::Arena];
        assert_eq!(best(&COUNTERS, &all), Arena);
        assert_eq!(best(&COUNTERS, &all[..2]), Arrays);
        assert_eq!(best(&COUNTERS, &all[1..]), Fallback);
        assert_eq!(best(&COUNTERS, &[]), Fallback);
        assert_eq!(best(&[Arrays, Fallback], &all), Arrays);
        assert_eq!(best(&[Fallback], &all), Fallback);
    }

    #[test]
    fn the_first_requirement_that_is_not_met_is_named() {
        let arena = find(ObjectName::Arena);
        let unmet = arena.unmet(|r| r == Requirement::TypedTracepoints);
        assert_eq!(unmet, Some(Requirement::TaskStorage));
        assert_eq!(find(ObjectName::Fallback).unmet(|_| false), None);
    }

    /// Without BTF the kernel would refuse `tp_btf` programs; with DWARF the objects would be
    /// several times as large.
    #[test]
    fn objects_have_btf_and_no_dwarf() {
        for bytes in ALL.map(|name| find(name).bytes()) {
            let elf: ElfFile64<'_> = ElfFile64::parse(&*bytes).expect("an ELF file");
            let names: Vec<_> = elf.sections().filter_map(|s| s.name().ok()).collect();
            assert!(names.contains(&".BTF") && names.contains(&".BTF.ext"), "{names:?}");
            assert!(!names.iter().any(|name| name.contains("debug")), "{names:?}");
            assert!(bytes.len() < 400_000, "{} bytes", bytes.len());
        }
    }

    #[test]
    fn each_object_has_the_maps_of_its_description() {
        for spec in ALL.map(find) {
            let found = symbols(&spec.bytes(), SymbolKind::Data, |section| section == ".maps");
            let described = spec.all_maps().map(|map| map.name.to_owned()).collect();
            assert_eq!(found, described, "{:?}", spec.name);
        }
    }

    #[test]
    fn each_object_has_the_programs_of_its_description_at_their_tracepoints() {
        for spec in COUNTERS.into_iter().chain([ObjectName::Trace, ObjectName::Stacks]).map(find) {
            let prefix = match spec.hook {
                Hook::Typed => "tp_btf/",
                Hook::Raw => "raw_tp/",
            };
            let bytes = spec.bytes();
            let at = |tracepoint: &str| {
                symbols(&bytes, SymbolKind::Text, |section| {
                    section.strip_prefix(prefix) == Some(tracepoint)
                })
            };
            for program in spec.programs {
                let copies = program.copies(true).iter().map(|&copy| copy.to_owned()).collect();
                assert_eq!(at(program.tracepoint), copies, "{:?}", spec.name);
            }
            let iterators = symbols(&bytes, SymbolKind::Text, |s| s == "iter/task");
            assert_eq!(iterators, spec.call_lister.map(str::to_owned).into_iter().collect());
        }
    }
}
