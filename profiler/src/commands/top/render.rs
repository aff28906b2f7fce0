//! Draws the state onto a frame, whatever its size.

use ratatui::{Frame, buffer::Buffer, layout::Rect, style::Style};
use unicode_width::UnicodeWidthStr;

use super::{
    columns,
    header::{self, GAP, Piece},
    help, latency,
    place::root_view,
    rows::{self, Sort},
    state::{App, Shown},
    style::{Look, Tone},
    table::List,
    view::{Tab, View},
};
use crate::{
    model::{Kind, Span},
    present::units,
    text::Untrusted,
};

/// What the least useful screen needs.
const MIN_WIDTH: u16 = 28;
const MIN_HEIGHT: u16 = 7;
/// From this height on, there is a line for what the programs cost.
const HEIGHT_FOR_COST: u16 = MIN_HEIGHT + 2;
/// From this height on, lists are followed by the oldest calls in flight.
const HEIGHT_FOR_PANEL: u16 = 32;
/// Lines of that panel, title and heading included.
const PANEL_HEIGHT: u16 = 8;

/// Draws `app`; tells it how many rows are in sight.
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
    let more = [&only, &cost, &stuck].into_iter().flatten().count() as u16;
    let [top, body, footer] = split(area, 3 + more, 1);
    let mut page = Page::new(frame.buffer_mut(), top, look);
    page.line(&header::activity(app.shown(), app.span(), app.paused()));
    page.line(&header::health(app.shown()));
    for line in [only, cost, stuck].into_iter().flatten() {
        page.line(&line);
    }
    page.line(&location(app, look, top.width.into()));
    if app.help() {
        draw_help(frame.buffer_mut(), body, look);
    } else if let View::Latency(subject) = &app.place().view {
        if let Some(shown) = app.shown() {
            let size = (body.width.into(), body.height.into());
            let mut page = Page::new(frame.buffer_mut(), body, look);
            for line in latency::lines(subject, &shown.snapshot, app.span(), size, look) {
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

/// `area` from top to bottom, its first `above` and last `below` lines apart.
fn split(area: Rect, above: u16, below: u16) -> [Rect; 3] {
    let above = above.min(area.height);
    let below = below.min(area.height - above);
    let middle = area.height - above - below;
    let part = |y, height| Rect { y: area.y + y, height, ..area };
    [part(0, above), part(above, middle), part(above + middle, below)]
}

/// Lines of text, written from the top of an area.
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

    /// Writes the next line, as much of it as fits; the column where it ends.
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

    /// Marks the line written last.
    fn mark(&mut self) {
        let y = self.area.y + self.next.saturating_sub(1);
        self.buffer.set_style(Rect { y, height: 1, ..self.area }, self.look.selected());
    }
}

/// The tabs, or the way to what was opened; then how many rows there are.
fn location(app: &App, look: Look, width: usize) -> Vec<Piece> {
    let titles: Vec<String> = app.trail().titles().collect();
    let mut pieces: Vec<Piece> = if titles.len() > 1 {
        let titles: Vec<String> = titles.iter().map(|title| look.printable(title)).collect();
        vec![Piece::new(titles.join(look.onward()), Tone::Accent)]
    } else {
        let tab = |tab: Tab| {
            let tone = if tab == app.tab() { Tone::Accent } else { Tone::Dim };
            Piece::new(format!("{} {}", tab as usize + 1, tab.title()), tone)
        };
        Tab::ALL.map(tab).into()
    };
    if let Some(shown) = app.shown()
        && !matches!(app.place().view, View::Latency(_))
    {
        for text in extent(app, shown) {
            let used: usize = pieces.iter().map(|piece| piece.text.width() + GAP.len()).sum();
            if used + text.len() <= width {
                pieces.push(Piece::new(text, Tone::Dim));
            }
        }
    }
    pieces
}

/// How many rows there are, and how many are left out.
fn extent(app: &App, shown: &Shown) -> Vec<String> {
    let (view, in_flight) = (&app.place().view, &shown.snapshot.in_flight);
    let listed = rows::all(&shown.snapshot, view).len() as u64;
    let hidden = match view {
        View::InFlight { waiting: false } => in_flight.count(Kind::Waits),
        _ => 0,
    };
    // Of calls in flight only the oldest are listed.
    let all = match view {
        View::InFlight { .. } => in_flight.count_all(),
        _ => listed,
    };
    let shown = app.items().len() as u64;
    let mut texts = vec![if app.place().filter.is_empty() && listed == all - hidden {
        format!("{listed} rows")
    } else {
        format!("{shown} of {} rows", units::count(all - hidden))
    }];
    if hidden > 0 {
        texts.push(format!("w: {} that wait", units::count(hidden)));
    }
    texts
}

/// The filter, and the keys that matter most.
fn bottom(app: &App) -> Vec<Piece> {
    let filter = Untrusted::from(app.place().filter.as_str());
    if app.editing_filter() {
        return vec![Piece::new(format!("filter: {filter}"), Tone::Strong)];
    }
    let mut pieces = Vec::new();
    if !app.place().filter.is_empty() {
        pieces.push(Piece::new(format!("filter: {filter}"), Tone::Strong));
    }
    for (at, (key, what)) in (1..).zip(help::HINTS) {
        let (key, what) = match (key, &app.place().view, app.span(), app.paused()) {
            ("i", View::InFlight { waiting: false }, ..) => ("w", "show waiting"),
            ("i", View::InFlight { waiting: true }, ..) => ("w", "hide waiting"),
            ("t", _, Span::Total, _) => (key, "per second"),
            ("p", .., true) => (key, "go on"),
            _ => (key, what),
        };
        pieces.push(Piece::new(format!("{key} {what}"), Tone::Dim).or_less(at));
    }
    let interval = format!("every {}", units::time(app.interval().as_nanos() as u64));
    pieces.push(Piece::new(interval, Tone::Dim).or_less(u8::MAX));
    pieces
}

fn draw_help(buffer: &mut Buffer, area: Rect, look: Look) {
    let mut page = Page::new(buffer, area, look);
    for (key, what) in help::KEYS {
        let key = units::pad(key, help::KEY_WIDTH, false);
        page.line(&[Piece::new(key, Tone::Strong), Piece::new(what, Tone::Normal)]);
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
        snapshot: &shown.snapshot,
        view: &place.view,
        span: app.span(),
        sort: place.sort,
        look,
    };
    let items = &app.items()[place.first().min(app.items().len())..];
    draw_table(buffer, list, &source, items, Some(place.cursor() - place.first()));
    if app.items().is_empty() {
        let [_, empty, _] = split(list, 1, 0);
        let text = nothing(app);
        Page::new(buffer, empty, look).line(&[Piece::new(text, Tone::Dim)]);
    }
    if panel.height > 0 {
        draw_panel(buffer, panel, &source);
    }
}

/// The oldest calls in flight, but for those that wait by their nature.
fn draw_panel(buffer: &mut Buffer, area: Rect, source: &List<'_>) {
    let [title, panel, _] = split(area, 2, 0);
    let mut page = Page::new(buffer, title, source.look);
    page.line(&[]);
    let view = root_view(Tab::InFlight);
    let sort = Sort { column: columns::Column::Kind, reversed: false };
    let items = rows::list(source.snapshot, &view, source.span, sort, "");
    let waiting = units::count(source.snapshot.in_flight.count(Kind::Waits));
    page.line(&[
        Piece::new("Oldest calls in flight", Tone::Strong),
        Piece::new(format!("beside {waiting} that wait"), Tone::Dim).or_less(1),
    ]);
    if items.is_empty() {
        Page::new(buffer, panel, source.look).line(&[Piece::new("none", Tone::Dim)]);
    } else {
        draw_table(buffer, panel, &List { view: &view, sort, ..*source }, &items, None);
    }
}

/// Why a list is empty.
fn nothing(app: &App) -> &'static str {
    match &app.place().view {
        View::InFlight { waiting: false } if !app.place().filter.is_empty() => {
            "nothing contains the filter's text; w shows also what waits"
        }
        _ if !app.place().filter.is_empty() => "nothing contains the filter's text",
        View::CallsOf(_) => "this process has ended and is no longer listed",
        View::CallersOf(_) => "no process that is still listed has made this call",
        View::InFlight { waiting: false } => "no call is in flight but such as wait: w shows them",
        View::InFlight { waiting: true } => "no call is in flight",
        _ => "no system call yet",
    }
}

fn draw_table(
    buffer: &mut Buffer,
    area: Rect,
    source: &List<'_>,
    items: &[rows::Item],
    marked: Option<usize>,
) {
    let arranged =
        columns::arrange(columns::of(source.view), source.sort.column, area.width.into());
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
