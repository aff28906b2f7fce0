//! Formats the tables as Markdown.

use std::fmt::Write as _;

use super::{CHART, WORK_CHART, chart::thousands};
use crate::bench::{
    figures::{CLOCK, EMPTY, NOTHING, WorkFigures},
    results::{Contention, Drain, Growth, HotPath, Load, Quiet, Results, Row, Section, Work},
    statistics::{least, median},
};

/// Writes all tables, with headings.
pub(super) fn all(results: &Results) -> String {
    let mut text = machine(results);
    let versions: Vec<_> = results
        .tools
        .iter()
        .map(|tool| match &tool.version {
            Some(version) => format!("{} {version}", tool.program),
            None => format!("{} is missing (Debian's package `{}`)", tool.program, tool.package),
        })
        .collect();
    if !versions.is_empty() {
        text += &format!("\n{}.\n", versions.join(", "));
    }
    if let Some(hot_path) = &results.hot_path {
        text += "\n## A call\n\n";
        text += &about_calls(hot_path);
        for section in &hot_path.sections {
            text += &format!("\n### {}\n\n", section.workload);
            text += &calls(section);
        }
        text += &parts(&hot_path.sections);
    }
    if let Some(shared) = &results.contention {
        text += "\n## Two threads at once\n\n";
        text += &contention(shared);
    }
    if let Some(done) = &results.work {
        text += "\n## Real work\n\n";
        text += &about_work(done);
        text += &work(done);
    }
    if let Some(grown) = &results.growth {
        text += "\n## How the cost grows\n\n";
        text += &growth(grown);
    }
    text
}

/// Writes the text of profiler/BENCHMARK.md.
pub(super) fn document(results: &Results) -> String {
    let mut text = "# What the profiler costs\n\n\
        `cargo xtask bench` measures these figures, and `cargo xtask bench --readme` writes them \
        here. Absolute figures differ between machines, so compare the ratios.\n\n"
        .to_owned();
    if results.hot_path.is_some() {
        text += &format!("![Nanoseconds added to a call]({})\n\n", file_name(CHART));
    }
    if results.work.is_some() {
        text += &format!("![How much longer real work takes]({})\n\n", file_name(WORK_CHART));
    }
    text + &all(results)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// Writes the part for the README.
pub(super) fn summary(results: &Results) -> String {
    let mut text = String::new();
    if results.hot_path.is_some() {
        text += &format!("![Nanoseconds added to a call]({CHART})\n\n");
        text += &machine(results);
    }
    if let Some(done) = &results.work {
        text += "\nHow much longer real work takes while a tool watches: the median of the \
                 rounds, and in brackets the minimum and the maximum. If that range includes \
                 zero, no difference was seen.\n\n";
        text += &work(done);
    }
    text
}

fn machine(results: &Results) -> String {
    let machine = &results.machine;
    let (kernel, model) = (&machine.kernel, &machine.cpu_model);
    format!("Linux {kernel}, {model}, {} CPUs, {}.\n", machine.cpus, machine.date)
}

/// Writes a paragraph, followed by a note about other processes on the machine, if there were any.
fn paragraph(text: &str, quiet: Quiet) -> String {
    let Quiet { turns, disturbed, residents, .. } = quiet;
    let mut text = text.to_owned();
    if disturbed > 0 {
        text += &format!(
            " Other processes ran on the machine during {disturbed} of {turns} measurements."
        );
    }
    if residents > 0 {
        text += &format!(" {residents} other eBPF programs were attached throughout.");
    }
    text + "\n"
}

fn about_calls(hot_path: &HotPath) -> String {
    let runs = hot_path.sections.iter().flat_map(|section| &section.rows);
    let runs = runs.map(|row| row.samples.len()).max().unwrap_or_default();
    let text = format!(
        "Nanoseconds per call, from {runs} runs of {} calls on CPU {}. Expensive tools are \
         measured with fewer calls. The rows are measured in turn. \"Added\" is the minimum of a \
         row minus the minimum with nothing attached. The ratios compare the added times. The \
         empty pair is two programs that do nothing, so it is a lower bound for any probe. The \
         clock pair is two programs that only read the clock, so it is a lower bound for any tool \
         that measures latency.",
        hot_path.calls, hot_path.cpu
    );
    paragraph(&text, hot_path.quiet)
}

fn calls(section: &Section) -> String {
    let mut text = "| attached | min | median | added | × clock pair | × empty pair | \
                    × `syscount -L -P` | goal |\n\
                    | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |\n"
        .to_owned();
    for row in &section.rows {
        let _ = write!(text, "| {} |", row.title);
        let Some(figures) = &row.figures else {
            let _ = writeln!(text, " – | – | – | – | – | – | {} |", why(row));
            continue;
        };
        let ratio = |ratio: Option<f64>| ratio.map_or_else(|| "–".to_owned(), ratio_text);
        let _ = write!(text, " {:.1} | {:.1} |", figures.min, figures.median);
        let added = figures.added.map_or_else(|| "–".to_owned(), |added| format!("{added:+.1}"));
        let _ = write!(text, " {added} | {} |", ratio(figures.to_clock));
        let _ = write!(text, " {} | {} |", ratio(figures.to_empty), ratio(figures.to_syscount));
        let goals = figures.goals.iter().map(|goal| {
            let verdict = if goal.met { "met" } else { "missed" };
            format!("≤ {:.2} × {}: {verdict}, {:.2}", goal.at_most, goal.of, goal.ratio)
        });
        let _ = writeln!(text, " {} |", goals.collect::<Vec<_>>().join("; "));
    }
    text
}

/// Writes the table of what each part of the profiler adds. Each figure is the difference from a
/// variant without that part.
fn parts(sections: &[Section]) -> String {
    type Part = fn(&dyn Fn(&str) -> Option<f64>) -> Option<f64>;
    const PARTS: [(&str, Part); 5] = [
        ("two programs that do nothing", |added| added(EMPTY)),
        ("reading the clock twice", |added| Some(added(CLOCK)? - added(EMPTY)?)),
        ("finding thread and call, counting the call and its outcome", |added| {
            Some(added("no-latency")? - added(EMPTY)?)
        }),
        ("latency: sum, minimum, maximum, bucket", |added| {
            Some(added("profiler")? - added("no-latency")? - (added(CLOCK)? - added(EMPTY)?))
        }),
        ("total", |added| added("profiler")),
    ];
    let mut text =
        "\n### Where the time goes\n\nNanoseconds per call, as differences between rows of \
                    the tables above. The CPU overlaps work, so the cost of a part can be zero \
                    or negative.\n\n| part |"
            .to_owned();
    for section in sections {
        let _ = write!(text, " {} |", section.workload);
    }
    text += "\n| --- |";
    text += &" ---: |".repeat(sections.len());
    text += "\n";
    for (name, part) in PARTS {
        let _ = write!(text, "| {name} |");
        for section in sections {
            let added = |key: &str| Row::of(&section.rows, key)?.figures.as_ref()?.added;
            let added = part(&added).map_or_else(|| "–".to_owned(), |ns| format!("{ns:+.1}"));
            let _ = write!(text, " {added} |");
        }
        text += "\n";
    }
    text
}

fn ratio_text(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.2}") } else { format!("{ratio:.0}") }
}

