//! What the screen looks like.

use std::{sync::Arc, time::Duration};

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;
use ratatui_core::{
    backend::TestBackend,
    style::{Color, Modifier, Style},
    terminal::Terminal,
};

use super::{
    chart, fixtures, help,
    people::Who,
    render,
    shown::Costs,
    state::App,
    style::Look,
    view::{Selection, Subject},
};
use crate::{
    model::{Process, ProcessRow, Snapshot, SortKey, Span, Timing},
    present::units,
};

const FULL: Look = Look { colour: true, unicode: true };
const PLAIN: Look = Look { colour: false, unicode: false };

fn app_of(snapshots: impl IntoIterator<Item = Snapshot>) -> App {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    snapshots.into_iter().for_each(|snapshot| app.update(snapshot));
    app
}

/// Two snapshots of the same host, a second and 12 ms of CPU time apart, and in between the
/// kernel has begun to time the programs.
fn app() -> App {
    let mut next = fixtures::busy_host();
    next.window += Duration::from_secs(1);
    next.health.cost.elapsed += Duration::from_secs(1);
    next.health.cost.cpu.user += Duration::from_millis(12);
    if let Timing::Of { period, .. } = &mut next.health.cost.timing {
        *period += 1;
    }
    app_of([fixtures::busy_host(), next])
}

fn press(app: &mut App, keys: &str) {
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            c => KeyCode::Char(c),
        };
        app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
}

fn draw(app: &mut App, width: u16, height: u16, look: Look) -> TestBackend {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| render::draw(frame, app, look)).unwrap();
    terminal.backend().clone()
}

/// The screen after `keys`.
fn screen(keys: &str, width: u16, height: u16) -> String {
    let mut app = app();
    press(&mut app, keys);
    draw(&mut app, width, height, FULL).to_string()
}

/// The style where `text` begins.
fn style_of(backend: &TestBackend, text: &str) -> Style {
    let buffer = backend.buffer();
    let width = usize::from(buffer.area.width);
    let lines = buffer.content.chunks(width);
    let at = lines
        .enumerate()
        .find_map(|(y, cells)| {
            let line: String = cells.iter().map(|cell| cell.symbol()).collect();
            let x = line[..line.find(text)?].chars().count();
            Some(y * width + x)
        })
        .unwrap_or_else(|| panic!("no {text:?} in\n{backend}"));
    buffer.content[at].style()
}

#[test]
fn before_the_first_drain() {
    assert_snapshot!(draw(&mut app_of([]), 80, 24, FULL));
}

#[test]
fn processes_80x24() {
    assert_snapshot!(screen("", 80, 24));
}

#[test]
fn processes_200x50() {
    assert_snapshot!(screen("", 200, 50));
}

#[test]
fn processes_40x10() {
    assert_snapshot!(screen("", 40, 10));
}

#[test]
fn the_programs_cost_80x24() {
    assert_snapshot!(screen("c", 80, 24));
}

#[test]
fn the_programs_cost_40x10() {
    assert_snapshot!(screen("c", 40, 10));
}

#[test]
fn the_least_screen_has_no_room_for_what_the_programs_cost() {
    assert_eq!(screen("c", 28, 7), screen("", 28, 7));
}

#[test]
fn processes_since_the_start_80x24() {
    assert_snapshot!(screen("t", 80, 24));
}

#[test]
fn calls_80x24() {
    assert_snapshot!(screen("2", 80, 24));
}

#[test]
fn calls_200x50() {
    assert_snapshot!(screen("2", 200, 50));
}

#[test]
fn in_flight_80x24() {
    assert_snapshot!(screen("3", 80, 24));
}

/// The screen of a host where calls do not come back, after `keys`.
fn stuck(keys: &str, width: u16, height: u16, look: Look) -> String {
    let mut app = app_of([fixtures::stuck_host()]);
    press(&mut app, keys);
    draw(&mut app, width, height, look).to_string()
}

#[test]
fn stuck_calls_80x24() {
    assert_snapshot!(stuck("i", 80, 24, FULL));
}

#[test]
fn stuck_calls_beside_those_that_wait_80x24() {
    assert_snapshot!(stuck("iw", 80, 24, FULL));
}

