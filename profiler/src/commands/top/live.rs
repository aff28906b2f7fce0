//! The loop of the live view: drains the engine, passes keys to the state, and draws.

use std::{
    io,
    time::{Duration, Instant},
};

use super::{
    feed::{Clock, Event, Feed},
    people::Lookup,
    state::{Action, App},
    time_listed,
};
use crate::{engine::Engine, model::Detail};

/// Intervals at which the loop polls for results of look-ups between two refreshes.
const ANSWER_AFTER: Duration = Duration::from_millis(40);
const ANSWER_TRIES: u32 = 5;

/// Time from the first frame, which is empty, to the first figures.
const FIRST_DRAIN: Duration = Duration::from_millis(200);

/// A screen that shows the state.
pub(super) trait Console: Clock {
    /// Draws the state.
    fn draw(&mut self, app: &mut App) -> io::Result<()>;

    /// Sends the process and its group the signal that a terminal sends on Ctrl-Z. The signal
    /// arrives as [`Event::Stop`].
    fn ask_to_stop(&mut self) -> io::Result<()>;

    /// Releases the terminal, stops the process, and takes the terminal again when the process
    /// continues.
    fn stop(&mut self) -> io::Result<()>;

    /// Takes the terminal again.
    fn take_again(&mut self) -> io::Result<()>;
}

