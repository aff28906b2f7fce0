//! Calls in flight, at the end of the table of `profiler stat`.

use std::{cmp::Reverse, io, time::Duration};

use super::{
    Report,
    columns::{Column, Form, Whole},
    grid::Grid,
    paint::{BAD, HEADING, PLAIN},
    table::Style,
    units,
};
use crate::{
    model::{CallInFlight, InFlight, Kind, ThreadInFlight},
    names::syscalls,
};

/// Maximum number of listed calls.
const LISTED: usize = 10;
/// Maximum number of syscalls that wait by nature and are named.
const NAMED: usize = 5;
/// The age from which on a call that works is marked. In a report of an interval, it is also the
/// least age of a listed call: the next report counts calls that are younger.
const LASTING: Duration = Duration::from_secs(1);

const COLUMNS: [Column; 6] = {
    use Column::*;
    [Age, Pid, Comm, Tid, Call, Kind]
};

/// Writes the oldest calls that do not wait by nature, and the number of calls that wait by nature.
/// Writes nothing if no call is in flight.
///
/// # Errors
/// If `out` cannot be written.
pub(super) fn write(out: &mut impl io::Write, report: &Report<'_>, style: Style) -> io::Result<()> {
    let in_flight = report.in_flight;
    // If the interval is shorter, a call that lasted for all of it is in no count of the interval.
    let least = if report.more_follow { LASTING.min(report.window) } else { Duration::ZERO };
    let listed: Vec<&ThreadInFlight> = (in_flight.oldest.iter())
        .filter(|thread| thread.kind != Kind::Waits && thread.age >= least)
        .take(LISTED)
        .collect();
    let waiting = if report.more_follow { None } else { waiting(in_flight) };
    if !listed.is_empty() {
        writeln!(out)?;
        list(out, in_flight.count_all(), &listed, style)?;
    }
    let in_all = in_flight.count(Kind::Works) + in_flight.count(Kind::MayWait);
    let more = in_all.saturating_sub(listed.len() as u64);
    if more > 0 && !listed.is_empty() {
        writeln!(out, "and {} more that do not wait by nature", units::grouped(more))?;
    } else if more > 0 && !report.more_follow {
        writeln!(out, "\n{} in flight that do not wait by nature", units::grouped(more))?;
    }
    match waiting {
        Some(waiting) => writeln!(out, "\n{waiting}"),
        None => Ok(()),
    }
}

fn list(
    out: &mut impl io::Write,
    in_flight: u64,
    threads: &[&ThreadInFlight],
    style: Style,
) -> io::Result<()> {
    let of_thread = |thread: &&ThreadInFlight| {
        let cell = |column: Column| column.cell(*thread, Whole::default(), Form::Exact);
        COLUMNS.map(cell).into()
    };
    let cells = threads.iter().map(of_thread).collect();
    let grid = Grid::new(COLUMNS.map(Into::into).into(), cells, style.width);
    let in_flight = units::grouped(in_flight);
    writeln!(
        out,
        "{HEADING}{in_flight} in flight, the oldest that do not wait by nature:{HEADING:#}"
    )?;
    writeln!(out, "{HEADING}{}{HEADING:#}", grid.title().trim_end())?;
    for (thread, line) in threads.iter().zip(grid.lines()) {
        let concern = thread.kind == Kind::Works && thread.age >= LASTING;
        let paint = if concern { BAD } else { PLAIN };
        writeln!(out, "{paint}{}{paint:#}", line.trim_end())?;
    }
    Ok(())
}

