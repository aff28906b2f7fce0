//! Rules for the source that the compiler does not check: boundaries between modules, lengths of
//! files, and the files at the top of the checkout.

mod arrows;
mod documents;
mod layers;
mod paths;

use std::{fs, path::PathBuf};

use crate::workspace::{output, root};

/// Maximum number of lines of a Rust file.
const MAX_LINES: usize = 600;

/// Files that may be at the top, in addition to files whose name begins with a dot.
const TOP_LEVEL: [&str; 10] = [
    "ARCHITECTURE.md",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "deploy",
    "profiler",
    "profiler-common",
    "profiler-ebpf",
];

/// Words that only files below these paths may contain.
struct Boundary {
    words: &'static [&'static str],
    only_under: &'static [&'static str],
}

const BOUNDARIES: [Boundary; 5] = [
    Boundary {
        words: &["aya::", "use aya", "aya_log::", "aya_obj::"],
        only_under: &[
            "profiler/src/engine/kernel/",
            // The crate marks its types as plain old data for the user side.
            "profiler-common/src/",
            "xtask/src/bench/",
        ],
    },
    Boundary {
        words: &["ratatui", "ratatui_core", "ratatui_crossterm", "crossterm"],
        only_under: &["profiler/src/commands/top/"],
    },
    Boundary {
        words: &["clap", "clap_complete"],
        only_under: &[
            "profiler/src/commands/",
            "profiler/src/main.rs",
            "profiler/tests/",
            "xtask/",
        ],
    },
    // Clippy finds `println!` and `eprintln!`, but not these.
    Boundary {
        words: &["io::stdout", "io::stderr", "Stdout", "Stderr", "libc::write"],
        only_under: &["profiler/src/streams.rs", "profiler/benches/", "profiler/tests/", "xtask/"],
    },
    // Only the type of untrusted text makes it printable.
    Boundary {
        words: &[
            "display()",
            "to_string_lossy",
            "from_utf8_lossy",
            "escape_debug",
            "escape_default",
            "serde_json::to_writer",
            "serde_json::to_string",
        ],
        only_under: &[
            "profiler/src/text/",
            "profiler/src/commands/top/terminal_tests.rs",
            "profiler/benches/",
            "profiler/fuzz/",
            "profiler/tests/",
            "xtask/",
        ],
    },
];

/// What the model and the aggregate must not use, because they are pure and independent of the
/// engine.
const NOT_PURE: [&str; 4] = ["std::fs", "fs::", "time::Instant", "Instant::now"];

/// Leftovers. The words are split here, so that this file does not contain them.
const LEFTOVERS: [&str; 5] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("todo", "!("),
    concat!("unimplemented", "!("),
];

/// A file of the checkout: its path from the top, and its text.
struct Source {
    path: String,
    text: String,
}

/// Files that are committed, or that git would add.
fn files() -> Vec<PathBuf> {
    let list = ["ls-files", "--cached", "--others", "--exclude-standard"];
    let listed = output(std::process::Command::new("git").args(list).current_dir(root()))
        .expect("git lists the files");
    // A file that is deleted but not yet committed is still listed.
    listed.lines().map(PathBuf::from).filter(|path| root().join(path).exists()).collect()
}

fn rust_sources() -> Vec<Source> {
    let rust = files().into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "rs"));
    rust.map(|path| Source {
        text: fs::read_to_string(root().join(&path)).expect("a readable source"),
        path: path.to_string_lossy().into_owned(),
    })
    .collect()
}

/// `path:line: text` of each line of code that contains one of the words. Ignores comments.
fn lines_with(source: &Source, words: &[&str]) -> Vec<String> {
    let has = |line: &str| words.iter().any(|word| has_word(line, word));
    let numbered = source.text.lines().enumerate();
    numbered
        .filter(|(_, line)| !line.trim_start().starts_with("//") && has(line))
        .map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim()))
        .collect()
}

/// Whether `line` contains `word`, but not as a part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    let in_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let goes_on = word.ends_with(in_name) && after.is_some_and(in_name);
        // A word in a string is not a use.
        !before.is_some_and(|c| in_name(c) || c == '"') && !goes_on
    })
}

