//! Tests that rows grow, leave the list, and are shared between snapshots.

use profiler_common::call::Abi;

use super::*;
use crate::{aggregate::keep_ended::MAX_ENDED, model::NO_CGROUP};

const READ: CallKey = CallKey(0);
const WRITE: CallKey = CallKey(1);

fn calls(n: u64) -> Figures {
    Figures { calls: n, returned: n, total_ns: 10 * n, ..Figures::default() }
}

fn identity(tgid: u32) -> Identity {
    Identity { tgid, start_ns: 7 }
}

fn thread_id(tid: u32) -> ThreadId {
    ThreadId { tid, random: 7 }
}

fn in_cgroup(cgroup: u64, calls: Vec<CallRow>) -> CgroupRow {
    CgroupRow { cgroup, calls: Arc::new(calls) }
}

fn shown(aggregate: &Aggregate) -> Vec<(Option<u32>, u64)> {
    let mut rows: Vec<_> = aggregate
        .processes(Detail::Processes)
        .iter()
        .map(|row| (row.process.tgid, row.total().calls))
        .collect();
    rows.sort_unstable();
    rows
}

/// Makes a reading at this second.
fn read_at(aggregate: &mut Aggregate, second: u64) {
    aggregate.begin_reading(Duration::from_secs(second));
    aggregate.forget_ended();
}

#[test]
fn totals_grow() {
    let mut all = Aggregate::new(KeepEnded::Always);
    let a = all.thread_started(identity(1), b"a");
    let b = all.thread_started(identity(2), b"b");
    all.add(Some((a, NO_CGROUP)), READ, &calls(3));
    all.add(Some((b, NO_CGROUP)), READ, &calls(4));
    all.add(Some((b, NO_CGROUP)), WRITE, &calls(1));
    assert_eq!(shown(&all), [(Some(1), 3), (Some(2), 5)]);
    all.add(Some((a, NO_CGROUP)), READ, &calls(2));
    assert_eq!(shown(&all), [(Some(1), 5), (Some(2), 5)]);
    let totals: Vec<_> = all.calls().iter().map(|r| (r.key, r.total.calls)).collect();
    assert_eq!(totals, [(READ, 9), (WRITE, 1)]);
}

#[test]
fn a_reused_id_is_another_process() {
    let mut all = Aggregate::new(KeepEnded::Always);
    let old = all.thread_started(Identity { tgid: 1, start_ns: 1 }, b"old");
    all.add(Some((old, NO_CGROUP)), READ, &calls(1));
    all.thread_ended(old);
    let new = all.thread_started(Identity { tgid: 1, start_ns: 2 }, b"new");
    all.add(Some((new, NO_CGROUP)), READ, &calls(2));
    assert_eq!(shown(&all), [(Some(1), 1), (Some(1), 2)]);
}

#[test]
fn ended_processes_leave_and_totals_stay() {
    let mut all = Aggregate::new(KeepEnded::For(Duration::from_secs(1)));
    read_at(&mut all, 1);
    let a = all.thread_started(identity(1), b"a");
    all.add(Some((a, NO_CGROUP)), READ, &calls(3));
    all.thread_ended(a);
    assert!(all.all_ended());
    read_at(&mut all, 2);
    assert_eq!(shown(&all), [(Some(1), 3)]);
    read_at(&mut all, 3);
    assert_eq!(shown(&all), [(None, 3)]);
    assert_eq!(all.calls()[0].total.calls, 3);
}

/// A consumer that reads at intervals of a second, and is once ten seconds late.
#[test]
fn a_late_reading_still_lists_what_has_ended() {
    let mut all = Aggregate::new(KeepEnded::For(Duration::from_secs(1)));
    read_at(&mut all, 1);
    let a = all.thread_started(identity(1), b"a");
    all.add(Some((a, NO_CGROUP)), READ, &calls(3));
    all.thread_ended(a);
    read_at(&mut all, 11);
    assert_eq!(shown(&all), [(Some(1), 3)]);
    read_at(&mut all, 12);
    assert_eq!(shown(&all), [(None, 3)]);
}

