//! Generates the manual pages under `deploy/man` from the command line, and compares them with the
//! committed pages. `UPDATE_MAN=1` writes the pages.

#[path = "man/sections.rs"]
mod sections;

use std::{fs, io, path::Path};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use profiler::commands::cli::Cli;

/// Renders the manual page of `command`.
///
/// # Errors
/// None: a vector takes everything.
fn page(command: &Command, name: &str) -> io::Result<Vec<u8>> {
    let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let of = command.clone().display_name(name).disable_help_flag(true);
    // No date, because it would change the page every day.
    let man = Man::new(of.clone()).title(name).date("");
    let mut text = Vec::new();
    man.render_title(&mut text)?;
    man.render_name_section(&mut text)?;
    man.render_synopsis_section(&mut text)?;
    man.render_description_section(&mut text)?;
    man.render_options_section(&mut text)?;
    if of.get_subcommands().next().is_some() {
        man.render_subcommands_section(&mut text)?;
    }
    text.extend(sections::of(name, &help).into_bytes());
    if of.get_version().is_some() {
        man.render_version_section(&mut text)?;
    }
    Ok(text)
}

/// File name and text of all pages: of the command, and of each subcommand.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = Cli::command();
    command.build();
    let page = |command: &Command, name: String| {
        let text = page(command, &name).expect("a vector takes everything");
        (format!("{name}.1"), text)
    };
    let shown = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    let mut pages = vec![page(&command, "profiler".into())];
    for of in command.get_subcommands().filter(shown) {
        let name = format!("profiler-{}", of.get_name());
        let parts = of.get_subcommands().filter(shown);
        pages.extend(parts.map(|part| page(part, format!("{name}-{}", part.get_name()))));
        pages.push(page(of, name));
    }
    pages
}

#[test]
fn pages_are_what_the_command_line_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/man");
    let update = std::env::var_os("UPDATE_MAN").is_some();
    let pages = pages();
    let count = pages.len();
    for (name, text) in pages {
        let path = directory.join(&name);
        if update {
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(&path, &text).expect("a file");
        }
        let committed = fs::read(&path).unwrap_or_default();
        assert!(committed == text, "{name} is out of date: UPDATE_MAN=1 cargo test --test man");
    }
    let files = fs::read_dir(directory).expect("a directory").count();
    assert_eq!(files, count, "deploy/man has pages of commands that do not exist");
}

/// Each line of an example stays one line in the page, so that it can be pasted into a shell.
#[test]
fn examples_keep_their_lines() {
    for (name, text) in pages() {
        let text = String::from_utf8(text).expect("text");
        let mut preformatted = false;
        for line in text.lines() {
            match line {
                ".EX" => preformatted = true,
                ".EE" => preformatted = false,
                _ => {
                    let of_each = [
                        "stat",
                        "top",
                        "trace",
                        "explain",
                        "flame",
                        "daemon",
                        "doctor",
                        "syscalls",
                        "completions",
                        "seccomp",
                    ];
                    let command =
                        |of: &str| line.trim_start().starts_with(&format!("profiler {of} "));
                    let example = of_each.into_iter().any(command);
                    assert!(!example || preformatted, "{name}: {line}");
                }
            }
        }
        assert!(!preformatted, "{name}: a block without an end");
    }
}

/// Columns, files and exit codes are in the usual sections.
#[test]
fn pages_have_their_sections() {
    for (name, text) in pages() {
        let text = String::from_utf8(text).expect("text");
        let mut sections = vec!["NAME", "SYNOPSIS", "\"EXIT STATUS\"", "\"SEE ALSO\""];
        if name == "profiler-stat.1" {
            sections.extend(["EXAMPLES", "COLUMNS", "FILES"]);
        }
        if name == "profiler-top.1" {
            sections.extend(["EXAMPLES", "KEYS", "HEADER", "COLUMNS", "FILES"]);
        }
        for section in sections {
            assert!(text.contains(&format!("\n.SH {section}\n")), "{name} lacks {section}");
        }
    }
}
