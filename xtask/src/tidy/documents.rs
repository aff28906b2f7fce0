//! Rules for documents: the README is short, and the targets of links exist.

use std::{collections::BTreeSet, fs, path::Path};

use super::{assert_none, files};
use crate::workspace::root;

/// Maximum number of lines of the README. Details belong in `profiler/docs/`.
const MAX_README_LINES: usize = 150;

/// Targets of the links and images in `text`, outside of code blocks.
fn links(text: &str) -> Vec<&str> {
    const ENDS: [(&str, char); 3] = [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')];
    let blocks = text.split("\n```").step_by(2);
    let targets = blocks.flat_map(|block| {
        ENDS.iter().flat_map(|&(before, after)| {
            block.split(before).skip(1).filter_map(move |rest| Some(rest.split_once(after)?.0))
        })
    });
    targets.collect()
}

/// The anchors of the headings in `text`, as GitHub names them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = text.lines().filter(|line| line.starts_with('#'));
    headings
        .map(|line| line.trim_start_matches('#').trim().to_lowercase().replace(' ', "-"))
        .map(|name| name.chars().filter(|&c| c.is_alphanumeric() || "-_".contains(c)).collect())
        .collect()
}

/// What is wrong with a link in the document at `path`, if anything.
fn fault(path: &Path, link: &str) -> Option<String> {
    if link.contains("://") {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() {
        root().join(path)
    } else {
        root().join(path.parent().unwrap_or_else(|| Path::new(""))).join(file)
    };
    if !target.exists() {
        return Some(format!("{}: no file {link}", path.display()));
    }
    let is_there = anchor.is_empty()
        || fs::read_to_string(target).is_ok_and(|text| anchors(&text).contains(anchor));
    (!is_there).then(|| format!("{}: no heading {link}", path.display()))
}

#[test]
fn links_lead_somewhere() {
    let mut faults = Vec::new();
    for path in files().into_iter().filter(|path| path.extension().is_some_and(|e| e == "md")) {
        let text = fs::read_to_string(root().join(&path)).expect("readable");
        faults.extend(links(&text).into_iter().filter_map(|link| fault(&path, link)));
    }
    assert_none("these links lead nowhere", &faults);
}

#[test]
fn the_readme_is_short() {
    let text = fs::read_to_string(root().join("README.md")).expect("readable");
    let lines = text.lines().count();
    assert!(lines <= MAX_README_LINES, "{lines} lines: move something to profiler/docs/");
}

#[test]
fn every_page_is_linked_from_the_readme() {
    let text = fs::read_to_string(root().join("README.md")).expect("readable");
    let linked: BTreeSet<_> = links(&text).into_iter().collect();
    let pages = files().into_iter().filter(|path| path.starts_with("profiler/docs"));
    let pages = pages.filter(|path| path.extension().is_some_and(|e| e == "md"));
    let pages = pages.map(|path| path.display().to_string());
    let missing: Vec<_> = pages.filter(|page| !linked.contains(page.as_str())).collect();
    assert_none("the README does not link these pages", &missing);
}

/// The paths in the first column of the tables in `text`. A path after the first of a cell can
/// be in the same directory as the first.
fn places(text: &str) -> Vec<String> {
    let cells = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    cells.flat_map(|(cell, _)| in_cell(&format!("`{cell}"))).collect()
}

fn in_cell(cell: &str) -> Vec<String> {
    let names = cell.split('`').skip(1).step_by(2).filter(|name| name.contains(['/', '.']));
    let mut directory = None;
    names
        .map(|name| {
            let path = Path::new(name);
            let directory = directory.get_or_insert_with(|| path.parent().unwrap_or(path));
            if root().join(path).exists() { path.into() } else { directory.join(path) }
        })
        .map(|path: std::path::PathBuf| path.display().to_string())
        .collect()
}

#[test]
fn the_architecture_names_places_that_exist() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("readable");
    let places = places(&text);
    assert!(places.len() > 40, "{places:?}");
    let missing: Vec<_> = places.into_iter().filter(|place| !root().join(place).exists()).collect();
    assert_none("ARCHITECTURE.md names these places, which do not exist", &missing);
}

#[test]
fn links_and_anchors_are_found() {
    assert_eq!(
        links("[a](b.md) and ![c](d.svg)\n```\n[no](x)\n```\n<img src=\"g.svg\">[e](#f)"),
        ["b.md", "d.svg", "#f", "g.svg"]
    );
    assert_eq!(anchors("## Calls, and `top`\ntext"), ["calls-and-top".to_owned()].into());
    let readme = Path::new("README.md");
    assert_eq!(fault(readme, "https://example.com"), None);
    assert!(fault(readme, "profiler/docs/none.md").is_some());
    assert!(fault(readme, "ARCHITECTURE.md#no-such-heading").is_some());
}
