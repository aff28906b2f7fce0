//! `profiler metrics`: explains how many series `/metrics` can have, without attaching.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;

use super::{
    cli::{Format, MetricsArgs},
    config::{Config, GroupConfig},
    error::Error,
};
use crate::{
    engine::kernel::program_names,
    filter::Calls,
    model::GroupReading,
    present::metrics::{
        explain::{Most, Setup, most_series, ordinary_series},
        ordinary,
    },
    streams::Stream,
    text::json,
};

/// The document of `--format json`.
#[derive(Serialize)]
struct Document<'a> {
    schema: u32,
    series: usize,
    ordinary_series: usize,
    metrics: &'a [Most],
}

/// Runs `profiler metrics --explain`.
///
/// # Errors
/// [`Error::Config`] and [`Error::Output`].
pub fn run(args: &MetricsArgs) -> Result<(), Error> {
    let config = Config::load_file(args.config.as_deref())?;
    let counted = Calls::new(&config.syscalls).map_err(crate::filter::FilterError::from)?;
    let named = config.metrics.named_calls()?;
    let setup = Setup {
        counted: counted.as_ref(),
        named: named.as_ref(),
        timed: config.time_one_in,
        off_cpu: config.off_cpu,
        options: config.metrics.options(),
        programs: program_names().collect(),
        time_programs: config.bpf_stats,
        groups: config.metrics.groups.iter().map(group).collect(),
    };
    let (most, ordinary) = (most_series(&setup), ordinary_series(&setup));
    let series = most.iter().map(|most| most.series).sum();
    let stream = Stream::Output;
    let mut text = Vec::new();
    match args.format {
        Format::Table => text.extend(table(&most, series, ordinary).into_bytes()),
        Format::Json => {
            let document =
                Document { schema: 1, series, ordinary_series: ordinary, metrics: &most };
            stream.outcome(json::write(&mut text, &document))?;
            text.push(b'\n');
        }
    }
    Ok(stream.print(&text)?)
}

/// An empty group of this configuration, and its maximum number of members.
fn group(config: &GroupConfig) -> (GroupReading, usize) {
    let spec = config.spec();
    let reading = GroupReading {
        name: spec.name,
        dimensions: spec.dimensions,
        since: Default::default(),
        members: Vec::new(),
        other: Arc::default(),
        folded: Arc::default(),
        folded_members: 0,
        max_series: spec.max_series,
    };
    (reading, spec.top)
}

fn table(most: &[Most], series: usize, ordinary: usize) -> String {
    let name = |most: &Most| match &most.group {
        Some(group) => format!("{}{{group=\"{group}\"}}", most.metric),
        None => most.metric.clone(),
    };
    let rows = most.iter().map(|most| (name(most), most.series, because(most)));
    let total = ("all metrics".to_owned(), series, String::new());
    let rows: Vec<_> = rows.chain([total]).collect();
    let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default();
    let mut text = format!("{:width$}  {:>11}  {}\n", "METRIC", "MOST SERIES", "VALUES OF LABELS");
    for (name, series, because) in rows {
        let line = format!("{name:width$}  {series:>11}  {because}");
        text += line.trim_end();
        text.push('\n');
    }
    let [calls, errnos, in_flight] = ordinary::counts();
    let beside =
        if most.iter().any(|most| most.group.is_some()) { ", without its groups" } else { "" };
    text + &format!(
        "
An ordinary host has about {ordinary} series{beside}: {calls} syscalls in use, {errnos} pairs of syscall and
errno, {in_flight} syscalls in flight. A host has the most series only if its processes make every syscall,
and get every errno. metrics.syscalls bounds the number, and max_series bounds that of a group.
"
    )
}

/// Describes how the number of series is computed.
fn because(most: &Most) -> String {
    let labels: &BTreeMap<_, _> = &most.labels;
    let labels = labels.iter().map(|(label, values)| format!("{label} {values}"));
    most.limit.clone().unwrap_or_else(|| labels.collect::<Vec<_>>().join(", "))
}
