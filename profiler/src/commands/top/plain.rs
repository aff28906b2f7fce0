//! Prints each refresh as plain text, for pipes and logs.

use std::{
    io,
    time::{Duration, SystemTime},
};

use unicode_width::UnicodeWidthStr;

use super::{
    call_sets::SetsBy,
    columns::{self, Column},
    feed::{Clock, Event, Feed},
    header::{self, GAP, Piece},
    operations,
    people::People,
    place::root_view,
    rows::{self, Row, Sort},
    shown::{Costs, Shown},
    style::Look,
    table::List,
    view::{Selection, Tab, View},
};
use crate::{
    engine::Engine,
    model::{Detail, Dimension, Kind, SortKey, Span},
    present::{columns::TIME_PARTS, origin, units},
};

/// Maximum number of rows of a table. A line below says how many more there are.
const ROWS: usize = 40;
/// Columns that are only on the screen.
const NOT_PRINTED: [Column; 2] = [Column::Spread, Column::User];
/// Maximum number of rows of calls in flight.
const ROWS_IN_FLIGHT: usize = 5;

/// Settings of `top -b`.
pub(super) struct Settings<'a> {
    /// Time between two refreshes.
    pub(super) interval: Duration,
    /// Number of refreshes. `None` is unlimited.
    pub(super) iterations: Option<u64>,
    /// The order of the tables.
    pub(super) sort: SortKey,
    /// The filter: rows must contain this text.
    pub(super) filter: &'a str,
    /// Describes which calls count. Empty if all calls count.
    pub(super) only: &'a str,
    /// The capabilities of the output.
    pub(super) look: Look,
    /// Reads the wall clock.
    pub(super) now: fn() -> SystemTime,
    /// Whether calls that wait by nature are included.
    pub(super) waits: bool,
    /// Whether threads are listed instead of processes.
    pub(super) threads: bool,
    /// Which sites are listed instead of processes, if any.
    pub(super) sites: Option<Dimension>,
    /// How syscalls are grouped, if they are.
    pub(super) sets: Option<SetsBy>,
    /// Whether the profiler's programs are timed.
    pub(super) times_programs: bool,
}

/// Passes each refresh to `write`, until a signal arrives or nobody reads the output.
pub(super) fn run(
    engine: &mut impl Engine,
    settings: &Settings<'_>,
    clock: &mut impl Clock,
    write: &mut impl FnMut(&str) -> io::Result<()>,
) -> io::Result<()> {
    let mut feed = Feed::new(engine, clock.now());
    if settings.threads {
        feed.set_detail(Detail::Threads);
    }
    let mut costs = Costs::default();
    let mut due = clock.now() + settings.interval;
    for refresh in 0.. {
        if settings.iterations.is_some_and(|most| refresh >= most) {
            break;
        }
        while Event::Due
            != match feed.wait(clock, due)? {
                Event::End => return Ok(()),
                event => event,
            }
        {}
        let now = clock.now();
        // The next refresh does not depend on the end of the printing, so the pace stays constant.
        // Refreshes that were missed because of a slow reader are skipped.
        due = (due + settings.interval).max(now);
        let shown = costs.add(feed.refresh(clock)).grouped(Span::Recent, settings.sites);
        let separator = if refresh > 0 { "\n" } else { "" };
        let page = format!("{separator}{}", page(&shown, settings));
        write(&page)?;
    }
    Ok(())
}

/// A refresh as text.
fn page(shown: &Shown, settings: &Settings<'_>) -> String {
    let mut page = origin::time((settings.now)()) + "\n";
    let activity = header::activity(Some(shown), Span::Recent, false);
    let cost = header::cost(Some(shown), settings.times_programs);
    let stuck = header::stuck(Some(shown), settings.look);
    let only = header::only(settings.only, settings.look);
    let lines = [activity, header::health(Some(shown))].into_iter();
    let operations = operations::line(Some(shown), None, Span::Recent, settings.look);
    for pieces in lines.chain(only).chain(cost).chain(stuck).chain(operations) {
        let texts: Vec<&str> = pieces.iter().map(|piece: &Piece| piece.text.trim()).collect();
        page.push_str(&texts.join(GAP));
        page.push('\n');
    }
    for tab in Tab::ALL {
        table(&mut page, shown, tab, settings);
    }
    page
}

