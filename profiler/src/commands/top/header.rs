//! The lines above every view: activity, losses, and the cost of the profiler.

use std::time::Duration;

use super::{
    shown::Shown,
    style::{Look, Tone},
    view,
};
use crate::{
    model::{CallRow, Figures, Kind, Pool, Span, Timed, Timing, Untimed, nanoseconds},
    names::syscalls,
    present::units,
};

/// A piece of a line, and its tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The text.
    pub(super) text: String,
    /// The tone.
    pub(super) tone: Tone,
    /// On a narrow terminal, pieces with the greatest value are hidden first. 0 is never hidden.
    expendable: u8,
}

impl Piece {
    /// A piece that is never hidden.
    pub(super) fn new(text: impl Into<String>, tone: Tone) -> Self {
        Self { text: text.into(), tone, expendable: 0 }
    }

    /// The same piece, which is hidden before pieces with a smaller value.
    pub(super) fn or_less(mut self, expendable: u8) -> Self {
        self.expendable = expendable;
        self
    }
}

/// Separates two pieces of a line.
pub(super) const GAP: &str = "  ";

/// Shares from which tables are nearly full and full.
const NEARLY_FULL: f64 = 0.8;
const FULL: f64 = 0.95;

/// Shares from which a cost is marked: the process as a share of one CPU, the programs as a share
/// of all CPUs, and a drain as a share of the interval.
const DEAR_PROCESS: f64 = 0.05;
const DEAR_PROGRAMS: f64 = 0.05;
const LONG_DRAIN: f64 = 0.1;

/// Age from which a call that works is of concern.
const STUCK: Duration = Duration::from_secs(1);

/// The activity: rates or counts, and the time that they cover.
pub(super) fn activity(shown: Option<&Shown>, span: Span, paused: bool) -> Vec<Piece> {
    let mut pieces = vec![Piece::new("profiler", Tone::Strong).or_less(1)];
    let Some(shown) = shown else {
        pieces.push(Piece::new("collecting...", Tone::Normal));
        return pieces;
    };
    let snapshot = &shown.snapshot;
    let sum = |of: fn(&Figures) -> u64| snapshot.calls.iter().map(|row| of(span.of(row))).sum();
    let (calls, errors): (u64, u64) = (sum(|f| f.calls), sum(|f| f.errors));
    let seconds = span.length(snapshot).as_secs_f64();
    let (calls, errors) = match span {
        Span::Recent => (
            format!("{} calls/s", units::rate(calls, seconds)),
            format!("{} errors/s", units::rate(errors, seconds)),
        ),
        Span::Total => {
            (format!("{} calls", units::count(calls)), format!("{} errors", units::count(errors)))
        }
    };
    pieces.push(Piece::new(calls, Tone::Strong));
    pieces.push(Piece::new(errors, Tone::Strong).or_less(2));
    if let (Span::Recent, Some((forks, execs))) = (span, births(&snapshot.calls)) {
        let text = format!("{} forks/s", units::rate(forks, seconds));
        pieces.push(Piece::new(text, Tone::Normal).or_less(4));
        let text = format!("{} execs/s", units::rate(execs, seconds));
        pieces.push(Piece::new(text, Tone::Normal).or_less(5));
    }
    pieces.push(Piece::new(format!("{} CPUs", snapshot.cpus), Tone::Normal).or_less(7));
    let over = match span {
        Span::Recent => format!("last {}", units::time(nanoseconds(snapshot.interval))),
        Span::Total => "since start".to_owned(),
    };
    pieces.push(Piece::new(over, Tone::Normal).or_less(3));
    match snapshot.health.timed {
        Timed::All => {}
        Timed::OneIn(calls) => {
            pieces.push(Piece::new(format!("1 in {calls} timed"), Tone::Normal));
        }
        Timed::Adaptive(limit) => {
            let limit = units::count(limit.get().into());
            pieces.push(Piece::new(format!("{limit}/s timed"), Tone::Normal));
        }
        Timed::None => pieces.push(Piece::new("not timed", Tone::Normal)),
    }
    let up = format!("up {}", units::clock(snapshot.window));
    pieces.push(Piece::new(up, Tone::Normal).or_less(6));
    if paused {
        pieces.push(Piece::new(" PAUSED ", Tone::Warning));
    }
    pieces
}

