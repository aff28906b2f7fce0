//! Command lines and users.

use insta::assert_snapshot;

use super::{FULL, PLAIN, app, draw, press};
use crate::{
    commands::top::{people::Who, style::Look},
    model::Process,
};

/// The screen after `keys`, with who the processes are that are in sight.
fn screen_with_people(keys: &str, width: u16, height: u16, look: Look) -> String {
    let mut app = app();
    draw(&mut app, width, height, look);
    let who = |process: &Process| Who {
        command: Some(format!("/usr/sbin/{0} --name caf\u{e9}\u{1b}[2J {0}", process.comm).into()),
        user: format!("u{}", process.tgid.unwrap_or(0)).into(),
        place: Some("web.service".into()),
    };
    let answers = app.ask().into_iter().map(|process| (process.clone(), Some(who(&process))));
    let answers: Vec<_> = answers.collect();
    app.learn(answers);
    press(&mut app, keys);
    draw(&mut app, width, height, look).to_string()
}

#[test]
fn command_lines_and_users_140x16() {
    assert_snapshot!(screen_with_people("n", 140, 16, FULL));
}

#[test]
fn command_lines_40x10_ascii() {
    let text = screen_with_people("n", 40, 10, PLAIN);
    assert!(text.is_ascii(), "{text}");
    assert_snapshot!(text);
}

#[test]
fn the_title_of_a_process_has_its_command_line_80x10() {
    assert_snapshot!(screen_with_people("\n", 80, 10, FULL));
}
