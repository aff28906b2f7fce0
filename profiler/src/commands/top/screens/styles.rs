//! Colours and attributes, and the screen without them.

use insta::assert_snapshot;
use ratatui_core::{
    backend::TestBackend,
    style::{Color, Modifier, Style},
};

use super::{FULL, PLAIN, app, app_of, draw, press};
use crate::commands::top::fixtures;

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