#[test]
fn a_process_with_a_thread_left_is_not_forgotten() {
    let mut all = Aggregate::new(KeepEnded::For(Duration::ZERO));
    let a = all.thread_started(identity(1), b"a");
    all.thread_ended(a);
    let again = all.thread_started(identity(1), b"a");
    assert_eq!(a, again);
    (1..4).for_each(|second| read_at(&mut all, second));
    all.add(Some((again, NO_CGROUP)), READ, &calls(1));
    assert_eq!(shown(&all), [(Some(1), 1)]);
    assert!(!all.all_ended());
}

#[test]
fn too_many_ended_processes_are_folded_and_nothing_is_lost() {
    for keep in [KeepEnded::Always, KeepEnded::For(Duration::from_secs(1))] {
        let mut all = Aggregate::new(keep);
        let processes = MAX_ENDED as u32 + 50;
        for tgid in 1..=processes {
            let p = all.thread_started(identity(tgid), b"x");
            all.add(Some((p, NO_CGROUP)), READ, &calls(1));
            all.thread_ended(p);
        }
        read_at(&mut all, 1);
        let rows = shown(&all);
        assert_eq!(rows.len(), MAX_ENDED + 1);
        assert_eq!(rows[0], (None, 50));
        assert_eq!(rows.iter().map(|r| r.1).sum::<u64>(), u64::from(processes));
    }
}

/// A snapshot copies only rows that changed since the previous snapshot, and never changes
/// afterwards.
#[test]
fn a_snapshot_shares_what_has_not_changed() {
    let mut all = Aggregate::new(KeepEnded::Always);
    let [a, b] = [1, 2].map(|tgid| all.thread_started(identity(tgid), b"x"));
    for process in [a, b] {
        all.add(Some((process, NO_CGROUP)), READ, &calls(3));
    }
    let first = all.processes(Detail::Processes);
    all.add(Some((a, NO_CGROUP)), READ, &calls(4));
    let second = all.processes(Detail::Processes);
    let figures = |rows: &[ProcessRow]| rows.iter().map(|r| r.total().calls).collect::<Vec<_>>();
    assert_eq!((figures(&first), figures(&second)), (vec![3, 3], vec![7, 3]));
    let shared = |at: usize| Arc::ptr_eq(&first[at].calls, &second[at].calls);
    assert_eq!([shared(0), shared(1)], [false, true]);
}

#[test]
fn the_latest_name_counts() {
    let name = |text: &[u8]| {
        let mut comm = [0; COMM_LEN];
        comm[..text.len()].copy_from_slice(text);
        comm
    };
    let mut all = Aggregate::new(KeepEnded::Always);
    let process = all.thread_started(identity(1), &name(b"old"));
    let called = |all: &Aggregate| all.process(process).expect("a process").comm.to_string();
    all.rename(process, &name(b"old"), 0);
    // The name was read while half of it was written, and again afterwards.
    all.rename(process, &name(b"nld"), 20);
    all.rename(process, &name(b"new"), 20);
    assert_eq!(called(&all), "new");
    // An older name, of another thread.
    all.rename(process, &name(b"old"), 0);
    all.rename(process, &name(b"older"), 19);
    assert_eq!(called(&all), "new");
    all.rename(process, &name(b"newest"), 21);
    assert_eq!(called(&all), "newest");
}

#[test]
fn totals_are_kept_without_processes_and_balance_all_the_same() {
    let mut all = Aggregate::totals();
    let a = all.thread_started(identity(1), b"a");
    all.add(Some((a, NO_CGROUP)), READ, &calls(3));
    let account = Account { entered: 3, left: 3, open: Vec::new() };
    all.settle(Some(a), &Account::default(), &account);
    assert!(all.breaches().is_empty());
    assert_eq!(all.calls()[0].total.calls, 3);
    assert_eq!(all.processes(Detail::Processes)[0].calls.len(), 0);
    // The breach of the host is reported too.
    all.add(Some((a, NO_CGROUP)), READ, &calls(1));
    all.settle(Some(a), &account, &account);
    let breaches = all.breaches();
    assert_eq!(breaches.len(), 2, "{breaches:?}");
    assert!(breaches[0].starts_with("process 1 (a): "), "{breaches:?}");
}

