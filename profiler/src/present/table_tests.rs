//! Tests of the table of `profiler stat`, on rows and reports made by hand.

use profiler_common::call::CallKey;

use super::*;
use crate::{
    model::{CallInFlight, EngineDetail, Extremes, Health, KernelDetail, OffCpu},
    present::{
        shown::{Hidden, Shown, Sum},
        testing,
    },
};

fn row(nr: u32, figures: Figures, in_flight: u64) -> Row {
    Row { in_flight, ..Row::of_syscall(CallKey(nr), figures) }
}

fn timed(calls: u64) -> Figures {
    let mut figures = Figures {
        calls,
        returned: calls,
        total_ns: 100 * calls,
        extremes: Some(Extremes { min_ns: 100, max_ns: 100 }),
        ..Figures::default()
    };
    figures.latency.add(profiler_common::hist::bucket(100) as usize, calls);
    figures
}

fn text(rows: &[Row], threads: u64, width: Option<usize>) -> String {
    shown(rows, threads, width, &Shown::default(), &Hidden::default())
}

fn shown(
    rows: &[Row],
    threads: u64,
    width: Option<usize>,
    shown: &Shown,
    hidden: &Hidden,
) -> String {
    let call = CallInFlight {
        key: CallKey(202),
        kind: crate::names::waits::kind(CallKey(202)),
        threads,
        unrecorded: 0,
        before: 0,
        oldest: Duration::ZERO,
    };
    let report = Report {
        rows,
        hidden,
        shown,
        in_flight: &InFlight { calls: vec![call], ..InFlight::default() },
        more_follow: true,
        ..testing::report()
    };
    let mut out = Vec::new();
    write(&mut out, &report, Style { width, ..Style::PLAIN }).expect("a vector takes all");
    testing::unstyled(out)
}

fn every_outcome() -> [Row; 3] {
    let failing = Figures { returned: 10, errors: 1, restarted: 2, denied: 7, ..timed(12) };
    [
        row(0, failing, 0),
        row(231, Figures { calls: 1, never_returned: 1, ..Figures::default() }, 0),
        row(202, Figures { calls: 3, ..Figures::default() }, 3),
    ]
}

