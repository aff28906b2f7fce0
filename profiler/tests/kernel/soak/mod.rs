//! `kernel soak`: daemons, intervals and the live view watch the host for minutes, while a random
//! mix of workloads starts and ends, with and without a profiler, and some are killed. Statements
//! are compared with counts, and properties of every report and scrape are checked throughout.
//! `cargo xtask soak` runs it.

mod agreement;
mod daemons;
mod live_view;
mod random;
mod rows;
mod tally;
mod tasks;

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::ExitCode,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use self::{
    agreement::Agreement, daemons::Daemons, live_view::LiveView, random::Random, rows::HostRows,
    tally::Tally, tasks::Worker,
};

/// The argument that makes this executable a soak.
pub(crate) const SOAK: &str = "soak";

/// The parameters of the soak.
struct Plan {
    length: Duration,
    seed: u64,
    workers: u64,
}

impl Plan {
    /// From `key=value` arguments.
    fn new(args: impl Iterator<Item = String>) -> Self {
        let mut plan = Self { length: Duration::from_secs(300), seed: 1, workers: 3 };
        for arg in args {
            let (key, value) = arg.split_once('=').expect("key=value");
            let number = value.parse().expect("a number");
            match key {
                "seconds" => plan.length = Duration::from_secs(number),
                "seed" => plan.seed = number,
                "workers" => plan.workers = number,
                other => panic!("there is no {other}"),
            }
        }
        plan
    }
}

/// Time between two checks of the daemons.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Time between two lines of progress.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// Runs the soak. Succeeds if no check failed.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let plan = Plan::new(args);
    println!("seed {}, {} s, {} workers", plan.seed, plan.length.as_secs(), plan.workers);
    let tally = Arc::new(Tally::default());
    // A panic in a check is a failure, and the soak continues.
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| soak(&plan, &tally))) {
        tally.fail(&format!("the soak itself: {}", tally::message(&*panic)));
    }
    let failures = tally.failures();
    println!("\n{tally}");
    for failure in &failures {
        println!("FAILED: {failure}");
    }
    println!("{}", if failures.is_empty() { "nothing amiss" } else { "something is amiss" });
    if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn soak(plan: &Plan, tally: &Arc<Tally>) {
    let mut daemons = Daemons::start();
    let rows = Arc::new(HostRows::start(tally));
    let mut live_view = LiveView::start(plan.seed);
    let agreement = Agreement::begin(&mut daemons, &rows, tally);
    let until = Instant::now() + plan.length;
    let workers: Vec<_> = (0..plan.workers)
        .map(|number| {
            let random = Random::new(plan.seed.wrapping_mul(1_000).wrapping_add(number));
            let worker = Worker::new(random, Arc::clone(&rows), Arc::clone(tally));
            thread::spawn(move || worker.run_until(until))
        })
        .collect();
    let start = Instant::now();
    let mut told = start;
    loop {
        thread::sleep(LOOK_EVERY);
        let ended = workers.iter().all(thread::JoinHandle::is_finished);
        tally.check("a scrape", || daemons.look(tally));
        rows.compare(tally);
        if told.elapsed() >= TELL_EVERY || ended {
            told = Instant::now();
            println!("{:>4} s  {tally}\n        {daemons}", start.elapsed().as_secs());
        }
        if ended {
            break;
        }
    }
    for worker in workers {
        worker.join().expect("its panics are caught");
    }
    tally.check("the live view's end", || live_view.quit());
    rows.settle(tally);
    tally.check("the agreement of all", || agreement.end(&mut daemons, &rows));
    tally.check("the end of the daemons", || daemons.end());
    tally.check("the end of the intervals", || rows.end());
    println!("{:>4} s  {tally}", start.elapsed().as_secs());
}