/// Returns the text of a cell that says why a row has no figures.
fn why(row: &Row) -> String {
    row.absent.as_deref().unwrap_or("not measured").replace('|', "/").replace('\n', " ")
}

fn contention(shared: &Contention) -> String {
    let [first, second] = shared.cpus;
    let mut text = format!(
        "Two threads of one process call `getppid`: first each thread alone, on CPU {first} and on \
         CPU {second}, then both at the same time. The figures are nanoseconds per call, the \
         minimum of the runs. If a tool makes the threads write to the same memory, its ratio \
         exceeds the ratio with nothing attached.\n\n\
         | attached | CPU {first} alone | CPU {second} alone | both | both / alone |\n\
         | --- | ---: | ---: | ---: | ---: |\n"
    );
    let rows = shared.first_alone.iter().zip(&shared.second_alone).zip(&shared.both);
    for ((first, second), both) in rows {
        let _ = write!(text, "| {} |", both.title);
        if both.absent.is_some() || both.samples.is_empty() {
            let _ = writeln!(text, " – | – | – | {} |", why(both));
            continue;
        }
        let [first, second, both] = [first, second, both].map(|row| least(&row.samples));
        let ratio = both / f64::midpoint(first, second);
        let _ = writeln!(text, " {first:.1} | {second:.1} | {both:.1} | {ratio:.2} |");
    }
    text
}

fn about_work(done: &Work) -> String {
    let rounds = done.loads.iter().flat_map(|load| &load.rows).map(|row| row.samples.len());
    let text = format!(
        "How much longer a unit of work takes than with nothing attached, in percent. A cell has \
         the median of {} rounds, and in brackets the minimum and the maximum. Each round is \
         compared with a run of the same round without tools. If the range includes zero, no \
         difference was seen. Client and server share the machine. strace watches only the \
         server or the command. All other tools watch the whole machine.",
        rounds.max().unwrap_or_default()
    );
    let mut text = paragraph(&text, done.quiet) + "\n";
    for load in &done.loads {
        let _ = writeln!(text, "- **{}**: {}. Unit: {}.", load.name, load.about, load.unit);
    }
    text + "\n"
}

