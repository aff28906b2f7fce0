//! Threads whose end the kernel does not report, as if it skipped the program.

use std::{collections::BTreeMap, process::Command, time::Duration};

use profiler::{
    aggregate::KeepEnded,
    engine::{
        Engine as _,
        kernel::{Options, Profiler, trial},
    },
    filter::Filter,
    model::{Detail, Figures, Snapshot},
    names::syscalls,
};

use crate::{
    in_flight::Stuck,
    run::{statement, wait_until, workload_args},
    service::Name,
    workload::{Made, Statement},
};

/// Threads that sleep in `futex`.
const WAITING: u64 = 3;

/// The waiting threads, the main thread, and the thread in `creat`.
const THREADS: u64 = WAITING + 2;

/// An engine that watches processes of this name.
fn engine(name: &Name, force_arrays: bool, force_fallback: bool) -> Profiler {
    let [_, comm] = name.filter();
    let filter = Filter::new(&[], vec![comm.parse().expect("a name")], &[]).expect("a filter");
    let options = Options { force_arrays, force_fallback, ..Options::default() }.filtered(filter);
    Profiler::attach(&options, KeepEnded::Always).expect("it attaches")
}

fn total(snapshot: &Snapshot, syscall: &str) -> Figures {
    let rows = snapshot.calls.iter().filter(|row| syscalls::name(row.key) == syscall);
    rows.map(|row| &row.total).collect()
}

fn snapshot_until(
    engine: &mut Profiler,
    what: &str,
    mut is_so: impl FnMut(&Profiler, &Snapshot) -> bool,
) -> Snapshot {
    let mut snapshot = Snapshot::default();
    wait_until(what, || {
        std::thread::sleep(Duration::from_millis(20));
        snapshot = engine.snapshot(Detail::Processes);
        is_so(engine, &snapshot)
    });
    snapshot
}

fn records(snapshot: &Snapshot) -> u64 {
    snapshot.health.pool_usage("records").used
}

/// Checks that no thread of the process is left, and that the figures are exact.
#[track_caller]
fn assert_ended(snapshot: &Snapshot) {
    assert_eq!(snapshot.in_flight.oldest, []);
    assert!(snapshot.in_flight.calls.is_empty(), "{:?}", snapshot.in_flight.calls);
    assert_eq!(snapshot.health.breaches, 0, "{}", snapshot.health.last_breach);
    assert!(snapshot.calls.iter().all(|row| row.total.in_flight() == 0 && row.total.lost == 0));
}

fn ends_noticed(snapshot: &Snapshot) -> u64 {
    snapshot.health.kernel().map_or(0, |kernel| kernel.ends_noticed)
}

/// The objects: whether arrays are forced, and whether the fallback is.
const OBJECTS: [(bool, bool); 3] = [(false, false), (true, false), (false, true)];

/// If a process is killed or exits, its threads end in the figures, regardless of their call, and
/// their records are freed. The record of a zombie is freed once it is reaped.
pub(crate) fn ends_that_are_not_reported_are_noticed() {
    for (force_arrays, force_fallback) in OBJECTS {
        for is_killed in [true, false] {
            let name = Name::new();
            let mut engine = engine(&name, force_arrays, force_fallback);
            let mut stuck = Stuck::named(WAITING, &[&name.arg()]);
            stuck.enter();
            let before = snapshot_until(&mut engine, "all are in their calls", |_, snapshot| {
                snapshot.in_flight.calls.iter().map(|call| call.threads).sum::<u64>() == THREADS
            });
            assert!(!engine.all_ended() && records(&before) >= THREADS);
            trial::miss_ends(&mut engine);
            if is_killed {
                stuck.kill_unreaped();
                let all_ended = |engine: &Profiler, _: &Snapshot| engine.all_ended();
                let killed = snapshot_until(&mut engine, "the process ends", all_ended);
                assert_ended(&killed);
                assert_eq!(ends_noticed(&killed), THREADS);
                assert!(records(&killed) > 0, "that of the zombie");
                for (syscall, threads) in [("futex", WAITING), ("creat", 1), ("read", 1)] {
                    assert_eq!(total(&killed, syscall).never_returned, threads, "{syscall}");
                }
                drop(stuck);
            } else {
                stuck.let_go();
            }
            let is_over = |engine: &Profiler, snapshot: &Snapshot| {
                engine.all_ended() && records(snapshot) == 0
            };
            let over = snapshot_until(&mut engine, "the records are freed", is_over);
            assert_ended(&over);
            assert_eq!(ends_noticed(&over), THREADS);
            if !is_killed {
                for (syscall, threads) in [("exit", WAITING + 1), ("exit_group", 1)] {
                    assert_eq!(total(&over, syscall).never_returned, threads, "{syscall}");
                }
            }
        }
    }
}

/// Threads of a storm. Eight of them live at one time, so most get the kernel stack of a dead one.
const STORM: u64 = 200;

/// Runs a process of this name with many short-lived threads.
fn storm(name: &Name) -> Statement {
    let calls = format!("calls={STORM}");
    let args = workload_args(&["thread-storm", &calls, &name.arg()]);
    let output = Command::new(&args[0]).args(&args[1..]).output().expect("the workload");
    assert!(output.status.success(), "{output:?}");
    statement(&String::from_utf8(output.stdout).expect("text"))
}

/// A thread that gets the kernel stack of a dead thread, whose end was not reported, counts for itself,
/// whether the dead thread was in scope or not.
pub(crate) fn kernel_stacks_are_used_again_after_unreported_ends() {
    for (force_arrays, force_fallback) in OBJECTS {
        let (name, other) = (Name::new(), Name::new());
        let mut engine = engine(&name, force_arrays, force_fallback);
        trial::miss_ends(&mut engine);
        let mut stated: BTreeMap<String, Made> = BTreeMap::new();
        for _ in 0..3 {
            storm(&other);
            for process in storm(&name).processes {
                for (call, made) in process.calls {
                    stated.entry(call).or_default().add(&made);
                }
            }
        }
        let is_over =
            |engine: &Profiler, snapshot: &Snapshot| engine.all_ended() && records(snapshot) == 0;
        let over = snapshot_until(&mut engine, "the records are freed", is_over);
        assert_ended(&over);
        assert!(stated.contains_key("x86_64/getppid"));
        for (call, made) in &stated {
            let syscall = call.strip_prefix("x86_64/").expect("a native call");
            let Figures { calls, never_returned, errors, .. } = total(&over, syscall);
            assert_eq!(
                (calls, never_returned, errors),
                (made.calls, made.never_returned, 0),
                "{call}"
            );
        }
    }
}
