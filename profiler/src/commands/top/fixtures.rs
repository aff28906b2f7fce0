//! Snapshots of hosts that are not there.

use std::{sync::Arc, time::Duration};

use profiler_common::{
    call::{Abi, CallKey},
    hist,
};

use crate::model::{
    CallInFlight, CallRow, Cost, CpuTime, EngineDetail, Extremes, Figures, Health, InFlight,
    KernelDetail, Latency, OVERFLOW_COMM, Pool, Process, ProcessRow, Program, Runs, Snapshot,
    Thread, ThreadInFlight, ThreadRow, Times, Timing, Use,
};

/// An x86_64 call by name.
pub(super) fn call(name: &str) -> CallKey {
    let nr = match name {
        "read" => 0,
        "write" => 1,
        "poll" => 7,
        "ioctl" => 16,
        "sendfile" => 40,
        "clone" => 56,
        "vfork" => 58,
        "execve" => 59,
        "fsync" => 74,
        "futex" => 202,
        "epoll_wait" => 232,
        "openat" => 257,
        "accept4" => 288,
        _ => panic!("no number for {name}"),
    };
    CallKey::of(Abi::X86_64, nr)
}

/// A process that started `pid` milliseconds after boot.
pub(super) fn process(pid: u32, comm: &str) -> Arc<Process> {
    let start_ns = u64::from(pid) * 1_000_000;
    Arc::new(Process::new(pid, start_ns, comm))
}

/// `calls` calls around `ns`: most at half of it, a few at many times of it.
pub(super) fn figures(calls: u64, ns: u64) -> Figures {
    if calls == 0 {
        return Figures::default();
    }
    let parts = [(ns / 2, calls * 3 / 5), (ns, calls * 3 / 10), (ns * 2, calls * 9 / 100)];
    let common: u64 = parts.iter().map(|(_, count)| count).sum();
    let rare = (calls - common).min(1 + calls / 1_000);
    let parts = [(ns / 3, calls - common - rare), parts[0], parts[1], parts[2], (ns * 9, rare)];
    let held = || parts.iter().filter(|(_, count)| *count > 0);
    let latency: Latency = held().map(|&(ns, count)| (hist::bucket(ns) as usize, count)).collect();
    let extremes = Extremes {
        min_ns: held().map(|&(ns, _)| ns).min().unwrap(),
        max_ns: held().map(|&(ns, _)| ns).max().unwrap(),
    };
    Figures {
        calls,
        returned: calls,
        total_ns: held().map(|(ns, count)| ns * count).sum(),
        extremes: Some(extremes),
        latency,
        ..Figures::default()
    }
}

/// `figures` of which these many failed.
pub(super) fn failing(mut figures: Figures, errnos: &[(u16, u64)]) -> Figures {
    for &(errno, count) in errnos {
        figures.errors += count;
        figures.add_errno(errno, count);
    }
    figures
}

/// A row whose total is ten such intervals.
pub(super) fn row(key: CallKey, calls: u64, ns: u64) -> CallRow {
    CallRow { recent: figures(calls, ns), ..CallRow::new(key, figures(calls * 10, ns)) }
}

/// A snapshot of these processes and their calls, a second after the one before.
pub(super) fn snapshot(sequence: u64, processes: Vec<(Arc<Process>, Vec<CallRow>)>) -> Snapshot {
    let mut calls: Vec<CallRow> = Vec::new();
    for row in processes.iter().flat_map(|(_, rows)| rows) {
        match calls.iter_mut().find(|call| call.key == row.key) {
            Some(call) => {
                call.total.merge(&row.total);
                call.recent.merge(&row.recent);
            }
            None => calls.push(row.clone()),
        }
    }
    let processes =
        processes.into_iter().map(|(process, calls)| ProcessRow::new(process, calls)).collect();
    Snapshot {
        sequence,
        window: Duration::from_secs(sequence),
        interval: Duration::from_secs(1),
        cpus: 8,
        calls,
        processes,
        ..Snapshot::default()
    }
}

/// The busy host a second after the start: all that was counted is of the first interval.
pub(super) fn first_interval() -> Snapshot {
    let mut host = busy_host();
    host.window = host.interval;
    let begin = |row: &mut CallRow| row.total = row.recent.clone();
    host.calls.iter_mut().for_each(begin);
    for process in &mut host.processes {
        Arc::make_mut(&mut process.calls).iter_mut().for_each(begin);
    }
    host
}

