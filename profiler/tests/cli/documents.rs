//! The commands that the documents show are commands that the profiler accepts.

use std::{fs, path::PathBuf};

use clap::Parser as _;
use profiler::commands::cli::Cli;

/// The documents with commands, from the top of the checkout.
fn documents() -> Vec<PathBuf> {
    let top = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let pages = fs::read_dir(top.join("profiler/docs")).expect("the pages");
    let mut documents: Vec<_> = pages.map(|page| page.expect("a page").path()).collect();
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.extend(["README.md", "deploy/README.md"].map(|path| top.join(path)));
    documents
}

/// The arguments of each command in the code blocks of `text`, up to a pipe, a comment or the
/// command that the profiler runs.
fn commands(text: &str) -> Vec<Vec<&str>> {
    let lines = text.split("\n```").skip(1).step_by(2).flat_map(str::lines);
    lines.filter_map(arguments).collect()
}

fn arguments(line: &str) -> Option<Vec<&str>> {
    let line = line.strip_prefix("$ ").unwrap_or(line);
    let line = line.strip_prefix("sudo ").unwrap_or(line);
    let rest = line.strip_prefix("profiler ").or_else(|| line.strip_prefix("cargo xtask run "))?;
    let is_end = |word: &&str| ["|", "#", "--"].contains(word);
    let mut arguments: Vec<_> = rest.split_whitespace().take_while(|word| !is_end(word)).collect();
    if rest.contains(" -- ") {
        arguments.extend(["--", "true"]);
    }
    Some(arguments)
}

#[test]
fn commands_in_the_documents_are_accepted() {
    let mut found = 0;
    for document in documents() {
        let text = fs::read_to_string(&document).expect("readable");
        for arguments in commands(&text) {
            let parsed = Cli::try_parse_from(["profiler"].iter().chain(&arguments));
            let shown = arguments.join(" ");
            assert!(parsed.is_ok(), "{}: {shown}: {:?}", document.display(), parsed.err());
            found += 1;
        }
    }
    assert!(found >= 15, "{found}");
}

#[test]
fn a_command_ends_where_another_begins() {
    let text = "profiler no\n```sh\n$ sudo profiler stat -a |\n    jq .\nprofiler top  # live\n\
                profiler stat -- ls -l\n```\nprofiler no";
    let expected = [vec!["stat", "-a"], vec!["top"], vec!["stat", "--", "true"]];
    assert_eq!(commands(text), expected);
}
