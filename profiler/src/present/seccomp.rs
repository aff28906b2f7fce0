//! Seccomp profiles for people and for programs: what a profile would deny, how two differ, what one
//! allows.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use serde::Serialize;

use super::{
    grid::{Grid, Place},
    paint::HEADING,
    table::Style,
};
use crate::{
    names::table::{Docker, Table},
    seccomp::{Arch, Container, Note, Profile, Verdict, danger},
    text::{self, Untrusted},
};

/// Calls that a profile would deny, of one process and syscall.
#[derive(Clone, Debug, Serialize)]
pub struct Denied {
    /// The process; null for a sum of processes that are no longer listed.
    pub pid: Option<u32>,
    /// Its name.
    pub comm: Untrusted,
    /// The ABI.
    pub abi: &'static str,
    /// The syscall.
    pub syscall: String,
    /// How many calls.
    pub calls: u64,
    /// What would happen, such as `denied with EPERM`.
    pub action: String,
    /// Whether that depends on the arguments, which were not seen.
    pub by_arguments: bool,
}

#[derive(Serialize)]
struct CheckDocument<'a> {
    schema: u32,
    denied: &'a [Denied],
    notes: Vec<&'a str>,
}

const DENIED: [Place; 6] = [
    Place { title: "CALLS", right: true, expendable: 0 },
    Place { title: "SYSCALL", right: false, expendable: 0 },
    Place { title: "ABI", right: false, expendable: 3 },
    Place { title: "PROFILE", right: false, expendable: 0 },
    Place { title: "PID", right: true, expendable: 2 },
    Place { title: "PROCESS", right: false, expendable: 1 },
];

/// Writes what a profile would deny.
///
/// # Errors
/// Those of `out`.
pub fn write_check(
    out: &mut impl Write,
    denied: &[Denied],
    notes: &[Note],
    style: Style,
) -> io::Result<()> {
    if denied.is_empty() {
        writeln!(out, "The profile would deny none of the calls that were seen.")?;
    } else {
        write_rows(out, denied, style)?;
    }
    writeln!(out)?;
    for note in notes {
        writeln!(out, "{}{}", if note.is_warning { "Warning: " } else { "" }, note.text)?;
    }
    Ok(())
}

/// Writes the same as JSON.
///
/// # Errors
/// Those of `out`.
pub fn write_check_json(out: &mut impl Write, denied: &[Denied], notes: &[Note]) -> io::Result<()> {
    let notes = notes.iter().map(|note| note.text.as_str()).collect();
    text::json::write(out, &CheckDocument { schema: 1, denied, notes })?;
    writeln!(out)
}

fn write_grid(out: &mut impl Write, grid: Grid) -> io::Result<()> {
    writeln!(out, "{HEADING}{}{HEADING:#}", grid.title().trim_end())?;
    for line in grid.lines() {
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// A syscall that two profiles treat differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The ABI.
    pub abi: &'static str,
    /// The syscall.
    pub syscall: &'static str,
    /// What the first profile does.
    pub first: String,
    /// What the second profile does.
    pub second: String,
    /// Why it is dangerous to allow, if it is.
    pub danger: Option<&'static str>,
}

/// The syscalls that two profiles treat differently.
pub fn differences(first: &Profile, second: &Profile, container: &Container) -> Vec<Difference> {
    let mut all = Vec::new();
    for call in Table::get().calls() {
        for on in call.abis.iter().filter(|on| on.arguments.is_some()) {
            let arch = Arch::of(on.abi);
            let [a, b] = [first, second].map(|profile| profile.judge(arch, call.name, container));
            if a != b {
                all.push(Difference {
                    abi: on.abi.name(),
                    syscall: call.name,
                    first: said(&a),
                    second: said(&b),
                    danger: danger::reason(call.name),
                });
            }
        }
    }
    all
}

/// A verdict, as people say it.
fn said(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Always(action) => action.to_string(),
        Verdict::ByArguments(actions) => {
            let all: Vec<_> = actions.iter().map(ToString::to_string).collect();
            format!("{}, by arguments", all.join(" or "))
        }
    }
}

const DIFFERENT: [Place; 5] = [
    Place { title: "SYSCALL", right: false, expendable: 0 },
    Place { title: "ABI", right: false, expendable: 2 },
    Place { title: "FIRST", right: false, expendable: 0 },
    Place { title: "SECOND", right: false, expendable: 0 },
    Place { title: "DANGER", right: false, expendable: 1 },
];

