//! Each view, at several sizes.

use std::sync::Arc;

use insta::assert_snapshot;

use super::{FULL, app_of, draw, press, screen};
use crate::{
    commands::top::fixtures,
    model::{Process, ProcessRow},
};

#[test]
fn before_the_first_drain() {
    assert_snapshot!(draw(&mut app_of([]), 80, 24, FULL));
}

#[test]
fn processes_80x24() {
    assert_snapshot!(screen("", 80, 24));
}

#[test]
fn processes_200x50() {
    assert_snapshot!(screen("", 200, 50));
}

#[test]
fn processes_40x10() {
    assert_snapshot!(screen("", 40, 10));
}

#[test]
fn the_programs_cost_80x24() {
    assert_snapshot!(screen("c", 80, 24));
}

#[test]
fn the_programs_cost_40x10() {
    assert_snapshot!(screen("c", 40, 10));
}

#[test]
fn processes_since_the_start_80x24() {
    assert_snapshot!(screen("t", 80, 24));
}

#[test]
fn calls_80x24() {
    assert_snapshot!(screen("2", 80, 24));
}

#[test]
fn calls_200x50() {
    assert_snapshot!(screen("2", 200, 50));
}

#[test]
fn in_flight_80x24() {
    assert_snapshot!(screen("3", 80, 24));
}

#[test]
fn calls_of_a_process_80x24() {
    assert_snapshot!(screen("\n", 80, 24));
}

#[test]
fn callers_of_a_call_200x50() {
    assert_snapshot!(screen("2j\n", 200, 50));
}

#[test]
fn ended_processes_of_a_name_share_a_row_80x12() {
    let mut host = fixtures::busy_host();
    let cc1plus = host.processes[5].clone();
    for pid in 40_002..41_500 {
        let process = Process { tgid: Some(pid), ..(*cc1plus.process).clone() };
        host.processes.push(ProcessRow { process: Arc::new(process), ..cc1plus.clone() });
    }
    let mut app = app_of([host]);
    assert_snapshot!(draw(&mut app, 80, 12, FULL));
    press(&mut app, "\n");
    assert_snapshot!("ended_processes_of_a_name_opened_80x12", draw(&mut app, 80, 12, FULL));
}
