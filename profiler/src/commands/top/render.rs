//! Draws the state onto a frame of any size.

use std::sync::Arc;

use ratatui_core::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::Style,
    terminal::Frame,
};
use unicode_width::UnicodeWidthStr;

use super::{
    columns, failures,
    header::{self, GAP, Piece},
    help, latency, operations,
    owner::Owner,
    place::root_view,
    rows::{self, Sort},
    shown::Shown,
    state::App,
    style::{Look, Tone},
    table::List,
    view::{self, Selection, Tab, View},
};
use crate::{
    model::{Coverage, Kind, Process, Span},
    present::units,
    text::Untrusted,
};

/// Minimum size of a useful screen.
const MIN_WIDTH: u16 = 28;
const MIN_HEIGHT: u16 = 7;
/// Minimum height for the line with the cost of the programs.
const HEIGHT_FOR_COST: u16 = MIN_HEIGHT + 2;
/// Minimum height for the panel with the oldest calls in flight.
const HEIGHT_FOR_PANEL: u16 = 32;
/// Minimum width of a command line.
const LEAST_COMMAND: usize = 12;
/// Height of the panel, including title and heading.
const PANEL_HEIGHT: u16 = 8;

/// Draws `app`, and tells `app` how many rows are visible.
pub(super) fn draw(frame: &mut Frame<'_>, app: &mut App, look: Look) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        let text = format!("{}x{} is too small", area.width, area.height);
        Page::new(frame.buffer_mut(), area, look).line(&[Piece::new(text, Tone::Strong)]);
        return;
    }
    let stuck = header::stuck(app.shown(), look);
    let only = header::only(app.only(), look);
    let cost =
        header::cost(app.shown(), app.times_programs()).filter(|_| area.height >= HEIGHT_FOR_COST);
    let since_start = app.since_start().map(|why| vec![Piece::new(why.text(), Tone::Warning)]);
    let process = app.place().view.process().map(|process| &**process);
    let operations = operations::line(app.shown(), process, app.span(), look)
        .filter(|_| area.height >= HEIGHT_FOR_COST);
    let more =
        [&only, &cost, &stuck, &operations, &since_start].into_iter().flatten().count() as u16;
    let [top, body, footer] = split(area, 3 + more, 1);
    let mut page = Page::new(frame.buffer_mut(), top, look);
    page.line(&header::activity(app.shown(), app.span(), app.paused()));
    page.line(&header::health(app.shown()));
    for line in [only, cost, stuck, operations, since_start].into_iter().flatten() {
        page.line(&line);
    }
    page.line(&location(app, look, top.width.into()));
    if app.help() {
        draw_help(frame.buffer_mut(), body, app, look);
    } else if let Some(explained) = app.explained() {
        let lines = explained.visible(body.width.into(), body.height.into());
        let mut page = Page::new(frame.buffer_mut(), body, look);
        for line in lines {
            let tone = if line.is_heading { Tone::Strong } else { Tone::Normal };
            page.line(&[Piece::new(look.printable(&line.text), tone)]);
        }
    } else if let View::Latency(subject) = &app.place().view {
        if let Some(shown) = app.shown() {
            let size = (body.width.into(), body.height.into());
            let mut page = Page::new(frame.buffer_mut(), body, look);
            for line in latency::lines(subject, shown, app.selection(), size, look) {
                page.line(&line);
            }
        }
    } else if let View::Failures(subject) = &app.place().view {
        if let Some(shown) = app.shown() {
            let mut page = Page::new(frame.buffer_mut(), body, look);
            for line in failures::lines(subject, shown, app.selection(), body.width.into(), look) {
                page.line(&line);
            }
        }
    } else if let View::Operation(process, opcode) = &app.place().view {
        if let Some(shown) = app.shown() {
            let size = (body.width.into(), body.height.into());
            let mut page = Page::new(frame.buffer_mut(), body, look);
            for line in operations::lines((process, *opcode), shown, app.span(), size, look) {
                page.line(&line);
            }
        }
    } else {
        draw_lists(frame.buffer_mut(), body, app, look);
    }
    let mut page = Page::new(frame.buffer_mut(), footer, look);
    let end = page.line(&bottom(app));
    if app.editing_filter() {
        frame.set_cursor_position((end, footer.y));
    }
}