#[test]
fn stuck_calls_120x12_ascii() {
    let text = stuck("i", 120, 12, PLAIN);
    assert!(text.is_ascii());
    assert_snapshot!(text);
}

#[test]
fn stuck_calls_40x10() {
    assert_snapshot!(stuck("i", 40, 10, FULL));
}

#[test]
fn stuck_calls_28x7() {
    assert_snapshot!(stuck("i", 28, 7, FULL));
}

#[test]
fn a_stuck_call_is_above_every_view_200x50() {
    assert_snapshot!(stuck("", 200, 50, FULL));
}

#[test]
fn a_stuck_call_is_in_sight_on_every_screen() {
    for (width, height) in [(200, 50), (80, 24), (40, 10), (28, 7)] {
        for keys in ["", "2", "i", "iw", "h", "?", "/x"] {
            let screen = stuck(keys, width, height, PLAIN);
            assert!(screen.contains("fsync 9m32s  postgres (2001)"), "{keys:?}\n{screen}");
        }
    }
}

#[test]
fn a_filter_that_only_waiting_calls_match_says_so_80x10() {
    assert_snapshot!(stuck("i/futex\n", 80, 10, FULL));
}

#[test]
fn every_outcome_of_a_call_is_told() {
    let mut snapshot = fixtures::busy_host();
    let nginx = &mut snapshot.processes[0];
    let calls = Arc::make_mut(&mut nginx.calls);
    let figures = &mut calls[4].recent;
    (figures.restarted, figures.denied, figures.never_returned) = (31, 7, 2);
    // Of those that entered before the interval.
    calls[4].total.calls += 4;
    for (width, height) in [(80, 24), (40, 10)] {
        let mut app = app_of([snapshot.clone()]);
        press(&mut app, "w\njjjj\n");
        let screen = draw(&mut app, width, height, FULL).to_string();
        for outcome in ["in flight 4", "restarted 31", "denied 7", "never returned 2", "EAGAIN 300"]
        {
            assert!(screen.contains(outcome), "{outcome} in\n{screen}");
        }
    }
}

#[test]
fn calls_of_a_process_80x24() {
    assert_snapshot!(screen("\n", 80, 24));
}

#[test]
fn callers_of_a_call_200x50() {
    assert_snapshot!(screen("2j\n", 200, 50));
}

#[test]
fn latencies_80x24() {
    assert_snapshot!(screen("\njjjj\n", 80, 24));
}

#[test]
fn latencies_200x50() {
    assert_snapshot!(screen("h", 200, 50));
}

#[test]
fn latencies_40x10() {
    assert_snapshot!(screen("h", 40, 10));
}

#[test]
fn latencies_of_an_idle_process() {
    let keys = "Gh";
    assert_snapshot!(screen(keys, 80, 10));
}

#[test]
fn help_80x24() {
    assert_snapshot!(screen("?", 80, 24));
}

#[test]
fn filtering_and_paused_80x24() {
    assert_snapshot!(screen("p/o", 80, 24));
}

#[test]
fn nothing_matches_40x10() {
    assert_snapshot!(screen("/zzz\n", 40, 10));
}

#[test]
fn ascii_80x24() {
    let mut app = app();
    assert_snapshot!(draw(&mut app, 80, 24, PLAIN));
    press(&mut app, "\n");
    assert_snapshot!("ascii_calls_120x12", draw(&mut app, 120, 12, PLAIN));
    press(&mut app, "h");
    let chart = draw(&mut app, 80, 24, PLAIN);
    assert_snapshot!("ascii_latencies_80x24", chart);
    assert!(chart.to_string().is_ascii());
}

#[test]
fn no_color_leaves_no_colour_on_any_screen() {
    for keys in ["", "2", "3", "h", "?", "/x"] {
        let mut app = app();
        press(&mut app, keys);
        let mut snapshot = fixtures::busy_host();
        snapshot.health.losses.missed_exits = 3;
        app.update(snapshot);
        let backend = draw(&mut app, 120, 40, PLAIN);
        let coloured =
            backend.buffer().content.iter().find(|c| (c.fg, c.bg) != (Color::Reset, Color::Reset));
        assert_eq!(coloured, None, "after {keys:?}");
    }
}

