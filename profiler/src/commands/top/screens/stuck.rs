//! Calls in flight that do not return: their view, and the panel above every view.

use insta::assert_snapshot;

use super::{FULL, PLAIN, app_of, draw, press};
use crate::commands::top::{fixtures, style::Look};

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
