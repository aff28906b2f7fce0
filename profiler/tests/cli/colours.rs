//! Colours: on terminals that support them, unless the environment disables them.

use std::{
    fs::File,
    io::Read as _,
    process::{Command, Stdio},
};

use nix::pty::openpty;

/// An invalid command line. Clap prints the first word of the message in bold red.
fn refuse(variables: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_profiler"));
    command.arg("--no-such-flag").env_clear().envs(variables.iter().copied());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Whether standard error, a terminal, gets an escape sequence.
fn on_a_terminal(variables: &[(&str, &str)]) -> bool {
    let terminal = openpty(None, None).expect("a terminal");
    let mut child = refuse(variables).stderr(terminal.slave).spawn().expect("the profiler");
    assert_eq!(child.wait().expect("it ends").code(), Some(2));
    // The text is in the terminal's buffer now; without a writer, the next read is an error.
    let (mut text, mut piece) = (Vec::new(), [0; 4096]);
    let mut terminal = File::from(terminal.master);
    while let Ok(read @ 1..) = terminal.read(&mut piece) {
        text.extend_from_slice(&piece[..read]);
    }
    has_escapes(&text)
}

fn in_a_pipe(variables: &[(&str, &str)]) -> bool {
    has_escapes(&refuse(variables).output().expect("the profiler").stderr)
}

fn has_escapes(text: &[u8]) -> bool {
    let said = String::from_utf8_lossy(text);
    assert!(said.contains("unexpected argument"), "{said}");
    text.contains(&0x1b)
}

#[test]
fn a_terminal_has_colours_unless_it_takes_none_or_the_environment_forbids_them() {
    const XTERM: (&str, &str) = ("TERM", "xterm");
    assert!(on_a_terminal(&[XTERM]));
    for none in [&[][..], &[("TERM", "dumb")]] {
        assert!(!on_a_terminal(none), "{none:?}");
    }
    // An empty NO_COLOR counts as unset (no-color.org).
    assert!(on_a_terminal(&[XTERM, ("NO_COLOR", "")]));
    assert!(!on_a_terminal(&[XTERM, ("NO_COLOR", "1")]));
    assert!(!on_a_terminal(&[XTERM, ("CLICOLOR", "0")]));
    assert!(on_a_terminal(&[("TERM", "dumb"), ("CLICOLOR", "1")]));
}

#[test]
fn a_pipe_has_colours_only_if_they_are_forced() {
    assert!(!in_a_pipe(&[("TERM", "xterm")]));
    assert!(!in_a_pipe(&[("TERM", "xterm"), ("CLICOLOR", "1")]));
    assert!(in_a_pipe(&[("CLICOLOR_FORCE", "1")]));
    assert!(!in_a_pipe(&[("CLICOLOR_FORCE", "1"), ("NO_COLOR", "1")]));
}