/// Successful calls of the interval that started a process or a thread, and successful calls that
/// executed a program. `None` if no such call has ever been counted, for example because of a
/// filter.
fn births(calls: &[CallRow]) -> Option<(u64, u64)> {
    const FORKS: [&str; 4] = ["fork", "vfork", "clone", "clone3"];
    const EXECS: [&str; 2] = ["execve", "execveat"];
    let sum = |names: &[&str]| -> Option<u64> {
        let rows = calls.iter().filter(|row| names.contains(&syscalls::name(row.key)));
        let succeeded = |row: &CallRow| row.recent.returned.saturating_sub(row.recent.errors);
        rows.map(succeeded).reduce(|a, b| a + b)
    };
    match (sum(&FORKS), sum(&EXECS)) {
        (None, None) => None,
        (forks, execs) => Some((forks.unwrap_or(0), execs.unwrap_or(0))),
    }
}

/// Losses, and the cost of the profiler.
pub(super) fn health(shown: Option<&Shown>) -> Vec<Piece> {
    let Some(shown) = shown else { return Vec::new() };
    let health = &shown.snapshot.health;
    let mut pieces = vec![match health.lost() {
        0 => Piece::new("lost 0", Tone::Normal),
        lost => Piece::new(format!(" LOST {} CALLS ", units::count(lost)), Tone::Alarm),
    }];
    if health.unseen > 0 {
        let text = format!("perhaps {} more", units::count(health.unseen));
        pieces.push(Piece::new(text, Tone::Warning));
    }
    if health.breaches > 0 {
        let text = format!(" {} WRONG SUMS ", units::count(health.breaches));
        pieces.push(Piece::new(text, Tone::Alarm));
    }
    if health.overflowed > 0 {
        let text = format!("overflowed {}", units::count(health.overflowed));
        pieces.push(Piece::new(text, Tone::Warning));
    }
    pieces.extend(fullness(&health.pools));
    let cost = &health.cost;
    let own_cpus = shown.spent.own_cpus();
    let cpu = own_cpus.map_or_else(|| units::NONE.into(), units::percent);
    let dear = own_cpus.is_some_and(|cpus| cpus >= DEAR_PROCESS);
    pieces.push(marked(dear, format!("own {cpu} CPU"), 2));
    let resident = units::bytes(cost.resident_bytes);
    pieces.push(Piece::new(format!("{resident} RSS"), Tone::Normal).or_less(3));
    let drain = units::time(nanoseconds(cost.drains.last));
    let long = cost.drains.last.as_secs_f64()
        >= LONG_DRAIN * shown.snapshot.interval.as_secs_f64().max(f64::MIN_POSITIVE);
    pieces.push(marked(long, format!("{drain} drain"), 4));
    let kernel = health.kernel().into_iter();
    pieces.extend(kernel.map(|kernel| Piece::new(kernel.mode.clone(), Tone::Dim).or_less(5)));
    pieces
}

/// A piece with this value. With `mark`, a warning that is hidden last.
fn marked(mark: bool, text: String, expendable: u8) -> Piece {
    if mark {
        Piece::new(text, Tone::Warning).or_less(1)
    } else {
        Piece::new(text, Tone::Normal).or_less(expendable)
    }
}

