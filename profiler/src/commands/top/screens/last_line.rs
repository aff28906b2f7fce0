//! The last line: the filter, and what is followed, paused or hidden.

use insta::assert_snapshot;
use ratatui_core::{backend::TestBackend, terminal::Terminal};

use super::{FULL, app, press, screen};
use crate::commands::top::render;

#[test]
fn filtering_and_paused_80x24() {
    assert_snapshot!(screen("p/o", 80, 24));
}

#[test]
fn nothing_matches_40x10() {
    assert_snapshot!(screen("/zzz\n", 40, 10));
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
fn the_cursor_is_at_the_end_of_the_filter_that_is_edited() {
    let mut app = app();
    press(&mut app, "/ngi");
    let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
    terminal.draw(|frame| render::draw(frame, &mut app, FULL)).unwrap();
    terminal.backend_mut().assert_cursor_position(("filter: ngi".len() as u16, 23));
}
