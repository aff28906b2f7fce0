//! Tests of rows, on fixed and on random snapshots.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

use proptest::prelude::*;

use super::*;
use crate::model::{Cgroup, Extremes, NO_CGROUP, ProcessRow};

fn is_sorted(rows: &[Row], compare: impl Fn(&Row, &Row) -> Ordering) -> bool {
    rows.windows(2).all(|pair| compare(&pair[0], &pair[1]) != Ordering::Greater)
}

fn figures(calls: u64, ns: u64) -> Figures {
    let mut figures = Figures {
        calls,
        returned: calls,
        total_ns: calls * ns,
        extremes: Some(Extremes { min_ns: ns, max_ns: ns }),
        ..Figures::default()
    };
    figures.latency.add(profiler_common::hist::bucket(ns) as usize, calls);
    figures
}

fn call(nr: u32, total: Figures, recent: Figures) -> CallRow {
    CallRow { recent, ..CallRow::new(CallKey(nr), total) }
}

fn snapshot() -> Snapshot {
    let process = |tgid: u32, comm: &str, calls: Vec<CallRow>| {
        ProcessRow::new(Process::new(tgid, 0, comm), calls)
    };
    let none = Figures::default;
    Snapshot {
        calls: vec![call(0, figures(3, 1000), figures(1, 1000)), call(1, figures(20, 100), none())],
        processes: vec![
            process(7, "b", vec![call(0, figures(1, 1000), none())]),
            process(
                9,
                "a",
                vec![
                    call(0, figures(2, 1000), figures(1, 1000)),
                    call(1, figures(20, 100), none()),
                ],
            ),
        ],
        ..Snapshot::default()
    }
}

fn names(rows: &[Row]) -> Vec<(Option<u32>, Option<&'static str>, u64)> {
    rows.iter().map(|r| (r.process().and_then(|p| p.tgid), r.syscall(), r.figures.calls)).collect()
}

#[test]
fn groups() {
    let s = snapshot();
    let by = |by| rows(&s, by, Span::Total, SortKey::Total);
    assert_eq!(names(&by(Grouping::SYSCALL)), [(None, Some("read"), 3), (None, Some("write"), 20)]);
    assert_eq!(names(&by(Grouping::PROCESS)), [(Some(9), None, 22), (Some(7), None, 1)]);
    // Two rows have the same total time. The row with more calls comes first.
    assert_eq!(
        names(&by(Grouping::PROCESS_SYSCALL)),
        [(Some(9), Some("write"), 20), (Some(9), Some("read"), 2), (Some(7), Some("read"), 1)]
    );
}

/// Two processes of one name, one of which makes i386 calls.
#[test]
fn rows_are_told_apart_by_any_dimensions() {
    let mut s = snapshot();
    let mut namesake = s.processes[0].clone();
    namesake.process = Arc::new(Process { tgid: Some(8), ..(*namesake.process).clone() });
    let i386 = CallRow::new(CallKey::of(Abi::I386, 3), figures(5, 1000));
    namesake.calls = vec![call(0, figures(4, 1000), Figures::default()), i386].into();
    s.processes.push(namesake);
    let by = |dimensions: &[Dimension]| {
        let by = dimensions.iter().copied().collect();
        let mut rows: Vec<_> = rows(&s, by, Span::Total, SortKey::Name)
            .iter()
            .map(|row| {
                let process = row.process().and_then(|process| process.tgid);
                let comm = row.comm().map(|comm| comm.raw().to_owned()).unwrap_or_default();
                let abi = row.abi().map(Abi::name).unwrap_or_default();
                (process, comm, abi, row.syscall().unwrap_or_default(), row.figures.calls)
            })
            .collect();
        rows.sort();
        rows
    };
    let row =
        |process, comm: &str, abi, syscall, calls| (process, comm.to_owned(), abi, syscall, calls);
    assert_eq!(by(&[Dimension::Comm]), [row(None, "a", "", "", 22), row(None, "b", "", "", 10)]);
    assert_eq!(
        by(&[Dimension::Abi, Dimension::Comm]),
        [
            row(None, "a", "x86_64", "", 22),
            row(None, "b", "i386", "", 5),
            row(None, "b", "x86_64", "", 5),
        ]
    );
    assert_eq!(
        by(&[Dimension::Comm, Dimension::Syscall]),
        [
            row(None, "a", "x86_64", "read", 2),
            row(None, "a", "x86_64", "write", 20),
            row(None, "b", "i386", "read", 5),
            row(None, "b", "x86_64", "read", 5),
        ]
    );
    assert_eq!(
        by(&[Dimension::Process, Dimension::Abi]),
        [
            row(Some(7), "b", "x86_64", "", 1),
            row(Some(8), "b", "i386", "", 5),
            row(Some(8), "b", "x86_64", "", 4),
            row(Some(9), "a", "x86_64", "", 22),
        ]
    );
    // Over all processes, whether they are still listed or not.
    assert_eq!(by(&[Dimension::Abi]), [row(None, "", "x86_64", "", 23)]);
}

