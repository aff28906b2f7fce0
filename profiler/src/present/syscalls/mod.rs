//! Prints the facts about syscalls: a table of several, a page for one, or JSON.

mod json;
mod page;
mod table;

use std::io;

use profiler_common::call::{Abi, CallKey};

use super::table::Style;
use crate::{
    model::Kind,
    names::{
        errnos::Errno,
        find::Query,
        table::{Call, OnAbi, Table},
        waits,
    },
};

pub use json::write as write_json;

/// A syscall, and the ABIs that the user asked for.
#[derive(Clone, Copy, Debug)]
struct Found<'a> {
    call: &'static Call,
    abis: &'a [Abi],
}

impl Found<'_> {
    /// The syscall on each of these ABIs.
    fn on(&self) -> impl Iterator<Item = &'static OnAbi> {
        self.call.abis.iter().filter(|on| self.abis.contains(&on.abi))
    }

    fn on_abi(&self, abi: Abi) -> Option<&'static OnAbi> {
        self.on().find(|on| on.abi == abi)
    }

    /// Whether the call waits by nature.
    fn kind(&self) -> Kind {
        let on = self.call.abis.first();
        on.map_or(Kind::Works, |on| waits::kind(CallKey::of(on.abi, on.number)))
    }
}

/// The results of all queries, each syscall once.
#[derive(Debug)]
pub struct Findings {
    calls: Vec<(&'static str, Vec<Abi>)>,
    errnos: Vec<Errno>,
    /// Whether each query names an errno and no syscall.
    of_errnos: bool,
}

impl Findings {
    /// Joins the results of the queries. If `abi` is given, only on that ABI.
    pub fn new(queries: &[Query], abi: Option<Abi>) -> Self {
        let mut calls: Vec<(&'static str, Vec<Abi>)> = Vec::new();
        for (name, abis) in queries.iter().flat_map(Query::calls) {
            let wanted = abis.iter().filter(|of| abi.is_none_or(|abi| abi == **of));
            let at = calls.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
                calls.push((name, Vec::new()));
                calls.len() - 1
            });
            calls[at].1.extend(wanted);
        }
        for (_, abis) in &mut calls {
            abis.sort();
            abis.dedup();
        }
        calls.retain(|(_, abis)| !abis.is_empty());
        let mut errnos: Vec<_> = queries.iter().filter_map(Query::errno).collect();
        errnos.dedup();
        Self { calls, errnos, of_errnos: queries.iter().all(Query::is_of_errno) }
    }

    /// Whether no syscall and no errno was found.
    pub fn is_empty(&self) -> bool {
        self.calls.is_empty() && self.errnos.is_empty()
    }

    fn calls(&self) -> Vec<Found<'_>> {
        self.calls
            .iter()
            .filter_map(|(name, abis)| Some(Found { call: Table::get().named(name)?, abis }))
            .collect()
    }
}

/// Writes a page for one call or one errno, and a table for several.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut impl io::Write, findings: &Findings, style: Style) -> io::Result<()> {
    let calls = findings.calls();
    if findings.of_errnos {
        for errno in &findings.errnos {
            page::errno(out, *errno, style)?;
        }
        if !calls.is_empty() {
            writeln!(out)?;
            table::write(out, &calls, style)?;
        }
        return Ok(());
    }
    match calls[..] {
        [call] => page::call(out, call, style)?,
        _ => table::write(out, &calls, style)?,
    }
    for errno in &findings.errnos {
        writeln!(out)?;
        page::also_errno(out, *errno)?;
    }
    Ok(())
}
