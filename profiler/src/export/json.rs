//! The JSON of `profiler stat`: a contract that others script against. Fields are
//! added, and none is renamed or removed.

use std::{collections::BTreeMap, io, time::Duration};

use serde::Serialize;

use crate::{
    rows::{self, Row},
    snapshot::Health,
};

/// Version of the contract; would change if a field had to change its meaning.
const SCHEMA: u32 = 1;

/// The number shown for calls whose number no table knows.
const UNKNOWN_NR: i64 = -1;

#[derive(Serialize)]
struct Report<'a> {
    schema: u32,
    window_ns: u64,
    lost: u64,
    /// Calls counted without their process, since the tables were full.
    overflowed: u64,
    /// Threads whose books did not balance; anything but 0 is a mistake of ours.
    breaches: u64,
    rows: Vec<Line<'a>>,
}

#[derive(Serialize)]
struct Line<'a> {
    pid: Option<u32>,
    comm: Option<&'a str>,
    abi: Option<&'static str>,
    syscall: Option<&'static str>,
    nr: Option<i64>,
    calls: u64,
    errors: u64,
    errnos: BTreeMap<String, u64>,
    total_ns: u64,
    min_ns: u64,
    mean_ns: u64,
    p50_ns: u64,
    p90_ns: u64,
    p99_ns: u64,
    p999_ns: u64,
    max_ns: u64,
    returned: u64,
    restarted: u64,
    denied: u64,
    never_returned: u64,
    in_flight: u64,
}

impl<'a> Line<'a> {
    fn new(row: &'a Row) -> Self {
        let f = &row.figures;
        let [p50_ns, p90_ns, p99_ns, p999_ns] = f.quantiles([0.5, 0.9, 0.99, 0.999]);
        let process = row.process.as_deref();
        Self {
            pid: process.and_then(|p| p.tgid),
            comm: process.map(|p| p.comm.as_str()),
            abi: row.abi().map(|abi| abi.name()),
            syscall: row.syscall(),
            nr: row.key.map(|key| if key.is_unknown() { UNKNOWN_NR } else { i64::from(key.nr()) }),
            calls: f.calls,
            errors: f.errors,
            errnos: rows::errnos(f),
            total_ns: f.total_ns,
            min_ns: f.min_ns(),
            mean_ns: f.mean_ns(),
            p50_ns,
            p90_ns,
            p99_ns,
            p999_ns,
            max_ns: f.max_ns(),
            returned: f.returned,
            restarted: f.restarted,
            denied: f.denied,
            never_returned: f.never_returned,
            in_flight: f.in_flight(),
        }
    }
}

/// Writes one object and a newline.
///
/// # Errors
/// What `out` returns.
pub fn write(
    out: &mut impl io::Write,
    rows: &[Row],
    window: Duration,
    health: &Health,
) -> io::Result<()> {
    let report = Report {
        schema: SCHEMA,
        window_ns: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX),
        lost: health.lost(),
        overflowed: health.overflowed,
        breaches: health.breaches,
        rows: rows.iter().map(Line::new).collect(),
    };
    serde_json::to_writer(&mut *out, &report)?;
    writeln!(out)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use profiler_common::call::{Abi, CallKey};

    use super::*;
    use crate::{
        aggregate::{Extremes, Figures},
        snapshot::Process,
    };

    #[test]
    fn the_contract() {
        let mut figures = Figures {
            calls: 4,
            returned: 3,
            errors: 2,
            total_ns: 1200,
            extremes: Some(Extremes { min_ns: 100, max_ns: 900 }),
            ..Figures::default()
        };
        figures.add_errno(11, 2);
        for ns in [100, 200, 900] {
            figures.latency.record(ns);
        }
        let process = Process { tgid: Some(42), start_ns: 1, comm: "a\"b".into(), ended: true };
        let rows = [
            Row {
                process: Some(Arc::new(process)),
                key: Some(CallKey::of(Abi::X86_64, 0)),
                figures,
            },
            Row {
                process: None,
                key: Some(CallKey::unknown(Abi::I386)),
                figures: Figures { calls: 1, never_returned: 1, ..Figures::default() },
            },
        ];
        let mut out = Vec::new();
        write(&mut out, &rows, Duration::from_millis(1500), &Health::default())
            .expect("a vector takes everything");
        insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"), @r#"{"schema":1,"window_ns":1500000000,"lost":0,"overflowed":0,"breaches":0,"rows":[{"pid":42,"comm":"a\"b","abi":"x86_64","syscall":"read","nr":0,"calls":4,"errors":2,"errnos":{"EAGAIN":2},"total_ns":1200,"min_ns":100,"mean_ns":400,"p50_ns":200,"p90_ns":900,"p99_ns":900,"p999_ns":900,"max_ns":900,"returned":3,"restarted":0,"denied":0,"never_returned":0,"in_flight":1},{"pid":null,"comm":null,"abi":"i386","syscall":"unknown","nr":-1,"calls":1,"errors":0,"errnos":{},"total_ns":0,"min_ns":0,"mean_ns":0,"p50_ns":0,"p90_ns":0,"p99_ns":0,"p999_ns":0,"max_ns":0,"returned":0,"restarted":0,"denied":0,"never_returned":1,"in_flight":0}]}"#);
    }
}
