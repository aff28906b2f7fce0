//! Checks the layers of `profiler/src/engine/kernel`: a module uses only modules of the layers
//! above its own in the table. So there are no circles.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Source, assert_none,
    paths::{paths, without_comments},
    rust_sources,
};
use crate::workspace::root;

/// The directory of the modules.
const PLACE: &str = "profiler/src/engine/kernel/";

/// The path of the modules from the top of the crate.
const PATH: [&str; 2] = ["engine", "kernel"];

/// The layers, the lowest first: the purpose of each layer, and its modules.
const LAYERS: [(&str, &[&str]); 11] = [
    (
        "facts about the host, and descriptions of the objects",
        &[
            "allocator",
            "arch",
            "btf",
            "directories",
            "error",
            "fd_info",
            "hierarchies",
            "host_tasks",
            "loader",
            "memory_limit",
            "object",
        ],
    ),
    (
        "access to types, maps, programs and memory",
        &["cast", "layout", "maps", "options", "programs", "region", "rings", "statistics"],
    ),
    (
        "one task each, by means of the access above",
        &[
            "arena",
            "cgroups",
            "features",
            "fit",
            "identity",
            "mapping",
            "provenance",
            "sharing",
            "signals",
        ],
    ),
    (
        "the input of the programs, and their output",
        &["failures", "filter", "operations", "settings", "tables"],
    ),
    ("the figures, and the calls that entered before the attach", &["call_lister", "drain"]),
    ("a loaded object, and the threads of the host", &["host_threads", "load"]),
    ("an attached object", &["attached"]),
    ("all objects of a query", &["session"]),
    ("the cost of a query, stacks, and single calls", &["meter", "stacks", "trace"]),
    ("snapshots", &["profiler"]),
    ("trials", &["trial"]),
];

/// The module below [`PLACE`] that a file belongs to, and the path of the file's own module.
fn module(path: &str) -> Option<(&str, Vec<&str>)> {
    let inside = path.strip_prefix(PLACE)?.strip_suffix(".rs")?;
    let name = inside.split('/').next()?;
    let own = PATH.into_iter().chain(inside.split('/').filter(|&part| part != "mod"));
    (name != "mod").then(|| (name, own.collect()))
}

/// The code of a file without comments, and without its tests, which may use anything.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or_default();
    without_comments(text)
}

/// The names directly below [`PATH`] that code in a module of this path uses.
fn used<'a>(own: &[&'a str], code: &'a str) -> BTreeSet<&'a str> {
    let from_top = |path: Vec<&'a str>| -> Vec<&'a str> {
        let levels = path.iter().take_while(|&&part| part == "super").count();
        match levels {
            // `crate`.
            0 => path[1..].to_vec(),
            _ => {
                let kept = own.len().saturating_sub(levels);
                own[..kept].iter().copied().chain(path[levels..].iter().copied()).collect()
            }
        }
    };
    let absolute = paths(code).into_iter().map(from_top);
    absolute.filter_map(|path| path.strip_prefix(&PATH)?.first().copied()).collect()
}

/// The arrows between modules: module, used module, and a file that uses it.
fn drawn(sources: &[Source]) -> BTreeMap<(String, String), String> {
    let mut arrows = BTreeMap::new();
    for source in sources {
        let Some((from, own)) = module(&source.path) else { continue };
        for to in used(&own, &code(&source.text)).into_iter().filter(|&to| to != from) {
            arrows.insert((from.to_owned(), to.to_owned()), source.path.clone());
        }
    }
    arrows
}

/// The layer of a module, counted from the lowest.
fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|(_, modules)| modules.contains(&module))
}

/// What is wrong with the arrows of these sources.
fn offences(sources: &[Source]) -> Vec<String> {
    let judge = |((from, to), file): (&(String, String), &String)| {
        let Some(above) = layer(from) else { return Some(format!("{file}: {from} has no layer")) };
        match layer(to) {
            Some(below) if below < above => None,
            Some(_) => Some(format!("{file}: {from} uses {to}, which is in no layer above it")),
            None => Some(format!("{file}: {from} uses {to} through mod.rs, not by its module")),
        }
    };
    drawn(sources).iter().filter_map(judge).collect()
}

#[test]
fn modules_of_the_kernel_engine_use_only_layers_above_their_own() {
    let sources = rust_sources();
    assert_none("see LAYERS in xtask/src/tidy/layers.rs", &offences(&sources));
    let there: BTreeSet<_> = sources.iter().filter_map(|s| Some(module(&s.path)?.0)).collect();
    let listed: BTreeSet<_> = LAYERS.iter().flat_map(|(_, modules)| *modules).copied().collect();
    assert_eq!(there, listed, "LAYERS has each module once");
}

#[test]
fn no_layer_can_be_taken_away() {
    let drawn = drawn(&rust_sources());
    let uses = |from: &str, to: &str| drawn.contains_key(&(from.to_owned(), to.to_owned()));
    for pair in LAYERS.windows(2) {
        let [(_, above), (does, modules)] = pair else { continue };
        for module in *modules {
            let needs_layer = above.iter().any(|to| uses(module, to));
            assert!(needs_layer, "{module} ({does}) uses nothing of the layer above: move it up");
        }
    }
}

#[test]
fn the_architecture_shows_the_same_layers() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let row = |(does, modules): &(&str, &[&str])| {
        let modules: Vec<_> = modules.iter().map(|module| format!("`{module}`")).collect();
        format!("| {} | {does} |", modules.join(", "))
    };
    let missing: Vec<_> = LAYERS.iter().map(row).filter(|row| !text.contains(row)).collect();
    assert_none("ARCHITECTURE.md lacks these rows of its table of layers", &missing);
}

#[test]
fn a_circle_that_is_added_is_found() {
    let source =
        |path: &str, text: &str| Source { path: format!("{PLACE}{path}"), text: text.into() };
    let found = |path: &str, text: &str| offences(&[source(path, text)]);
    assert_eq!(
        found("maps.rs", "use super::{error::KernelError, load::{Loaded, Setup}};"),
        [format!("{PLACE}maps.rs: maps uses load, which is in no layer above it")]
    );
    assert_eq!(
        found("tables/pools.rs", "fn f() { super::super::session::attach() }"),
        [format!("{PLACE}tables/pools.rs: tables uses session, which is in no layer above it")]
    );
    let nested =
        "use crate::{engine::{Engine, kernel::{profiler::Profiler, error}}, model::Scope};";
    assert_eq!(
        found("session.rs", nested),
        [format!("{PLACE}session.rs: session uses profiler, which is in no layer above it")]
    );
    assert_eq!(
        found("maps.rs", "use super::KernelError;"),
        [format!("{PLACE}maps.rs: maps uses KernelError through mod.rs, not by its module")]
    );
    assert_eq!(found("new.rs", "use super::maps;"), [format!("{PLACE}new.rs: new has no layer")]);
    let inside = "use super::{shared::Shared, users::Users};\n// super::super::session\n\
        use crate::{engine::Engine, model};\n#[cfg(test)]\nmod tests { use super::super::x; }";
    assert!(found("tables/mapped.rs", inside).is_empty());
    assert!(found("mod.rs", "pub use session::Session;").is_empty());
}
