//! A fake engine and its snapshots.

use std::{
    io::{Read, Write},
    os::{
        fd::{AsFd, BorrowedFd},
        unix::net::UnixStream,
    },
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use profiler::{
    commands::daemon::pace::thread_cpu_time,
    engine::Engine,
    model::{
        CallInFlight, CallRow, Cost, CpuTime, Detail, EngineDetail, Extremes, Figures, Health,
        InFlight, KernelDetail, Losses, OffCpu, Pool, Program, Runs, Snapshot, Timed, Times,
        Timing, Use,
    },
};
use profiler_common::call::{Abi, CallKey};

/// A snapshot in which every figure is different.
pub(crate) fn snapshot() -> Snapshot {
    let mut read = Figures {
        calls: 1_234,
        returned: 1_200,
        restarted: 31,
        errors: 20,
        total_ns: 5_000_000_123,
        off_cpu: OffCpu { waiting_ns: 4_200_000_000, runnable_ns: 300_000_000 },
        extremes: Some(Extremes { min_ns: 90, max_ns: 4_000_000_000 }),
        errnos: vec![(4, 5), (11, 14)],
        errors_unlisted: 1,
        ..Figures::default()
    };
    for (ns, count) in [(100, 700), (128, 30), (129, 400), (1 << 20, 100), (4_000_000_000, 1)] {
        read.latency.add(profiler_common::hist::bucket(ns) as usize, count);
    }
    let exit = Figures { calls: 7, never_returned: 7, ..Figures::default() };
    let open = Figures { denied: 3, ..Figures::default() };
    let row = |abi, nr, total| CallRow::new(CallKey::of(abi, nr), total);
    Snapshot {
        sequence: 41,
        window: Duration::from_millis(42_500),
        interval: Duration::from_secs(1),
        cpus: 2,
        calls: vec![
            row(Abi::X86_64, 0, read),
            row(Abi::X86_64, 231, exit),
            row(Abi::I386, 5, open),
        ],
        in_flight: InFlight {
            calls: vec![CallInFlight {
                key: CallKey::of(Abi::X86_64, 0),
                kind: profiler::names::waits::kind(CallKey::of(Abi::X86_64, 0)),
                threads: 3,
                unrecorded: 1,
                before: 2,
                oldest: Duration::from_millis(69_500),
            }],
            oldest: Vec::new(),
            sees_before: true,
        },
        health: Health {
            losses: Losses {
                no_task_state: 54,
                missed_entries: 71,
                missed_exits: 55,
                unfollowed_children: 58,
                missed_life_events: 0,
                missed_operations: 0,
            },
            unseen: 62 - 55,
            overflowed: 63,
            breaches: 68,
            last_breach: String::new(),
            pools: vec![
                pool("records", Use { used: 64, capacity: 32_768 }, 56, 74),
                pool("extents", Use { used: 65, capacity: 40_959 }, 57, 75),
            ],
            greediest_user: Some(1_000),
            cost: cost(),
            timed: Timed::All,
            off_cpu: true,
            engine: EngineDetail::Kernel(KernelDetail {
                mode: "tp_btf, task storage".into(),
                copies: 1,
                memory_bytes: 66_000_000,
                program_misses: vec![("sys_enter".into(), 61), ("sys_exit".into(), 62)],
                entries_taken_over: 72,
                exits_taken_over: 73,
                in_flight_at_attach: 51,
                births: 52,
                denied_unrecorded: 53,
                denied_presumed: 58,
                unreported_returns: 74,
                unreported_ns: 75,
                ends_noticed: 76,
            }),
        },
        ..Snapshot::default()
    }
}

fn pool(name: &'static str, usage: Use, exhausted: u64, withheld: u64) -> Pool {
    Pool { name: name.into(), usage, exhausted, withheld }
}

fn cost() -> Cost {
    let program = |name: &str, jited_bytes, verified| Program {
        name: name.into(),
        copies: 1,
        jited_bytes,
        verified_instructions: Some(verified),
    };
    let runs = |count, ns| Runs { count, events: count, time: Duration::from_nanos(ns) };
    let mut drains = Times::default();
    [1_300, 1_500].map(Duration::from_micros).into_iter().for_each(|took| drains.add(took));
    Cost {
        elapsed: Duration::from_millis(42_501),
        cpu: CpuTime { user: Duration::from_millis(670), system: Duration::from_millis(81) },
        cpu_to_attach: CpuTime { user: Duration::from_millis(90), ..CpuTime::default() },
        resident_bytes: 68_000_000,
        peak_resident_bytes: 69_000_000,
        drains,
        programs: vec![program("sys_enter", 1_074, 75), program("sys_exit", 2_076, 77)],
        timing: Timing::Of {
            period: 1,
            time: Duration::from_secs(42),
            runs: vec![runs(78, 3_000), runs(79, 4_000)],
        },
    }
}

/// An engine that records nothing, and counts its readings.
pub(crate) struct Fake {
    drains: Arc<AtomicU64>,
    finished: Arc<AtomicU64>,
    /// How long each reading takes, milliseconds.
    delay: Arc<AtomicU64>,
    /// How much CPU time each reading uses, milliseconds.
    cost: Arc<AtomicU64>,
    wake: UnixStream,
}

/// The test's end of a [`Fake`].
pub(crate) struct Remote {
    drains: Arc<AtomicU64>,
    finished: Arc<AtomicU64>,
    /// How long each reading takes, milliseconds.
    delay: Arc<AtomicU64>,
    cost: Arc<AtomicU64>,
    wake: UnixStream,
}

pub(crate) fn fake() -> (Fake, Remote) {
    let (wake, remote) = UnixStream::pair().expect("a pair");
    wake.set_nonblocking(true).expect("non-blocking");
    let (drains, finished, delay, cost) = <[Arc<AtomicU64>; 4]>::default().into();
    let fake = Fake {
        drains: Arc::clone(&drains),
        finished: Arc::clone(&finished),
        delay: Arc::clone(&delay),
        cost: Arc::clone(&cost),
        wake,
    };
    (fake, Remote { drains, finished, delay, cost, wake: remote })
}

impl Engine for Fake {
    fn snapshot(&mut self, _detail: Detail) -> Snapshot {
        while matches!(self.wake.read(&mut [0; 16]), Ok(1..)) {}
        std::thread::sleep(Duration::from_millis(self.delay.load(Ordering::SeqCst)));
        let cost = Duration::from_millis(self.cost.load(Ordering::SeqCst));
        let start = thread_cpu_time();
        while thread_cpu_time() < start + cost {
            std::hint::spin_loop();
        }
        Snapshot { sequence: self.drains.fetch_add(1, Ordering::SeqCst), ..snapshot() }
    }

    fn read(&mut self) {}

    fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.wake.as_fd())
    }

    fn all_ended(&self) -> bool {
        false
    }

    fn stop(&mut self) {}

    fn finish(self, _detail: Detail) -> Snapshot {
        self.finished.fetch_add(1, Ordering::SeqCst);
        snapshot()
    }
}

impl Remote {
    pub(crate) fn drains(&self) -> u64 {
        self.drains.load(Ordering::SeqCst)
    }

    /// Makes each reading take this long.
    pub(crate) fn delay(&self, time: Duration) {
        self.delay.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    /// Makes each reading use this much CPU time.
    pub(crate) fn cost(&self, time: Duration) {
        self.cost.store(time.as_millis() as u64, Ordering::SeqCst);
    }

    pub(crate) fn is_finished(&self) -> bool {
        self.finished.load(Ordering::SeqCst) == 1
    }

    pub(crate) fn wake(&mut self) {
        self.wake.write_all(b"!").expect("room in the socket");
    }
}