/// The number of calls that wait by nature, and the syscalls, in a sentence.
fn waiting(in_flight: &InFlight) -> Option<String> {
    let mut calls: Vec<&CallInFlight> =
        in_flight.calls.iter().filter(|call| call.kind == Kind::Waits).collect();
    let all: u64 = calls.iter().map(|call| call.threads).sum();
    calls.sort_by_key(|call| (Reverse(call.threads), call.key));
    let mut named: Vec<String> = calls
        .iter()
        .take(NAMED)
        .map(|call| {
            format!("{} {}", syscalls::name_with_abi(call.key), units::grouped(call.threads))
        })
        .collect();
    let others: u64 = calls.iter().skip(NAMED).map(|call| call.threads).sum();
    if others > 0 {
        named.push(format!("others {}", units::grouped(others)));
    }
    (all > 0).then(|| format!("{} that wait by nature: {}", units::grouped(all), named.join(", ")))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::{model::Process, present::testing};

    /// Calls with a row of their own each: ABI, number, process, thread, milliseconds.
    fn in_flight(threads: &[(Abi, u32, &str, u32, u64)]) -> InFlight {
        let mut in_flight = InFlight::default();
        for &(abi, nr, comm, tid, age_ms) in threads {
            let process = Process::new(712, 0, comm);
            let (key, age) = (CallKey::of(abi, nr), Duration::from_millis(age_ms));
            in_flight.oldest.push(ThreadInFlight {
                process: Arc::new(process),
                tid,
                key,
                kind: crate::names::waits::kind(key),
                age,
                at_least: false,
            });
            in_flight.calls.push(CallInFlight {
                key,
                kind: crate::names::waits::kind(key),
                threads: 1,
                unrecorded: 0,
                before: 0,
                oldest: age,
            });
        }
        in_flight
    }

    fn stuck() -> InFlight {
        in_flight(&[
            (Abi::X86_64, 74, "postgres", 714, 572_000),
            (Abi::I386, 5, "wine-preloader", 800, 900),
            (Abi::X86_64, 0, "bash", 712, 200_000_000),
            (Abi::X86_64, 202, "java", 801, 12),
            (Abi::X86_64, 232, "nginx", 802, 34_000_000),
        ])
    }

    fn text(in_flight: &InFlight, more_follow: bool, style: Style) -> String {
        testing::unstyled(styled(in_flight, more_follow, style).into_bytes())
    }

    fn styled(in_flight: &InFlight, more_follow: bool, style: Style) -> String {
        let report = Report { in_flight, more_follow, ..testing::report() };
        let mut out = Vec::new();
        write(&mut out, &report, style).expect("a vector takes everything");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn what_is_of_concern_comes_first() {
        insta::assert_snapshot!(text(&stuck(), false, Style::PLAIN), @r"

        5 in flight, the oldest that do not wait by nature:
          age  pid  process         tid  syscall      kind
        9m32s  712  postgres        714  fsync        works
        900ms  712  wine-preloader  800  open (i386)  works
        2d07h  712  bash            712  read         may wait

        2 that wait by nature: futex 1, epoll_wait 1
        ");
    }

    #[test]
    fn what_entered_before_is_at_least_so_old() {
        let mut in_flight = in_flight(&[(Abi::X86_64, 74, "postgres", 714, 9_100)]);
        in_flight.oldest[0].at_least = true;
        insta::assert_snapshot!(text(&in_flight, false, Style::PLAIN), @r"

        1 in flight, the oldest that do not wait by nature:
           age  pid  process   tid  syscall  kind
        >9.10s  712  postgres  714  fsync    works
        ");
    }

    #[test]
    fn while_time_passes_only_what_lasts() {
        insta::assert_snapshot!(text(&stuck(), true, Style::PLAIN), @r"

        5 in flight, the oldest that do not wait by nature:
          age  pid  process   tid  syscall  kind
        9m32s  712  postgres  714  fsync    works
        2d07h  712  bash      712  read     may wait
        and 1 more that do not wait by nature
        ");
        let short = in_flight(&[(Abi::X86_64, 74, "postgres", 714, 999)]);
        assert_eq!(text(&short, true, Style::PLAIN), "");
    }

    #[test]
    fn nothing_is_said_of_nothing() {
        assert_eq!(text(&InFlight::default(), false, Style::PLAIN), "");
    }

    #[test]
    fn many_are_counted() {
        let mut many: Vec<_> =
            (0..14).map(|n| (Abi::X86_64, 74, "postgres", 800 + n, 9_000)).collect();
        many.extend((0..7).map(|n| (Abi::X86_64, [7, 34, 35, 202, 230, 232, 270][n], "a", 1, 1)));
        let mut in_flight = in_flight(&many);
        in_flight.calls[17].threads = 12_345;
        let text = text(&in_flight, false, Style::PLAIN);
        assert_eq!(text.matches("fsync").count(), LISTED);
        assert!(text.contains("\nand 4 more that do not wait by nature\n"), "{text}");
        let waiting = "12,351 that wait by nature: \
                       futex 12,345, poll 1, pause 1, nanosleep 1, clock_nanosleep 1, others 2\n";
        assert!(text.ends_with(waiting), "{text}");
    }

    #[test]
    fn a_narrow_terminal_shows_who_and_what() {
        let style = Style { width: Some(40), ..Style::PLAIN };
        insta::assert_snapshot!(text(&stuck(), true, style), @r"

        5 in flight, the oldest that do not wait by nature:
          age  pid  process   syscall  kind
        9m32s  712  postgres  fsync    works
        2d07h  712  bash      read     may wait
        and 1 more that do not wait by nature
        ");
    }

    #[test]
    fn only_what_works_and_lasts_is_red() {
        let text = styled(&stuck(), false, Style::PLAIN);
        let start = BAD.render().to_string();
        let red: Vec<&str> = text.lines().filter(|line| line.starts_with(&start)).collect();
        assert!(red.len() == 1 && red[0].contains("fsync"), "{text}");
    }
}
