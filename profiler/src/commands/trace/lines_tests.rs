//! Lines of events that are stated here.

use std::time::{Duration, SystemTime};

use clap::Parser as _;
use profiler_common::call::{Abi, CallKey};

use super::{
    lines::{Lines, Start},
    order::Step,
};
use crate::{
    commands::cli::{Cli, Command},
    model::{Call, Event, Happened, Left, SignalDelivered},
};

const MS: u64 = 1_000_000;

/// The profiler started at one second of `CLOCK_MONOTONIC`.
const START_NS: u64 = 1_000 * MS;

fn lines(flags: &[&str]) -> Lines {
    let words = ["profiler", "trace"].iter().chain(flags);
    let Command::Trace(args) = Cli::try_parse_from(words).expect("valid flags").command else {
        panic!("another command");
    };
    let wall = SystemTime::UNIX_EPOCH + Duration::from_nanos(1_700_000_000_123_456_789);
    Lines::new(&args, Start { wall, monotonic_ns: START_NS })
}

fn text(lines: &mut Lines, steps: &[Step]) -> String {
    let mut out = Vec::new();
    steps.iter().for_each(|step| lines.write(step, &mut out));
    lines.finish(&[], &mut out);
    String::from_utf8(out).expect("UTF-8")
}

fn event(tid: u32, happened: Happened) -> Event {
    Event { tid, tgid: 7, comm: "a\u{1b}b".into(), dropped: 0, happened }
}

/// A call of thread `tid` that entered and left at these milliseconds after the start.
fn call(tid: u32, nr: u32, args: [u64; 6], entry: u64, exit: Option<(u64, i64)>) -> Event {
    let left = exit.map(|(exit, result)| Left { exit_ns: START_NS + exit * MS, result });
    let happened = Happened::Call(Call {
        key: CallKey::of(Abi::X86_64, nr),
        args,
        entry_ns: Some(START_NS + entry * MS),
        left,
        thread_ended_ns: None,
        is_denied: false,
        is_cut: false,
        parts: Vec::new(),
    });
    event(tid, happened)
}

/// getppid(2), which has no arguments.
fn getppid(tid: u32, entry: u64, exit: u64) -> Step {
    Step::Whole(call(tid, 110, [0; 6], entry, Some((exit, 42))))
}

fn close(entry: u64, exit: Option<(u64, i64)>) -> Event {
    call(7, 3, [5, 0, 0, 0, 0, 0], entry, exit)
}

#[test]
fn a_line_has_time_process_name_call_and_duration() {
    let steps = [getppid(7, 2, 3), getppid(8, 1_500, 1_502)];
    assert_eq!(
        text(&mut lines(&[]), &steps),
        "22:13:20.125456 7 a\u{fffd}b getppid()         = 42 <0.001000000>\n\
         22:13:21.623456 7/8 a\u{fffd}b getppid()       = 42 <0.002000000>\n"
    );
}

#[test]
fn columns_and_clocks_are_chosen() {
    let of =
        |flags: &[&str]| text(&mut lines(flags), &[getppid(8, 2, 3), getppid(8, 1_502, 1_503)]);
    let second = |flags: &[&str]| of(flags).lines().nth(1).map(str::to_owned);
    let call = "getppid()                               = 42";
    assert_eq!(of(&["--columns", "call"]), format!("{call}\n{call}\n"));
    let time = |clock| second(&["--columns", "time", "--clock", clock]);
    assert_eq!(time("date").as_deref(), Some("2023-11-14T22:13:21.625456Z"));
    assert_eq!(time("unix").as_deref(), Some("1700000001.625456"));
    assert_eq!(time("monotonic").as_deref(), Some("2.502000"));
    assert_eq!(time("elapsed").as_deref(), Some("1.502000"));
    assert_eq!(time("relative").as_deref(), Some("1.500000"));
    assert_eq!(second(&["--columns", "tid,comm"]).as_deref(), Some("8 a\u{fffd}b"));
}

#[test]
fn a_call_that_lasts_is_one_line_if_no_other_comes_between() {
    let begun = Step::Begun(close(1, None));
    let resumed = Step::Resumed(close(1, Some((201, 0))));
    let flags = ["--columns", "tid,call,duration"];
    assert_eq!(
        text(&mut lines(&flags), &[begun.clone(), resumed.clone()]),
        "7 close(5)                              = 0 <0.200000000>\n"
    );
    assert_eq!(
        text(&mut lines(&flags), &[begun.clone(), getppid(8, 50, 51), resumed]),
        "7 close(5 <unfinished ...>\n\
         8 getppid()                             = 42 <0.001000000>\n\
         7 <... close resumed>)                  = 0 <0.200000000>\n"
    );
    // It does not leave before the profiler ends.
    assert_eq!(text(&mut lines(&flags), &[begun]), "7 close(5 <unfinished ...>\n");
}

#[test]
fn signals_ends_and_losses_have_lines() {
    let signal =
        SignalDelivered { at_ns: START_NS, number: 15, code: 0, pid: 9, uid: 1_000, address: 0 };
    let mut signal = event(7, Happened::Signal(signal));
    signal.dropped = 2;
    let end = event(7, Happened::Ended { at_ns: START_NS, status: 0x0f, is_last: true });
    assert_eq!(
        text(&mut lines(&["--columns", "pid"]), &[Step::Whole(signal), Step::Whole(end)]),
        "7 --- 2 events of this thread dropped ---\n\
         7 --- SIGTERM {si_signo=SIGTERM, si_code=SI_USER, si_pid=9, si_uid=1000} ---\n\
         7 +++ killed by SIGTERM +++\n"
    );
}

#[test]
fn an_object_has_typed_arguments() {
    let mut lines = lines(&["--format", "json"]);
    let begun = Step::Begun(close(1, None));
    let failed = Step::Resumed(close(1, Some((201, -9))));
    let end =
        Step::Whole(event(8, Happened::Ended { at_ns: START_NS, status: 256, is_last: false }));
    assert_eq!(
        text(&mut lines, &[begun, failed, end]),
        concat!(
            r#"{"schema":1,"event":"call","time":"2023-11-14T22:13:20.124456789Z","#,
            r#""monotonic_ns":1001000000,"pid":7,"tid":7,"comm":"a\u001bb","abi":"x86_64","#,
            r#""syscall":"close","args":{"fd":5},"result":-9,"errno":"EBADF","#,
            r#""duration_ns":200000000,"denied":false,"in_flight":false,"thread_ended":false}"#,
            "\n",
            r#"{"schema":1,"event":"end","time":"2023-11-14T22:13:20.123456789Z","#,
            r#""monotonic_ns":1000000000,"pid":7,"tid":8,"comm":"a\u001bb","exit_code":1,"#,
            r#""signal":null,"core_dumped":false,"last_thread":false}"#,
            "\n"
        )
    );
}
