//! The table of facts about each syscall: numbers, arguments, classes, who allows it.
//!
//! `cargo xtask syscalls --generate` writes the table, whose format `xtask/src/syscalls/generate.rs`
//! describes. It is parsed when it is first needed.

use std::sync::LazyLock;

use profiler_common::call::{ABIS, Abi};

use super::classes::{Category, Classes};

/// An argument of a syscall.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// C type, for example `const char *`.
    pub kind: &'static str,
    /// Name in the kernel's source.
    pub name: &'static str,
    /// Register in which it is passed.
    pub register: &'static str,
}

/// A syscall on one ABI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OnAbi {
    /// The ABI.
    pub abi: Abi,
    /// The number, without `__X32_SYSCALL_BIT`.
    pub number: u32,
    /// The arguments, or `None` if the kernel no longer has the call: it fails with `ENOSYS`.
    pub arguments: Option<Vec<Argument>>,
}

/// What Docker's default seccomp profile does with a syscall.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Docker {
    /// Allows it.
    Allowed,
    /// Allows it with some values of its arguments. A container that has one of these
    /// capabilities may use all values.
    SomeArguments(Vec<&'static str>),
    /// Allows it only in containers that have one of these capabilities.
    Capabilities(Vec<&'static str>),
    /// Denies it.
    Denied,
}

/// The facts about a syscall, on all ABIs.
#[derive(Clone, Debug)]
pub struct Call {
    /// The name.
    pub name: &'static str,
    /// The ABIs that have it.
    pub abis: Vec<OnAbi>,
    /// The category.
    pub category: Category,
    /// strace's classes.
    pub classes: Classes,
    /// The first kernel version that had it on any architecture. `1.0` means 1.0 or earlier.
    pub since: Option<&'static str>,
    /// The page of section 2 of the manual.
    pub page: Option<&'static str>,
    /// What Docker's default seccomp profile does with it.
    pub docker: Docker,
    /// The groups of systemd's `SystemCallFilter=` that include it.
    pub systemd: Vec<&'static str>,
    /// The ABIs whose vDSO answers it, mostly without a syscall.
    pub vdso: Vec<Abi>,
}

impl Call {
    /// The syscall on `abi`, if the ABI has it.
    pub fn on(&self, abi: Abi) -> Option<&OnAbi> {
        self.abis.iter().find(|on| on.abi == abi)
    }
}

/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h), which distinguishes x32 from x86_64.
pub const X32_BIT: u32 = 0x4000_0000;

/// The registers that carry arguments, in order (entry_64.S and entry_64_compat.S).
pub const fn argument_registers(abi: Abi) -> [&'static str; 6] {
    match abi {
        Abi::X86_64 | Abi::X32 => ["rdi", "rsi", "rdx", "r10", "r8", "r9"],
        Abi::I386 => ["ebx", "ecx", "edx", "esi", "edi", "ebp"],
    }
}

/// The register that carries the number, and then the result.
pub const fn number_register(abi: Abi) -> &'static str {
    match abi {
        Abi::X86_64 | Abi::X32 => "rax",
        Abi::I386 => "eax",
    }
}

/// The table of syscalls.
#[derive(Debug)]
pub struct Table {
    /// The syscalls, sorted by name.
    calls: Vec<Call>,
    /// Errnos by the page that documents them, sorted by page.
    errnos: Vec<(&'static str, Vec<&'static str>)>,
    /// The source of each kind of fact.
    sources: Vec<(&'static str, &'static str)>,
}