/// Splits `area` into its first `above` lines, the rest, and its last `below` lines.
fn split(area: Rect, above: u16, below: u16) -> [Rect; 3] {
    let (above, below) = (Constraint::Length(above), Constraint::Length(below));
    Layout::vertical([above, Constraint::Fill(1), below]).areas(area)
}

/// Writes lines of text from the top of an area.
struct Page<'a> {
    buffer: &'a mut Buffer,
    area: Rect,
    next: u16,
    look: Look,
}

impl<'a> Page<'a> {
    fn new(buffer: &'a mut Buffer, area: Rect, look: Look) -> Self {
        Self { buffer, area, next: 0, look }
    }

    /// Writes the next line, as far as it fits. Returns the column of its end.
    fn line(&mut self, pieces: &[Piece]) -> u16 {
        let width = self.area.width;
        if self.next >= self.area.height {
            return self.area.x;
        }
        let y = self.area.y + self.next;
        self.next += 1;
        let mut x = self.area.x;
        for piece in header::fit(pieces.to_vec(), width.into()) {
            let room = usize::from(self.area.right().saturating_sub(x));
            let text = units::fit(&piece.text, room, self.look.ellipsis());
            let style = self.look.style(piece.tone);
            let end = self.buffer.set_stringn(x, y, text, room, style).0;
            x = end.saturating_add(GAP.len() as u16).min(self.area.right());
        }
        x.saturating_sub(GAP.len() as u16)
    }

    /// Marks the last line.
    fn mark(&mut self) {
        let y = self.area.y + self.next.saturating_sub(1);
        self.buffer.set_style(Rect { y, height: 1, ..self.area }, self.look.selected());
    }
}

/// The tabs, or the path to the open place, and then the number of rows.
fn location(app: &App, look: Look, width: usize) -> Vec<Piece> {
    let titles: Vec<String> = app.trail().titles().collect();
    let mut pieces: Vec<Piece> = if titles.len() > 1 {
        let titles: Vec<String> = titles.iter().map(|title| look.printable(title)).collect();
        vec![Piece::new(titles.join(look.onward()), Tone::Accent)]
    } else {
        let tab = |tab: Tab| {
            let tone = if tab == app.tab() { Tone::Accent } else { Tone::Dim };
            let title = app.root(tab).view.title();
            Piece::new(format!("{} {title}", tab as usize + 1), tone)
        };
        Tab::ALL.map(tab).into()
    };
    let used = |pieces: &[Piece]| -> usize {
        pieces.iter().map(|piece| piece.text.width() + GAP.len()).sum()
    };
    if let Some(shown) = app.shown()
        && app.place().view.is_list()
    {
        for text in extent(app, shown) {
            if used(&pieces) + text.len() <= width {
                pieces.push(Piece::new(text, Tone::Dim));
            }
        }
    }
    let who = app.place().view.process().and_then(|process| app.people().of(process));
    if let Some(place) = who.and_then(|who| who.place.as_ref()) {
        let text = format!("in {}", look.printable(&place.to_string()));
        if used(&pieces) + text.width() <= width {
            pieces.push(Piece::new(text, Tone::Dim));
        }
    }
    if let Some(command) = who.and_then(|who| who.command.as_ref()) {
        let room = width.saturating_sub(used(&pieces));
        if room >= LEAST_COMMAND {
            let text = look.printable(&command.to_string());
            pieces.push(Piece::new(units::fit(&text, room, look.ellipsis()), Tone::Normal));
        }
    }
    pieces
}

/// The number of rows, and of hidden rows.
fn extent(app: &App, shown: &Shown) -> Vec<String> {
    let (view, in_flight) = (&app.place().view, &shown.snapshot.in_flight);
    let selection = app.selection();
    let rows = |waits| rows::all(shown, view, Selection { waits, ..selection }).len() as u64;
    let listed = rows(selection.waits);
    let items = app.items().len() as u64;
    // The list of calls in flight has only the oldest.
    let (all, hidden, what) = match view {
        View::InFlight if selection.waits => (in_flight.count_all(), 0, "calls in flight"),
        View::InFlight => {
            let waiting = in_flight.count(Kind::Waits);
            (in_flight.count_all() - waiting, waiting, "calls in flight")
        }
        _ => (listed, rows(true) - listed, "rows"),
    };
    let mut texts = vec![if app.place().filter.is_empty() && listed == all {
        format!("{listed} {what}")
    } else {
        format!("{items} of {} {what}", units::count(all))
    }];
    if hidden > 0 {
        texts.push(format!("{} that wait hidden", units::count(hidden)));
    }
    texts
}

