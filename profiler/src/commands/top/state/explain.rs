//! Opens the page that explains the process or the thread of a row.

use std::sync::Arc;

use super::{Action, App};
use crate::{
    commands::top::{
        explained::{Page, Wanted},
        rows::Row,
    },
    model::ThreadInFlight,
    present::explain::Line,
};

impl App {
    /// The page that explains a process, if it is open.
    pub(in super::super) fn explained(&mut self) -> Option<&mut Page> {
        self.explained.as_mut()
    }

    /// The process to explain, if the other thread has not been asked yet.
    pub(in super::super) fn ask_explanation(&mut self) -> Option<Wanted> {
        self.explained.as_mut()?.take_wanted()
    }

    /// Whether the page is open, so that an answer may come.
    pub(in super::super) fn awaits_explanation(&self) -> bool {
        self.explained.as_ref().is_some_and(Page::is_waiting)
    }

    /// Adds an answer. Returns whether the screen changes.
    pub(in super::super) fn learn_explanation(
        &mut self,
        answer: Option<(Wanted, Vec<Line>)>,
    ) -> bool {
        match (&mut self.explained, answer) {
            (Some(page), Some(answer)) => page.set_lines(answer),
            _ => false,
        }
    }

    /// The calls in flight of the process that is explained, in the latest snapshot.
    pub(in super::super) fn in_flight_of_explained(&self) -> Option<Vec<ThreadInFlight>> {
        let pid = self.explained.as_ref().filter(|page| page.is_waiting())?.pid();
        let latest = self.held_back.as_ref().or(self.shown.as_ref())?;
        let calls = latest.snapshot.in_flight.oldest.iter();
        Some(calls.filter(|call| call.process.tgid == pid).cloned().collect())
    }

    /// Opens the page of the marked row, or of the process of the view. Does nothing if there is no
    /// single process.
    pub(super) fn explain(&mut self) -> Action {
        match self.to_explain() {
            Some(wanted) => self.change(|app| app.explained = Some(Page::new(wanted))),
            None => Action::Nothing,
        }
    }

    fn to_explain(&self) -> Option<Wanted> {
        let view = &self.place().view;
        let marked =
            self.is_list().then(|| self.items.get(self.place().cursor()).copied()).flatten();
        let row = marked.zip(self.shown.as_ref());
        let row = row.map(|(item, shown)| Row::of(shown, item, self.selection()));
        let of_row = row.as_ref().and_then(|row| row.process);
        let process = Arc::clone(of_row.or(view.process())?);
        let owner = row.as_ref().and_then(|row| row.owner).or(view.owner());
        let thread = owner.and_then(|owner| owner.thread()).map(|thread| thread.tid);
        let thread = thread.or(row.and_then(|row| row.tid_in_flight()));
        process.tgid.is_some().then_some(Wanted { process, thread })
    }
}
