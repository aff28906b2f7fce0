//! The facts about syscalls as JSON.

use std::{
    collections::BTreeMap,
    io::{self, Write as _},
};

use serde::Serialize;

use super::{Findings, Found};
use crate::{
    model::Kind,
    names::{
        errnos::{self, Errno},
        table::{Docker, OnAbi, Table, number_register},
    },
    text,
};

#[derive(Serialize)]
struct Document {
    schema: u32,
    /// The source of each kind of fact.
    sources: BTreeMap<&'static str, &'static str>,
    syscalls: Vec<Syscall>,
    /// The errnos that the queries name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errnos: Vec<NamedErrno>,
}

#[derive(Serialize)]
struct Syscall {
    syscall: &'static str,
    category: &'static str,
    classes: Vec<&'static str>,
    /// `yes`, `no`, or `maybe` if it depends on the arguments.
    waits: &'static str,
    /// First kernel version, or null if it is not known.
    since: Option<&'static str>,
    /// Page of section 2 of the manual.
    man: Option<&'static str>,
    /// Errnos that this page documents.
    errnos: &'static [&'static str],
    docker: OfDocker,
    systemd: &'static [&'static str],
    /// ABIs whose vDSO answers the call, mostly without a syscall.
    vdso: Vec<&'static str>,
    abis: Vec<OfAbi>,
}

#[derive(Serialize)]
struct OfDocker {
    /// `yes`, `no`, `arguments` or `capabilities`.
    allowed: &'static str,
    /// A container that has one of these capabilities may use all arguments.
    capabilities: &'static [&'static str],
}

#[derive(Serialize)]
struct OfAbi {
    abi: &'static str,
    number: u32,
    number_register: &'static str,
    /// Null if the call fails with ENOSYS on current kernels.
    arguments: Option<Vec<Argument>>,
}

#[derive(Serialize)]
struct Argument {
    name: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    register: &'static str,
}

#[derive(Serialize)]
struct NamedErrno {
    errno: String,
    number: u16,
    meaning: &'static str,
    aliases: Vec<&'static str>,
}

/// Writes one object, and a line break.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut Vec<u8>, findings: &Findings) -> io::Result<()> {
    let table = Table::get();
    let document = Document {
        schema: 1,
        sources: table.sources().iter().copied().collect(),
        syscalls: findings.calls().iter().map(|found| syscall(table, found)).collect(),
        errnos: findings.errnos.iter().map(|errno| named(*errno)).collect(),
    };
    text::json::write(out, &document)?;
    writeln!(out)
}

fn syscall(table: &'static Table, found: &Found<'_>) -> Syscall {
    let call = found.call;
    Syscall {
        syscall: call.name,
        category: call.category.name(),
        classes: call.classes.names().collect(),
        waits: match found.kind() {
            Kind::Waits => "yes",
            Kind::MayWait => "maybe",
            Kind::Works => "no",
        },
        since: call.since,
        man: call.page,
        errnos: table.errnos(call),
        docker: of_docker(&call.docker),
        systemd: &call.systemd,
        vdso: call.vdso.iter().map(|abi| abi.name()).collect(),
        abis: found.on().map(of_abi).collect(),
    }
}

fn of_docker(docker: &'static Docker) -> OfDocker {
    let (allowed, capabilities): (_, &[_]) = match docker {
        Docker::Allowed => ("yes", &[]),
        Docker::Denied => ("no", &[]),
        Docker::SomeArguments(capabilities) => ("arguments", capabilities),
        Docker::Capabilities(capabilities) => ("capabilities", capabilities),
    };
    OfDocker { allowed, capabilities }
}

fn of_abi(on: &OnAbi) -> OfAbi {
    let arguments = on.arguments.as_ref().map(|arguments| {
        let argument = |argument: &crate::names::table::Argument| Argument {
            name: argument.name,
            kind: argument.kind,
            register: argument.register,
        };
        arguments.iter().map(argument).collect()
    });
    OfAbi {
        abi: on.abi.name(),
        number: on.number,
        number_register: number_register(on.abi),
        arguments,
    }
}

fn named(errno: Errno) -> NamedErrno {
    NamedErrno {
        errno: errnos::name(errno.number()).into_owned(),
        number: errno.number(),
        meaning: errno.meaning(),
        aliases: errno.aliases().collect(),
    }
}
