//! The JSON of a call in flight.

use profiler_common::call::Abi;
use serde::Serialize;

use super::number;
use crate::{
    model::{ThreadInFlight, nanoseconds},
    names::syscalls,
    text::Untrusted,
};

/// A call in flight.
#[derive(Serialize)]
pub(super) struct InFlightObject<'a> {
    age_ns: u64,
    /// Whether `age_ns` is a lower bound: the call entered before the attach, or was not timed.
    at_least: bool,
    pid: Option<u32>,
    tid: u32,
    comm: &'a Untrusted,
    abi: Option<&'static str>,
    syscall: &'static str,
    nr: i64,
    kind: &'static str,
}

impl<'a> InFlightObject<'a> {
    pub(super) fn new(thread: &'a ThreadInFlight) -> Self {
        Self {
            age_ns: nanoseconds(thread.age),
            at_least: thread.at_least,
            pid: thread.process.tgid,
            tid: thread.tid,
            comm: &thread.process.comm,
            abi: thread.key.abi().map(Abi::name),
            syscall: syscalls::name(thread.key),
            nr: number(thread.key),
            kind: thread.kind.name(),
        }
    }
}