#[test]
fn losses_are_red_and_in_sight_on_every_screen() {
    let mut snapshot = fixtures::busy_host();
    snapshot.health.losses.no_task_state = 1_234;
    for (width, height) in [(200, 50), (80, 24), (40, 10), (28, 7)] {
        for keys in ["", "2", "h", "?"] {
            let mut app = app_of([snapshot.clone()]);
            press(&mut app, keys);
            let backend = draw(&mut app, width, height, FULL);
            assert_eq!(style_of(&backend, "LOST 1234 CALLS").bg, Some(Color::Red));
            let style = style_of(&draw(&mut app, width, height, PLAIN), "LOST 1234 CALLS");
            assert!(style.add_modifier.contains(Modifier::REVERSED));
        }
    }
}

#[test]
fn the_selected_row_is_marked_and_no_other() {
    let mut app = app();
    press(&mut app, "j");
    let backend = draw(&mut app, 80, 24, FULL);
    let marked = |text: &str| style_of(&backend, text).add_modifier.contains(Modifier::REVERSED);
    assert!(marked("postgres"));
    assert!(!marked("nginx") && !marked("bash"));
}

#[test]
fn what_has_ended_or_is_idle_is_dim() {
    let backend = draw(&mut app(), 80, 24, FULL);
    let dim = |text: &str| style_of(&backend, text).add_modifier.contains(Modifier::DIM);
    assert!(dim("cc1plus") && dim("cron"));
    assert!(!dim("postgres"));
}

#[test]
fn the_help_wraps_on_a_narrow_screen_40x10() {
    let text = screen("?", 40, 10);
    assert!(!text.contains('…'), "{text}");
    assert_snapshot!(text);
}

/// The screen after `keys`, with who the processes are that are in sight.
fn screen_with_people(keys: &str, width: u16, height: u16, look: Look) -> String {
    let mut app = app();
    draw(&mut app, width, height, look);
    let who = |process: &Process| Who {
        command: Some(format!("/usr/sbin/{0} --name caf\u{e9}\u{1b}[2J {0}", process.comm).into()),
        user: format!("u{}", process.tgid.unwrap_or(0)).into(),
        place: Some("web.service".into()),
    };
    let answers = app.ask().into_iter().map(|process| (process.clone(), Some(who(&process))));
    let answers: Vec<_> = answers.collect();
    app.learn(answers);
    press(&mut app, keys);
    draw(&mut app, width, height, look).to_string()
}

#[test]
fn command_lines_and_users_140x16() {
    assert_snapshot!(screen_with_people("n", 140, 16, FULL));
}

#[test]
fn command_lines_40x10_ascii() {
    let text = screen_with_people("n", 40, 10, PLAIN);
    assert!(text.is_ascii(), "{text}");
    assert_snapshot!(text);
}

