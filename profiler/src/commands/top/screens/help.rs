//! The help.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use insta::assert_snapshot;

use super::{FULL, app, draw, press, screen};
use crate::commands::top::help;

#[test]
fn help_80x24() {
    assert_snapshot!(screen("?", 80, 24));
}

#[test]
fn the_help_wraps_on_a_narrow_screen_40x10() {
    let text = screen("?", 40, 10);
    // The third line has the tabs, which are cut off.
    assert!(text.lines().skip(3).all(|line| !line.contains('…')), "{text}");
    assert_snapshot!(text);
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