#[test]
fn bogus_numbers_make_one_row() {
    let mut all = Aggregate::new(KeepEnded::Always);
    for nr in [400, 410, 511] {
        all.add(None, CallKey::of(Abi::X86_64, nr), &calls(1));
    }
    let rows = all.calls();
    assert_eq!(rows.len(), 1);
    assert_eq!((rows[0].key, rows[0].total.calls), (CallKey::unknown(Abi::X86_64), 3));
    assert_eq!(shown(&all), [(None, 3)]);
}

const NAME: [u8; COMM_LEN] = *b"worker\0\0\0\0\0\0\0\0\0\0";

/// The rows of the threads of each process: serial number and calls.
fn threads(aggregate: &Aggregate) -> Vec<(Option<u64>, u64)> {
    let processes = aggregate.processes(Detail::Threads);
    for process in processes.iter().filter(|process| process.process.tgid.is_some()) {
        let of_threads = process.threads.iter().flat_map(|thread| thread.calls.iter());
        let sum: Figures = of_threads.map(|row| &row.total).collect();
        assert_eq!(sum.calls, process.total().calls, "threads sum up to their process");
    }
    let mut rows: Vec<_> = processes
        .iter()
        .flat_map(|process| &process.threads)
        .map(|row| {
            let serial = row.thread.as_ref().map(|thread| thread.serial);
            (serial, row.calls.iter().map(|row| row.total.calls).sum())
        })
        .collect();
    rows.sort_unstable();
    rows
}

#[test]
fn ended_threads_leave_and_their_process_keeps_their_calls() {
    let mut all = Aggregate::new(KeepEnded::For(Duration::from_secs(1)));
    all.keep_threads(true);
    read_at(&mut all, 1);
    let process = all.thread_started(identity(1), b"a");
    let first = all
        .list_thread(process, thread_id(1), &NAME, &in_cgroup(NO_CGROUP, Vec::new()))
        .expect("threads are kept");
    all.thread_started(identity(1), b"a");
    let second = all
        .list_thread(process, thread_id(2), &NAME, &in_cgroup(NO_CGROUP, Vec::new()))
        .expect("threads are kept");
    all.add_to_thread(first, NO_CGROUP, READ, &calls(3));
    all.add_to_thread(second, NO_CGROUP, READ, &calls(4));
    all.add_to_thread(second, NO_CGROUP, WRITE, &calls(2));
    assert_eq!(threads(&all), [(Some(0), 3), (Some(1), 6)]);
    all.thread_ended(process);
    all.listed_thread_ended(second);
    read_at(&mut all, 2);
    assert_eq!(threads(&all), [(Some(0), 3), (Some(1), 6)]);
    read_at(&mut all, 3);
    assert_eq!(threads(&all), [(None, 6), (Some(0), 3)]);
    // The process leaves the list with its threads.
    all.thread_ended(process);
    all.listed_thread_ended(first);
    read_at(&mut all, 4);
    read_at(&mut all, 5);
    assert_eq!((threads(&all), shown(&all)), (vec![], vec![(None, 9)]));
    assert!(all.processes(Detail::Processes).iter().all(|process| process.threads.is_empty()));
}

#[test]
fn too_many_ended_threads_are_folded_into_their_process() {
    let mut all = Aggregate::new(KeepEnded::Always);
    all.keep_threads(true);
    let process = all.thread_started(identity(1), b"a");
    let more = 50;
    for tid in 0..MAX_ENDED as u32 + more {
        all.thread_started(identity(1), b"a");
        let thread = all
            .list_thread(process, thread_id(tid), &NAME, &in_cgroup(NO_CGROUP, Vec::new()))
            .expect("threads are kept");
        all.add_to_thread(thread, NO_CGROUP, READ, &calls(1));
        all.thread_ended(process);
        all.listed_thread_ended(thread);
    }
    read_at(&mut all, 1);
    let rows = threads(&all);
    assert_eq!((rows.len(), rows[0]), (MAX_ENDED + 1, (None, u64::from(more))));
}

