//! Writes the reports: Markdown, JSON and charts.

mod chart;
mod markdown;
mod readme;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};

use super::{Output, results::Results};
use crate::workspace::root;

/// The document with all tables. The charts are in the same directory.
const DOCUMENT: &str = "profiler/BENCHMARK.md";
const CHART: &str = "profiler/benchmark.svg";
const WORK_CHART: &str = "profiler/benchmark-work.svg";

pub(super) fn write(results: &Results, output: &Output) -> Result<ExitCode> {
    let tables = markdown::all(results);
    print!("{tables}");
    if let Some(file) = &output.markdown {
        to(file, &tables)?;
    }
    if let Some(file) = &output.json {
        to(file, &(serde_json::to_string_pretty(results)? + "\n"))?;
    }
    if let Some(file) = &output.chart {
        let stem = file.file_stem().context("--chart needs a file's name")?.to_string_lossy();
        charts(results, file, &file.with_file_name(format!("{stem}-work.svg")))?;
    }
    if output.readme {
        charts(results, &root().join(CHART), &root().join(WORK_CHART))?;
        to(&root().join(DOCUMENT), &markdown::document(results))?;
        let file = root().join("README.md");
        let text = fs::read_to_string(&file)?;
        to(&file, &readme::replaced(&text, &markdown::summary(results))?)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the charts for which there are figures.
fn charts(results: &Results, calls: &Path, work: &Path) -> Result<()> {
    if let Some(drawn) = chart::of_calls(results) {
        to(calls, &drawn)?;
    }
    if let Some(drawn) = chart::of_work(results) {
        to(work, &drawn)?;
    }
    Ok(())
}

fn to(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
