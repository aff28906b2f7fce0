//! Measures each stage of the user side by the number of series (process and syscall): `cargo bench
//! -p profiler --features bench`.
//!
//! Runs without a kernel: the tables are those of the reader's tests.

use std::{
    cell::RefCell,
    sync::{Arc, LazyLock},
    time::Duration,
};

use divan::{Bencher, black_box, counter::ItemsCount};
use profiler::{
    aggregate::{
        Aggregate, Identity, KeepEnded,
        groups::{Added, Group, GroupSpec, RankBy},
    },
    commands::top::bench::Screen,
    engine::{Intervals, kernel::drain::bench::Watch},
    model::{
        CallRow, Cgroup, CgroupRow, Counter, Counts, Dimension, Figures, GroupRows, Grouping,
        Health, Snapshot, SortKey, Span, Timed,
    },
    present::{
        Report, json,
        metrics::{self, Exposition, Format, Service},
        rows::rows,
        shown::{Hidden, Shown},
    },
    serve::body::Bodies,
};
use profiler_common::call::CallKey;

/// Process and syscall.
const SERIES: [u32; 3] = [1_000, 10_000, 100_000];

/// Syscalls of each process.
const CALLS: u32 = 20;

fn main() {
    divan::main();
}

/// The aggregate of the daemon, and that of `top`.
#[derive(Clone, Copy, Debug)]
enum Consumer {
    Daemon,
    Top,
}

impl Consumer {
    fn aggregate(self) -> Aggregate {
        match self {
            Self::Daemon => Aggregate::totals(),
            Self::Top => Aggregate::new(KeepEnded::For(Duration::from_secs(5))),
        }
    }
}

/// A drain in which every series has a new call.
#[divan::bench(args = SERIES, consts = [false, true], sample_size = 1, max_time = 2)]
fn drain_active<const TOP: bool>(bencher: Bencher<'_, '_>, series: u32) {
    let consumer = if TOP { Consumer::Top } else { Consumer::Daemon };
    let watch = RefCell::new(Watch::new(series / CALLS, CALLS, consumer.aggregate()));
    watch.borrow_mut().read();
    bencher
        .counter(ItemsCount::new(series))
        .with_inputs(|| watch.borrow_mut().everybody_calls())
        .bench_local_values(|()| watch.borrow_mut().read());
}

/// A drain without new calls.
#[divan::bench(args = SERIES, sample_size = 1)]
fn drain_idle(bencher: Bencher<'_, '_>, series: u32) {
    let mut watch = Watch::new(series / CALLS, CALLS, Consumer::Daemon.aggregate());
    watch.read();
    bencher.counter(ItemsCount::new(series)).bench_local(|| watch.read());
}

/// Finding the oldest calls in flight, while every thread is in a long call.
#[divan::bench(args = SERIES, sample_size = 1)]
fn in_flight(bencher: Bencher<'_, '_>, series: u32) {
    let mut watch = Watch::new(series / CALLS, CALLS, Consumer::Daemon.aggregate());
    watch.everybody_sleeps();
    watch.read();
    bencher.counter(ItemsCount::new(series / CALLS)).bench_local(|| watch.in_flight());
}

/// New figures of every series.
#[divan::bench(args = SERIES, sample_size = 1)]
fn aggregate(bencher: Bencher<'_, '_>, series: u32) {
    let mut aggregate = Consumer::Top.aggregate();
    let processes: Vec<_> = (1..=series / CALLS)
        .map(|tgid| aggregate.thread_started(Identity { tgid, start_ns: 1 }, b"bench"))
        .collect();
    let new = figures(1, 1_500);
    bencher.counter(ItemsCount::new(series)).bench_local(|| {
        for &process in &processes {
            for nr in 0..CALLS {
                aggregate.add(Some((process, 0)), CallKey(nr), &new);
            }
        }
    });
}

/// The interval between two snapshots, in which every series has a new call.
#[divan::bench(args = SERIES, sample_size = 1)]
fn interval(bencher: Bencher<'_, '_>, series: u32) {
    let mut watch = Watch::new(series / CALLS, CALLS, Consumer::Top.aggregate());
    watch.read();
    let snapshot = |watch: &Watch| Snapshot { processes: watch.processes(), ..watch.totals() };
    let mut intervals = Intervals::default();
    intervals.end_with(snapshot(&watch));
    let mut next = || {
        watch.everybody_calls();
        watch.read();
        snapshot(&watch)
    };
    bencher
        .counter(ItemsCount::new(series))
        .with_inputs(&mut next)
        .bench_local_values(|snapshot| intervals.end_with(snapshot));
}

/// A snapshot in which no process has changed.
#[divan::bench(args = SERIES)]
fn snapshot(bencher: Bencher<'_, '_>, series: u32) {
    let mut watch = Watch::new(series / CALLS, CALLS, Consumer::Top.aggregate());
    watch.read();
    bencher.counter(ItemsCount::new(series)).bench_local(|| watch.processes());
}

