//! Threads whose end the kernel does not report, as if it skipped the program.

use std::time::Duration;

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

use crate::{in_flight::Stuck, run::wait_until, service::Name};

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

/// Checks that no thread of the process is left.
///
/// After a missed end, a thread of another process can get the kernel stack, and with it the record
/// until its owner is cleared. So calls of dead threads can count as returned, and one call of the
/// other thread as never returned. If that thread is in a call when the owner is cleared, the
/// record fails the accounting checks. The number of threads bounds each of these effects.
#[track_caller]
fn assert_ended(snapshot: &Snapshot) {
    assert_eq!(snapshot.in_flight.oldest, []);
    assert!(snapshot.in_flight.calls.is_empty(), "{:?}", snapshot.in_flight.calls);
    assert!(snapshot.health.breaches <= THREADS, "{}", snapshot.health.last_breach);
    let noticed = snapshot.health.kernel().map(|kernel| kernel.ends_noticed);
    assert!(noticed.is_some_and(|noticed| noticed >= THREADS), "{noticed:?}");
    // Such a call is in flight in its row.
    let open: u64 = snapshot.calls.iter().map(|row| row.total.in_flight()).sum();
    assert!(open <= THREADS, "{open}");
}

/// If a process is killed or exits, its threads end in the figures, regardless of their call, and
/// their records are freed. The record of a zombie is freed once it is reaped.
pub(crate) fn ends_that_are_not_reported_are_noticed() {
    for (force_arrays, force_fallback) in [(false, false), (true, false), (false, true)] {
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
                assert!(records(&killed) > 0, "that of the zombie");
                let waited = total(&killed, "futex").never_returned;
                assert!((1..=WAITING + THREADS).contains(&waited), "{waited}");
                drop(stuck);
            } else {
                stuck.let_go();
            }
            let is_over = |engine: &Profiler, snapshot: &Snapshot| {
                engine.all_ended() && records(snapshot) == 0
            };
            let over = snapshot_until(&mut engine, "the records are freed", is_over);
            assert_ended(&over);
            if !is_killed {
                let exited = total(&over, "exit").never_returned;
                assert!((1..=WAITING + 1 + THREADS).contains(&exited), "{exited}");
            }
        }
    }
}
