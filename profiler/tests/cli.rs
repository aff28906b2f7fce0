//! What the command line says: golden files under `tests/cli`. None of these needs the
//! kernel side, or a privilege. `TRYCMD=overwrite` writes them anew.

#[test]
fn the_command_line_says_what_it_said() {
    trycmd::TestCases::new()
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .default_bin_name("profiler")
        .case("tests/cli/*.md");
}
