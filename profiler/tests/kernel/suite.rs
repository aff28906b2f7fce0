//! Runs the trials: side by side where they allow it, alone where they need the host.
//!
//! Most trials watch processes of their own, spend their time waiting, and are exact
//! whatever else the host does. So as many of them run at one time as [`threads`] says. The
//! trials in [`ALONE`] run one by one after the others.

use std::{process::ExitCode, sync::RwLock, thread::available_parallelism, time::Instant};

use libtest_mimic::{Arguments, Completion, Failed, Trial};

/// Names of trials, or their beginnings, that share the host with no other trial.
const ALONE: &[&str] = &[
    // Keeps every processor busy, and measures how long answers take.
    "siege::",
    // Statistics of BPF programs are kept for the whole host, or not at all.
    "own_cost::",
    // Compares the figures of the whole host with those of another profiler.
    "service::serves_exact_counts_of_the_host",
    // Watch the whole host, and need room for each process: storms of processes and crowds of
    // threads of other tests would take it.
    "conformance::groups_of_metrics",
    "conformance::rename_of_an_idle_leader",
    "conformance::seccomp_before",
    "conformance::vfork_in_flight",
    "counts::on_the_whole_host",
    // Measures how long the daemon takes to end.
    "service::ends_in_time",
    // Keeps every processor busy.
    "starved::",
    // Measures how long commands take to end, and makes tables of a gigabyte.
    "interrupt::",
    // Estimates a total from 40 timed calls: one that was preempted would outweigh the others.
    "timed::no_period_resonates",
    // States which calls were slow, by clocks of its own.
    "timed::adaptive_sampling_keeps_to_its_limit",
    "timed::adaptive_sampling_follows_the_pace",
    // Needs a moment in which nothing else runs.
    "latency::quantiles_are_within_the_bound",
];

/// Set by `cargo xtask test`: prints how long each trial took, for its progress and summary.
const PRINT_TIMES: &str = "PROFILER_TEST_TIMES";

/// Trials take this lock to read, and those in [`ALONE`] take it to write.
static HOST: RwLock<()> = RwLock::new(());

/// A test, and its name, which begins with the object that it is of, if it is of one.
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

    /// Whether it shares the host with no other trial.
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
            // Poisoned by a failed trial, which is no reason for the next one to fail.
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

/// Prints a trial's name and time when it ends, by a panic too.
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

/// Trials at one time. They wait more than they compute, so there are more than CPUs.
fn threads() -> usize {
    let cpus = available_parallelism().map_or(1, usize::from);
    (cpus * 2).clamp(2, 16)
}

/// Runs the tests that the command line selects.
pub(crate) fn run(tests: Vec<Test>) -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert_with(threads);
    let (alone, beside): (Vec<_>, Vec<_>) = tests.into_iter().partition(Test::is_alone);
    // In this order: one that is alone would keep the others waiting.
    let trials = beside.into_iter().chain(alone).map(Test::into_trial).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
