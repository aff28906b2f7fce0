//! Tests of the command line, without the kernel side and without privileges: its output, with
//! golden files under `tests/cli` (`TRYCMD=overwrite` writes them), output that cannot be written,
//! and shell completion.

#[path = "cli/colours.rs"]
mod colours;
#[path = "cli/completions.rs"]
mod completions;
#[path = "cli/documents.rs"]
mod documents;
#[path = "cli/streams.rs"]
mod streams;
#[path = "cli/text.rs"]
mod text;

#[test]
fn the_command_line_says_what_it_said() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .default_bin_name("profiler")
        .case("tests/cli/*.md");
}