/// Writes differences. Those of several ABIs that are the same are one line.
///
/// # Errors
/// Those of `out`.
pub fn write_differences(out: &mut impl Write, all: &[Difference], style: Style) -> io::Result<()> {
    if all.is_empty() {
        return writeln!(out, "The profiles treat every syscall in the same way.");
    }
    type Same<'a> = (&'a str, &'a str, &'a str);
    let mut lines: BTreeMap<Same<'_>, (Vec<&str>, Option<&str>)> = BTreeMap::new();
    for one in all {
        let line = lines.entry((one.syscall, &one.first, &one.second)).or_default();
        line.0.push(one.abi);
        line.1 = one.danger;
    }
    let cells = lines.iter().map(|((syscall, first, second), (abis, danger))| {
        vec![
            (*syscall).to_owned(),
            abis.join(" "),
            (*first).to_owned(),
            (*second).to_owned(),
            danger.map_or_else(String::new, str::to_owned),
        ]
    });
    write_grid(out, Grid::new(DIFFERENT.into(), cells.collect(), style.width))
}

#[derive(Serialize)]
struct DifferenceDocument<'a> {
    schema: u32,
    differences: &'a [Difference],
}

/// Writes the same as JSON.
///
/// # Errors
/// Those of `out`.
pub fn write_differences_json(out: &mut impl Write, all: &[Difference]) -> io::Result<()> {
    text::json::write(out, &DifferenceDocument { schema: 1, differences: all })?;
    writeln!(out)
}

/// What a profile does with a syscall.
#[derive(Clone, Debug, Serialize)]
struct Explained {
    syscall: &'static str,
    abi: &'static str,
    category: String,
    verdict: String,
    allowed: bool,
    by_arguments: bool,
    danger: Option<&'static str>,
    /// What Docker's default profile does: `yes`, `no`, `arguments` or `capabilities`.
    docker: &'static str,
    /// Whether systemd's @system-service includes it.
    system_service: bool,
}

fn explained(profile: &Profile, container: &Container) -> Vec<Explained> {
    let mut all = Vec::new();
    for call in Table::get().calls() {
        for on in call.abis.iter().filter(|on| on.arguments.is_some()) {
            let arch = Arch::of(on.abi);
            if !profile.architectures.contains(&arch) {
                continue;
            }
            let verdict = profile.judge(arch, call.name, container);
            let allowed = match &verdict {
                Verdict::Always(action) => action.makes_the_call(),
                Verdict::ByArguments(actions) => {
                    actions.iter().any(|action| action.makes_the_call())
                }
            };
            all.push(Explained {
                syscall: call.name,
                abi: on.abi.name(),
                category: call.category.to_string(),
                by_arguments: matches!(verdict, Verdict::ByArguments(_)),
                verdict: said(&verdict),
                allowed,
                danger: danger::reason(call.name),
                docker: match &call.docker {
                    Docker::Allowed => "yes",
                    Docker::SomeArguments(_) => "arguments",
                    Docker::Capabilities(_) => "capabilities",
                    Docker::Denied => "no",
                },
                system_service: call.systemd.contains(&"@system-service"),
            });
        }
    }
    all
}

#[derive(Serialize)]
struct ExplainDocument<'a> {
    schema: u32,
    default: String,
    architectures: Vec<&'static str>,
    syscalls: &'a [Explained],
}

/// Writes what a profile does with each syscall, as JSON.
///
/// # Errors
/// Those of `out`.
pub fn write_explanation_json(
    out: &mut impl Write,
    profile: &Profile,
    container: &Container,
) -> io::Result<()> {
    let syscalls = explained(profile, container);
    let document = ExplainDocument {
        schema: 1,
        default: profile.default.to_string(),
        architectures: profile.architectures.iter().map(|arch| arch.oci()).collect(),
        syscalls: &syscalls,
    };
    text::json::write(out, &document)?;
    writeln!(out)
}

