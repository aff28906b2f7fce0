//! A snapshot with every outcome, every ABI, names that require escapes, and all losses.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use profiler_common::call::{Abi, CallKey};

use crate::{
    filter::{Calls, Filter},
    model::{
        CallInFlight, CallRow, Cost, Counter, Counts, Coverage, CpuTime, Dimension, EngineDetail,
        Extremes, Figures, GroupMember, GroupReading, GroupRows, Health, InFlight, IoUring,
        KernelDetail, Losses, OVERFLOW_COMM, OperationRow, Operations, Pool, Process, ProcessRow,
        Program, Runs, Snapshot, ThreadInFlight, Times, Timing, Unlogged, Untimed, Use,
    },
    names::waits,
    present::{metrics::Service, testing},
};

const fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Calls of which each latency is `ns` times another power of three.
fn timed(calls: u64, ns: u64) -> Figures {
    let mut figures = Figures { calls, returned: calls, extremes: None, ..Figures::default() };
    let mut latency = ns;
    for left in (0..calls).step_by(3) {
        let count = 3.min(calls - left);
        figures.latency.add(profiler_common::hist::bucket(latency) as usize, count);
        figures.total_ns += latency * count;
        let extremes = Some(Extremes { min_ns: latency, max_ns: latency });
        figures.extremes = Extremes::join_any(figures.extremes, extremes);
        latency = if latency > 40_000_000_000 { ns } else { latency * 3 };
    }
    figures
}

fn failing(calls: u64, ns: u64, errnos: &[(u16, u64)], unlisted: u64) -> Figures {
    testing::with_errors(timed(calls, ns), errnos, unlisted)
}

/// Figures in which every value is different.
fn mixed() -> Figures {
    let timed = failing(90, 150, &[(2, 11), (11, 7), (13, 5)], 3);
    Figures {
        calls: 120,
        returned: 96,
        restarted: 6,
        denied: 17,
        never_returned: 4,
        lost: 2,
        untimed: 12,
        ..timed
    }
}

/// Turns the sampled row into one of adaptive sampling: a third of its timed calls have a weight of
/// two.
pub(super) fn weigh(snapshot: &mut Snapshot) {
    for row in snapshot.calls.iter_mut().filter(|row| row.total.untimed > 0) {
        let figures = &mut row.total;
        figures.extra = figures.latency.count() / 3;
        figures.squares = 4 * figures.extra;
        figures.untimed = figures.left() + figures.extra - figures.latency.count();
        figures.extra_ns = figures.total_ns / 3;
    }
}

/// Removes the times.
pub(super) fn untime(figures: &mut Figures) {
    figures.untimed = figures.left();
    figures.total_ns = 0;
    figures.extremes = None;
    figures.latency = Default::default();
}

fn row(key: CallKey, total: Figures, recent: Figures) -> CallRow {
    CallRow { key, total, recent }
}

fn process(tgid: Option<u32>, comm: &str, ended: bool, calls: Vec<CallRow>) -> ProcessRow {
    let process = Process { tgid, ended, ..Process::new(0, 1_000, comm) };
    ProcessRow::new(process, calls)
}

fn processes() -> Vec<ProcessRow> {
    let x86 = |nr| CallKey::of(Abi::X86_64, nr);
    let none = Figures::default;
    vec![
        process(
            Some(812),
            "nginx",
            false,
            vec![
                row(x86(0), mixed(), timed(20, 900)),
                row(x86(202), timed(700, 90_000), timed(30, 2_000_000)),
                row(x86(231), Figures { calls: 1, never_returned: 1, ..none() }, none()),
                row(x86(257), failing(240, 3_000, &[(2, 200), (40, 1)], 0), none()),
            ],
        ),
        process(
            Some(4_242),
            "a\"b\\c",
            true,
            vec![
                row(x86(0), timed(12_345, 40), timed(45, 41)),
                row(x86(74), Figures { calls: 4, ..timed(3, 4_000_000_000) }, none()),
                row(CallKey::of(Abi::X32, 19), timed(5, 500), none()),
                row(CallKey::of(Abi::X32, 515), timed(6, 700), timed(2, 700)),
            ],
        ),
        process(
            Some(77),
            "ba\u{1b}[31md é",
            false,
            vec![
                row(CallKey::of(Abi::I386, 3), timed(1_000_003, 250), timed(1_003, 260)),
                row(x86(500), failing(4, 60, &[(38, 4)], 0), none()),
                row(x86(501), failing(2, 61, &[(38, 2)], 0), none()),
                row(CallKey::unknown(Abi::I386), Figures { denied: 9, ..none() }, none()),
            ],
        ),
        process(Some(78), "nginx", false, vec![row(x86(1), timed(33, 1), timed(3, 1))]),
        process(None, OVERFLOW_COMM, false, vec![row(x86(1), timed(9, 65_000), none())]),
    ]
}