#[test]
fn an_interval_shows_only_what_it_brought() {
    let s = snapshot();
    let rows = rows(&s, Grouping::PROCESS_SYSCALL, Span::Recent, SortKey::Total);
    assert_eq!(names(&rows), [(Some(9), Some("read"), 1)]);
}

#[test]
fn what_entered_before_the_interval_is_in_flight_in_it() {
    let mut s = snapshot();
    // Five entered, two of them long ago; one returned in this interval.
    let of_interval = Figures { calls: 3, returned: 1, ..Figures::default() };
    let total = Figures { calls: 5, returned: 1, ..Figures::default() };
    s.calls = vec![call(0, total, of_interval)];
    for span in [Span::Recent, Span::Total] {
        assert_eq!(rows(&s, Grouping::SYSCALL, span, SortKey::Total)[0].in_flight, 4);
    }
}

#[test]
fn every_sort_key_sorts_by_its_column() {
    let s = snapshot();
    let sorted = |key| rows(&s, Grouping::PROCESS_SYSCALL, Span::Total, key);
    let by = |f: fn(&Figures) -> u64| move |a: &Row, b: &Row| f(&b.figures).cmp(&f(&a.figures));
    assert!(is_sorted(&sorted(SortKey::Total), by(|f| f.total_ns)));
    assert!(is_sorted(&sorted(SortKey::Calls), by(|f| f.calls)));
    assert!(is_sorted(&sorted(SortKey::Errors), by(|f| f.errors)));
    assert!(is_sorted(&sorted(SortKey::Mean), by(Figures::mean_ns)));
    assert!(is_sorted(&sorted(SortKey::P50), by(|f| f.quantiles([0.5])[0])));
    assert!(is_sorted(&sorted(SortKey::P99), by(|f| f.quantiles([0.99])[0])));
    assert!(is_sorted(&sorted(SortKey::Max), by(Figures::max_ns)));
    assert!(is_sorted(&sorted(SortKey::Name), |a, b| a.order().cmp(&b.order())));
}

#[test]
fn errors_have_names() {
    let mut f = Figures { errors: 4, errors_unlisted: 1, ..Figures::default() };
    f.add_errno(11, 2);
    f.add_errno(2, 1);
    let errnos = errnos(&f);
    let shown: Vec<_> = errnos.iter().map(|(name, &n)| (name.as_str(), n)).collect();
    assert_eq!(shown, [("EAGAIN", 2), ("ENOENT", 1), ("other", 1)]);
    f.add_errno(13, 1_234);
    assert_eq!(errors_by_name(&f), ["EACCES 1,234", "EAGAIN 2", "ENOENT 1", "other 1"]);
}

/// Process id, user, whether its threads are listed, and calls by call, thread and number.
type AnyProcess = (Option<u32>, Option<u32>, bool, Vec<(u8, u8, u8)>);

fn any_process() -> impl Strategy<Value = AnyProcess> {
    let calls = prop::collection::vec((0..4_u8, 0..3_u8, 1..9_u8), 0..9);
    (prop::option::of(0..4_u32), prop::option::of(0..3_u32), any::<bool>(), calls)
}

/// The calls by cgroup: one cgroup if there is at most one call, and else each call in the next of
/// three.
fn divided(calls: &[CallRow]) -> (u64, Vec<CgroupRow>) {
    let mut cgroups: BTreeMap<u64, Vec<CallRow>> = BTreeMap::new();
    for (at, row) in calls.iter().enumerate() {
        cgroups.entry(at as u64 % 3).or_default().push(row.clone());
    }
    let first = cgroups.keys().next().copied().unwrap_or(NO_CGROUP);
    let row = |(cgroup, calls): (u64, Vec<CallRow>)| CgroupRow { cgroup, calls: calls.into() };
    let rows: Vec<CgroupRow> = cgroups.into_iter().map(row).collect();
    (first, if rows.len() > 1 { rows } else { Vec::new() })
}