impl Table {
    /// The table.
    pub fn get() -> &'static Self {
        static TABLE: LazyLock<Table> = LazyLock::new(|| parse(include_str!("syscalls.tsv")));
        &TABLE
    }

    /// Every call, sorted by name.
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The call of this name.
    pub fn named(&self, name: &str) -> Option<&Call> {
        let at = self.calls.binary_search_by(|call| call.name.cmp(name)).ok()?;
        self.calls.get(at)
    }

    /// The errnos that the page of a call documents. The page may describe several calls.
    pub fn errnos(&self, call: &Call) -> &[&'static str] {
        let at = |page| self.errnos.binary_search_by(|(of, _)| of.cmp(&page)).ok();
        call.page.and_then(at).map_or(&[], |at| &self.errnos[at].1)
    }

    /// The source of a kind of fact, for example `strace 6.1` for `classes`.
    pub fn source(&self, kind: &str) -> &'static str {
        self.sources.iter().find(|(of, _)| *of == kind).map_or("", |&(_, source)| source)
    }

    /// The source of each kind of fact.
    pub fn sources(&self) -> &[(&'static str, &'static str)] {
        &self.sources
    }
}

/// Skips lines in another format. Tests check that no line is skipped.
fn parse(text: &'static str) -> Table {
    let mut table = Table { calls: Vec::new(), errnos: Vec::new(), sources: Vec::new() };
    for line in text.lines() {
        let pair = |rest: &'static str| rest.split_once('\t');
        if let Some((kind, source)) = line.strip_prefix('!').and_then(pair) {
            table.sources.push((kind, source));
        } else if let Some((page, errnos)) = line.strip_prefix('>').and_then(pair) {
            table.errnos.push((page, words(errnos)));
        } else {
            table.calls.extend(call(line));
        }
    }
    table
}

