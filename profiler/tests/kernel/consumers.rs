//! Several consumers of one engine, each with its own intervals.

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use profiler::{
    aggregate::KeepEnded,
    engine::{
        Engine as _, Intervals,
        kernel::{Options, Profiler},
    },
    filter::Filter,
    model::{Detail, Figures, Snapshot},
    names::syscalls,
};

use crate::{
    report::LOST,
    run::Held,
    service::Name,
    workload::{Made, Statement},
};

/// The time between two snapshots, which is the shortest interval.
const TICK: Duration = Duration::from_millis(250);

/// The number of snapshots in an interval of each consumer: 250 ms, 1 s and 10 s.
const EVERY: [u32; 3] = [1, 4, 40];

/// The snapshots at which a workload starts.
const STARTS: [u32; 4] = [2, 9, 21, 38];

/// The sums over the intervals of a consumer, by process and syscall.
#[derive(Default)]
struct Consumer {
    intervals: Intervals,
    ended: u32,
    sums: BTreeMap<(Option<u32>, String), Figures>,
}

impl Consumer {
    fn end_with(&mut self, snapshot: Snapshot) {
        let shown = self.intervals.end_with(snapshot);
        self.ended += 1;
        for process in &shown.processes {
            for row in process.calls.iter().filter(|row| !row.recent.is_empty()) {
                let key = (process.process.tgid, syscalls::name(row.key).to_owned());
                self.sums.entry(key).or_default().merge(&row.recent);
            }
        }
    }
}

/// Workloads run at different times. For each consumer, the sum over its intervals equals the
/// statements, by process and syscall, and the last snapshot.
pub(crate) fn three_consumers_share_an_engine() {
    let name = Name::new();
    let [_, comm] = name.filter();
    let comms = vec![comm.parse().expect("a name")];
    let filter = Filter::new(&[], comms, &[]).expect("a filter");
    let options = Options::default().filtered(filter);
    // The length of the longest interval, so that it shows processes that ended in it by name.
    let keep = KeepEnded::For(TICK * EVERY[2]);
    let mut engine = Profiler::attach(&options, keep).expect("it attaches");
    let started = Instant::now();
    let mut consumers = EVERY.map(|every| (every, Consumer::default()));
    let mut workloads = Vec::new();
    for tick in 1..=EVERY[2] {
        if STARTS.contains(&tick) {
            let arg = name.arg();
            workloads.push(thread::spawn(move || {
                let workload = ["counts", "threads=4", "calls=200", "processes=20", &arg];
                Held::start(&workload).go()
            }));
        }
        thread::sleep((started + TICK * tick).saturating_duration_since(Instant::now()));
        let snapshot = engine.snapshot(Detail::Processes);
        for (_, consumer) in consumers.iter_mut().filter(|(every, _)| tick % every == 0) {
            consumer.end_with(snapshot.clone());
        }
    }
    let statements = workloads.into_iter().map(|workload| workload.join().expect("it ran"));
    let processes = statements.flat_map(|statement| statement.processes).collect();
    let statement = Statement::of_all(processes);
    let last = engine.finish(Detail::Processes);
    let lost = last.health.lost();
    assert!(lost == 0, "{LOST} {lost} events");
    assert_eq!(last.health.breaches, 0, "{}", last.health.last_breach);
    for (every, mut consumer) in consumers {
        consumer.end_with(last.clone());
        assert_eq!(consumer.ended, EVERY[2] / every + 1);
        assert_is_as_stated(&consumer, &statement, every);
        let since_the_start = Intervals::default().end_with(last.clone());
        let sum = |figures: &mut dyn Iterator<Item = &Figures>| {
            let sum: Figures = figures.collect();
            Figures { extremes: None, ..sum }
        };
        let of_intervals = sum(&mut consumer.sums.values());
        let of_all = sum(&mut since_the_start.calls.iter().map(|row| &row.recent));
        assert_eq!(of_intervals, of_all, "every {every} snapshots");
    }
}

fn assert_is_as_stated(consumer: &Consumer, statement: &Statement, every: u32) {
    for process in &statement.processes {
        for (call, made) in &process.calls {
            let Some(syscall) = call.strip_prefix("x86_64/") else { continue };
            let key = (Some(process.pid), syscall.to_owned());
            let shown = consumer.sums.get(&key).map_or(0, |figures| figures.calls);
            let Made { calls, .. } = made;
            assert_eq!(shown, *calls, "{key:?}, every {every} snapshots");
        }
    }
}