proptest! {
    /// Every grouping has the same total.
    #[test]
    fn no_grouping_changes_a_sum(
        processes in prop::collection::vec(any_process(), 0..8),
        groupings in prop::collection::vec(1..1_u32 << Dimension::ALL.len(), 40),
    ) {
        let docker = format!("/docker/{}", "3f".repeat(32));
        let mut s = Snapshot {
            cgroups: Arc::new(BTreeMap::from([
                (1, Arc::new(Cgroup::at("/system.slice/a.service"))),
                (2, Arc::new(Cgroup::at(&docker))),
            ])),
            ..Snapshot::default()
        };
        for (at, (tgid, uid, has_threads, calls)) in processes.iter().enumerate() {
            let mut process = Process::new(tgid.unwrap_or(0), at as u64, ["a", "b"][at % 2]);
            (process.tgid, process.uid) = (*tgid, *uid);
            let mut of_threads: BTreeMap<u8, Vec<CallRow>> = BTreeMap::new();
            let mut all = Vec::new();
            for &(nr, thread, n) in calls {
                let key = [CallKey(0), CallKey(1), CallKey::of(Abi::I386, 3), CallKey(202)];
                let row = CallRow::new(key[usize::from(nr)], figures(n.into(), 100));
                of_threads.entry(thread).or_default().push(row.clone());
                s.calls.push(row.clone());
                all.push(row);
            }
            let mut row = ProcessRow::new(process, all);
            (row.cgroup, row.cgroups) = divided(&row.calls);
            if *has_threads {
                let thread = |(serial, calls): (u8, Vec<CallRow>)| {
                    let (tid, serial) = (serial.into(), serial.into());
                    let thread = Thread { tid, serial, comm: "t".into(), ended: false };
                    let thread = (serial > 0).then(|| Arc::new(thread));
                    let mut row = ThreadRow::new(thread, calls.into());
                    (row.cgroup, row.cgroups) = divided(&row.calls);
                    row
                };
                row.threads = of_threads.into_iter().map(thread).collect();
            }
            s.processes.push(row);
        }
        let whole: Figures = s.calls.iter().map(|row| &row.total).collect();
        let alone = (0..Dimension::ALL.len()).map(|at| 1 << at);
        for bits in groupings.into_iter().chain(alone) {
            let has = |at: &usize| bits & 1 << at != 0;
            let by: Grouping =
                (0..Dimension::ALL.len()).filter(has).map(|at| Dimension::ALL[at]).collect();
            let rows = rows(&s, by, Span::Total, SortKey::Total);
            prop_assert_eq!(&total(&rows), &whole, "{:?}", by);
            let keys: HashSet<&[Value]> = rows.iter().map(|row| &row.key[..]).collect();
            prop_assert_eq!(keys.len(), rows.len(), "{:?}", by);
        }
    }
}

/// A syscall in several classes is in one row, which lists them all.
#[test]
fn categories_and_classes_are_told_apart() {
    let calls = [(0, 1), (1, 2), (257, 4), (202, 8), (4, 16), (400, 32)];
    let row = |(nr, calls)| call(nr, figures(calls, 10), Figures::default());
    let s = Snapshot { calls: calls.into_iter().map(row).collect(), ..Snapshot::default() };
    let rows = |dimension| rows(&s, [dimension].into_iter().collect(), Span::Total, SortKey::Name);
    let by_category: Vec<_> = rows(Dimension::Category)
        .iter()
        .map(|row| (row.category().flatten().map(Category::name), row.figures.calls))
        .collect();
    assert_eq!(
        by_category,
        [(None, 32), (Some("file-management"), 23), (Some("process-control"), 8)]
    );
    let by_class: Vec<_> = rows(Dimension::Class)
        .iter()
        .map(|row| (row.classes().expect("classes").to_string(), row.figures.calls))
        .collect();
    let class = |names: &str, calls| (names.to_owned(), calls);
    assert_eq!(
        by_class,
        [class("%desc", 3), class("%file", 16), class("%file %desc", 4), class("-", 40)]
    );
}

#[test]
fn threads_and_users_are_told_apart() {
    let mut s = snapshot();
    s.users = Arc::new([(0, "root".into())].into());
    let thread = |serial: u64, comm: &str, calls| {
        let thread = Thread { tid: 70, serial, comm: comm.into(), ended: false };
        let calls = vec![call(0, figures(calls, 1000), Figures::default())];
        ThreadRow::new(Some(Arc::new(thread)), Arc::new(calls))
    };
    let of_ended = ThreadRow { thread: None, ..thread(0, "", 1) };
    let mut own = (*s.processes[0].process).clone();
    own.uid = Some(0);
    s.processes[0].process = Arc::new(own);
    s.processes[0].threads = vec![thread(1, "x", 2), thread(2, "x", 4), of_ended];
    let by = |dimensions: &[Dimension]| {
        let by = dimensions.iter().copied().collect();
        rows(&s, by, Span::Total, SortKey::Calls)
    };
    // The third is of a process whose threads are not listed.
    let by_thread = by(&[Dimension::Thread]);
    let shown: Vec<_> = by_thread
        .iter()
        .map(|row| (row.thread().map(|thread| thread.serial), row.comm().expect("a name").raw()))
        .collect();
    assert_eq!(shown, [(None, "a"), (Some(2), "b"), (Some(1), "b"), (None, "b")]);
    let by_user = by(&[Dimension::User]);
    let shown: Vec<_> = by_user.iter().map(|row| row.user().map(ToString::to_string)).collect();
    assert_eq!(shown, [None, Some("root".to_owned())]);
    assert_eq!(User { uid: 7, name: None }.to_string(), "7");
}