#[test]
fn processes_in_the_panel_are_looked_up_while_it_is_there() {
    let of = |height| {
        let mut app = app_of([fixtures::stuck_host()]);
        press(&mut app, "/cron\n");
        draw(&mut app, 120, height, FULL);
        app.ask().iter().map(|process| process.comm.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(of(36), ["cron"]);
    assert_eq!(of(37), ["cron", "postgres", "nginx", "bash", "wine-preloader"]);
}

#[test]
fn the_title_of_a_process_has_its_command_line_80x10() {
    assert_snapshot!(screen_with_people("\n", 80, 10, FULL));
}

#[test]
fn every_key_and_every_word_of_the_header_is_in_the_help_of_80x24() {
    let mut app = app();
    press(&mut app, "?");
    let mut text = String::new();
    for _ in 0..10 {
        text += &draw(&mut app, 80, 24, FULL).to_string();
        app.on_key(KeyEvent::new(KeyCode::PageDown, KeyModifiers::NONE));
    }
    for (word, meaning) in help::lines() {
        assert!(text.contains(word) && text.contains(meaning), "{word}: {meaning}");
    }
    // What the header can say.
    for word in [
        "calls/s",
        "errors/s",
        "forks/s",
        "execs/s",
        "CPUs",
        "last",
        "timed",
        "up",
        "PAUSED",
        "lost",
        "perhaps",
        "WRONG SUMS",
        "overflowed",
        "maps",
        "FULL",
        "own",
        "RSS",
        "drain",
        "only",
        "programs",
        "runs/s",
        "in flight",
        "waiting",
        "oldest",
        "io_uring",
        "ended",
        "idle",
    ] {
        assert!(help::HEADER.iter().any(|(of, _)| *of == word), "{word}");
    }
}

#[test]
fn the_end_of_the_help_80x24() {
    let mut app = app();
    press(&mut app, "?");
    draw(&mut app, 80, 24, FULL);
    press(&mut app, "G");
    assert_snapshot!("the_last_lines_of_the_help_80x24", draw(&mut app, 80, 24, FULL));
}

#[test]
fn what_is_followed_is_in_the_last_line() {
    let screen = screen("jF", 80, 24);
    let last = screen.lines().last().unwrap();
    assert!(last.starts_with("\"F following postgres (2001)  ? help"), "{last}");
    assert!(!self::screen("jFF", 80, 24).contains("following"));
}

#[test]
fn whether_waits_are_shown_is_in_the_last_line_of_every_view() {
    for (width, height) in [(80, 24), (40, 10)] {
        for keys in ["", "2", "3", "\n", "h"] {
            let last = |keys: &str| screen(keys, width, height).lines().last().unwrap().to_owned();
            assert!(last(keys).contains("w waits hidden"), "{keys:?}");
            assert!(last(&format!("w{keys}")).contains("w waits shown"), "{keys:?}");
        }
    }
}

#[test]
fn ended_processes_of_a_name_share_a_row_80x12() {
    let mut host = fixtures::busy_host();
    let cc1plus = host.processes[5].clone();
    for pid in 40_002..41_500 {
        let process = Process { tgid: Some(pid), ..(*cc1plus.process).clone() };
        host.processes.push(ProcessRow { process: Arc::new(process), ..cc1plus.clone() });
    }
    let mut app = app_of([host]);
    assert_snapshot!(draw(&mut app, 80, 12, FULL));
    press(&mut app, "\n");
    assert_snapshot!("ended_processes_of_a_name_opened_80x12", draw(&mut app, 80, 12, FULL));
}

#[test]
fn a_terminal_that_is_too_small_says_so() {
    assert_snapshot!(screen("", 20, 5), @r#"
    "20x5 is too small   "
    "                    "
    "                    "
    "                    "
    "                    "
    "#);
    assert_snapshot!(screen("h", 8, 1), @r#""8x1 is …""#);
}

#[test]
fn every_size_from_the_least_shows_the_selected_row() {
    for width in [28, 33, 57, 79, 121, 300] {
        for height in [7, 8, 11, 31, 32, 33, 60] {
            let mut app = app();
            press(&mut app, "G");
            let text = draw(&mut app, width, height, FULL).to_string();
            assert!(text.contains("cron"), "{width}x{height}\n{text}");
        }
    }
}

#[test]
fn the_cursor_is_at_the_end_of_the_filter_that_is_edited() {
    let mut app = app();
    press(&mut app, "/ngi");
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| render::draw(frame, &mut app, FULL)).unwrap();
    terminal.backend_mut().assert_cursor_position(("filter: ngi".len() as u16, 23));
}

#[test]
fn percentiles_on_the_screen_are_those_of_the_figures() {
    let text = screen("h", 120, 40);
    let snapshot = fixtures::busy_host();
    let bash = snapshot.processes[2].process.clone();
    let shown = Costs::default().add(snapshot).grouped(Span::Recent, None);
    let selection = Selection { span: Span::Recent, waits: false };
    let figures =
        Subject { owner: Some(bash.into()), call: None, set: None }.figures(&shown, selection);
    let values = figures.quantiles(chart::PERCENTILES.map(|(_, quantile)| quantile));
    for ((name, _), ns) in chart::PERCENTILES.into_iter().zip(values) {
        let shown = format!("{name} {}", units::time(ns));
        assert!(text.contains(&shown), "{shown} in\n{text}");
    }
    assert!(text.contains(&format!("max {}", units::time(figures.max_ns()))), "{text}");
    assert!(values.is_sorted() && values[0] < values[3]);
}
