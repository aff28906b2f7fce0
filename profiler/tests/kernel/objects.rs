//! The objects of a session.

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
    let command = [PROFILER, "stat", "--", "true"];
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
