//! Terminals of every size.

use insta::assert_snapshot;

use super::{FULL, app, draw, press, screen};

#[test]
fn the_least_screen_has_no_room_for_what_the_programs_cost() {
    assert_eq!(screen("c", 28, 7), screen("", 28, 7));
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