#[track_caller]
fn assert_none(rule: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{rule}:\n  {}", offences.join("\n  "));
}

#[test]
fn each_library_stays_where_it_belongs() {
    let mut offences = Vec::new();
    for source in rust_sources().iter().filter(|s| !s.path.starts_with("xtask/src/tidy/")) {
        for Boundary { words, only_under } in &BOUNDARIES {
            if !only_under.iter().any(|place| source.path.starts_with(place)) {
                offences.extend(lines_with(source, words));
            }
        }
    }
    assert_none(
        "aya belongs under engine/kernel/, clap under commands/, ratatui and crossterm under \
         commands/top/; what is written to the \
         standard streams goes through streams.rs, and what others chose is a text::Untrusted",
        &offences,
    );
}

#[test]
fn model_and_aggregate_are_pure() {
    let sources = rust_sources();
    let places = ["profiler/src/model/", "profiler/src/aggregate/"];
    for place in places {
        let inside: Vec<_> = sources.iter().filter(|s| s.path.starts_with(place)).collect();
        assert!(!inside.is_empty(), "{place} has moved: this test has to follow");
        let offences: Vec<_> =
            inside.iter().flat_map(|source| lines_with(source, &NOT_PURE)).collect();
        assert_none("no clock and no file system", &offences);
    }
}

#[test]
fn no_file_is_too_long() {
    let offences: Vec<_> = rust_sources()
        .iter()
        .map(|source| (source, source.text.lines().count()))
        .filter(|(_, lines)| *lines > MAX_LINES)
        .map(|(source, lines)| format!("{}: {lines} lines", source.path))
        .collect();
    assert_none("a file has one job, and then fewer lines", &offences);
}

#[test]
fn the_top_level_has_only_what_belongs_there() {
    let offences: Vec<_> = files()
        .iter()
        .filter_map(|path| path.iter().next()?.to_str().map(str::to_owned))
        .filter(|entry| !entry.starts_with('.') && entry != "xtask")
        .filter(|entry| !TOP_LEVEL.contains(&entry.as_str()))
        .collect();
    assert_none("these belong elsewhere", &offences);
}

#[test]
fn nothing_is_left_for_later() {
    // Clippy finds unwraps outside of tests.
    let offences: Vec<_> = rust_sources().iter().flat_map(leftovers).collect();
    assert_none("finish it, or handle the error", &offences);
}

fn leftovers(source: &Source) -> Vec<String> {
    let numbered = source.text.lines().enumerate();
    numbered
        .filter(|(_, line)| LEFTOVERS.iter().any(|word| line.contains(word)))
        .map(|(number, line)| format!("{}:{}: {}", source.path, number + 1, line.trim()))
        .collect()
}

#[test]
fn shell_scripts_stop_at_the_first_error() {
    let offences: Vec<_> = files()
        .iter()
        .filter_map(|path| Some((path, fs::read_to_string(root().join(path)).ok()?)))
        .filter(|(_, text)| {
            text.starts_with("#!/usr/bin/env bash") || text.starts_with("#!/bin/bash")
        })
        .filter(|(_, text)| !text.contains("set -euo pipefail"))
        .map(|(path, _)| path.display().to_string())
        .collect();
    assert_none("`set -euo pipefail` is missing", &offences);
}

#[test]
fn every_module_says_its_job() {
    let offences: Vec<_> = rust_sources()
        .iter()
        .filter(|source| source.path.contains("src/") && !source.text.starts_with("//!"))
        .map(|source| source.path.clone())
        .collect();
    assert_none("these begin without `//!`", &offences);
}

#[test]
fn a_word_is_not_found_in_a_longer_one() {
    assert!(has_word("let x = aya::Btf;", "aya::"));
    assert!(!has_word("use papaya::HashMap;", "aya::"));
    assert!(!has_word("use aya_ebpf::Global;", "use aya"));
    let source = |text: &str| Source { path: "a.rs".into(), text: text.into() };
    assert_eq!(
        lines_with(&source("// aya::\nuse aya::Ebpf;"), &["aya::"]),
        ["a.rs:2: use aya::Ebpf;"]
    );
}