fn work(done: &Work) -> String {
    let Some(first) = done.loads.first() else { return String::new() };
    let watched = || first.rows.iter().filter(|row| row.key != NOTHING);
    let mut text = "| work | nothing |".to_owned();
    watched().for_each(|row| text += &format!(" {} |", row.title));
    text += "\n| --- | ---: |";
    watched().for_each(|_| text += " ---: |");
    text += "\n";
    for load in &done.loads {
        let _ = write!(text, "| {} | {} |", load.name, rate(load));
        for row in load.rows.iter().filter(|row| row.key != NOTHING) {
            let cell = row.slow_down.as_ref().map_or_else(|| why(row), slow_down);
            let _ = write!(text, " {cell} |");
        }
        text += "\n";
    }
    text
}

/// Formats the units of work per second with nothing attached.
fn rate(load: &Load) -> String {
    Row::of(&load.rows, NOTHING).filter(|row| !row.samples.is_empty()).map_or_else(
        || "–".to_owned(),
        |row| {
            let rate = 1.0 / least(&row.samples);
            let digits = if rate < 100.0 { 1 } else { 0 };
            format!("{rate:.digits$} {}s/s", load.unit)
        },
    )
}

fn slow_down(figures: &WorkFigures) -> String {
    let (least, greatest) = (percent(figures.least), percent(figures.greatest));
    if figures.shows_difference() {
        format!("{} % ({least} … {greatest})", percent(figures.median))
    } else {
        format!("{NO_DIFFERENCE} ({least} … {greatest} %)")
    }
}

/// The text of a cell and of a bar if the rounds disagree on the sign of the difference.
pub(super) const NO_DIFFERENCE: &str = "no difference seen";

/// Formats a percentage with its sign. Values below 100 have one decimal.
pub(super) fn percent(value: f64) -> String {
    let sign = if value < 0.0 { '−' } else { '+' };
    let size = value.abs();
    let text = if size < 100.0 { format!("{size:.1}") } else { thousands(size) };
    format!("{sign}{text}")
}