fn table(page: &mut String, shown: &Shown, tab: Tab, settings: &Settings<'_>) {
    let (span, look) = (Span::Recent, settings.look);
    let view = match root_view(tab) {
        View::Processes(None) => match settings.sites {
            Some(dimension) => View::Sites(dimension),
            None if settings.threads => View::Threads(None),
            None => View::Processes(None),
        },
        View::Calls => settings.sets.map_or(View::Calls, |by| View::Sets(by, None)),
        view => view,
    };
    // A filter can select a call that waits.
    let waits = settings.waits || !settings.filter.is_empty();
    let selection = Selection { span, waits };
    let sort = Sort { column: columns::for_sort_key(&view, settings.sort), reversed: false };
    let listed = |waits| {
        let selection = Selection { span, waits };
        let mut items = rows::list(shown, &view, selection, sort, settings.filter);
        items.retain(|&item| !Row::of(shown, item, selection).idle());
        items
    };
    let mut items = listed(waits);
    let hidden = match view {
        _ if waits => 0,
        View::InFlight => shown.snapshot.in_flight.count(Kind::Waits),
        _ => (listed(true).len() - items.len()) as u64,
    };
    if items.is_empty() && hidden == 0 {
        return;
    }
    page.push_str(&format!("\n{}\n", view.title()));
    let most = if tab == Tab::InFlight { ROWS_IN_FLIGHT } else { ROWS };
    let more = items.len().saturating_sub(most);
    items.truncate(most);
    let of_view = columns::of(&view).iter().copied().filter(|c| !NOT_PRINTED.contains(c));
    let columns: Vec<Column> = of_view
        .flat_map(|column| match column {
            // Figures instead of a drawing.
            Column::Where if shown.snapshot.health.off_cpu => TIME_PARTS.to_vec(),
            Column::Where => Vec::new(),
            column => vec![column],
        })
        .collect();
    let people = People::default();
    let list = List { shown, view: &view, selection, sort, look, people: &people, commands: false };
    let mut lines = vec![columns.iter().map(|&c| columns::heading(c, span).to_owned()).collect()];
    lines.extend(list.lines(&items, &columns).into_iter().map(|line| line.cells));
    if !items.is_empty() {
        align(page, &columns, &lines);
    }
    let what_is_hidden = match view {
        View::Sites(_) | View::Processes(_) | View::Threads(_) | View::Sets(..) => {
            "whose calls all wait by nature"
        }
        _ => "that wait by nature",
    };
    for (rows, what) in [(more as u64, "more"), (hidden, what_is_hidden)] {
        if rows > 0 {
            page.push_str(&format!("and {} {what}\n", units::count(rows)));
        }
    }
}