/// The answer to a scrape of about as many series, as Prometheus counts them.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_prometheus(bencher: Bencher<'_, '_>, series: u32) {
    encode_metrics(bencher, series, Format::Text);
}

/// The same in the text format of OpenMetrics.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_openmetrics(bencher: Bencher<'_, '_>, series: u32) {
    encode_metrics(bencher, series, Format::OpenMetrics);
}

/// The same in the protobuf format, which has native histograms too.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_protobuf(bencher: Bencher<'_, '_>, series: u32) {
    encode_metrics(bencher, series, Format::Protobuf);
}

fn encode_metrics(bencher: Bencher<'_, '_>, series: u32, format: Format) {
    let exposition = exposition(series);
    bencher
        .counter(ItemsCount::new(samples(&exposition)))
        .bench_local(|| metrics::encode(black_box(&exposition), format).expect("it encodes"));
}

/// The text format, compressed: all of what the thread of HTTP does for the first scrape of a
/// reading.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_prometheus_gzip(bencher: Bencher<'_, '_>, series: u32) {
    encode_compressed(bencher, series, Format::Text);
}

/// The protobuf format, compressed.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_protobuf_gzip(bencher: Bencher<'_, '_>, series: u32) {
    encode_compressed(bencher, series, Format::Protobuf);
}

fn encode_compressed(bencher: Bencher<'_, '_>, series: u32, format: Format) {
    let exposition = exposition(series);
    bencher.counter(ItemsCount::new(samples(&exposition))).bench_local(|| {
        Bodies::default().get(black_box(&exposition), format, true).expect("it encodes")
    });
}

/// The same in OpenMetrics, which Prometheus asks for by default.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_openmetrics_gzip(bencher: Bencher<'_, '_>, series: u32) {
    encode_compressed(bencher, series, Format::OpenMetrics);
}

/// Containers of a group, and the calls of each.
const MEMBERS: usize = 100;
const CALLS_OF_MEMBER: usize = 40;

/// What the containers of a group did between two drains.
fn added() -> Added {
    let keys = (0..CALLS_OF_MEMBER as u32).map(|nr| metrics::call_name(CallKey(nr), None));
    let mut counts = Counts::default();
    for counter in [Counter::Calls, Counter::Errors, Counter::Nanoseconds] {
        counts.add(counter, 1_000);
    }
    let rows: Vec<_> = keys.map(|name| (name, counts)).collect();
    let value = |n: usize| [format!("container-{n:03}")].into();
    (0..MEMBERS).map(|n| (value(n), rows.clone())).collect()
}

fn group() -> Group {
    let spec = GroupSpec {
        name: "containers".into(),
        dimensions: [Dimension::Container].into(),
        rank_by: RankBy::Calls,
        top: 1_000,
        max_series: 20_000,
        expire: Duration::from_secs(900),
    };
    let mut group = Group::new(spec, Duration::ZERO, &GroupRows::new());
    group.add(Duration::from_secs(1), &added());
    group
}

/// What a drain adds to a group, while a reading of the last drain is still served.
#[divan::bench]
fn add_to_group(bencher: Bencher<'_, '_>) {
    let (mut group, added) = (group(), added());
    let mut served = group.reading();
    let mut now = Duration::from_secs(1);
    bencher.counter(ItemsCount::new(MEMBERS * CALLS_OF_MEMBER)).bench_local(|| {
        now += Duration::from_secs(1);
        group.add(now, black_box(&added));
        served = group.reading();
    });
    drop(served);
}

/// The answer to a scrape with a group of 12,000 series.
#[divan::bench(args = Format::ALL, max_time = 2)]
fn encode_group(bencher: Bencher<'_, '_>, format: Format) {
    let exposition = group_page();
    bencher
        .counter(ItemsCount::new(samples(&exposition)))
        .bench_local(|| metrics::encode(black_box(&exposition), format).expect("it encodes"));
}

/// The same, compressed.
#[divan::bench(args = Format::ALL, max_time = 2)]
fn encode_group_gzip(bencher: Bencher<'_, '_>, format: Format) {
    let exposition = group_page();
    bencher.counter(ItemsCount::new(samples(&exposition))).bench_local(|| {
        Bodies::default().get(black_box(&exposition), format, true).expect("it encodes")
    });
}

fn group_page() -> Exposition {
    let service = Service { groups: [group().reading()].into(), ..Service::default() };
    let health = Health { timed: Timed::All, ..Health::default() };
    let snapshot = Arc::new(Snapshot { health, ..Snapshot::default() });
    Exposition { snapshot, service, ..Exposition::default() }
}

fn samples(exposition: &Exposition) -> usize {
    let text = metrics::text(exposition).expect("it encodes");
    text.lines().filter(|line| !line.starts_with('#')).count()
}

/// `stat --by process,syscall --format json`, from its snapshot.
#[divan::bench(args = SERIES, max_time = 2)]
fn encode_json(bencher: Bencher<'_, '_>, series: u32) {
    encode(bencher, series, |report| {
        let mut out = Vec::new();
        json::write(&mut out, report).expect("memory takes all");
        out
    });
}

