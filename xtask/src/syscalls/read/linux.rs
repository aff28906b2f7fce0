//! Reads the kernel's source: the numbers in the tables of x86, and the arguments of calls that
//! tracefs lacks. tracefs lacks the calls of 32-bit processes, and calls that are not built into
//! the running kernel.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

use super::{signature, type_and_name};

/// Directories that define no syscall of x86.
const SKIPPED: [&str; 7] =
    ["Documentation", "drivers", "samples", "scripts", "sound", "tools", "arch"];

/// Files with second definitions of calls, for configurations that x86_64 does not have.
const STUBS: [&str; 2] = ["kernel/time/posix-stubs.c", "mm/nommu.c"];

/// Reads the tables, and the definitions in C.
pub(super) fn read(tree: &Path) -> Result<Vec<(&'static str, String)>> {
    let version = version(tree)?;
    let mut numbers = format!("# Linux {version}\n");
    for table in ["64", "32"] {
        let path = tree.join(format!("arch/x86/entry/syscalls/syscall_{table}.tbl"));
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for line in text.lines() {
            let line = line.split('#').next().unwrap_or_default();
            let words: Vec<_> = line.split_whitespace().collect();
            if words.len() >= 3 {
                numbers += &format!("{table} {}\n", words.join(" "));
            }
        }
    }
    let mut signatures = BTreeMap::new();
    let mut directories: Vec<PathBuf> = vec![tree.join("arch/x86")];
    for entry in fs::read_dir(tree)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && !SKIPPED.iter().any(|name| entry.file_name() == *name) {
            directories.push(entry.path());
        }
    }
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory)? {
            let path = entry?.path();
            let inside = path.strip_prefix(tree)?;
            if path.is_dir() {
                if inside != Path::new("arch/x86/um") {
                    directories.push(path);
                }
            } else if path.extension().is_some_and(|e| e == "c")
                && !STUBS.iter().any(|stub| inside == Path::new(stub))
            {
                let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
                for (entry, arguments) in definitions(&text) {
                    keep_the_longer(&mut signatures, entry, arguments);
                }
            }
        }
    }
    // Drops definitions for other architectures, and definitions that are in no table.
    signatures.retain(|entry, _| numbers.lines().any(|row| row.split(' ').any(|w| w == entry)));
    let lines: Vec<_> = signatures.iter().map(|(entry, args)| signature(entry, args)).collect();
    let signatures = format!("# Linux {version}\n{}\n", lines.join("\n"));
    Ok(vec![("numbers", numbers), ("signatures", signatures)])
}

type Arguments = Vec<(String, String)>;

/// Adds a definition. If a call has two definitions, keeps the one with more arguments, because x86
/// uses this one: for example, sigsuspend has three arguments (`CONFIG_OLD_SIGSUSPEND3`).
fn keep_the_longer(all: &mut BTreeMap<String, Arguments>, entry: String, arguments: Arguments) {
    let known = all.entry(entry).or_insert_with(|| arguments.clone());
    if arguments.len() > known.len() {
        *known = arguments;
    }
}

fn version(tree: &Path) -> Result<String> {
    let makefile =
        fs::read_to_string(tree.join("Makefile")).context("cannot read the kernel's Makefile")?;
    let value = |name: &str| {
        let line = makefile.lines().find_map(|line| line.strip_prefix(&format!("{name} = ")));
        line.with_context(|| format!("the kernel's Makefile has no {name}"))
    };
    Ok(format!("{}.{}.{}", value("VERSION")?, value("PATCHLEVEL")?, value("SUBLEVEL")?))
}

/// Finds the calls that `SYSCALL_DEFINEn` and its variants define in C (include/linux/syscalls.h).
fn definitions(text: &str) -> Vec<(String, Arguments)> {
    // On x86, a `SYSCALL32_DEFINE` is a compat call.
    const MACROS: [(&str, &str); 3] = [
        ("SYSCALL_DEFINE", "sys_"),
        ("COMPAT_SYSCALL_DEFINE", "compat_sys_"),
        ("SYSCALL32_DEFINE", "compat_sys_"),
    ];
    let mut found = Vec::new();
    for (name, prefix) in MACROS {
        for (at, _) in text.match_indices(name) {
            let begins_a_line = at == 0 || text[..at].ends_with('\n');
            let rest = &text[at + name.len()..];
            let Some(inner) = rest.get(1..).and_then(in_parentheses).filter(|_| begins_a_line)
            else {
                continue;
            };
            // In a 32-bit process, a 64-bit argument takes two registers.
            let inner = split_wide(inner);
            let mut parts = inner.split(',').map(str::trim);
            let entry = format!("{prefix}{}", parts.next().unwrap_or_default());
            let parts: Vec<_> = parts.collect();
            let pairs = parts.chunks(2).map(|pair| type_and_name(&pair.join(" ")));
            found.push((entry, pairs.collect()));
        }
    }
    found
}

/// Returns the text between the opening parenthesis at the beginning and its closing parenthesis.
fn in_parentheses(text: &str) -> Option<&str> {
    let text = text.strip_prefix('(')?;
    let mut depth = 1;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(&text[..at]);
        }
    }
    None
}

/// Replaces `SC_ARG64(mask)` with the two arguments for which it stands.
fn split_wide(arguments: &str) -> String {
    let Some((before, rest)) = arguments.split_once("SC_ARG64(") else {
        return arguments.to_owned();
    };
    let (name, after) = rest.split_once(')').unwrap_or((rest, ""));
    format!("{before}u32, {name}_lo, u32, {name}_hi{}", split_wide(after))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_are_found() {
        let text = "SYSCALL_DEFINE2(open_by, const char __user *, name,\n\t\tint, flags)\n{\n}\n\
                    COMPAT_SYSCALL_DEFINE0(sigreturn)\n\
                    SYSCALL32_DEFINE3(mark, int, fd, SC_ARG64(mask), int, dfd)\n";
        let lines: Vec<_> = definitions(text)
            .iter()
            .map(|(entry, arguments)| signature(entry, arguments))
            .collect();
        assert_eq!(
            lines,
            [
                "sys_open_by: const char * name, int flags",
                "compat_sys_sigreturn:",
                "compat_sys_mark: int fd, u32 mask_lo, u32 mask_hi, int dfd",
            ]
        );
    }
}
