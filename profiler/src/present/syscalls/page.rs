//! The page of one syscall, or of one errno.

use std::io;

use profiler_common::call::Abi;

use super::Found;
use crate::{
    model::Kind,
    names::{
        errnos::{self, Errno},
        table::{Argument, Docker, OnAbi, Table, X32_BIT, number_register},
    },
    present::{
        grid::{Grid, Place},
        paint::HEADING,
        table::Style,
    },
};

/// Width of a label, characters.
const LABEL: usize = 12;

/// Maximum width of a page on a terminal, characters. In a pipe, lines are not wrapped.
const MOST_COLUMNS: usize = 100;

/// Indentation of the second line of a prototype, characters.
const INDENT: usize = 4;

/// Minimum width of the text beside the labels, characters.
const FEWEST_COLUMNS: usize = 20;

/// Writes all facts about a syscall.
pub(super) fn call(out: &mut impl io::Write, found: Found<'_>, style: Style) -> io::Result<()> {
    let call = found.call;
    for (prototype, abis) in prototypes(found) {
        let abis = if abis.len() == found.on().count() {
            String::new()
        } else {
            format!(" /* {} */", list(&abis))
        };
        for (index, line) in wrapped(&format!("{prototype}{abis}"), style, INDENT).enumerate() {
            let indent = if index == 0 { 0 } else { INDENT };
            writeln!(out, "{:indent$}{HEADING}{line}{HEADING:#}", "")?;
        }
    }
    for on in found.on() {
        writeln!(out)?;
        registers(out, on, found.on_abi(Abi::X86_64), style)?;
    }
    writeln!(out)?;
    let table = Table::get();
    let mut say = |label: &str, text: &str| field(out, label, text, style);
    say("Category", call.category.name())?;
    say("Classes", &format!("{} ({})", call.classes, table.source("classes")))?;
    say(
        "Waits",
        match found.kind() {
            Kind::Waits => "by nature: --no-waits hides it",
            Kind::MayWait => "depends on what it is called for",
            _ => "no, unless what it acts on is slow",
        },
    )?;
    if !call.vdso.is_empty() {
        say(
            "vDSO",
            &format!(
                "on {}, the C library asks the vDSO first. It mostly answers without a syscall, \
                 which the profiler therefore does not see",
                list(&call.vdso)
            ),
        )?;
    }
    say("Docker", &docker(&call.docker, table.source("docker")))?;
    let groups =
        if call.systemd.is_empty() { "in no group".into() } else { call.systemd.join(" ") };
    say("systemd", &format!("{groups} ({})", table.source("systemd")))?;
    match call.since {
        Some("1.0") => say("Since", "Linux 1.0 or earlier")?,
        Some(version) => say("Since", &format!("Linux {version}"))?,
        None => {}
    }
    if let Some(page) = call.page {
        say("Manual", &format!("man 2 {page}"))?;
    }
    let errnos = table.errnos(call);
    if !errnos.is_empty() {
        say("Errnos", &errnos.join(" "))?;
    }
    Ok(())
}

/// Writes the meaning of an errno.
pub(super) fn errno(out: &mut impl io::Write, errno: Errno, style: Style) -> io::Result<()> {
    let name = errnos::name(errno.number());
    writeln!(out, "{HEADING}{name}{HEADING:#}: {}", errno.meaning())?;
    writeln!(out)?;
    field(out, "Number", &errno.number().to_string(), style)?;
    let aliases: Vec<_> = errno.aliases().collect();
    if !aliases.is_empty() {
        field(out, "Also", &aliases.join(" "), style)?;
    }
    let source = Table::get().source("man");
    let documented = format!("by the manual pages of these syscalls ({source})");
    field(out, "Documented", &documented, style)
}

/// Writes that a number is also an errno.
pub(super) fn also_errno(out: &mut impl io::Write, errno: Errno) -> io::Result<()> {
    let number = errno.number();
    writeln!(out, "As an errno, {number} is {}: {}", errnos::name(number), errno.meaning())
}

/// The distinct prototypes, each with its ABIs.
fn prototypes(found: Found<'_>) -> Vec<(String, Vec<Abi>)> {
    let mut prototypes: Vec<(String, Vec<Abi>)> = Vec::new();
    for on in found.on() {
        let text = match &on.arguments {
            Some(arguments) => format!("{}({})", found.call.name, declared(arguments)),
            None => format!("{}: fails with ENOSYS on current kernels", found.call.name),
        };
        match prototypes.iter_mut().find(|(known, _)| *known == text) {
            Some((_, abis)) => abis.push(on.abi),
            None => prototypes.push((text, vec![on.abi])),
        }
    }
    prototypes
}

