//! The latencies and the outcomes of one call, or of the calls of a process.

use std::sync::Arc;

use insta::assert_snapshot;

use super::{FULL, app_of, draw, press, screen};
use crate::{
    commands::top::{
        chart, fixtures,
        shown::Costs,
        view::{Selection, Subject},
    },
    model::Span,
    present::units,
};

#[test]
fn latencies_80x24() {
    assert_snapshot!(screen("\njjjj\n", 80, 24));
}

#[test]
fn latencies_200x50() {
    assert_snapshot!(screen("h", 200, 50));
}

#[test]
fn latencies_40x10() {
    assert_snapshot!(screen("h", 40, 10));
}

#[test]
fn latencies_of_an_idle_process() {
    let keys = "Gh";
    assert_snapshot!(screen(keys, 80, 10));
}

#[test]
fn every_outcome_of_a_call_is_told() {
    let mut snapshot = fixtures::busy_host();
    let nginx = &mut snapshot.processes[0];
    let calls = Arc::make_mut(&mut nginx.calls);
    let figures = &mut calls[4].recent;
    (figures.restarted, figures.denied, figures.never_returned) = (31, 7, 2);
    // Of those that entered before the interval.
    calls[4].total.calls += 4;
    for (width, height) in [(80, 24), (40, 10)] {
        let mut app = app_of([snapshot.clone()]);
        press(&mut app, "w\njjjj\n");
        let screen = draw(&mut app, width, height, FULL).to_string();
        for outcome in ["in flight 4", "restarted 31", "denied 7", "never returned 2", "EAGAIN 300"]
        {
            assert!(screen.contains(outcome), "{outcome} in\n{screen}");
        }
    }
}

#[test]
fn percentiles_on_the_screen_are_those_of_the_figures() {
    let text = screen("h", 120, 40);
    let snapshot = fixtures::busy_host();
    let bash = snapshot.processes[2].process.clone();
    let shown = Costs::default().add(snapshot).grouped(Span::Recent, None);
    let selection = Selection { span: Span::Recent, waits: false };
    let figures =
        Subject { owner: Some(bash.into()), call: None, set: None }.figures(&shown, selection);
    let values = figures.quantiles(chart::PERCENTILES.map(|(_, quantile)| quantile));
    for ((name, _), ns) in chart::PERCENTILES.into_iter().zip(values) {
        let shown = format!("{name} {}", units::time(ns));
        assert!(text.contains(&shown), "{shown} in\n{text}");
    }
    assert!(text.contains(&format!("max {}", units::time(figures.max_ns()))), "{text}");
    assert!(values.is_sorted() && values[0] < values[3]);
}