/// Appends `lines`, with columns as wide as necessary.
fn align(page: &mut String, columns: &[Column], lines: &[Vec<String>]) {
    let width = |at: usize| lines.iter().map(|line| line[at].width()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in lines {
        let cells = line.iter().zip(columns).zip(&widths);
        let cells: Vec<String> = cells
            .map(|((text, column), &width)| units::pad(text, width, !column.is_text()))
            .collect();
        page.push_str(cells.join(GAP).trim_end());
        page.push('\n');
    }
}

#[cfg(test)]
mod tests {
    use std::{os::fd::BorrowedFd, time::Instant};

    use super::*;
    use crate::{
        commands::top::{fixtures, site_tests},
        model::{Detail, Snapshot},
    };

    struct Fake;

    impl Engine for Fake {
        fn snapshot(&mut self, detail: Detail) -> Snapshot {
            if detail == Detail::Threads {
                return fixtures::threaded_host();
            }
            fixtures::first_interval()
        }

        fn read(&mut self) {}

        fn all_ended(&self) -> bool {
            false
        }

        fn stop(&mut self) {}

        fn finish(self, _detail: Detail) -> Snapshot {
            fixtures::first_interval()
        }
    }

    /// Time that passes in waits only, and a signal at the end of it.
    struct Fast {
        now: Instant,
        end: Instant,
    }

    impl Clock for Fast {
        fn now(&self) -> Instant {
            self.now
        }

        fn wait(&mut self, until: Instant, _wake: Option<BorrowedFd<'_>>) -> io::Result<Event> {
            self.now = until.min(self.end);
            Ok(if until < self.end { Event::Due } else { Event::End })
        }
    }

    fn settings(iterations: Option<u64>, filter: &str) -> Settings<'_> {
        Settings {
            interval: Duration::from_secs(1),
            iterations,
            sort: SortKey::Total,
            filter,
            only: "",
            look: Look { colour: true, unicode: true },
            now: || SystemTime::UNIX_EPOCH + Duration::from_millis(1_700_000_001_234),
            waits: false,
            threads: false,
            sites: None,
            sets: None,
            times_programs: false,
        }
    }

    fn clock() -> Fast {
        let now = Instant::now();
        Fast { now, end: now + Duration::from_millis(7_500) }
    }

    fn printed(settings: &Settings<'_>) -> String {
        let mut out = String::new();
        run(&mut Fake, settings, &mut clock(), &mut |page: &str| {
            out.push_str(page);
            Ok(())
        })
        .unwrap();
        out
    }

    #[test]
    fn a_refresh() {
        insta::assert_snapshot!(printed(&settings(Some(1), "")));
    }

    #[test]
    fn a_filter_leaves_out_tables_that_have_nothing() {
        insta::assert_snapshot!(printed(&settings(Some(1), "epoll")));
    }

    #[test]
    fn a_call_that_does_not_come_back() {
        let mut costs = Costs::default();
        let page = page(
            &costs.add(fixtures::stuck_host()).grouped(Span::Recent, None),
            &settings(None, ""),
        );
        let head: Vec<&str> = page.lines().take(3).collect();
        let in_flight = page.split("\n\n").last().expect("the last table");
        insta::assert_snapshot!([&head.join("\n"), in_flight].join("\n...\n"));
    }

    #[test]
    fn threads_are_printed_on_request() {
        let page = printed(&Settings { threads: true, ..settings(Some(1), "") });
        assert!(!page.contains("\nProcesses\n"), "{page}");
        let threads = page.split("\n\n").find(|part| part.starts_with("Threads"));
        insta::assert_snapshot!(threads.expect("a table of threads"));
    }

    #[test]
    fn categories_are_printed_on_request() {
        let sets = Some(SetsBy::Category);
        let page = printed(&Settings { sets, ..settings(Some(1), "") });
        assert!(!page.contains("\nSystem calls\n"), "{page}");
        let categories = page.split("\n\n").find(|part| part.starts_with("Categories"));
        insta::assert_snapshot!(categories.expect("a table of categories"));
    }

    #[test]
    fn containers_are_printed_on_request() {
        let sites = Some(Dimension::Container);
        let shown = Costs::default().add(site_tests::host()).grouped(Span::Recent, sites);
        let page = page(&shown, &Settings { sites, waits: true, ..settings(None, "") });
        assert!(!page.contains("\nProcesses\n"), "{page}");
        let containers = page.split("\n\n").find(|part| part.starts_with("Containers"));
        insta::assert_snapshot!(containers.expect("a table of containers"));
    }

    #[test]
    fn it_prints_as_often_as_asked() {
        let pages = |n| printed(&settings(n, "")).matches("profiler  ").count();
        assert_eq!((pages(Some(0)), pages(Some(3))), (0, 3));
        // Until the signal that the clock brings at last.
        assert_eq!(pages(None), 7);
    }

    #[test]
    fn calls_that_wait_are_printed_on_request() {
        let hidden = printed(&settings(Some(1), ""));
        assert!(!hidden.contains("\nepoll_wait"), "{hidden}");
        let all = printed(&Settings { waits: true, ..settings(Some(1), "") });
        assert!(all.contains("\nepoll_wait") && !all.contains("wait by nature"), "{all}");
    }

    #[test]
    fn no_escape_codes() {
        let text = printed(&settings(Some(2), ""));
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }

    #[test]
    fn a_reader_that_goes_away_ends_it() {
        let mut pages = 0;
        let mut clock = clock();
        let start = clock.now;
        let ended = run(&mut Fake, &settings(None, ""), &mut clock, &mut |_: &str| {
            pages += 1;
            if pages == 1 { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        });
        assert_eq!(ended.map_err(|error| error.kind()), Err(io::ErrorKind::BrokenPipe));
        assert_eq!(clock.now - start, Duration::from_secs(2));
    }
}
