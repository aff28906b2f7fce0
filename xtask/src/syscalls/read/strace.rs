//! Reads strace(1)'s classes of syscalls.
//!
//! strace does not list its classes. With `--seccomp-bpf`, strace passes the kernel a filter that
//! selects the traced calls. With `-d`, strace prints this filter. This module runs the filter of
//! each class on every number, to find the calls of the class.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};

use crate::syscalls::facts::{self, Number};

/// The classes of strace(1). `%net` is another name of `%network`.
const CLASSES: [&str; 17] = [
    "clock", "creds", "desc", "file", "ipc", "memory", "network", "process", "pure", "signal",
    "stat", "lstat", "fstat", "%stat", "statfs", "fstatfs", "%statfs",
];

/// Finds the calls of each class.
pub(super) fn read() -> Result<String> {
    let version = crate::workspace::output(Command::new("strace").arg("--version"))?;
    let version = version.lines().next().and_then(|line| line.split_whitespace().last());
    let version = version.context("strace printed no version")?;
    let numbers = facts::numbers()?;
    // Every filter selects these calls, because strace needs them, or decodes them into other
    // calls.
    let needed = traced("none", &numbers)?;
    let mut text = format!("# strace {version}\n");
    for class in CLASSES {
        let members: Vec<_> = traced(&format!("%{class}"), &numbers)?
            .into_iter()
            .filter(|name| !needed.contains(name))
            .collect();
        ensure!(!members.is_empty(), "strace selects nothing for %{class}");
        text += &format!("{class}: {}\n", members.join(" "));
    }
    Ok(text)
}

/// Returns the names of the calls that strace traces with `-e trace=SET`, on any ABI.
fn traced(set: &str, numbers: &[Number]) -> Result<BTreeSet<String>> {
    let mut strace = Command::new("strace");
    strace.args(["-d", "-f", "--seccomp-bpf", "-o", "/dev/null", "-e", &format!("trace={set}")]);
    let printed = strace.arg("true").stdout(Stdio::null()).output().context("cannot run strace")?;
    let filter = program(&String::from_utf8_lossy(&printed.stderr))?;
    let mut names = BTreeSet::new();
    for number in numbers {
        // strace also traces all numbers that it does not know.
        let is_known = !facts::is_later_than_the_source(number);
        if is_known && traces(&filter, number.audit_arch(), number.with_x32_bit())? {
            names.insert(number.name.clone());
        }
    }
    Ok(names)
}

/// An instruction of classic BPF. Only those that strace uses (`dump_seccomp_bpf`,
/// src/filter_seccomp.c of strace 6.1).
#[derive(Clone, Copy, Debug, PartialEq)]
enum Instruction {
    LoadArch,
    LoadNumber,
    Load(u32),
    And(u32),
    ShiftRight(u32),
    ShiftLeftByX,
    ToX,
    FromX,
    Jump(usize),
    IfEqual(u32, usize, usize),
    IfAtLeast(u32, usize, usize),
    IfAnyBit(u32, usize, usize),
    Return(bool),
}

/// Parses the filter that strace printed.
fn program(printed: &str) -> Result<Vec<Instruction>> {
    let lines = printed.lines().filter_map(|line| line.strip_prefix("strace: "));
    let lines = lines.filter(|line| line.starts_with("STMT(") || line.starts_with("JUMP("));
    lines.map(|line| instruction(line).with_context(|| line.to_owned())).collect()
}

fn instruction(line: &str) -> Result<Instruction> {
    use Instruction as I;
    let inner = line
        .get(5..)
        .and_then(|rest| rest.strip_suffix(')'))
        .context("an instruction without parentheses")?;
    let words: Vec<_> = inner.split(',').map(str::trim).collect();
    let number = |at: usize| -> Result<u32> {
        let word = words.get(at).context("an instruction without a number")?;
        Ok(match word.strip_prefix("0x") {
            Some(digits) => u32::from_str_radix(digits, 16)?,
            None => word.parse()?,
        })
    };
    let offset = |at: usize| number(at).map(|n| n as usize);
    Ok(match (words[0], words.get(1).copied()) {
        ("BPF_LDWABS", Some("data->arch")) => I::LoadArch,
        ("BPF_LDWABS", Some("data->nr")) => I::LoadNumber,
        ("BPF_LDWIMM", _) => I::Load(number(1)?),
        ("BPF_AND", _) => I::And(number(1)?),
        ("BPF_RSH", _) => I::ShiftRight(number(1)?),
        ("BPF_LSH", Some("X")) => I::ShiftLeftByX,
        ("BPF_TAX", _) => I::ToX,
        ("BPF_TXA", _) => I::FromX,
        ("BPF_JA", _) => I::Jump(offset(1)?),
        ("BPF_JEQ", _) => I::IfEqual(number(3)?, offset(1)?, offset(2)?),
        ("BPF_JGE", _) => I::IfAtLeast(number(3)?, offset(1)?, offset(2)?),
        ("BPF_JSET", _) => I::IfAnyBit(number(3)?, offset(1)?, offset(2)?),
        ("BPF_RET", Some("SECCOMP_RET_TRACE")) => I::Return(true),
        ("BPF_RET", Some("SECCOMP_RET_ALLOW")) => I::Return(false),
        _ => bail!("unknown instruction in strace's filter"),
    })
}

/// Whether the filter selects a call.
fn traces(program: &[Instruction], arch: u32, number: u32) -> Result<bool> {
    use Instruction as I;
    let (mut a, mut x, mut at) = (0u32, 0u32, 0);
    loop {
        let instruction = *program.get(at).context("the filter ends without a verdict")?;
        at += 1;
        let branch = |holds: bool, yes: usize, no: usize| if holds { yes } else { no };
        match instruction {
            I::LoadArch => a = arch,
            I::LoadNumber => a = number,
            I::Load(value) => a = value,
            I::And(value) => a &= value,
            I::ShiftRight(bits) => a >>= bits,
            I::ShiftLeftByX => a <<= x,
            I::ToX => x = a,
            I::FromX => a = x,
            I::Jump(offset) => at += offset,
            I::IfEqual(value, yes, no) => at += branch(a == value, yes, no),
            I::IfAtLeast(value, yes, no) => at += branch(a >= value, yes, no),
            I::IfAnyBit(value, yes, no) => at += branch(a & value != 0, yes, no),
            I::Return(verdict) => return Ok(verdict),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_run() {
        let printed = "strace: seccomp filter enabled\n\
                       strace: STMT(BPF_LDWABS, data->arch)\n\
                       strace: JUMP(BPF_JEQ, 0, 4, 3221225534)\n\
                       strace: STMT(BPF_LDWABS, data->nr)\n\
                       strace: JUMP(BPF_JEQ, 1, 0, 59)\n\
                       strace: JUMP(BPF_JGE, 0, 1, 0x1c3)\n\
                       strace: STMT(BPF_RET, SECCOMP_RET_TRACE)\n\
                       strace: STMT(BPF_RET, SECCOMP_RET_ALLOW)\n";
        let filter = program(printed).expect("a filter");
        let is_traced = |nr| traces(&filter, 0xc000_003e, nr).expect("a verdict");
        assert!(is_traced(59) && is_traced(451) && !is_traced(58));
        assert!(!traces(&filter, 0x4000_0003, 59).expect("a verdict"));
    }
}
