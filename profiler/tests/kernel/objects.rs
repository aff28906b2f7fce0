//! The objects of a session.

#[cfg(any(debug_assertions, feature = "object-override"))]
use profiler::engine::kernel::features::Features;

#[cfg(any(debug_assertions, feature = "object-override"))]
use crate::run::profiler_command;
use crate::{
    run::{Mode, PROFILER, Stat},
    service::Daemon,
};

/// More than all calls of bpf(2) that a start makes, and far fewer than the 16,384 free extents and
/// the records that it puts onto the free stacks.
const BPF_CALLS_OF_A_START: u64 = 4_000;

/// A signal that is ignored by default.
#[cfg(any(debug_assertions, feature = "object-override"))]
const SIGNAL: i32 = libc::SIGURG;

/// The kernel accepts the best object with every query. Otherwise, the profiler would silently fall
/// back to another object.
pub(crate) fn every_query_has_the_best_object(mode: Mode) {
    for flags in [
        &["--no-latency"][..],
        &["--sample", "16"],
        &["--sample", "auto"],
        &["--where"],
        &["--where", "--sample", "16"],
        &["--where", "--sample", "auto"],
        &["--comm", "x", "--where", "--sample", "auto"],
    ] {
        Daemon::start_with(mode, "200ms", flags).end();
    }
}

/// A program in the kernel fills the free stacks. If the kernel refused it, each index would take a
/// syscall, which no figure shows.
pub(crate) fn the_free_stacks_are_filled_by_a_program(mode: Mode) {
    let command = [PROFILER, "stat", "--", PROFILER, "--version"];
    let (report, _) = Stat::with_privileged_command(mode).command(command);
    let calls = report.row("x86_64", "bpf").calls;
    assert!((1..BPF_CALLS_OF_A_START).contains(&calls), "{calls} calls of bpf(2)");
}

/// A second object is loaded beside the one that counts calls. Its program writes into a map of the
/// first object, which the first object's own program no longer does. A release build has no such
/// trial.
#[cfg(any(debug_assertions, feature = "object-override"))]
pub(crate) fn two_objects_share_a_map() {
    use profiler::engine::kernel::{Options, trial::Pair};

    for (force_arrays, force_fallback) in [(false, false), (true, false), (false, true)] {
        let command = Some(std::process::id());
        let options = Options { command, force_arrays, force_fallback, ..Options::default() };
        let pair = Pair::attach(&options).expect("it attaches");
        // The second object attaches first, and entries come last.
        let programs = pair.programs();
        let watchers = programs.iter().filter(|&&name| name == "signal_sent").count();
        assert_eq!(watchers, 2, "{programs:?}");
        assert_eq!(programs.first(), Some(&"signal_sent"));
        assert_eq!(programs.last(), Some(&"sys_enter"));
        assert_eq!(pair.has_signal(SIGNAL), Some(false));
        // SAFETY: sends a signal to this thread, which ignores it.
        assert_eq!(unsafe { libc::raise(SIGNAL) }, 0);
        assert_eq!(pair.has_signal(SIGNAL), Some(true));
    }
}

/// If the kernel refuses the arena, `stat` says so and counts with arrays. Here, the kernel refuses the
/// object because its license does not permit the helpers. A release build reads no other object.
#[cfg(any(debug_assertions, feature = "object-override"))]
pub(crate) fn a_refused_arena_is_shown() {
    const OBJECTS: [(&str, &[u8]); 5] = [
        (
            "profiler-arena.bpf.o",
            include_bytes!("../../src/engine/kernel/objects/profiler-arena.bpf.o"),
        ),
        (
            "profiler-task.bpf.o",
            include_bytes!("../../src/engine/kernel/objects/profiler-task.bpf.o"),
        ),
        (
            "profiler-tid.bpf.o",
            include_bytes!("../../src/engine/kernel/objects/profiler-tid.bpf.o"),
        ),
        (
            "profiler-identity.bpf.o",
            include_bytes!("../../src/engine/kernel/objects/profiler-identity.bpf.o"),
        ),
        (
            "profiler-fill.bpf.o",
            include_bytes!("../../src/engine/kernel/objects/profiler-fill.bpf.o"),
        ),
    ];
    const LICENSES: (&[u8; 13], &[u8; 13]) = (b"Dual MIT/GPL\0", b"Proprietary\0\0");
    let directory = tempfile::tempdir().expect("a directory");
    for (name, object) in OBJECTS {
        let mut object = object.to_vec();
        if name.contains("arena") {
            let at = object.windows(LICENSES.0.len()).position(|bytes| bytes == LICENSES.0);
            let at = at.expect("a license");
            object[at..][..LICENSES.1.len()].copy_from_slice(LICENSES.1);
        }
        std::fs::write(directory.path().join(name), object).expect("a directory of ours");
    }
    let mut command = profiler_command();
    command.env("PROFILER_OBJECT_DIR", directory.path());
    let ended = Stat::of(command, Mode::Main).args(["--", "true"]).start().end();
    let stderr = ended.stderr();
    assert!(ended.output.status.success(), "{stderr}");
    assert!(ended.report().rows.iter().any(|row| row.syscall.as_deref() == Some("execve")));
    let has_arenas = Features::probe().has_arena();
    let refusal = "profiler: the kernel refuses the arena, so the profiler falls back to arrays: ";
    assert_eq!(stderr.contains(refusal), has_arenas, "{stderr}");
}