#[test]
fn rows_by_thread_begin_with_what_is_known_and_can_be_dropped() {
    let mut all = Aggregate::new(KeepEnded::Always);
    let process = all.thread_started(identity(1), b"a");
    all.add(Some((process, NO_CGROUP)), READ, &calls(7));
    assert_eq!(threads_listed(&all), 0);
    all.keep_threads(true);
    let known = vec![CallRow::new(READ, calls(4))];
    let thread = all
        .list_thread(process, thread_id(1), &NAME, &in_cgroup(NO_CGROUP, known))
        .expect("threads are kept");
    all.attribute_rest();
    all.add_to_thread(thread, NO_CGROUP, READ, &calls(1));
    assert_eq!(threads(&all), [(None, 3), (Some(0), 5)]);
    all.rename_thread(thread, Some(9), b"new\0\0\0\0\0\0\0\0\0\0\0\0\0");
    let rows = all.processes(Detail::Threads);
    let named = rows[0].threads[0].thread.as_ref().expect("a thread");
    assert_eq!((named.tid, named.comm.raw()), (9, "new"));
    all.keep_threads(false);
    all.add(Some((process, NO_CGROUP)), READ, &calls(1));
    assert_eq!((threads_listed(&all), shown(&all)), (0, vec![(Some(1), 9)]));
}

fn threads_listed(aggregate: &Aggregate) -> usize {
    aggregate.processes(Detail::Threads).iter().map(|process| process.threads.len()).sum()
}

/// The calls of each row of an owner, by cgroup.
fn by_cgroup(cgroup: u64, calls: &Arc<Vec<CallRow>>, cgroups: &[CgroupRow]) -> Vec<(u64, u64)> {
    let sum = |calls: &[CallRow]| calls.iter().map(|row| row.total.calls).sum();
    if cgroups.is_empty() {
        return vec![(cgroup, sum(calls))];
    }
    cgroups.iter().map(|part| (part.cgroup, sum(&part.calls))).collect()
}

#[test]
fn a_thread_that_moves_is_one_thread_in_two_cgroups() {
    let mut all = Aggregate::new(KeepEnded::Always);
    all.keep_threads(true);
    read_at(&mut all, 1);
    let process = all.thread_started(identity(1), b"a");
    let nothing = |cgroup| in_cgroup(cgroup, Vec::new());
    let thread = all.list_thread(process, thread_id(1), &NAME, &nothing(7)).expect("kept");
    all.add_to_thread(thread, 7, READ, &calls(3));
    // The record has ended, and the next record of the thread is not found yet.
    all.thread_left(process);
    read_at(&mut all, 2);
    assert!(!all.all_ended());
    let process = all.thread_started(identity(1), b"a");
    let again = all.list_thread(process, thread_id(1), &NAME, &nothing(9)).expect("kept");
    assert_eq!(again, thread);
    all.add_to_thread(again, 9, READ, &calls(2));
    read_at(&mut all, 3);
    assert!(!all.all_ended());
    let rows = all.processes(Detail::Threads);
    assert_eq!((rows.len(), rows[0].threads.len(), rows[0].total().calls), (1, 1, 5));
    let row = &rows[0];
    assert_eq!(by_cgroup(row.cgroup, &row.calls, &row.cgroups), [(7, 3), (9, 2)]);
    let thread = &row.threads[0];
    assert_eq!(by_cgroup(thread.cgroup, &thread.calls, &thread.cgroups), [(7, 3), (9, 2)]);
    all.thread_ended(process);
    assert!(all.all_ended());
}

#[test]
fn a_thread_that_moves_and_gets_no_record_ends_with_the_next_reading() {
    let mut all = Aggregate::new(KeepEnded::Always);
    let process = all.thread_started(identity(1), b"a");
    all.thread_left(process);
    read_at(&mut all, 1);
    assert!(!all.all_ended());
    read_at(&mut all, 2);
    assert!(all.all_ended());
}

#[test]
fn ended_processes_and_threads_keep_their_cgroups() {
    let mut all = Aggregate::new(KeepEnded::For(Duration::ZERO));
    for (tgid, cgroup) in [(1, 7), (2, 9), (3, 7)] {
        let process = all.thread_started(identity(tgid), b"x");
        all.add(Some((process, cgroup)), READ, &calls(1));
        all.thread_ended(process);
    }
    read_at(&mut all, 1);
    let rows = all.processes(Detail::Processes);
    let row = &rows[0];
    assert_eq!((rows.len(), row.process.comm.raw()), (1, ENDED_COMM));
    assert_eq!(by_cgroup(row.cgroup, &row.calls, &row.cgroups), [(7, 2), (9, 1)]);
}