/// A web server, a database, a shell, a 32-bit program, an idle daemon, one that
/// has ended, and the bucket of calls that found no room.
pub(super) fn busy_host() -> Snapshot {
    let mut openat = row(call("openat"), 400, 5_000);
    openat.recent = failing(openat.recent, &[(2, 120), (13, 1)]);
    openat.total = failing(openat.total, &[(2, 1_200), (13, 10)]);
    let mut accept = row(call("accept4"), 900, 2_400);
    accept.recent = failing(accept.recent, &[(11, 300)]);
    accept.total = failing(accept.total, &[(11, 3_000)]);
    let nginx = process(1234, "nginx");
    let postgres = process(2001, "postgres");
    let games = process(31_337, "wine-preloader");
    let ended = Arc::new((*process(40_001, "cc1plus")).clone().into_ended());
    let overflow = Arc::new(Process::nobody(OVERFLOW_COMM));
    let i386_write = CallKey::of(Abi::I386, 4);
    let mut snapshot = snapshot(
        125,
        vec![
            (
                nginx.clone(),
                vec![
                    row(call("epoll_wait"), 5_200, 180_000),
                    row(call("read"), 7_100, 900),
                    row(call("write"), 6_900, 3_100),
                    row(call("sendfile"), 2_300, 21_000),
                    accept,
                ],
            ),
            (
                postgres.clone(),
                vec![
                    row(call("fsync"), 42, 4_100_000),
                    row(call("read"), 1_300, 1_400),
                    row(call("futex"), 310, 95_000),
                ],
            ),
            (process(3050, "bash"), vec![openat, row(call("read"), 4, 20_000_000)]),
            (games.clone(), vec![row(i386_write, 640, 1_700), row(call("ioctl"), 88, 12_000)]),
            (process(612, "cron"), vec![row(call("poll"), 0, 1)]),
            (ended, vec![row(call("openat"), 2_950, 3_300)]),
            (overflow, vec![row(call("execve"), 7, 410_000)]),
        ],
    );
    snapshot.in_flight = in_flight(&[
        (&games, 31_340, "futex", 754_000),
        (&postgres, 2001, "epoll_wait", 61_200),
        (&nginx, 1235, "epoll_wait", 340),
        (&nginx, 1234, "epoll_wait", 12),
    ]);
    snapshot.health = Health {
        overflowed: 70,
        breaches: 0,
        pools: vec![pool("records", 412, 32_768), pool("extents", 4_096, 40_960)],
        cost: cost(),
        engine: EngineDetail::Kernel(KernelDetail {
            mode: "tp_btf, task storage".into(),
            memory_bytes: 52 << 20,
            ..KernelDetail::default()
        }),
        ..Health::default()
    };
    snapshot
}

/// A pool that never ran out.
pub(super) fn pool(name: &'static str, used: u64, capacity: u64) -> Pool {
    Pool { name: name.into(), usage: Use { used, capacity }, ..Pool::default() }
}

/// Two seconds of the kernel's statistics, and a drain.
fn cost() -> Cost {
    let program = |name: &str| Program { name: name.into(), copies: 1, ..Program::default() };
    let runs = |count, ns| Runs { count, events: count, time: Duration::from_nanos(ns) };
    let mut drains = Times::default();
    drains.add(Duration::from_micros(3_240));
    Cost {
        elapsed: Duration::from_secs(125),
        cpu: CpuTime { user: Duration::from_millis(400), system: Duration::from_millis(1_100) },
        cpu_to_attach: CpuTime { user: Duration::from_millis(90), system: Duration::ZERO },
        resident_bytes: 19_084_083,
        peak_resident_bytes: 20 << 20,
        drains,
        programs: vec![program("sys_enter"), program("sys_exit"), program("process_fork")],
        timing: Timing::Of {
            period: 1,
            time: Duration::from_secs(2),
            runs: vec![runs(60_000, 1_860_000), runs(59_990, 2_279_620), runs(12, 24_000)],
        },
    }
}

/// The same host with the threads of nginx and of postgres. One thread of nginx ended in the
/// interval.
pub(super) fn threaded_host() -> Snapshot {
    let mut host = busy_host();
    for row in &mut host.processes {
        let threads: &[_] = match row.process.tgid {
            Some(1234) => &[(1234, "nginx", false), (1235, "worker", false), (1236, "cache", true)],
            Some(2001) => &[(2001, "postgres", false), (2003, "checkpointer", false)],
            _ => continue,
        };
        add_threads(row, threads);
    }
    host
}

/// Gives the calls of a process to these threads (id, name, whether it has ended), in turn.
pub(super) fn add_threads(row: &mut ProcessRow, threads: &[(u32, &str, bool)]) {
    row.threads = (threads.iter().enumerate())
        .map(|(at, &(tid, comm, ended))| {
            let serial = tid.into();
            let thread = Thread { tid, serial, comm: comm.into(), ended };
            let calls = row.calls.iter().skip(at).step_by(threads.len()).cloned().collect();
            ThreadRow::new(Some(Arc::new(thread)), Arc::new(calls))
        })
        .collect();
}

