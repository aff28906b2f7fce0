//! The manual pages under `deploy/man` are what the command line says of itself.
//! `UPDATE_MAN=1` writes them anew.

use std::{fs, path::Path};

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use profiler::commands::cli::Cli;

/// Of the command and of each of its commands: file name and text.
fn pages() -> Vec<(String, Vec<u8>)> {
    let mut command = Cli::command();
    command.build();
    let page = |command: &Command, name: String| {
        let mut text = Vec::new();
        let of = command.clone().display_name(&name).disable_help_flag(true);
        // No date: it would change the page every day.
        Man::new(of)
            .title(name.as_str())
            .date("")
            .render(&mut text)
            .expect("a vector takes everything");
        (format!("{name}.1"), text)
    };
    let own = page(&command, "profiler".into());
    let shown = |c: &&Command| !c.is_hide_set() && c.get_name() != "help";
    let of_each = command.get_subcommands().filter(shown);
    [own]
        .into_iter()
        .chain(of_each.map(|c| page(c, format!("profiler-{}", c.get_name()))))
        .collect()
}

#[test]
fn pages_are_what_the_command_line_says() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/man");
    let update = std::env::var_os("UPDATE_MAN").is_some();
    let pages = pages();
    assert_eq!(pages.len(), 5);
    for (name, text) in pages {
        let path = directory.join(&name);
        if update {
            fs::create_dir_all(&directory).expect("a directory");
            fs::write(&path, &text).expect("a file");
        }
        let committed = fs::read(&path).unwrap_or_default();
        assert!(committed == text, "{name} is out of date: UPDATE_MAN=1 cargo test --test man");
    }
}
