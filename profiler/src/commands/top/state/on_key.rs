//! What each key does.

use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::{Action, App, navigate::Opened};
use crate::{
    commands::top::{help, view::Tab},
    model::Span,
};

impl App {
    /// Handles a key.
    pub(in super::super) fn on_key(&mut self, key: KeyEvent) -> Action {
        if key.kind == KeyEventKind::Release {
            return Action::Nothing;
        }
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            return match key.code {
                KeyCode::Char('c') => Action::Quit,
                KeyCode::Char('z') => Action::Suspend,
                KeyCode::Char('l') => Action::Repaint,
                KeyCode::Char('u') if self.editing_filter => self.set_filter(String::new()),
                _ => Action::Nothing,
            };
        }
        if let Some(help) = &mut self.help {
            if !help.on_key(key.code) {
                self.help = None;
            }
            return Action::Redraw;
        }
        if let Some(page) = &mut self.explained {
            match key.code {
                KeyCode::Char('q') => return Action::Quit,
                KeyCode::Char('e') => page.renew(),
                code if page.on_key(code) => {}
                _ => self.explained = None,
            }
            return Action::Redraw;
        }
        if self.editing_filter
            && let Some(action) = self.edit_filter(key.code)
        {
            return action;
        }
        match key.code {
            KeyCode::Char('q') => Action::Quit,
            KeyCode::Char('?') | KeyCode::F(1) => {
                self.change(|app| app.help = Some(help::Scroll::default()))
            }
            KeyCode::Char('p' | ' ') => self.toggle_pause(),
            KeyCode::Char('t') => self.change(|app| {
                app.span = match app.span {
                    Span::Recent => Span::Total,
                    Span::Total => Span::Recent,
                };
                app.regroup();
            }),
            KeyCode::Char('w') => self.change(|app| app.waits = !app.waits),
            KeyCode::Char('n') => self.change(|app| app.commands = !app.commands),
            KeyCode::Char('+' | '=') => self.step_interval(true),
            KeyCode::Char('-') => self.step_interval(false),
            KeyCode::Tab => self.open_tab(self.tab.step(1)),
            KeyCode::BackTab => self.open_tab(self.tab.step(Tab::ALL.len() - 1)),
            KeyCode::Char(digit @ '1'..='4') => {
                let tab = Tab::ALL[digit as usize - '1' as usize];
                while tab == self.tab && self.go_back() {}
                self.open_tab(tab)
            }
            KeyCode::Char('e') => self.explain(),
            KeyCode::Char('i') => self.open_tab(Tab::InFlight),
            KeyCode::Char('c') => {
                self.times_programs = !self.times_programs;
                Action::TimePrograms(self.times_programs)
            }
            KeyCode::Esc | KeyCode::Backspace => self.step_back(),
            _ if self.is_list() => self.on_list_key(key.code),
            KeyCode::Char('E') => self.open_errors(),
            _ => Action::Nothing,
        }
    }

    fn on_list_key(&mut self, code: KeyCode) -> Action {
        let (cursor, last) = (self.place().cursor(), self.items.len().saturating_sub(1));
        match code {
            KeyCode::Up | KeyCode::Char('k') => self.select(cursor.saturating_sub(1)),
            KeyCode::Down | KeyCode::Char('j') => self.select(cursor + 1),
            KeyCode::PageUp => self.select(cursor.saturating_sub(self.page)),
            KeyCode::PageDown => self.select(cursor + self.page),
            KeyCode::Home | KeyCode::Char('g') => self.select(0),
            KeyCode::End | KeyCode::Char('G') => self.select(last),
            KeyCode::Left | KeyCode::Char('<') => self.step_sort(false),
            KeyCode::Right | KeyCode::Char('>') => self.step_sort(true),
            KeyCode::Char('r') => self.change(|app| {
                let place = app.here();
                place.sort.reversed = !place.sort.reversed;
                place.sort_chosen = true;
            }),
            KeyCode::Char('F') => self.change(|app| app.here().toggle_follow()),
            KeyCode::Char('/') => self.change(|app| app.editing_filter = true),
            KeyCode::Enter => self.open_selected(Opened::Parts),
            KeyCode::Char('h') => self.open_selected(Opened::Latencies),
            KeyCode::Char('E') => self.open_selected(Opened::Errors),
            KeyCode::Char('y') => self.open_selected(Opened::Calls),
            KeyCode::Char('H') => self.toggle_threads(),
            KeyCode::Char('B') => self.regroup_processes(),
            KeyCode::Char('C') => self.regroup_calls(),
            _ => Action::Nothing,
        }
    }

    /// Handles a key while the filter is edited. Returns `None` for keys that are for the list.
    fn edit_filter(&mut self, code: KeyCode) -> Option<Action> {
        let mut filter = self.place().filter.clone();
        match code {
            KeyCode::Char(c) => filter.push(c),
            KeyCode::Backspace => {
                filter.pop();
            }
            KeyCode::Esc => {
                self.editing_filter = false;
                filter.clear();
            }
            KeyCode::Enter => self.editing_filter = false,
            KeyCode::Tab | KeyCode::BackTab => {
                self.editing_filter = false;
                return None;
            }
            _ => return None,
        }
        Some(self.set_filter(filter))
    }
}
