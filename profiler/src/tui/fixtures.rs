//! Snapshots of hosts that are not there.

use std::{sync::Arc, time::Duration};

use profiler_common::{
    call::{Abi, CallKey},
    hist,
};

use crate::{
    aggregate::{Extremes, Figures, Latency},
    snapshot::{CallRow, Health, InFlight, OVERFLOW_COMM, Process, ProcessRow, Snapshot, Use},
};

/// An x86_64 call by name.
pub(super) fn call(name: &str) -> CallKey {
    let nr = match name {
        "read" => 0,
        "write" => 1,
        "poll" => 7,
        "ioctl" => 16,
        "sendfile" => 40,
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
    Arc::new(Process { tgid: Some(pid), start_ns, comm: comm.into(), ended: false })
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
    CallRow { key, total: figures(calls * 10, ns), recent: figures(calls, ns) }
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
        processes.into_iter().map(|(process, calls)| ProcessRow { process, calls }).collect();
    Snapshot {
        sequence,
        window: Duration::from_secs(sequence),
        interval: Duration::from_secs(1),
        cpus: 8,
        calls,
        processes,
        in_flight: Vec::new(),
        health: Health::default(),
    }
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
    let ended = Arc::new(Process { ended: true, ..(*process(40_001, "cc1plus")).clone() });
    let overflow =
        Arc::new(Process { tgid: None, start_ns: 0, comm: OVERFLOW_COMM.into(), ended: false });
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
    let in_flight = |process: &Arc<Process>, tid, key, age_ms| {
        let age = Duration::from_millis(age_ms);
        InFlight { process: process.clone(), tid, key, age }
    };
    snapshot.in_flight = vec![
        in_flight(&games, 31_340, call("futex"), 754_000),
        in_flight(&postgres, 2001, call("epoll_wait"), 61_200),
        in_flight(&nginx, 1235, call("epoll_wait"), 340),
        in_flight(&nginx, 1234, call("epoll_wait"), 12),
    ];
    snapshot.health = Health {
        overflowed: 70,
        breaches: 0,
        records: Use { used: 412, capacity: 32_768 },
        extents: Use { used: 5_120, capacity: 40_960 },
        kernel_memory_bytes: 52 << 20,
        drain_time: Duration::from_micros(3_240),
        cpu_time: Duration::from_millis(1_500),
        resident_bytes: 19_084_083,
        mode: "tp_btf, task storage",
        ..Health::default()
    };
    snapshot
}
