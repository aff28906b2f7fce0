//! `profiler top`: shows syscalls live, as htop shows processes.
//!
//! Keys and snapshots change [`state`], and [`render`] draws it. Only this module uses the terminal
//! library.

mod attach;
#[cfg(feature = "bench")]
pub mod bench;
mod call_sets;
mod chart;
#[cfg(test)]
mod churn_tests;
mod columns;
mod explained;
mod failures;
mod feed;
#[cfg(test)]
mod fixtures;
mod groups;
mod header;
pub mod help;
mod keys;
mod latency;
mod live;
mod operations;
mod owner;
mod people;
#[cfg(test)]
mod picture;
mod place;
mod plain;
mod render;
mod rows;
#[cfg(test)]
mod screens;
#[cfg(test)]
mod set_tests;
mod shown;
mod signals;
#[cfg(test)]
mod site_tests;
mod sites;
mod state;
#[cfg(test)]
mod state_tests;
mod style;
mod table;
mod terminal;
#[cfg(test)]
mod terminal_tests;
#[cfg(test)]
mod thread_tests;
mod view;

use std::{
    os::fd::AsFd as _,
    time::{Duration, SystemTime},
};

use self::{
    call_sets::SetsBy, people::Proc, signals::Signals, state::App, style::Look, terminal::Screen,
};
use super::{
    cli::{CallsBy, OwnersBy, TopArgs},
    error::Error,
};
use crate::{
    aggregate::KeepEnded,
    decode::targets,
    engine::{Engine, kernel::Options},
    environment,
    launch::{
        interruptible::{End, Interruptible},
        watched::Watched,
    },
    model::{Dimension, Scope},
    streams::Stream,
};

/// Number of intervals for which the engine lists an ended process. If a process ends right after a
/// refresh, the engine must list the process until the next refresh, which may be late.
const INTERVALS_LISTED: u32 = 2;
/// Minimum time for which the engine lists an ended process. A refresh can take longer than a short
/// interval.
const LEAST_LISTED: Duration = Duration::from_millis(500);

/// How long the engine lists an ended process, with this interval.
fn time_listed(interval: Duration) -> Duration {
    (interval * INTERVALS_LISTED).max(LEAST_LISTED)
}

/// Runs `profiler top` until the user ends it.
pub fn run(args: &TopArgs) -> Result<(), Error> {
    // Checked before the attach, which takes a while and would be in vain.
    if args.batch {
        Stream::Output.check()?;
    } else {
        terminal::check().map_err(Error::Terminal)?;
    }
    let pids = args.pid.concat();
    Watched::new(&pids)?;
    let scope = if pids.is_empty() { Scope::Host } else { Scope::Processes(pids) };
    // Before the terminal is taken, so that errors are printed normally.
    let options = Options::new(scope, &args.kernel.request())?.filtered(args.filters.filter()?);
    let targets = args.paths.show_paths.then(targets::plans);
    let options = Options { time_programs: args.own_cost, targets, ..options };
    let keep = KeepEnded::For(time_listed(args.interval.get()));
    let attach = || attach::attach(&options, keep, sites(args.by.owners).is_some());
    let (mut profiler, no_sites) = Interruptible::begin()?.run(|_| End::BySignal, attach)??;
    for warning in profiler.warnings() {
        Stream::Error.print(format!("profiler: {warning}\n").as_bytes())?;
    }
    let only = only(&options);
    if args.batch {
        print(&mut profiler, args, &only)
    } else {
        show(&mut profiler, args, (only, no_sites))
    }
}

/// The sites that the first list has, if it has any.
fn sites(by: OwnersBy) -> Option<Dimension> {
    match by {
        OwnersBy::Site(dimension) => Some(dimension),
        OwnersBy::Process | OwnersBy::Thread => None,
    }
}

/// Whether threads are listed instead of processes.
fn lists_threads(args: &TopArgs) -> bool {
    args.threads || args.by.owners == OwnersBy::Thread
}

/// How the list of syscalls is grouped, if it is.
fn sets(by: CallsBy) -> Option<SetsBy> {
    match by {
        CallsBy::Syscall => None,
        CallsBy::Category => Some(SetsBy::Category),
        CallsBy::Class => Some(SetsBy::Class),
    }
}

/// Describes which calls count. Empty if all calls count.
fn only(options: &Options) -> String {
    let processes = match &options.scope {
        Scope::Host => String::new(),
        Scope::Processes(pids) => {
            let pids: Vec<_> = pids.iter().map(ToString::to_string).collect();
            format!("pid {}", pids.join(" or "))
        }
    };
    let parts = [processes, options.filter.to_string()];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn show(
    engine: &mut impl Engine,
    args: &TopArgs,
    (only, no_sites): (String, Option<String>),
) -> Result<(), Error> {
    let mut app = App::new(args.interval.get(), args.sort, args.filter.as_deref().unwrap_or(""));
    app.begin_with_cost(args.own_cost);
    app.begin_with_waits(args.waits);
    app.begin_with_threads(lists_threads(args));
    app.begin_with_sites(sites(args.by.owners));
    app.set_no_sites(no_sites);
    app.begin_with_sets(sets(args.by.calls));
    app.set_only(only);
    let mut screen = Screen::take(Look::from_environment()).map_err(Error::Terminal)?;
    let shown = live::run(engine, &mut app, &mut screen, &mut Proc::default(), args.iterations);
    // A terminal that has hung up is no error.
    Ok(Stream::Output.outcome(shown)?)
}

fn print(engine: &mut impl Engine, args: &TopArgs, only: &str) -> Result<(), Error> {
    let settings = plain::Settings {
        interval: args.interval.get(),
        iterations: args.iterations,
        sort: args.sort,
        filter: args.filter.as_deref().unwrap_or(""),
        only,
        look: Look::from_environment(),
        now: SystemTime::now,
        waits: args.waits,
        threads: lists_threads(args),
        sites: sites(args.by.owners),
        sets: sets(args.by.calls),
        times_programs: args.own_cost,
    };
    let out = Stream::Output;
    let signals = Signals::to_end(out)
        .map_err(|source| Error::Io { context: "cannot watch for signals", source })?;
    let printed = plain::run(engine, &settings, &mut &signals, &mut |page: &str| {
        signals.write(out.as_fd(), environment::in_locale(page).as_bytes())
    });
    Ok(out.outcome(printed)?)
}
