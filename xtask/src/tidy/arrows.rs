//! Checks which modules of `profiler/src` use which. A new dependency has to be added to the table
//! here.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Source, assert_none,
    paths::{paths, without_comments},
    rust_sources,
};
use crate::workspace::root;

/// Each module at the top of `profiler/src`, and the modules that it may use. A module uses only
/// modules that are above it in this table.
const ARROWS: [(&str, &[&str]); 27] = [
    ("environment", &[]),
    ("exhausted", &[]),
    ("inherited", &[]),
    ("proc_fields", &[]),
    ("regular_file", &[]),
    ("text", &[]),
    ("users", &[]),
    ("address", &["text"]),
    ("duration", &["text"]),
    ("placement", &["regular_file", "text"]),
    ("privilege", &["text", "users"]),
    ("model", &["placement", "text"]),
    ("names", &["model"]),
    ("decode", &["model", "names", "text"]),
    ("inspect", &["decode", "model", "names", "proc_fields", "text"]),
    ("filter", &["model", "names", "placement", "text"]),
    ("budget", &["duration", "filter", "model", "names"]),
    ("seccomp", &["filter", "model", "names"]),
    ("aggregate", &["model", "names", "text"]),
    (
        "engine",
        &[
            "aggregate",
            "exhausted",
            "filter",
            "model",
            "names",
            "placement",
            "proc_fields",
            "text",
            "users",
        ],
    ),
    ("streams", &["environment", "inherited", "text"]),
    ("logging", &["model", "streams", "text"]),
    ("launch", &["inherited", "text", "users"]),
    ("present", &["budget", "decode", "filter", "model", "names", "placement", "seccomp", "text"]),
    ("symbols", &["model", "regular_file", "text"]),
    ("serve", &["address", "model", "present", "regular_file", "text"]),
    (
        "commands",
        &[
            "address",
            "aggregate",
            "budget",
            "decode",
            "duration",
            "engine",
            "environment",
            "exhausted",
            "filter",
            "inherited",
            "inspect",
            "launch",
            "logging",
            "model",
            "names",
            "placement",
            "present",
            "privilege",
            "proc_fields",
            "regular_file",
            "seccomp",
            "serve",
            "streams",
            "symbols",
            "text",
            "users",
        ],
    ),
];

/// The module at the top of `profiler/src` that a file belongs to.
fn module(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("profiler/src/")?;
    let first = inside.split('/').next()?;
    let name = first.strip_suffix(".rs").unwrap_or(first);
    (!["lib", "main"].contains(&name)).then_some(name)
}

/// The modules after `crate::` in `text`, in paths and in lists in braces.
fn used(text: &str) -> BTreeSet<String> {
    let code = without_comments(text);
    let of_crate = paths(&code).into_iter().filter(|path| path[0] == "crate");
    of_crate.filter_map(|path| path.get(1).map(|&name| name.to_owned())).collect()
}

/// The arrows in sources: module, used module, and a file that uses it.
fn drawn(sources: &[Source]) -> BTreeMap<(String, String), String> {
    let mut arrows = BTreeMap::new();
    for source in sources {
        let Some(from) = module(&source.path) else { continue };
        for to in used(&source.text).into_iter().filter(|to| to != from) {
            arrows.insert((from.to_owned(), to), source.path.clone());
        }
    }
    arrows
}

/// What is wrong with the arrows of these sources.
fn offences(sources: &[Source]) -> Vec<String> {
    let allowed = |from: &str, to: &str| {
        ARROWS.iter().any(|(module, uses)| *module == from && uses.contains(&to))
    };
    drawn(sources)
        .iter()
        .filter(|((from, to), _)| !allowed(from, to))
        .map(|((from, to), file)| format!("{file}: {from} uses {to}"))
        .collect()
}

#[test]
fn modules_use_only_what_they_may() {
    assert_none("no such arrow is in xtask/src/tidy/arrows.rs", &offences(&rust_sources()));
}

#[test]
fn every_arrow_that_is_allowed_is_drawn() {
    let drawn = drawn(&rust_sources());
    let of = |(from, uses): &(&str, &[&str])| {
        uses.iter().map(|to| ((*from).to_owned(), (*to).to_owned())).collect::<Vec<_>>()
    };
    let unused: Vec<_> = ARROWS
        .iter()
        .flat_map(of)
        .filter(|arrow| !drawn.contains_key(arrow))
        .map(|(from, to)| format!("{from} -> {to}"))
        .collect();
    assert_none("take these off the list of arrows", &unused);
}

#[test]
fn arrows_point_one_way() {
    let mut above = BTreeSet::new();
    for (module, uses) in ARROWS {
        let below: Vec<_> = uses.iter().filter(|to| !above.contains(*to)).collect();
        assert!(below.is_empty(), "{module} uses {below:?}, which stand below it");
        assert!(above.insert(module), "{module} is there twice");
    }
}

#[test]
fn the_architecture_shows_the_same_arrows() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let row = |(module, uses): &(&str, &[&str])| {
        let uses: Vec<_> = uses.iter().map(|to| format!("`{to}`")).collect();
        let uses = if uses.is_empty() { "nothing".to_owned() } else { uses.join(", ") };
        format!("| `{module}` | {uses} |")
    };
    let missing: Vec<_> = ARROWS.iter().map(row).filter(|row| !text.contains(row)).collect();
    assert_none("ARCHITECTURE.md lacks these rows of its table of arrows", &missing);
}

#[test]
fn an_arrow_that_is_added_is_found() {
    let source = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let upward = source("profiler/src/model/figures.rs", "use crate::{text, engine::kernel};");
    assert_eq!(offences(&[upward]), ["profiler/src/model/figures.rs: model uses engine"]);
    let inline = source("profiler/src/text/mod.rs", "fn f() { crate::names::syscalls::name(1) }");
    assert_eq!(offences(&[inline]), ["profiler/src/text/mod.rs: text uses names"]);
    let nested = "use crate::{model::{Figures, Row}, names::{self, syscalls}, text};";
    assert_eq!(used(nested), ["model", "names", "text"].map(str::to_owned).into());
    let commented = source("profiler/src/model/figures.rs", "// crate::engine\n/// crate::names");
    assert!(offences(&[commented]).is_empty());
}