fn in_flight(processes: &[ProcessRow]) -> InFlight {
    let call = |nr, threads, unrecorded, before, oldest| {
        let key = CallKey::of(Abi::X86_64, nr);
        CallInFlight { key, kind: waits::kind(key), threads, unrecorded, before, oldest }
    };
    let thread = |process: usize, tid, nr, age, at_least| {
        let key = CallKey::of(Abi::X86_64, nr);
        let process = Arc::clone(&processes[process].process);
        ThreadInFlight { process, tid, key, kind: waits::kind(key), age, at_least }
    };
    InFlight {
        calls: vec![
            call(0, 3, 1, 1, ms(12_345)),
            call(74, 1, 0, 0, Duration::from_secs(572)),
            call(202, 41, 0, 20, Duration::from_secs(200_000)),
            call(230, 7, 0, 0, ms(900)),
        ],
        oldest: vec![
            thread(1, 4_243, 74, Duration::from_secs(572), false),
            thread(0, 812, 0, ms(12_345), true),
            thread(2, 79, 0, ms(250), false),
            thread(0, 813, 202, Duration::from_secs(200_000), true),
        ],
        sees_before: true,
    }
}

fn pool(name: &'static str, usage: Use, exhausted: u64, withheld: u64) -> Pool {
    Pool { name: name.into(), usage, exhausted, withheld }
}

fn times(each: &[u64]) -> Times {
    let mut times = Times::default();
    each.iter().for_each(|&us| times.add(Duration::from_micros(us)));
    times
}

fn cost() -> Cost {
    let program = |name: &str, copies, jited_bytes, verified_instructions| Program {
        name: name.into(),
        copies,
        jited_bytes,
        verified_instructions,
    };
    let runs = |count, events, ns| Runs { count, events, time: Duration::from_nanos(ns) };
    Cost {
        elapsed: ms(61_500),
        cpu: CpuTime { user: ms(345), system: ms(1_234) },
        cpu_to_attach: CpuTime { user: ms(95), system: ms(34) },
        resident_bytes: 19_084_083,
        peak_resident_bytes: 20_971_520,
        drains: times(&[1_200, 1_100, 2_310, 70, 900_000]),
        programs: vec![
            program("sys_enter", 1, 1_234, Some(1_034)),
            program("sys_exit", 2, 3_321, Some(12_345)),
            program("task_rename", 1, 512, None),
        ],
        timing: Timing::Of {
            period: 1,
            time: ms(61_400),
            runs: vec![
                runs(1_200_061, 1_200_061, 37_441_903),
                runs(2_400_122, 1_200_060, 44_402_220),
                runs(0, 0, 0),
            ],
        },
    }
}

/// The sums of the calls of all processes.
fn sums(processes: &[ProcessRow]) -> Vec<CallRow> {
    let mut sums: BTreeMap<CallKey, CallRow> = BTreeMap::new();
    for call in processes.iter().flat_map(|process| process.calls.iter()) {
        let sum = sums
            .entry(call.key)
            .or_insert_with(|| row(call.key, Figures::default(), Figures::default()));
        sum.total.merge(&call.total);
        sum.recent.merge(&call.recent);
    }
    sums.into_values().collect()
}

/// Operations with every figure.
fn io_uring() -> IoUring {
    let operations = |submitted: u64| {
        let mut operations = Operations {
            submitted,
            silent: 3,
            completed: submitted - 5,
            unmatched: 4,
            silent_completed: 2,
            unreported: 1,
            posted: 6,
            overflowed: 7,
            total_ns: submitted * 1_000,
            errnos: vec![(9, 8), (125, 9)],
            errors_unlisted: 1,
            ..Operations::default()
        };
        operations.latency.add(60, submitted / 2);
        operations.latency.add(90, submitted / 4);
        operations
    };
    let row = |process: Process, opcode, submitted: u64| OperationRow {
        recent: operations(submitted / 10),
        ..OperationRow::new(process, opcode, operations(submitted))
    };
    let nginx = || Process::new(812, 1_000, "nginx");
    IoUring {
        coverage: Coverage::ByRequest,
        rows: vec![
            row(nginx(), Some(22), 12_000),
            row(nginx(), Some(200), 200),
            row(nginx(), None, 100),
            row(Process::new(78, 1_000, "nginx"), Some(22), 300),
            row(Process::nobody(OVERFLOW_COMM), Some(0), 400),
        ],
    }
}