fn words(text: &'static str) -> Vec<&'static str> {
    text.split_whitespace().collect()
}

fn call(line: &'static str) -> Option<Call> {
    let mut columns = line.split('\t');
    let mut next = || columns.next().unwrap_or_default();
    let name = next();
    let numbers = [next(), next(), next()];
    let category = Category::named(next())?;
    let classes = words(next()).into_iter().filter_map(Classes::named);
    let classes = classes.fold(Classes::NONE, Classes::union);
    let optional = |text: &'static str| (!text.is_empty()).then_some(text);
    let (since, page) = (optional(next()), optional(next()));
    let docker = docker(next());
    let systemd = words(next());
    let vdso = words(next());
    let arguments = [next(), next(), next()];
    let abis = ABIS.into_iter().zip(numbers).zip(arguments).filter_map(|((abi, number), text)| {
        let text = if text == "=" { arguments[0] } else { text };
        Some(OnAbi { abi, number: number.parse().ok()?, arguments: self::arguments(abi, text) })
    });
    Some(Call {
        name,
        abis: abis.collect(),
        category,
        classes,
        since,
        page,
        docker,
        systemd,
        vdso: ABIS.into_iter().filter(|abi| vdso.contains(&abi.name())).collect(),
    })
}

fn docker(text: &'static str) -> Docker {
    match text {
        "" => Docker::Denied,
        "always" => Docker::Allowed,
        _ => match text.strip_prefix("arguments") {
            Some(capabilities) => Docker::SomeArguments(words(capabilities)),
            None => Docker::Capabilities(words(text)),
        },
    }
}

/// Parses `int fd, char * buf`. `-` means that the kernel no longer has the syscall.
fn arguments(abi: Abi, text: &'static str) -> Option<Vec<Argument>> {
    if text == "-" {
        return None;
    }
    let declared = text.split(", ").filter_map(|declaration| declaration.rsplit_once(' '));
    let registers = argument_registers(abi);
    let all = declared.zip(registers);
    Some(all.map(|((kind, name), register)| Argument { kind, name, register }).collect())
}

#[cfg(test)]
mod tests {
    use profiler_common::call::CallKey;

    use super::*;
    use crate::names::{errnos::Errno, syscalls};

    #[test]
    fn no_line_is_skipped() {
        let text = include_str!("syscalls.tsv");
        let count = |marks: &[char]| text.lines().filter(|line| line.starts_with(marks)).count();
        let table = Table::get();
        assert_eq!(table.sources.len(), count(&['!']));
        assert_eq!(table.errnos.len(), count(&['>']));
        let calls = text.lines().count() - count(&['!', '>', '#']);
        assert_eq!(table.calls.len(), calls);
        assert!(table.calls.is_sorted_by(|a, b| a.name < b.name));
        assert!(table.errnos.is_sorted_by(|a, b| a.0 < b.0));
    }

    /// The numbers by which reports name syscalls equal those of the table.
    #[test]
    fn the_table_has_every_number() {
        let table = Table::get();
        for abi in ABIS {
            for nr in 0..abi.limit() {
                let Some(name) = syscalls::known(CallKey::of(abi, nr)) else { continue };
                let call = table.named(name).unwrap_or_else(|| panic!("{abi} {name}"));
                let on = call.on(abi);
                // Some syscalls have a separate number on x32. The kernel refuses their number of
                // x86_64 there.
                let other_number = abi == Abi::X32 && nr < 512;
                assert!(other_number || on.is_some_and(|on| on.number == nr), "{abi} {nr} {name}");
            }
        }
        for call in table.calls() {
            for on in &call.abis {
                let key = CallKey::of(on.abi, on.number);
                assert_eq!(syscalls::known(key), Some(call.name), "{} {}", on.abi, on.number);
            }
        }
    }

    #[test]
    fn arguments_fit_into_registers() {
        for call in Table::get().calls() {
            for on in &call.abis {
                for argument in on.arguments.iter().flatten() {
                    let Argument { kind, name, .. } = argument;
                    assert!(!kind.is_empty() && !name.contains('*'), "{}: {argument:?}", call.name);
                    // The kernel splits an argument that is wider than a register in two.
                    let wide = ["loff_t", "u64", "__u64", "s64", "__s64"];
                    let is_split = on.abi != Abi::I386 || !wide.contains(kind);
                    assert!(is_split, "{} on {}: {kind} {name}", call.name, on.abi);
                }
            }
        }
    }

    #[test]
    fn documented_errnos_exist() {
        for (page, errnos) in &Table::get().errnos {
            for errno in errnos {
                assert!(errno.parse::<Errno>().is_ok(), "{page}: {errno}");
            }
        }
    }

    #[test]
    fn calls_are_what_the_kernel_says() {
        let call = |name: &str| Table::get().named(name).unwrap_or_else(|| panic!("{name}"));
        let signature = |name: &str, abi| {
            let arguments = call(name).on(abi).and_then(|on| on.arguments.clone());
            arguments.map(|arguments| {
                let text = |a: &Argument| format!("{} {}={}", a.kind, a.name, a.register);
                arguments.iter().map(text).collect::<Vec<_>>().join("; ")
            })
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            signature("openat", Abi::X86_64),
            some("int dfd=rdi; const char * filename=rsi; int flags=rdx; umode_t mode=r10")
        );
        assert_eq!(
            signature("readahead", Abi::I386),
            some("int fd=ebx; unsigned int off_lo=ecx; unsigned int off_hi=edx; size_t count=esi")
        );
        assert_eq!(signature("getpid", Abi::X32), some(""));
        assert_eq!(signature("uselib", Abi::X86_64), None);
        assert_eq!(signature("waitpid", Abi::X86_64), None);
        assert_eq!(call("waitpid").on(Abi::X86_64), None);
        assert_eq!(call("openat").since, Some("2.6.16"));
        assert_eq!(call("openat").page, Some("open"));
        assert_eq!(call("read").docker, Docker::Allowed);
        assert_eq!(call("kexec_load").docker, Docker::Denied);
        assert_eq!(call("bpf").docker, Docker::Capabilities(vec!["CAP_SYS_ADMIN", "CAP_BPF"]));
        assert_eq!(call("clone").docker, Docker::SomeArguments(vec!["CAP_SYS_ADMIN"]));
        assert_eq!(call("socket").docker, Docker::SomeArguments(Vec::new()));
        assert_eq!(call("mount").systemd, ["@mount"]);
        assert_eq!(call("chown").systemd, ["@chown", "@privileged", "@system-service"]);
        assert_eq!(call("clock_gettime").vdso, ABIS);
        assert_eq!(call("getrandom").vdso, [Abi::X86_64]);
        assert!(Table::get().errnos(call("openat")).contains(&"ENOENT"));
    }
}