/// Runs until the user or a signal ends the loop, or until `iterations` refreshes were shown. The
/// last refresh is shown as long as the others.
pub(super) fn run(
    engine: &mut impl Engine,
    app: &mut App,
    console: &mut impl Console,
    people: &mut impl Lookup,
    iterations: Option<u64>,
) -> io::Result<()> {
    let started = console.now();
    let mut feed = Feed::new(engine, started);
    console.draw(app)?;
    let mut last_refresh: Option<Instant> = None;
    let mut refreshes = 0;
    let mut interval = app.interval();
    let mut tries = 0;
    let mut detail = Detail::Processes;
    loop {
        if app.detail() != detail {
            detail = app.detail();
            feed.set_detail(detail);
            // Figures of threads begin with this reading, and the next refresh shows them.
            if detail == Detail::Threads && last_refresh.is_some() {
                last_refresh = Some(console.now());
                app.update(feed.refresh(console));
                console.draw(app)?;
            }
        }
        let asked = app.ask();
        if !asked.is_empty() {
            people.ask(asked);
            tries = ANSWER_TRIES;
        }
        if let Some(wanted) = app.ask_explanation() {
            people.explain(wanted);
        }
        if app.interval() != interval {
            interval = app.interval();
            feed.keep_ended(time_listed(interval));
        }
        let due = last_refresh.map_or(started + FIRST_DRAIN, |last| last + interval);
        let looks = (tries > 0 && people.open_questions() > 0) || app.awaits_explanation();
        let until = if looks { due.min(console.now() + ANSWER_AFTER) } else { due };
        match feed.wait(console, until)? {
            Event::Due if console.now() < due => {
                tries = tries.saturating_sub(1);
                let learns = app.learn(people.answers());
                if app.learn_explanation(people.explanation()) || learns {
                    console.draw(app)?;
                }
            }
            Event::Due if iterations.is_some_and(|most| refreshes >= most) => return Ok(()),
            Event::Due => {
                let now = console.now();
                last_refresh = Some(now);
                refreshes += 1;
                app.update(feed.refresh(console));
                if let Some(calls) = app.in_flight_of_explained() {
                    people.tell_in_flight(calls);
                }
                app.learn(people.answers());
                app.learn_explanation(people.explanation());
                console.draw(app)?;
            }
            Event::Key(key) => match app.on_key(key) {
                Action::Quit => return Ok(()),
                Action::Suspend => console.ask_to_stop()?,
                Action::Redraw => console.draw(app)?,
                Action::Repaint => {
                    console.take_again()?;
                    console.draw(app)?;
                }
                Action::TimePrograms(on) => {
                    feed.time_programs(on);
                    console.draw(app)?;
                }
                Action::Nothing => {}
            },
            Event::Resized => console.draw(app)?,
            Event::Stop => {
                console.stop()?;
                console.draw(app)?;
            }
            Event::Continued => {
                console.take_again()?;
                console.draw(app)?;
            }
            Event::End => return Ok(()),
            // The feed has handled the event.
            Event::ReadWanted => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        collections::VecDeque,
        os::fd::{AsFd, BorrowedFd},
    };

    use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

    use super::*;
    use crate::{
        commands::top::{
            fixtures,
            people::{Answer, Who},
        },
        model::{Detail, Snapshot, SortKey},
    };

    /// A console without a terminal, whose time passes only in waits; it logs what
    /// is asked of it.
    struct Script {
        started: Instant,
        now: Instant,
        /// Events, and how long after the start each comes.
        events: VecDeque<(Duration, Event)>,
        log: Vec<String>,
    }

    impl Script {
        fn new(events: &[(u64, Event)]) -> Self {
            let now = Instant::now();
            let events = events.iter().map(|&(ms, event)| (Duration::from_millis(ms), event));
            Self { started: now, now, events: events.collect(), log: Vec::new() }
        }

        fn note(&mut self, what: &str) -> io::Result<()> {
            self.log.push(format!("{} {what}", (self.now - self.started).as_millis()));
            Ok(())
        }
    }

    impl Clock for Script {
        fn now(&self) -> Instant {
            self.now
        }

        fn wait(&mut self, until: Instant, wake: Option<BorrowedFd<'_>>) -> io::Result<Event> {
            let next = self.events.iter().position(|&(after, event)| {
                self.started + after <= until && (event != Event::ReadWanted || wake.is_some())
            });
            if let Some((after, event)) = next.and_then(|at| self.events.remove(at)) {
                self.now = self.now.max(self.started + after);
                return Ok(event);
            }
            self.now = until;
            Ok(Event::Due)
        }
    }

    impl Console for Script {
        fn draw(&mut self, app: &mut App) -> io::Result<()> {
            let text = match app.shown() {
                None => "draw nothing".to_owned(),
                Some(shown) => format!("draw {}", shown.snapshot.sequence),
            };
            self.note(&text)
        }

        fn ask_to_stop(&mut self) -> io::Result<()> {
            self.note("ask to stop")
        }

        fn stop(&mut self) -> io::Result<()> {
            self.note("stop")
        }

        fn take_again(&mut self) -> io::Result<()> {
            self.note("take again")
        }
    }

    /// Answers at the second look.
    #[derive(Default)]
    struct Slow {
        asked: Vec<Answer>,
        looks: u32,
    }

    impl Lookup for Slow {
        fn ask(&mut self, processes: Vec<std::sync::Arc<crate::model::Process>>) {
            let who = |user: &str| Some(Who { command: None, user: user.into(), place: None });
            self.asked.extend(processes.into_iter().map(|process| (process, who("www"))));
        }

        fn answers(&mut self) -> Vec<Answer> {
            self.looks += 1;
            if self.looks < 2 { Vec::new() } else { std::mem::take(&mut self.asked) }
        }

        fn open_questions(&self) -> usize {
            self.asked.len()
        }
    }

    /// Knows nobody.
    struct Nobody;

    impl Lookup for Nobody {
        fn ask(&mut self, _processes: Vec<std::sync::Arc<crate::model::Process>>) {}

        fn answers(&mut self) -> Vec<Answer> {
            Vec::new()
        }

        fn open_questions(&self) -> usize {
            0
        }
    }

    #[derive(Default)]
    struct Counting {
        kept: Vec<Duration>,
        drains: u64,
        readings: u64,
        timed: Vec<bool>,
        /// What was set, and what each snapshot was asked for.
        details: Vec<Detail>,
        asked: Vec<Detail>,
    }

    impl Engine for Counting {
        fn snapshot(&mut self, detail: Detail) -> Snapshot {
            self.drains += 1;
            self.asked.push(detail);
            Snapshot { sequence: self.drains, ..fixtures::busy_host() }
        }

        fn all_ended(&self) -> bool {
            false
        }

        fn stop(&mut self) {}

        fn finish(mut self, detail: Detail) -> Snapshot {
            self.snapshot(detail)
        }

        fn read(&mut self) {
            self.readings += 1;
        }

        fn time_programs(&mut self, on: bool) {
            self.timed.push(on);
        }

        fn set_detail(&mut self, detail: Detail) {
            self.details.push(detail);
        }

        fn keep_ended(&mut self, time: Duration) {
            self.kept.push(time);
        }

        fn wake_fd(&self) -> Option<BorrowedFd<'_>> {
            static ANY: std::sync::OnceLock<std::fs::File> = std::sync::OnceLock::new();
            Some(ANY.get_or_init(|| std::fs::File::open("/dev/null").unwrap()).as_fd())
        }
    }

    fn key(c: char) -> Event {
        Event::Key(KeyEvent::new(KeyCode::Char(c), KeyModifiers::NONE))
    }

    fn play(events: &[(u64, Event)], iterations: Option<u64>) -> (Vec<String>, App, Counting) {
        let mut script = Script::new(events);
        let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
        let mut source = Counting::default();
        run(&mut source, &mut app, &mut script, &mut Nobody, iterations).unwrap();
        (script.log, app, source)
    }

    #[test]
    fn a_frame_comes_before_the_first_drain_and_figures_soon_after() {
        let (log, ..) = play(&[(1300, Event::End)], None);
        assert_eq!(log, ["0 draw nothing", "200 draw 1", "1200 draw 2"]);
    }

    /// Drawing alone would write only what has changed.
    #[test]
    fn ctrl_l_takes_the_terminal_again_and_draws_all_of_it() {
        let ctrl_l = Event::Key(KeyEvent::new(KeyCode::Char('l'), KeyModifiers::CONTROL));
        let (log, ..) = play(&[(20, ctrl_l), (60, Event::End)], None);
        assert_eq!(log, ["0 draw nothing", "20 take again", "20 draw nothing"]);
    }

    #[test]
    fn it_stops_after_the_last_refresh_has_been_seen() {
        let (log, ..) = play(&[], Some(2));
        assert_eq!(log, ["0 draw nothing", "200 draw 1", "1200 draw 2"]);
    }

    #[test]
    fn a_key_redraws_without_a_drain_and_q_ends() {
        let (log, _, source) = play(&[(300, key('t')), (400, key('x')), (500, key('q'))], None);
        assert_eq!(log, ["0 draw nothing", "200 draw 1", "300 draw 1"]);
        assert_eq!((source.drains, source.readings), (1, 0));
    }

    #[test]
    fn programs_are_timed_while_the_key_says_so() {
        let (log, app, source) = play(
            &[(300, key('c')), (400, key('t')), (500, key('c')), (600, key('c')), (700, key('q'))],
            None,
        );
        assert_eq!(source.timed, [true, false, true]);
        assert!(app.times_programs());
        assert_eq!(log.len(), 6);
    }

    /// The first reading with threads is at once, so that the next refresh has their figures.
    #[test]
    fn threads_are_asked_for_only_while_they_are_shown() {
        let (log, _, source) = play(&[(300, key('H')), (1400, key('H')), (2350, Event::End)], None);
        let drawn = [
            "0 draw nothing",
            "200 draw 1",
            "300 draw 1",
            "300 draw 2",
            "1300 draw 3",
            "1400 draw 3",
            "2300 draw 4",
        ];
        assert_eq!(log, drawn);
        let (processes, threads) = (Detail::Processes, Detail::Threads);
        assert_eq!(source.details, [threads, processes]);
        assert_eq!(source.asked, [processes, threads, threads, processes]);
    }

    #[test]
    fn a_pause_drains_on() {
        let (log, app, source) = play(&[(300, key('p')), (2300, Event::End)], None);
        assert_eq!(
            log,
            ["0 draw nothing", "200 draw 1", "300 draw 1", "1200 draw 1", "2200 draw 1"]
        );
        assert_eq!(source.drains, 3);
        assert!(app.paused());
    }

    #[test]
    fn another_interval_counts_from_the_last_refresh() {
        let (log, ..) = play(&[(300, key('-')), (800, Event::End)], None);
        assert_eq!(log, ["0 draw nothing", "200 draw 1", "300 draw 1", "700 draw 2"]);
    }

    #[test]
    fn ended_processes_are_listed_for_two_intervals_whatever_their_length() {
        let (.., source) = play(&[(300, key('+')), (400, key('t')), (800, Event::End)], None);
        assert_eq!(source.kept, [Duration::from_secs(4)]);
        assert_eq!(time_listed(Duration::from_millis(10)), Duration::from_millis(500));
    }

    #[test]
    fn what_is_found_out_about_processes_is_drawn_before_the_next_refresh() {
        let mut script = Script::new(&[(900, Event::End)]);
        let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
        app.fit(20);
        let mut people = Slow::default();
        run(&mut Counting::default(), &mut app, &mut script, &mut people, None).unwrap();
        assert_eq!(script.log, ["0 draw nothing", "200 draw 1", "240 draw 1"]);
        let nginx = fixtures::process(1234, "nginx");
        assert_eq!(app.people().of(&nginx).unwrap().user.raw(), "www");
    }

    #[test]
    fn a_wanted_reading_does_not_move_the_refresh() {
        let (log, _, source) = play(&[(600, Event::ReadWanted), (1300, Event::End)], None);
        assert_eq!(log, ["0 draw nothing", "200 draw 1", "1200 draw 2"]);
        assert_eq!((source.drains, source.readings), (2, 1));
    }

    #[test]
    fn wanted_readings_keep_their_distance() {
        let wanted = |ms| (ms, Event::ReadWanted);
        let (_, _, source) =
            play(&[wanted(205), wanted(210), wanted(215), (250, Event::End)], None);
        // At 220 ms the first, a gap after the refresh; at 240 the second; the third is
        // within the gap.
        assert_eq!((source.drains, source.readings), (1, 2));
    }

    #[test]
    fn a_long_interval_is_read_every_second() {
        let longer = [key('+'), key('+')].map(|key| (300, key));
        let (log, _, source) = play(&[longer[0], longer[1], (5_500, Event::End)], None);
        let draws = ["0 draw nothing", "200 draw 1", "300 draw 1", "300 draw 1", "5200 draw 2"];
        assert_eq!(log, draws);
        assert_eq!((source.drains, source.readings), (2, 4));
    }

    #[test]
    fn stopping_gives_the_terminal_back_and_redraws_after() {
        let ctrl_z = Event::Key(KeyEvent::new(KeyCode::Char('z'), KeyModifiers::CONTROL));
        let events = [
            (20, ctrl_z),
            (30, Event::Stop),
            (40, Event::Continued),
            (50, Event::Resized),
            (60, Event::End),
        ];
        let (log, ..) = play(&events, None);
        assert_eq!(
            log,
            [
                "0 draw nothing",
                "20 ask to stop",
                "30 stop",
                "30 draw nothing",
                "40 take again",
                "40 draw nothing",
                "50 draw nothing",
            ]
        );
    }
}