fn growth(grown: &Growth) -> String {
    let about = "CPU time per call in nanoseconds: the minimum of the runs with nothing attached, \
                 and the time that the clock pair and the profiler add.";
    let mut text = paragraph(about, grown.quiet);
    for dimension in &grown.kernel {
        let _ = write!(
            text,
            "\n**By the number of {}**\n\n\
             | number | nothing | clock pair adds | profiler adds | ratio |\n\
             | ---: | ---: | ---: | ---: | ---: |\n",
            dimension.of
        );
        for point in &dimension.points {
            let least = |key| Row::of(&point.rows, key).map(|row| least(&row.samples));
            let added = |key| Some(least(key)? - least(NOTHING)?);
            let cell =
                |value: Option<f64>| value.map_or("–".to_owned(), |value| format!("{value:.1}"));
            let ratio = added("profiler").zip(added(CLOCK)).map(|(ours, clock)| ours / clock);
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} |",
                point.count,
                cell(least(NOTHING)),
                cell(added(CLOCK)),
                cell(added("profiler")),
                ratio.map_or("–".to_owned(), ratio_text)
            );
        }
    }
    if !grown.drain.is_empty() {
        text += "\n**Duration of a drain**, as the daemon makes each second, with \
                 `--max-memory 160`. The figures are medians in milliseconds. Idle: no thread \
                 made a call since the last drain. Active: every thread did.\n\n\
                 | processes | threads | idle | active |\n| ---: | ---: | ---: | ---: |\n";
    }
    for Drain { processes, threads, idle, active, absent } in &grown.drain {
        let milliseconds = |samples: &[f64]| format!("{:.2}", median(samples) * 1e3);
        let (idle, active) = match absent {
            Some(why) => (why.replace('|', "/"), "–".to_owned()),
            None => (milliseconds(idle), milliseconds(active)),
        };
        let _ = writeln!(text, "| {processes} | {threads} | {idle} | {active} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::{Dimension, Machine, Point, Tool};

    fn row(key: &str, title: &str, samples: &[f64]) -> Row {
        Row { key: key.into(), title: title.into(), samples: samples.into(), ..Row::default() }
    }

    fn absent(key: &str, title: &str, why: &str) -> Row {
        Row { absent: Some(why.into()), ..row(key, title, &[]) }
    }

    fn tool(program: &str, package: &str, version: Option<&str>) -> Tool {
        let version = version.map(str::to_owned);
        Tool { program: program.into(), package: package.into(), version }
    }

    /// Returns results with one example of each part.
    fn results() -> Results {
        let loops = vec![
            row("nothing", "nothing", &[101.0, 100.0, 180.0]),
            row("empty", "empty pair", &[150.0, 152.0, 151.0]),
            row("clock", "clock pair (floor)", &[200.0, 210.0, 220.0]),
            row("profiler", "**profiler**", &[230.0, 225.0, 214.0]),
            row("no-latency", "**profiler** --no-latency", &[156.0, 154.0, 155.0]),
            row("syscount-latency", "`syscount -L -P`", &[400.0, 420.0, 410.0]),
            row("strace", "`strace -f -c`", &[30_100.0, 30_200.0, 30_300.0]),
            absent("sysdig", "`sysdig`", "no module | no probe"),
        ];
        let pair = |key: &str, title: &str, ns: f64| row(key, title, &[ns, ns + 1.0]);
        let jobs = vec![
            row("nothing", "nothing", &[1e-5, 2e-5]),
            row("profiler", "**profiler** daemon", &[1.02e-5, 1.98e-5]),
            row("strace", "`strace -f -c`", &[1e-3, 1e-3]),
            absent("perf-trace", "`perf trace`", "not installed"),
        ];
        let results = Results {
            machine: Machine {
                kernel: "6.18.0".into(),
                cpu_model: "A CPU".into(),
                cpus: 2,
                date: "2026-01-02".into(),
            },
            tools: vec![tool("strace", "strace", Some("6.1")), tool("sysdig", "sysdig", None)],
            hot_path: Some(HotPath {
                calls: 1000,
                cpu: 1,
                quiet: Quiet { turns: 18, repeated: 2, disturbed: 1, residents: 3 },
                sections: vec![Section { workload: "getppid".into(), rows: loops }],
            }),
            contention: Some(Contention {
                calls: 1000,
                cpus: [1, 0],
                first_alone: vec![pair("nothing", "nothing", 100.0)],
                second_alone: vec![pair("nothing", "nothing", 110.0)],
                both: vec![pair("nothing", "nothing", 126.0)],
            }),
            work: Some(Work {
                quiet: Quiet::default(),
                loads: vec![Load {
                    name: "redis".into(),
                    about: "GET".into(),
                    unit: "request".into(),
                    rows: jobs,
                }],
            }),
            growth: Some(Growth {
                quiet: Quiet::default(),
                kernel: vec![Dimension {
                    of: "processes".into(),
                    points: vec![Point {
                        count: 10,
                        rows: vec![
                            row("nothing", "nothing", &[100.0]),
                            row("clock", "clock pair", &[150.0]),
                            row("profiler", "profiler", &[160.0]),
                        ],
                    }],
                }],
                drain: vec![
                    Drain {
                        processes: 10,
                        threads: 20,
                        idle: vec![0.001, 0.002, 0.003],
                        active: vec![0.01],
                        absent: None,
                    },
                    Drain {
                        processes: 1000,
                        threads: 1000,
                        idle: Vec::new(),
                        active: Vec::new(),
                        absent: Some("no room".into()),
                    },
                ],
            }),
        };
        results.with_figures()
    }

    #[test]
    fn golden() {
        assert_eq!(all(&results()), include_str!("golden.md"));
    }

    #[test]
    fn golden_json() {
        let json = serde_json::to_string_pretty(&results()).expect("it is written") + "\n";
        assert_eq!(json, include_str!("golden.json"));
    }

    #[test]
    fn rounds_that_disagree_on_the_sign_show_no_difference() {
        let figures =
            |least, median, greatest| WorkFigures { of_best: 0.0, median, least, greatest };
        assert_eq!(slow_down(&figures(-15.0, -8.7, 15.8)), "no difference seen (−15.0 … +15.8 %)");
        assert_eq!(slow_down(&figures(0.0, 1.0, 2.0)), "no difference seen (+0.0 … +2.0 %)");
        assert_eq!(slow_down(&figures(6.6, 21.6, 32.7)), "+21.6 % (+6.6 … +32.7)");
        assert_eq!(slow_down(&figures(-9.0, -5.0, -0.5)), "−5.0 % (−9.0 … −0.5)");
    }

    #[test]
    fn the_readme_has_the_chart_and_the_work_but_not_the_rest() {
        let text = summary(&results());
        assert!(text.contains("profiler/benchmark.svg") && text.contains("| redis |"), "{text}");
        assert!(!text.contains('#') && !text.contains("Duration of a drain"), "{text}");
    }
}