fn declared(arguments: &[Argument]) -> String {
    if arguments.is_empty() {
        return "void".into();
    }
    let declare = |argument: &Argument| {
        // C style: `char *name`.
        let space = if argument.kind.ends_with('*') { "" } else { " " };
        format!("{}{space}{}", argument.kind, argument.name)
    };
    arguments.iter().map(declare).collect::<Vec<_>>().join(", ")
}

/// Writes the number and the arguments on an ABI, each with its register. Most arguments of x32 are
/// those of x86_64.
fn registers(
    out: &mut impl io::Write,
    on: &OnAbi,
    x86_64: Option<&OnAbi>,
    style: Style,
) -> io::Result<()> {
    let register = number_register(on.abi);
    let is_as_on_x86_64 = x86_64.is_some_and(|other| other.arguments == on.arguments);
    let number = match on.abi {
        Abi::X32 => format!("{register} = {X32_BIT:#x} + {}", on.number),
        _ => format!("{register} = {}", on.number),
    };
    if on.abi == Abi::X32 && is_as_on_x86_64 {
        return field(out, on.abi.name(), &format!("{number}, arguments as on x86_64"), style);
    }
    field(out, on.abi.name(), &number, style)?;
    let arguments = on.arguments.iter().flatten();
    let cells = arguments.map(|argument| {
        vec![argument.register.to_owned(), argument.name.to_owned(), argument.kind.to_owned()]
    });
    let column = |expendable| Place { title: "", right: false, expendable };
    let width = style.width.map(|width| width.saturating_sub(LABEL));
    let grid = Grid::new(vec![column(0), column(0), column(1)], cells.collect(), width);
    for line in grid.lines() {
        writeln!(out, "{:LABEL$}{}", "", line.trim_end())?;
    }
    Ok(())
}

fn docker(docker: &Docker, source: &str) -> String {
    let any_of = |capabilities: &[&str]| capabilities.join(" or ");
    let verdict = match docker {
        Docker::Allowed => "allowed".into(),
        Docker::Denied => "denied".into(),
        Docker::Capabilities(capabilities) => {
            format!("denied, unless the container has {}", any_of(capabilities))
        }
        Docker::SomeArguments(capabilities) if capabilities.is_empty() => {
            "allowed with some arguments only".into()
        }
        Docker::SomeArguments(capabilities) => format!(
            "allowed with some arguments only, unless the container has {}",
            any_of(capabilities)
        ),
    };
    format!("{verdict} ({source})")
}

fn list(abis: &[Abi]) -> String {
    abis.iter().map(|abi| abi.name()).collect::<Vec<_>>().join(", ")
}

/// Writes a label and its text.
fn field(out: &mut impl io::Write, label: &str, text: &str, style: Style) -> io::Result<()> {
    for (index, line) in wrapped(text, style, LABEL).enumerate() {
        let label = if index == 0 { label } else { "" };
        writeln!(out, "{label:LABEL$}{line}")?;
    }
    Ok(())
}

/// Wraps a text between words. `before` is the width of the columns to its left.
fn wrapped(text: &str, style: Style, before: usize) -> impl Iterator<Item = String> + use<> {
    let width = style.width.map_or(usize::MAX, |width| {
        width.min(MOST_COLUMNS).saturating_sub(before).max(FEWEST_COLUMNS)
    });
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) if line.len() + 1 + word.len() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        names::find::Query,
        present::{syscalls::Findings, testing},
    };

    fn page(query: &str, width: Option<usize>) -> String {
        let query: Query = query.parse().expect("a query that finds something");
        let mut out = Vec::new();
        let style = Style { width, ..Style::PLAIN };
        let findings = Findings::new(&[query], None);
        crate::present::syscalls::write(&mut out, &findings, style).expect("a vector takes all");
        testing::unstyled(out)
    }

    #[test]
    fn lines_fit_the_terminal() {
        for width in [40, 60, 80, 200] {
            for name in ["clone", "socket", "clock_gettime", "ENOENT", "open*"] {
                for line in page(name, Some(width)).lines() {
                    assert!(line.len() <= width, "{name} in {width}: {line:?}");
                }
            }
        }
        let narrow = page("clone", Some(40));
        assert!(
            narrow.starts_with("clone(unsigned long clone_flags,\n    unsigned long newsp, int")
        );
    }

    #[test]
    fn in_a_pipe_a_line_has_all_of_a_fact() {
        let page = page("mmap", None);
        assert!(page.lines().any(|line| line.starts_with("Errnos") && line.ends_with("ETXTBSY")));
    }

    /// x32 uses the registers of x86_64, but some other structures.
    #[test]
    fn x32_says_where_it_differs() {
        let of_read = page("read", None);
        let of_sigaction = page("rt_sigaction", None);
        assert!(of_read.contains("x32         rax = 0x40000000 + 0, arguments as on x86_64\n"));
        assert!(
            of_sigaction
                .contains("x32         rax = 0x40000000 + 512\n            rdi  sig         int\n")
        );
    }
}