/// The last line: the filter, and the most important keys.
fn bottom(app: &App) -> Vec<Piece> {
    let filter = Untrusted::from(app.place().filter.as_str());
    if app.editing_filter() {
        return vec![Piece::new(format!("filter: {filter}"), Tone::Strong)];
    }
    let mut pieces = Vec::new();
    if app.help() {
        let text = "Up Down scroll, any other key closes";
        return vec![Piece::new(text, Tone::Dim)];
    }
    if let Some(followed) = followed(app) {
        pieces.push(Piece::new(format!("F following {followed}"), Tone::Strong));
    }
    if !app.place().filter.is_empty() {
        pieces.push(Piece::new(format!("filter: {filter}"), Tone::Strong));
    }
    for (at, (key, what)) in (1..).zip(help::HINTS) {
        let what = match key {
            "w" if app.waits() => "waits shown",
            "t" if app.span() == Span::Total => "per second",
            "p" if app.paused() => "go on",
            "F" if app.place().follows() => "stop following",
            _ => what,
        };
        pieces.push(Piece::new(format!("{key} {what}"), Tone::Dim).or_less(at));
    }
    let interval = format!("every {}", units::time(app.interval().as_nanos() as u64));
    pieces.push(Piece::new(interval, Tone::Dim).or_less(u8::MAX));
    pieces
}

/// The title of the row that the mark follows.
fn followed(app: &App) -> Option<String> {
    let (place, shown) = (app.place(), app.shown()?);
    let item = app.items().get(place.cursor()).filter(|_| place.follows())?;
    let row = rows::Row::of(shown, *item, app.selection());
    let call = row.key.map(crate::names::syscalls::name_with_abi);
    let of_process = || row.process.map(|process| view::process_name(process));
    let owner = row.owner.map(Owner::title).or_else(of_process);
    Some(match (&place.view, call, owner) {
        (View::Sets(..), ..) => row.set?.title(),
        (View::CallsOf(_) | View::CallsIn(..), Some(call), _) | (_, Some(call), None) => call,
        (_, _, owner) => owner?,
    })
}

fn draw_help(buffer: &mut Buffer, area: Rect, app: &mut App, look: Look) {
    let lines = help::wrapped(area.width.into());
    let first = app.fit_help(area.height.into(), lines.len());
    let mut page = Page::new(buffer, area, look);
    for (word, meaning) in lines.iter().skip(first).take(area.height.into()) {
        let word = units::pad(&look.printable(word), help::KEY_WIDTH, false);
        page.line(&[
            Piece::new(word, Tone::Strong),
            Piece::new(look.printable(meaning), Tone::Normal),
        ]);
    }
}

fn draw_lists(buffer: &mut Buffer, area: Rect, app: &mut App, look: Look) {
    let panel = if area.height >= HEIGHT_FOR_PANEL && app.tab() != Tab::InFlight {
        PANEL_HEIGHT
    } else {
        0
    };
    let [list, _, panel] = split(area, area.height - panel, panel);
    app.fit(usize::from(list.height.saturating_sub(1)));
    let Some(shown) = app.shown() else { return };
    let place = app.place();
    let source = List {
        shown,
        view: &place.view,
        selection: app.selection(),
        sort: place.sort,
        look,
        people: app.people(),
        commands: app.commands(),
    };
    let items = &app.items()[place.first().min(app.items().len())..];
    draw_table(buffer, list, &source, items, Some(place.cursor() - place.first()));
    if app.items().is_empty() {
        let [_, empty, _] = split(list, 1, 0);
        let mut page = Page::new(buffer, empty, look);
        for line in nothing_lines(app, look, empty.width.into()) {
            page.line(&[Piece::new(line, Tone::Dim)]);
        }
    }
    let in_panel = if panel.height > 0 { draw_panel(buffer, panel, &source) } else { Vec::new() };
    app.set_in_panel(in_panel);
}