/// The same host, with calls that do not come back.
pub(super) fn stuck_host() -> Snapshot {
    let mut snapshot = busy_host();
    let of = |pid| {
        let row = snapshot.processes.iter().find(|row| row.process.tgid == Some(pid));
        Arc::clone(&row.expect("a process of this host").process)
    };
    let (nginx, postgres, games) = (of(1234), of(2001), of(31_337));
    snapshot.in_flight = in_flight(&[
        (&postgres, 2003, "fsync", 572_000),
        (&nginx, 1236, "sendfile", 1_200),
        (&nginx, 1237, "openat", 0),
        (&of(3050), 3050, "read", 93_600_000),
        (&games, 31_339, "ioctl", 16),
        (&games, 31_340, "futex", 754_000),
        (&postgres, 2001, "epoll_wait", 61_200),
        (&nginx, 1235, "epoll_wait", 340),
        (&nginx, 1234, "epoll_wait", 12),
    ]);
    // Of which most are not listed.
    snapshot.in_flight.calls.iter_mut().filter(|c| c.key == call("futex")).for_each(|futex| {
        futex.threads += 3_000;
    });
    snapshot
}

/// The host of the README's picture: a web shop whose database waits for its disk.
pub(super) fn pictured_host() -> Snapshot {
    let mut host = stuck_host();
    let errors = |mut row: CallRow, errno, part: u64| {
        let failed = |figures: Figures| {
            let count = figures.calls / part;
            failing(figures, &[(errno, count)])
        };
        row.recent = failed(row.recent);
        row.total = failed(row.total);
        row
    };
    let others = vec![
        (
            process(1711, "redis-server"),
            vec![
                row(call("read"), 41_200, 1_300),
                row(call("write"), 40_900, 5_200),
                row(call("epoll_wait"), 20_400, 12_000),
            ],
        ),
        (
            process(2004, "postgres"),
            vec![row(call("fsync"), 31, 7_900_000), row(call("read"), 2_700, 1_800)],
        ),
        (
            process(4410, "java"),
            vec![
                row(call("futex"), 8_300, 310_000),
                row(call("write"), 1_900, 6_100),
                row(call("read"), 2_100, 2_900),
            ],
        ),
        (
            process(5120, "node"),
            vec![row(call("epoll_wait"), 3_100, 210_000), row(call("write"), 2_600, 9_400)],
        ),
        (
            process(5121, "node"),
            vec![row(call("epoll_wait"), 2_900, 220_000), row(call("write"), 2_300, 9_900)],
        ),
        (
            process(6002, "rsync"),
            vec![
                row(call("read"), 3_900, 61_000),
                row(call("write"), 3_800, 24_000),
                errors(row(call("openat"), 640, 8_200), 2, 20),
            ],
        ),
        (process(811, "sshd"), vec![row(call("poll"), 24, 900_000), row(call("read"), 31, 2_400)]),
        (process(702, "chronyd"), vec![row(call("poll"), 2, 4_000_000)]),
        (
            process(1, "systemd"),
            vec![
                row(call("epoll_wait"), 9, 6_000_000),
                row(call("clone"), 12, 90_000),
                errors(row(call("openat"), 18, 4_400), 2, 9),
            ],
        ),
        (
            process(455, "systemd-journal"),
            vec![row(call("epoll_wait"), 60, 1_100_000), row(call("write"), 118, 7_300)],
        ),
    ];
    let more = snapshot(host.sequence, others);
    for row in more.calls {
        match host.calls.iter_mut().find(|call| call.key == row.key) {
            Some(call) => {
                call.total.merge(&row.total);
                call.recent.merge(&row.recent);
            }
            None => host.calls.push(row),
        }
    }
    host.processes.retain(|row| row.process.tgid.is_some_and(|tgid| tgid != 31_337));
    host.processes.extend(more.processes);
    host.health.overflowed = 0;
    host
}

/// Threads in calls: process, id, call, and for how many milliseconds; by kind, and the
/// oldest of each first.
fn in_flight(threads: &[(&Arc<Process>, u32, &str, u64)]) -> InFlight {
    let oldest: Vec<_> = threads
        .iter()
        .map(|&(process, tid, name, age_ms)| ThreadInFlight {
            process: Arc::clone(process),
            tid,
            key: call(name),
            kind: crate::names::waits::kind(call(name)),
            age: Duration::from_millis(age_ms),
            at_least: false,
        })
        .collect();
    assert!(oldest.is_sorted_by_key(|thread| (thread.kind, std::cmp::Reverse(thread.age))));
    let mut calls: Vec<CallInFlight> = Vec::new();
    for &ThreadInFlight { key, age, .. } in &oldest {
        match calls.iter_mut().find(|call| call.key == key) {
            Some(call) => call.threads += 1,
            None => calls.push(CallInFlight {
                key,
                kind: crate::names::waits::kind(key),
                threads: 1,
                unrecorded: 0,
                before: 0,
                oldest: age,
            }),
        }
    }
    InFlight { calls, oldest, sees_before: true }
}
