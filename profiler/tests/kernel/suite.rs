//! Runs the tests: in parallel if possible, and alone if they require the host for themselves.
//!
//! Most tests watch only their own processes, mostly wait, and are exact on a busy host. So
//! [`threads`] of them run in parallel. Afterwards, the tests in [`ALONE`] run one by one.

use std::{process::ExitCode, sync::RwLock, thread::available_parallelism, time::Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Names, or prefixes of names, of tests that run alone.
const ALONE: &[&str] = &[
    // Keeps every processor busy, and measures how long answers take.
    "siege::",
    // The kernel's statistics are on for the whole host, or off.
    "own_cost::",
    // Compares the figures of the whole host with those of another profiler.
    "service::serves_exact_counts_of_the_host",
    // Watch the whole host, and require space in the tables for each process, which other tests
    // would use.
    "conformance::groups_of_metrics",
    "conformance::rename_of_an_idle_leader",
    "conformance::seccomp_before",
    "conformance::vfork_in_flight",
    "counts::on_the_whole_host",
    // Measures how long the daemon takes to end.
    "service::ends_in_time",
    // Keeps every processor busy.
    "starved::",
    // Measures how long commands take to end, and allocates tables of a gigabyte.
    "interrupt::",
    // Estimates a total from 40 timed calls: one that was preempted would outweigh the others.
    "timed::no_period_resonates",
    // States which calls were slow, by its own clock.
    "timed::adaptive_sampling_keeps_to_its_limit",
    "timed::adaptive_sampling_follows_the_pace",
    // Requires a moment in which nothing else runs.
    "latency::quantiles_are_within_the_bound",
];

/// Set by `cargo xtask test`: prints how long each trial took, for its progress and summary.
const PRINT_TIMES: &str = "PROFILER_TEST_TIMES";

/// Tests take this lock for reading, and tests in [`ALONE`] for writing.
static HOST: RwLock<()> = RwLock::new(());

/// A test and its name. If the test is of an object, the name begins with that of the object.
pub(crate) struct Test {
    name: String,
    run: Box<dyn FnOnce() -> Result<Completion, Failed> + Send>,
}

impl Test {
    pub(crate) fn new(
        name: String,
        run: impl FnOnce() -> Result<Completion, Failed> + Send + 'static,
    ) -> Self {
        Self { name, run: Box::new(run) }
    }

    /// Whether the test runs alone.
    fn is_alone(&self) -> bool {
        let of_object = ["main::", "arrays::", "fallback::"];
        let name = of_object.iter().find_map(|object| self.name.strip_prefix(object));
        let name = name.unwrap_or(&self.name);
        ALONE.iter().any(|alone| name.starts_with(alone))
    }

    fn into_trial(self) -> Trial {
        let (is_alone, name) = (self.is_alone(), self.name.clone());
        Trial::ignorable_test(self.name, move || {
            let _beside;
            let _alone;
            // Ignore the poison of a failed test.
            if is_alone {
                _alone = HOST.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            } else {
                _beside = HOST.read().unwrap_or_else(|poisoned| poisoned.into_inner());
            }
            let start = Instant::now();
            let _time = PrintsTime { name, start };
            (self.run)()
        })
    }
}

/// Prints the name and the duration of a test when it ends, also after a panic.
struct PrintsTime {
    name: String,
    start: Instant,
}

impl Drop for PrintsTime {
    fn drop(&mut self) {
        if std::env::var_os(PRINT_TIMES).is_some() {
            println!("took {} {:.1}", self.name, self.start.elapsed().as_secs_f64());
        }
    }
}

/// Number of parallel tests. More than CPUs, because tests mostly wait.
fn threads() -> usize {
    let cpus = available_parallelism().map_or(1, usize::from);
    (cpus * 2).clamp(2, 16)
}

/// Runs the tests that the command line selects.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert_with(threads);
    let (alone, beside): (Vec<_>, Vec<_>) = tests.into_iter().partition(Test::is_alone);
    // In this order, because a test that runs alone would block the others.
    let trials = beside.into_iter().chain(alone).map(Test::into_trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