/// Draws the oldest calls in flight, without those that wait by nature. Returns their processes.
fn draw_panel(buffer: &mut Buffer, area: Rect, source: &List<'_>) -> Vec<Arc<Process>> {
    let [title, panel, _] = split(area, 2, 0);
    let mut page = Page::new(buffer, title, source.look);
    page.line(&[]);
    let view = root_view(Tab::InFlight);
    let sort = Sort { column: columns::Column::Kind, reversed: false };
    let selection = Selection { waits: false, ..source.selection };
    let items = rows::list(source.shown, &view, selection, sort, "");
    let waiting = units::count(source.shown.snapshot.in_flight.count(Kind::Waits));
    page.line(&[
        Piece::new("Oldest calls in flight", Tone::Strong),
        Piece::new(format!("beside {waiting} that wait"), Tone::Dim).or_less(1),
    ]);
    if items.is_empty() {
        Page::new(buffer, panel, source.look).line(&[Piece::new("none", Tone::Dim)]);
    } else {
        draw_table(buffer, panel, &List { view: &view, sort, selection, ..*source }, &items, None);
    }
    let in_sight = items.iter().take(usize::from(panel.height.saturating_sub(1)));
    let of_item =
        |&item: &rows::Item| rows::Row::of(source.shown, item, selection).process.cloned();
    in_sight.filter_map(of_item).collect()
}

/// Why a list is empty, in lines of at most `width`.
fn nothing_lines(app: &App, look: Look, width: usize) -> Vec<String> {
    let view = &app.place().view;
    let is_of_sites = matches!(view, View::Sites(_)) || view.site().is_some();
    match app.no_sites().filter(|_| is_of_sites) {
        Some(why) => {
            let text = format!("Calls are not told apart by cgroup: {why}");
            help::wrap(&look.printable(&text), width)
        }
        None => vec![nothing(app).into()],
    }
}

/// Why a list is empty.
fn nothing(app: &App) -> &'static str {
    let (view, waits) = (&app.place().view, app.waits());
    let has_waits = app.shown().is_some_and(|shown| {
        let selection = Selection { waits: true, ..app.selection() };
        !waits && !rows::all(shown, view, selection).is_empty()
    });
    match view {
        View::InFlight if !waits && !app.place().filter.is_empty() => {
            "nothing contains the filter's text; w shows calls that wait too"
        }
        _ if !app.place().filter.is_empty() => "nothing contains the filter's text",
        View::Operations => match app.shown().map(|shown| &shown.snapshot.io_uring.coverage) {
            Some(Coverage::Missing(_)) => {
                "operations of io_uring cannot be counted here: `profiler doctor` says why"
            }
            _ => "no operation of io_uring yet",
        },
        View::InFlight if waits => "no call is in flight",
        View::InFlight => "no call is in flight except those that wait: w shows them",
        _ if has_waits => "no syscall except those that wait: w shows them",
        view if view.site().is_some() => "no process that is still listed has made a call here",
        View::CallersOf(_) => "no process that is still listed has made this call",
        view => match view.owner() {
            Some(owner) if owner.thread().is_some() => {
                "this thread has ended and is no longer listed"
            }
            Some(owner) if owner.one_process().is_none() => "no process here has made a call",
            Some(_) => "this process has ended and is no longer listed",
            None => "no syscall yet",
        },
    }
}

fn draw_table(
    buffer: &mut Buffer,
    area: Rect,
    source: &List<'_>,
    items: &[rows::Item],
    marked: Option<usize>,
) {
    let arranged = columns::arrange(
        columns::of(source.view),
        source.sort.column,
        area.width.into(),
        (source.commands, source.shown.snapshot.health.off_cpu),
    );
    let columns: Vec<columns::Column> = arranged.iter().map(|&(column, _)| column).collect();
    let look = source.look;
    let mut cell = |x: u16, y: u16, at: usize, text: &str, style: Style| {
        let (column, width) = arranged[at];
        let text = source.align(column, text, width);
        buffer.set_stringn(x, y, text, width.min(area.width.into()), style);
        x.saturating_add(width as u16 + 1)
    };
    let mut x = area.x;
    for (at, &column) in columns.iter().enumerate() {
        let (heading, tone) = source.heading(column);
        x = cell(x, area.y, at, &heading, look.style(tone));
    }
    let in_sight = items.len().min(usize::from(area.height.saturating_sub(1)));
    let lines = source.lines(&items[..in_sight], &columns);
    for (y, line) in (area.y + 1..area.bottom()).zip(&lines) {
        let mut x = area.x;
        for (at, text) in line.cells.iter().enumerate() {
            x = cell(x, y, at, text, look.style(line.tone));
        }
    }
    if let Some(row) = marked.filter(|&row| row < in_sight) {
        let y = area.y + 1 + row as u16;
        Page { buffer, area, next: y + 1 - area.y, look }.mark();
    }
}