/// The cost of the programs for the threads that make calls. `None` unless `asked`.
pub(super) fn cost(shown: Option<&Shown>, asked: bool) -> Option<Vec<Piece>> {
    let shown = shown.filter(|_| asked)?;
    let (spent, cpus) = (&shown.spent, shown.snapshot.cpus);
    let (runs, over) = match (&spent.timing, spent.all_runs()) {
        (Timing::Of { time, .. }, Some(runs)) => (runs, time),
        // The request is newer than this snapshot.
        (Timing::No(Untimed::Off), _) => {
            return Some(vec![Piece::new("programs: timed from now on", Tone::Dim)]);
        }
        (Timing::No(why), _) => {
            return Some(vec![Piece::new(format!("programs not timed: {why}"), Tone::Warning)]);
        }
        (Timing::Of { .. }, None) => return None,
    };
    let share = spent.programs_cpus().map(|busy| busy / cpus.max(1) as f64);
    let text = share.map_or_else(|| units::NONE.into(), units::percent);
    let tone = if share.is_some_and(|s| s >= DEAR_PROGRAMS) { Tone::Warning } else { Tone::Normal };
    let ns = |ns: Option<f64>| ns.map_or_else(|| units::NONE.into(), |ns| units::time(ns as u64));
    let mut pieces = vec![
        Piece::new(format!("programs {text} of {cpus} CPUs"), tone),
        Piece::new(format!("{} a call", ns(spent.ns_a_call())), Tone::Normal).or_less(1),
    ];
    let rate = units::rate(runs.count, over.as_secs_f64());
    pieces.push(Piece::new(format!("{rate} runs/s"), Tone::Normal).or_less(3));
    let each = spent.by_program().take(2).map(|(program, runs)| {
        let mean = runs
            .filter(|runs| runs.count > 0)
            .map(|runs| runs.time.as_nanos() as f64 / runs.count as f64);
        format!("{} {}", program.name, ns(mean))
    });
    let each: Vec<String> = each.collect();
    pieces.push(Piece::new(each.join(", "), Tone::Dim).or_less(4));
    Some(pieces)
}

/// Which calls count. `None` if all calls count.
pub(super) fn only(only: &str, look: Look) -> Option<Vec<Piece>> {
    (!only.is_empty())
        .then(|| vec![Piece::new(look.printable(&format!("only {only}")), Tone::Warning)])
}

/// The oldest call that works, if it is at least [`STUCK`] old.
pub(super) fn stuck(shown: Option<&Shown>, look: Look) -> Option<Vec<Piece>> {
    let in_flight = &shown?.snapshot.in_flight;
    let oldest = in_flight.oldest(Kind::Works).filter(|thread| thread.age >= STUCK)?;
    let all = in_flight.count_all();
    let waiting = in_flight.count(Kind::Waits);
    let call = syscalls::name_with_abi(oldest.key);
    let age = units::age_of(oldest);
    Some(vec![
        Piece::new(format!("in flight {}", units::count(all)), Tone::Normal).or_less(1),
        Piece::new(format!("waiting {}", units::count(waiting)), Tone::Normal).or_less(2),
        Piece::new("oldest:", Tone::Normal).or_less(3),
        Piece::new(format!("{call} {age}"), Tone::Warning),
        Piece::new(look.printable(&view::process_name(&oldest.process)), Tone::Warning),
    ])
}

/// How full the fullest pool is. The piece names the pool if the pool is nearly full. `None` without
/// pools.
fn fullness(pools: &[Pool]) -> Option<Piece> {
    let (share, name) = pools
        .iter()
        .filter_map(|pool| Some((pool.fullness()?, &*pool.name)))
        .max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    let what = match name {
        "records" => "threads",
        "extents" => "memory",
        other => other,
    };
    let percent = units::percent(share);
    Some(match share {
        s if s >= FULL => Piece::new(format!(" {what} {percent} FULL "), Tone::Alarm),
        s if s >= NEARLY_FULL => Piece::new(format!("{what} {percent}"), Tone::Warning),
        _ => Piece::new(format!("maps {percent}"), Tone::Normal).or_less(1),
    })
}

