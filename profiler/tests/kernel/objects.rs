//! The objects of a session.

use crate::{run::Mode, service::Daemon};

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
