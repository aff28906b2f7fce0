//! Tests of what the screen looks like.

mod errors;
mod explained;
mod help;
mod last_line;
mod latencies;
mod people;
mod sizes;
mod stuck;
mod styles;
mod views;

use std::time::Duration;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui_core::{backend::TestBackend, terminal::Terminal};

use super::{fixtures, render, state::App, style::Look};
use crate::model::{Snapshot, SortKey, Timing};

/// A terminal that can do everything.
pub(super) const FULL: Look = Look { colour: true, unicode: true };
/// A terminal without colours and Unicode.
pub(super) const PLAIN: Look = Look { colour: false, unicode: false };

fn app_of(snapshots: impl IntoIterator<Item = Snapshot>) -> App {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    snapshots.into_iter().for_each(|snapshot| app.update(snapshot));
    app
}

/// The live view after two snapshots of the same host, a second and 12 ms of CPU time apart. In
/// between, the kernel has begun to time the programs.
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

/// The screen of `app`.
pub(super) fn draw(app: &mut App, width: u16, height: u16, look: Look) -> TestBackend {
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
