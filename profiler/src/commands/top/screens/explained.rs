//! The page that explains a process.

use super::{FULL, app, draw, press};
use crate::present::explain::Line;

#[test]
fn the_page_covers_the_list_until_it_is_closed() {
    let mut app = app();
    let list = draw(&mut app, 80, 12, FULL).to_string();
    press(&mut app, "e");
    let wanted = app.ask_explanation().expect("the marked process");
    assert_eq!(app.ask_explanation(), None, "it is asked for once");
    assert!(app.awaits_explanation());
    assert!(draw(&mut app, 80, 12, FULL).to_string().contains("looking at the process"));
    let line = |text: &str| Line { text: text.into(), is_heading: false };
    let mut lines = vec![line("PID 7 (x) waits.")];
    lines.extend((0..30).map(|at| line(&format!("  line {at}"))));
    assert!(app.learn_explanation(Some((wanted.clone(), lines.clone()))));
    assert!(!app.awaits_explanation());
    let page = draw(&mut app, 80, 12, FULL).to_string();
    assert!(page.contains("PID 7 (x) waits.") && page.contains("  line 0"), "{page}");
    press(&mut app, "j");
    let page = draw(&mut app, 80, 12, FULL).to_string();
    assert!(!page.contains("PID 7") && page.contains("  line 0"), "{page}");
    press(&mut app, "G");
    assert!(draw(&mut app, 80, 12, FULL).to_string().contains("  line 29"));
    // It is asked for again, and the lines stay until the answer.
    press(&mut app, "e");
    assert_eq!(app.ask_explanation().as_ref(), Some(&wanted));
    assert!(draw(&mut app, 80, 12, FULL).to_string().contains("  line 29"));
    press(&mut app, "x");
    assert_eq!(draw(&mut app, 80, 12, FULL).to_string(), list);
    assert!(!app.learn_explanation(Some((wanted, lines))), "it is closed");
}
