//! A screen that the benchmarks draw on.

use std::time::Duration;

use ratatui_core::{backend::TestBackend, terminal::Terminal};

use super::{render, state::App, style::Look};
use crate::model::{Dimension, Snapshot, SortKey};

/// A screen without a terminal.
pub struct Screen {
    app: App,
    terminal: Terminal<TestBackend>,
    look: Look,
}

impl Screen {
    /// A screen of this size.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn new(width: u16, height: u16) -> Self {
        let terminal = Terminal::new(TestBackend::new(width, height)).expect("memory");
        let app = App::new(Duration::from_secs(1), SortKey::Total, "");
        Self { app, terminal, look: Look::from_environment() }
    }

    /// The same, with the list of containers.
    ///
    /// # Panics
    /// If there is no memory for it.
    pub fn of_containers(width: u16, height: u16) -> Self {
        let mut screen = Self::new(width, height);
        screen.app.begin_with_sites(Some(Dimension::Container));
        screen
    }

    /// Adds a snapshot, and draws the screen.
    ///
    /// # Panics
    /// Never: memory takes all that is drawn.
    pub fn refresh(&mut self, snapshot: Snapshot) {
        self.app.update(snapshot);
        let (app, look) = (&mut self.app, self.look);
        self.terminal.draw(|frame| render::draw(frame, app, look)).expect("memory");
    }
}