/// The most important of `pieces` that fit in `width`.
pub(super) fn fit(mut pieces: Vec<Piece>, width: usize) -> Vec<Piece> {
    use unicode_width::UnicodeWidthStr;
    let needed = |pieces: &[Piece]| {
        let text: usize = pieces.iter().map(|piece| piece.text.width() + GAP.len()).sum();
        text.saturating_sub(GAP.len())
    };
    while needed(&pieces) > width {
        let Some(at) = (0..pieces.len())
            .filter(|&at| pieces[at].expendable > 0)
            .max_by_key(|&at| pieces[at].expendable)
        else {
            break;
        };
        pieces.remove(at);
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        commands::top::{fixtures, groups::Groups},
        model::CpuTime,
    };

    fn text(pieces: &[Piece]) -> String {
        pieces.iter().map(|piece| piece.text.as_str()).collect::<Vec<_>>().join(GAP)
    }

    fn shown() -> Shown {
        let snapshot = fixtures::busy_host();
        Shown { spent: snapshot.health.cost.since_attached(), groups: Groups::default(), snapshot }
    }

    #[test]
    fn before_the_first_drain_it_says_so() {
        assert_eq!(text(&activity(None, Span::Recent, false)), "profiler  collecting...");
        assert_eq!(health(None), []);
    }

    #[test]
    fn a_loss_is_an_alarm_and_no_loss_is_none() {
        let mut shown = shown();
        assert_eq!(health(Some(&shown))[0], Piece::new("lost 0", Tone::Normal));
        let health_of = &mut shown.snapshot.health;
        health_of.losses.no_task_state = 12;
        health_of.losses.missed_entries = 20;
        health_of.losses.missed_life_events = 10;
        health_of.unseen = 10;
        let pieces = health(Some(&shown));
        assert_eq!(pieces[0], Piece::new(" LOST 42 CALLS ", Tone::Alarm));
        assert_eq!(pieces[1], Piece::new("perhaps 10 more", Tone::Warning));
    }

    #[test]
    fn overflowed_calls_show_only_when_there_are_some() {
        let mut shown = shown();
        shown.snapshot.health.overflowed = 0;
        assert!(!text(&health(Some(&shown))).contains("overflowed"));
        shown.snapshot.health.overflowed = 77;
        assert_eq!(health(Some(&shown))[1], Piece::new("overflowed 77", Tone::Warning));
    }

    #[test]
    fn full_tables_are_loud_and_do_not_give_way() {
        // A fifth of it is for others.
        let of = |name, used| fixtures::pool(name, used, 125);
        let piece =
            |records, extents| fullness(&[of("records", records), of("extents", extents)]).unwrap();
        assert_eq!(piece(79, 12), Piece::new("maps 79.0%", Tone::Normal).or_less(1));
        assert_eq!(piece(12, 80), Piece::new("memory 80.0%", Tone::Warning));
        let full = piece(96, 95);
        assert_eq!(full, Piece::new(" threads 96.0% FULL ", Tone::Alarm));
        assert_eq!(text(&fit(vec![piece(1, 2), full], 10)), " threads 96.0% FULL ");
    }

    #[test]
    fn the_profiler_is_marked_where_it_is_dear() {
        let mut shown = shown();
        let tone = |shown: &Shown, what: &str| {
            let pieces = health(Some(shown));
            let piece = pieces.iter().find(|piece| piece.text.ends_with(what)).expect("a piece");
            piece.tone
        };
        assert_eq!((tone(&shown, "CPU"), tone(&shown, "drain")), (Tone::Normal, Tone::Normal));
        let busy = |ms| CpuTime { user: Duration::from_millis(ms), ..CpuTime::default() };
        shown.spent.elapsed = Duration::from_secs(1);
        shown.spent.cpu = busy(49);
        shown.snapshot.health.cost.drains.last = Duration::from_millis(99);
        assert_eq!((tone(&shown, "CPU"), tone(&shown, "drain")), (Tone::Normal, Tone::Normal));
        shown.spent.cpu = busy(50);
        shown.snapshot.health.cost.drains.last = Duration::from_millis(100);
        assert_eq!((tone(&shown, "CPU"), tone(&shown, "drain")), (Tone::Warning, Tone::Warning));
        // Then it outlasts the others on a narrow terminal.
        shown.spent.cpu = busy(49);
        let narrow = text(&fit(health(Some(&shown)), 48));
        assert_eq!(narrow, "lost 0  overflowed 70  maps 12.5%  100ms drain");
    }

    #[test]
    fn what_the_programs_cost_is_shown_when_asked_for() {
        let mut shown = shown();
        assert_eq!((cost(None, true), cost(Some(&shown), false)), (None, None));
        let line = |shown: &Shown, width| text(&fit(cost(Some(shown), true).unwrap(), width));
        let all =
            "programs 0.0% of 8 CPUs  69ns a call  60.0k runs/s  sys_enter 31ns, sys_exit 38ns";
        assert_eq!(line(&shown, 100), all);
        assert_eq!(line(&shown, 40), "programs 0.0% of 8 CPUs  69ns a call");
        if let Timing::Of { runs, .. } = &mut shown.spent.timing {
            runs[0].time = Duration::from_millis(800);
        }
        let pieces = cost(Some(&shown), true).unwrap();
        assert_eq!(pieces[0], Piece::new("programs 5.0% of 8 CPUs", Tone::Warning));
        shown.spent.timing = Timing::No(Untimed::Off);
        assert_eq!(line(&shown, 80), "programs: timed from now on");
        shown.spent.timing = Timing::No(Untimed::Privilege);
        let pieces = cost(Some(&shown), true).unwrap();
        assert_eq!(pieces[0].tone, Tone::Warning);
        assert!(pieces[0].text.contains("CAP_SYS_ADMIN"), "{pieces:?}");
    }

    #[test]
    fn a_call_that_works_is_of_concern_from_a_second_on() {
        let look = Look { colour: true, unicode: true };
        assert_eq!(stuck(None, look), None);
        assert_eq!(stuck(Some(&shown()), look), None, "all wait");
        let mut shown = Shown { snapshot: fixtures::stuck_host(), ..self::shown() };
        let line =
            |shown: &Shown, width| stuck(Some(shown), look).map(|pieces| text(&fit(pieces, width)));
        assert_eq!(
            line(&shown, 80).as_deref(),
            Some("in flight 3009  waiting 3004  oldest:  fsync 9m32s  postgres (2001)")
        );
        assert_eq!(line(&shown, 28).as_deref(), Some("fsync 9m32s  postgres (2001)"));
        let ages = |shown: &mut Shown, ms| {
            let working = shown.snapshot.in_flight.oldest.iter_mut();
            working.filter(|t| t.kind == Kind::Works).for_each(|thread| {
                thread.age = Duration::from_millis(ms);
            });
        };
        ages(&mut shown, 1_000);
        assert_eq!(line(&shown, 28).as_deref(), Some("fsync 1.00s  postgres (2001)"));
        ages(&mut shown, 999);
        assert_eq!(line(&shown, 80), None, "what may wait is none");
    }

    #[test]
    fn what_counts_is_said_where_it_is_not_everything() {
        let look = Look { colour: true, unicode: false };
        assert_eq!(only("", look), None);
        let line = only("pid 7, comm n\u{e9}", look).expect("a line");
        assert_eq!(line, [Piece::new("only pid 7, comm n?", Tone::Warning)]);
    }

    #[test]
    fn forks_and_execs_are_those_that_succeeded() {
        let mut fork = fixtures::row(fixtures::call("clone"), 40, 90_000);
        fork.recent = fixtures::failing(fork.recent, &[(11, 3)]);
        let vfork = fixtures::row(fixtures::call("vfork"), 5, 90_000);
        let exec = fixtures::row(fixtures::call("execve"), 30, 90_000);
        assert_eq!(births(&[fork, vfork, exec]), Some((42, 30)));
        assert_eq!(births(&[fixtures::row(fixtures::call("read"), 9, 10)]), None);
    }

    #[test]
    fn a_narrow_line_keeps_what_matters() {
        let shown = shown();
        let line = |width| text(&fit(activity(Some(&shown), Span::Recent, true), width));
        insta::assert_snapshot!([120, 60, 45, 30].map(line).join("\n"),);
    }
}