#[test]
fn every_outcome_that_there_was_has_a_column() {
    insta::assert_snapshot!(text(&every_outcome(), 3, None), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    16 syscalls in 2.000 s (8.0/s), 1 with an error, 2 restarted, 7 denied, 1 thread exit, 3 in flight

    % time   total  calls  errors   mean    p50    p99    max  denied  in flight  restarted  no return  syscall
     100.0  1.20us     12       1  100ns  100ns  100ns  100ns       7                     2             read
       0.0     0ns      1              -      -      -      -                                        1  exit_group
    Waiting by nature, 0.0 % of the time (--no-waits hides it):
       0.0     0ns      3              -      -      -      -                  3                        futex
    ");
}

#[test]
fn what_did_not_happen_has_none() {
    insta::assert_snapshot!(text(&[row(0, timed(10), 0)], 0, None), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    10 syscalls in 2.000 s (5.0/s), 0 with an error

    % time   total  calls   mean    p50    p99    max  syscall
     100.0  1.00us     10  100ns  100ns  100ns  100ns  read
    ");
}

#[test]
fn a_narrow_terminal_has_the_outcomes_in_the_headline() {
    insta::assert_snapshot!(text(&every_outcome(), 3, Some(50)), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    16 syscalls in 2.000 s (8.0/s), 1 with an error, 2 restarted, 7 denied, 1 thread exit, 3 in flight

    % time   total  calls  errors   mean  syscall
     100.0  1.20us     12       1  100ns  read
       0.0     0ns      1              -  exit_group
    Waiting by nature, 0.0 % of the time (--no-waits hides it):
       0.0     0ns      3              -  futex
    ");
}

fn failing() -> [Row; 2] {
    let errors =
        |errnos: &[(u16, u64)], unlisted: u64| testing::with_errors(timed(1_000), errnos, unlisted);
    let many: Vec<_> = (1..20).map(|errno| (errno, u64::from(errno))).collect();
    [row(257, errors(&[(2, 240), (13, 5)], 7), 0), row(0, errors(&many, 0), 0)]
}

#[test]
fn errors_by_name_are_in_the_line_where_it_has_no_end() {
    let by_name = Shown { show_errno: true, ..Shown::default() };
    let text = |rows: &[Row], width| shown(rows, 0, width, &by_name, &Hidden::default());
    insta::assert_snapshot!(text(&failing()[..1], None), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    1,000 syscalls in 2.000 s (500/s), 252 with an error

    % time  total  calls  errors   mean    p50    p99    max  syscall  errors by name
     100.0  100us  1,000     252  100ns  100ns  100ns  100ns  openat   ENOENT 240, EACCES 5, other 7
    ");
    insta::assert_snapshot!(text(&failing(), Some(80)), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    2,000 syscalls in 2.000 s (1000/s), 442 with an error

    % time  total  calls  errors   mean    p50    p99    max  syscall
      50.0  100us  1,000     252  100ns  100ns  100ns  100ns  openat
            ENOENT 240, EACCES 5, other 7
      50.0  100us  1,000     190  100ns  100ns  100ns  100ns  read
            ENODEV 19, EXDEV 18, EEXIST 17, EBUSY 16, ENOTBLK 15, EFAULT 14,
            EACCES 13, ENOMEM 12, EAGAIN 11, ECHILD 10, EBADF 9, ENOEXEC 8, E2BIG 7,
            ENXIO 6, EIO 5, EINTR 4, ESRCH 3, ENOENT 2, EPERM 1
    ");
    assert!(text(&failing(), Some(80)).lines().all(|line| line.len() <= 80));
    // Without errors there is nothing to name.
    assert!(!text(&[row(0, timed(1), 0)], None).contains("by name"));
}

#[test]
fn what_is_not_shown_is_said_and_counts() {
    let futex = Sum::of(&[row(202, timed(30), 0)]);
    let read = [row(0, timed(10), 0)];
    let no_waits = Shown { no_waits: true, ..Shown::default() };
    let hidden =
        Hidden { rows: 1, left_out: futex.clone(), waits: futex.clone(), waiting_ns: 3_000 };
    insta::assert_snapshot!(shown(&read, 0, None, &no_waits, &hidden), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    40 syscalls in 2.000 s (20/s), 0 with an error

    % time   total  calls   mean    p50    p99    max  syscall
     100.0  1.00us     10  100ns  100ns  100ns  100ns  read

    Not shown (--no-waits): 1 row, with 30 calls, 3.00us (75.0 % of the time).
    ");
    let errnos = vec!["ENOENT".parse().expect("an errno")];
    let failed = Shown { failed: true, errnos, ..Shown::default() };
    let hidden = Hidden { rows: 1, left_out: futex, waits: Sum::default(), waiting_ns: 3_000 };
    insta::assert_snapshot!(shown(&read, 0, None, &failed, &hidden), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    40 syscalls in 2.000 s (20/s), 0 with an error

    % time   total  calls   mean    p50    p99    max  syscall
      25.0  1.00us     10  100ns  100ns  100ns  100ns  read

    Not shown (--failed, --errno ENOENT): 1 row, with 30 calls, 3.00us.
    ");
    let nothing = shown(&read, 0, None, &failed, &Hidden::default());
    assert!(!nothing.contains("Not shown"), "{nothing}");
    let text = shown(&[], 0, None, &failed, &hidden);
    assert!(!text.contains("No syscall was made"), "{text}");
}

#[test]
fn what_waits_by_nature_comes_under_a_heading() {
    let rows = [row(74, timed(10), 0), row(202, timed(30), 0)];
    insta::assert_snapshot!(text(&rows, 0, None), @r"
    2023-11-14T22:13:19.734Z to 2023-11-14T22:13:21.234Z
    40 syscalls in 2.000 s (20/s), 0 with an error

    % time   total  calls   mean    p50    p99    max  syscall
      25.0  1.00us     10  100ns  100ns  100ns  100ns  fsync
    Waiting by nature, 75.0 % of the time (--no-waits hides it):
      75.0  3.00us     30  100ns  100ns  100ns  100ns  futex
    ");
    // If all rows wait by nature, there is no heading.
    assert!(!text(&rows[1..], 0, None).contains("by nature"));
}

#[test]
fn calls_in_flight_from_before_the_attach_are_in_their_sum() {
    let call = CallInFlight {
        key: CallKey(0),
        kind: crate::model::Kind::MayWait,
        threads: 52,
        unrecorded: 0,
        before: 38,
        oldest: Duration::ZERO,
    };
    let in_flight = InFlight { calls: vec![call], oldest: Vec::new(), sees_before: true };
    let line = headline(&timed(16), &in_flight, Duration::from_secs(2));
    assert!(line.ends_with(", 52 in flight (38 entered before the attach)"), "{line}");
}

#[test]
fn calls_without_room_say_whether_a_user_had_used_up_its_share() {
    let text = |greediest_user| {
        let health = Health { overflowed: 7, greediest_user, ..Health::default() };
        let mut out = Vec::new();
        warnings(&mut out, &health).expect("a vector");
        testing::unstyled(out)
    };
    assert!(text(None).contains("raise --max-memory or --max-threads."));
    let said = "--max-threads (a user has used up its share; user 1000 holds the most).";
    assert!(text(Some(1_000)).contains(said), "{}", text(Some(1_000)));
}

#[test]
fn returns_that_the_kernel_did_not_report_are_a_warning() {
    let text = |off_cpu, unreported_returns| {
        let detail = KernelDetail {
            unreported_returns,
            unreported_ns: 1_500_000,
            ..KernelDetail::default()
        };
        let health = Health { off_cpu, engine: EngineDetail::Kernel(detail), ..Health::default() };
        let mut out = Vec::new();
        warnings(&mut out, &health).expect("a vector");
        testing::unstyled(out)
    };
    let said = "The kernel did not report 3 returns to a CPU: up to 1.50ms of 'on cpu' was time off the CPU.\n";
    assert_eq!((text(true, 3), text(true, 0), text(false, 3)), (said.into(), "".into(), "".into()));
}

#[test]
fn the_parts_of_the_time_are_columns_if_they_are_known() {
    let off_cpu = OffCpu { waiting_ns: 250_000, runnable_ns: 50_000 };
    let rows = [row(0, Figures { off_cpu, ..timed(10_000) }, 0)];
    let text = |off_cpu: bool| {
        let health = Health { off_cpu, ..Health::default() };
        let report = Report { rows: &rows, health: &health, ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, &report, Style::PLAIN).expect("a vector takes all");
        testing::unstyled(out)
    };
    let words = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    let split = text(true);
    let title = split.lines().position(|line| line.starts_with("% time")).expect("a title");
    let lines: Vec<_> = split.lines().collect();
    assert!(lines[title].contains("total  on cpu  waiting  runnable  "), "{split}");
    assert_eq!(words(lines[title + 1])[1..5], ["1.00ms", "700us", "250us", "50.0us"], "{split}");
    assert!(!text(false).contains("on cpu"));
}