pub(super) fn snapshot() -> Snapshot {
    let processes = processes();
    Snapshot {
        sequence: 5,
        window: Duration::from_nanos(61_234_567_891),
        interval: ms(1_500),
        cpus: 4,
        calls: sums(&processes),
        in_flight: in_flight(&processes),
        io_uring: io_uring(),
        processes,
        health: Health {
            losses: Losses {
                no_task_state: 105,
                missed_entries: 106,
                missed_exits: 107,
                unfollowed_children: 112,
                missed_life_events: 203,
                missed_operations: 208,
            },
            unseen: (201 - 106) + (202 - 107),
            overflowed: 204,
            breaches: 205,
            last_breach: "process 812 (nginx): entered 3, left 4".into(),
            pools: vec![
                pool("records", Use { used: 206, capacity: 4_096 }, 108, 110),
                pool("extents", Use { used: 207, capacity: 8_192 }, 109, 111),
            ],
            greediest_user: Some(1_000),
            cost: cost(),
            engine: EngineDetail::Kernel(KernelDetail {
                mode: "tp_btf, task storage".into(),
                copies: 2,
                memory_bytes: 52 << 20,
                program_misses: vec![
                    ("sys_enter".into(), 201),
                    ("sys_exit".into(), 202),
                    ("task_rename".into(), 203),
                ],
                entries_taken_over: 113,
                exits_taken_over: 114,
                in_flight_at_attach: 101,
                births: 102,
                denied_unrecorded: 103,
                denied_presumed: 104,
                unreported_returns: 115,
                unreported_ns: 116,
                ends_noticed: 117,
            }),
            ..Health::default()
        },
        ..Snapshot::default()
    }
}

/// A kernel engine that has counted nothing.
pub(super) fn nothing() -> Snapshot {
    let health = Health {
        pools: ["records", "extents"].map(|name| pool(name, Use::default(), 0, 0)).into(),
        engine: EngineDetail::Kernel(KernelDetail::default()),
        ..Health::default()
    };
    Snapshot { health, ..Snapshot::default() }
}

/// A snapshot while the kernel's statistics of programs are off.
pub(super) fn without_statistics() -> Snapshot {
    let mut snapshot = snapshot();
    snapshot.health.cost.timing = Timing::No(Untimed::Privilege);
    snapshot
}

pub(super) fn service() -> Service {
    Service {
        attached: None,
        scrapes: times(&[400, 2_600, 1_300_000]),
        missed_drains: 301,
        interval: Duration::from_micros(3_425_000),
        last_drain_late: Duration::from_micros(1_234_567),
        reload_failed: true,
        unlogged: Unlogged { dropped: 302, repeated: 303 },
        named: None,
        groups: [group()].into(),
    }
}

/// A group in which every figure is different.
fn group() -> GroupReading {
    let mut next = 400;
    let mut rows = |counters: &[Counter]| {
        let mut counts = Counts::default();
        for &counter in counters {
            next += 1;
            counts.add(counter, next);
        }
        Arc::new(GroupRows::from([(("x86_64", "mount"), counts)]))
    };
    let member = |values: [&str; 2], rows| GroupMember {
        values: values.map(str::to_owned).into(),
        since: Duration::from_secs(5),
        rows,
    };
    GroupReading {
        name: "apps".into(),
        dimensions: [Dimension::Container, Dimension::Comm].into(),
        since: Duration::ZERO,
        members: vec![
            member(["web", "n\"x"], rows(&Counter::ALL)),
            member(["", "bash"], rows(&[Counter::Calls, Counter::Nanoseconds])),
        ],
        other: rows(&[Counter::Calls, Counter::Denied]),
        folded: rows(&[Counter::Errors]),
        folded_members: 304,
        max_series: 305,
    }
}

pub(super) fn filter() -> Filter {
    let calls = ["read", "!write", "i386:5"].map(|text| text.parse().expect("a call"));
    Filter {
        comms: vec!["n\"x".parse().expect("a name")],
        calls: Calls::new(&calls).expect("calls"),
        ..Filter::default()
    }
}