/// Writes what a profile allows, for people.
///
/// # Errors
/// Those of `out`.
pub fn write_explanation(
    out: &mut impl Write,
    profile: &Profile,
    container: &Container,
    style: Style,
) -> io::Result<()> {
    let all = explained(profile, container);
    // One line for each syscall, of the first ABI that has it.
    let mut by_name: BTreeMap<&str, &Explained> = BTreeMap::new();
    for one in &all {
        by_name.entry(one.syscall).or_insert(one);
    }
    let allowed: Vec<_> = by_name.values().filter(|one| one.allowed).copied().collect();
    let archs: Vec<_> = profile.architectures.iter().map(|arch| arch.oci()).collect();
    writeln!(
        out,
        "Allows {} of {} syscalls, {} of them only with some arguments. All others: {}.",
        allowed.len(),
        by_name.len(),
        allowed.iter().filter(|one| one.by_arguments).count(),
        profile.default,
    )?;
    writeln!(out, "Architectures: {}. Calls of all others are denied.", archs.join(" "))?;
    writeln!(out, "\n{HEADING}By category{HEADING:#}")?;
    let mut categories: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for one in by_name.values() {
        let (allowed, of) = categories.entry(&one.category).or_default();
        *allowed += usize::from(one.allowed);
        *of += 1;
    }
    for (category, (allowed, of)) in categories {
        writeln!(out, "  {category:24} {allowed:3} of {of}")?;
    }
    let dangerous: Vec<_> = allowed.iter().filter(|one| one.danger.is_some()).collect();
    writeln!(out, "\n{HEADING}Dangerous, and allowed: {}{HEADING:#}", dangerous.len())?;
    let width = style.width.unwrap_or(100).max(40);
    for one in dangerous {
        let condition = if one.by_arguments { " (for some arguments)" } else { "" };
        let line = format!("{}{condition}: {}", one.syscall, one.danger.unwrap_or_default());
        write_wrapped(out, &line, width)?;
    }
    let compare = |title: &str, is_allowed: &dyn Fn(&Explained) -> bool| {
        let more: Vec<_> = allowed.iter().filter(|one| !is_allowed(one)).collect();
        let fewer = by_name.values().filter(|one| !one.allowed && is_allowed(one)).count();
        let names: Vec<_> = more.iter().map(|one| one.syscall).collect();
        (title.to_owned(), names.join(" "), more.len(), fewer)
    };
    for (title, names, more, fewer) in [
        compare("Docker's default profile", &|one| {
            one.docker == "yes" || one.docker == "arguments"
        }),
        compare("systemd's @system-service", &|one| one.system_service),
    ] {
        writeln!(out, "\n{HEADING}Compared with {title}{HEADING:#}")?;
        writeln!(out, "  denies {fewer} that it allows, and allows {more} that it denies")?;
        if more > 0 {
            write_wrapped(out, &names, width)?;
        }
    }
    Ok(())
}

/// Writes words in lines of at most `width` columns, indented.
fn write_wrapped(out: &mut impl Write, text: &str, width: usize) -> io::Result<()> {
    let mut line = String::from(" ");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > width && line.trim() != "" {
            writeln!(out, "{line}")?;
            line = String::from("    ");
        } else {
            line.push(' ');
        }
        line.push_str(word);
    }
    writeln!(out, "{line}")
}

/// Writes the calls that a profile denied. `lost` calls and other events were not seen.
///
/// # Errors
/// Those of `out`.
pub fn write_denied(
    out: &mut impl Write,
    denied: &[Denied],
    lost: u64,
    style: Style,
) -> io::Result<()> {
    writeln!(out)?;
    if denied.is_empty() {
        writeln!(out, "The profile denied no call.")?;
    } else {
        write_rows(out, denied, style)?;
    }
    if lost > 0 {
        writeln!(out, "{lost} calls or other events were lost: more calls may have been denied.")?;
    }
    Ok(())
}

fn write_rows(out: &mut impl Write, denied: &[Denied], style: Style) -> io::Result<()> {
    let cells = denied.iter().map(|row| {
        let condition = if row.by_arguments { ", for some arguments" } else { "" };
        vec![
            row.calls.to_string(),
            row.syscall.clone(),
            row.abi.to_owned(),
            format!("{}{condition}", row.action),
            row.pid.map_or_else(String::new, |pid| pid.to_string()),
            row.comm.to_string(),
        ]
    });
    write_grid(out, Grid::new(DENIED.into(), cells.collect(), style.width))
}