fn encode(bencher: Bencher<'_, '_>, series: u32, write: impl Fn(&Report<'_>) -> Vec<u8>) {
    let snapshot = processes(series);
    let origin = profiler::present::origin::Origin::here(&[]);
    bencher.counter(ItemsCount::new(series)).bench_local(|| {
        let rows = rows(&snapshot, Grouping::PROCESS_SYSCALL, Span::Total, SortKey::Total);
        write(&Report {
            origin: &origin,
            rows: &rows,
            hidden: &Hidden::default(),
            shown: &Shown::default(),
            by: Grouping::PROCESS_SYSCALL,
            window: snapshot.window,
            health: &snapshot.health,
            in_flight: &snapshot.in_flight,
            operations: &[],
            coverage: &snapshot.io_uring.coverage,
            failures: &[],
            failure_coverage: snapshot.failures.coverage,
            security_modules: None,
            own: None,
            scope: &profiler::model::Scope::Host,
            filter: &profiler::filter::Filter::default(),
            verdict: None,
            more_follow: false,
        })
    });
}

/// A refresh of `top`: a snapshot arrives, and its frame is drawn.
#[divan::bench(args = SERIES, sample_size = 1, max_time = 2)]
fn render(bencher: Bencher<'_, '_>, series: u32) {
    let snapshot = processes(series);
    let mut screen = Screen::new(120, 40);
    bencher
        .counter(ItemsCount::new(series))
        .with_inputs(|| snapshot.clone())
        .bench_local_values(|snapshot| screen.refresh(snapshot));
}

/// Cgroups of the host, each of a container.
const CGROUPS: u64 = 300;

/// The same for the list of containers: 1,000 processes with 20 calls each, in 300 cgroups. Each
/// process has made its calls in so many of them, which is one unless it moves.
#[divan::bench(args = [1, 8, 64], sample_size = 1, max_time = 4)]
fn render_containers(bencher: Bencher<'_, '_>, cgroups_of_a_process: u64) {
    let mut snapshot = processes(1_000 * CALLS);
    for (row, first) in snapshot.processes.iter_mut().zip(0..) {
        let cgroups = (first..first + cgroups_of_a_process).map(|n| 1 + n % CGROUPS);
        let parts = cgroups.map(|cgroup| CgroupRow { cgroup, calls: row.calls.clone() });
        row.cgroups = parts.collect();
        row.cgroup = row.cgroups[0].cgroup;
    }
    let path = |id: u64| format!("/system.slice/docker-{id:064x}.scope");
    let cgroups = (1..=CGROUPS).map(|id| (id, Arc::new(Cgroup::at(&path(id)))));
    snapshot.cgroups = Arc::new(cgroups.collect());
    // All calls are in the interval.
    let snapshot = snapshot.since(None);
    let mut screen = Screen::of_containers(120, 40);
    bencher
        .counter(ItemsCount::new(1_000 * u64::from(CALLS) * cgroups_of_a_process))
        .with_inputs(|| snapshot.clone())
        .bench_local_values(|snapshot| screen.refresh(snapshot));
}

fn figures(calls: u64, ns: u64) -> Figures {
    let mut figures =
        Figures { calls, returned: calls, total_ns: calls * ns, ..Figures::default() };
    for octave in 0..4 {
        for _ in 0..calls {
            figures.latency.record(ns << octave);
        }
    }
    figures
}

/// A snapshot with this many series, in processes with [`CALLS`] each.
fn processes(series: u32) -> Snapshot {
    let mut watch = Watch::new(series / CALLS, CALLS, Consumer::Top.aggregate());
    watch.read();
    Snapshot { window: Duration::from_secs(1), processes: watch.processes(), ..watch.totals() }
}

/// Series of one syscall without errors: its count, and its histogram.
const OF_A_CALL: u32 = 1 + 8;
/// Maximum number of syscalls that a host uses.
const MOST_CALLS: u32 = 1_000;

fn exposition(series: u32) -> Exposition {
    static NAMED: LazyLock<Vec<CallKey>> = LazyLock::new(|| {
        let keys =
            (0..profiler_common::call::OVERFLOW_SLOTS).filter_map(CallKey::from_overflow_index);
        keys.filter(|key| profiler::names::syscalls::name(*key) != "unknown").collect()
    });
    let calls = (series / OF_A_CALL).clamp(1, MOST_CALLS.min(NAMED.len() as u32));
    // The rest are errors.
    let errnos = (series / calls).saturating_sub(OF_A_CALL);
    let row = |key: &CallKey| {
        let mut total = figures(100, 1_500);
        (1..=errnos).for_each(|errno| total.add_errno(errno as u16, 1));
        CallRow::new(*key, total)
    };
    let calls = NAMED.iter().take(calls as usize).map(row).collect();
    let snapshot = Snapshot { calls, ..Snapshot::default() };
    Exposition { snapshot: Arc::new(snapshot), ..Exposition::default() }
}
