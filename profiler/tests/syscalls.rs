//! Compares the table of syscalls with sources on this machine. Missing sources are skipped, with a
//! message.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use profiler::names::table::Table;
use profiler_common::call::{ABIS, Abi};

/// `__X32_SYSCALL_BIT + 512`, or a number.
fn number(text: &str) -> Option<u32> {
    let text = text.trim_matches(['(', ')']);
    text.strip_prefix("__X32_SYSCALL_BIT + ").unwrap_or(text).parse().ok()
}

/// The numbers that a header of the kernel defines, by name.
fn defined(header: &str) -> Option<BTreeMap<String, u32>> {
    let text = fs::read_to_string(header).ok()?;
    let defines = text.lines().filter_map(|line| line.strip_prefix("#define __NR_"));
    let pairs = defines.filter_map(|define| {
        let (name, value) = define.split_once(char::is_whitespace)?;
        Some((name.to_owned(), number(value.trim())?))
    });
    Some(pairs.collect())
}

fn number_of(name: &str, abi: Abi) -> Option<u32> {
    Some(Table::get().named(name)?.on(abi)?.number)
}

#[test]
fn numbers_are_those_of_the_kernels_headers() {
    for (abi, file) in ABIS.into_iter().zip(["unistd_64.h", "unistd_32.h", "unistd_x32.h"]) {
        let places = ["/usr/include/asm", "/usr/include/x86_64-linux-gnu/asm"];
        let headers = places.iter().map(|place| format!("{place}/{file}"));
        let Some(defined) = headers.into_iter().find_map(|header| defined(&header)) else {
            println!("skipped: this machine has no {file}");
            continue;
        };
        assert!(defined.len() > 300, "{file}");
        for (name, &number) in &defined {
            // Newer headers than the table have newer calls.
            let known = number_of(name, abi);
            let is_newer = known.is_none() && number > 469;
            assert!(is_newer || known == Some(number), "{abi} {name}: {known:?}, not {number}");
        }
        let newest = defined.values().max().copied().unwrap_or(0);
        for call in Table::get().calls() {
            // Older headers also lack the numbers that Linux 6.11 and 6.18 put into a gap.
            let of_gap = ["uretprobe", "uprobe"].contains(&call.name);
            let Some(number) = number_of(call.name, abi).filter(|_| !of_gap) else { continue };
            let is_newer = newest < 512 && number > newest || abi == Abi::X32 && number > 450;
            let is_defined = defined.contains_key(call.name);
            assert!(is_newer || is_defined, "{abi}: the headers have no {}", call.name);
        }
    }
}

#[test]
fn numbers_are_those_of_ausyscall() {
    for (abi, machine) in [(Abi::X86_64, "x86_64"), (Abi::I386, "i386")] {
        let Ok(output) = Command::new("ausyscall").args([machine, "--dump"]).output() else {
            println!("skipped: this machine has no ausyscall");
            return;
        };
        let text = String::from_utf8(output.stdout).expect("text");
        let rows: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once('\t'))
            .filter_map(|(number, name)| Some((number.parse::<u32>().ok()?, name)))
            .collect();
        assert!(rows.len() > 300, "{text}");
        for (number, name) in rows {
            let found = Table::get()
                .calls()
                .iter()
                .find(|call| number_of(call.name, abi) == Some(number))
                .map(|call| call.name);
            // The kernel's headers and ausyscall have different names for these.
            let name = match name {
                "pread" => "pread64",
                "pwrite" => "pwrite64",
                "sys_kexec_load" => "kexec_load",
                "sched_rr_get_interval64" => "sched_rr_get_interval_time64",
                name => name,
            };
            assert_eq!(found, Some(name), "{abi} {number}");
        }
    }
}

#[test]
fn arguments_are_as_many_as_the_kernel_traces() {
    let events = Path::new("/sys/kernel/tracing/events/syscalls");
    let Ok(entries) = fs::read_dir(events) else {
        println!("skipped: this machine has no tracefs that this user can read");
        return;
    };
    let mut compared = 0;
    for entry in entries.filter_map(Result::ok) {
        let file = entry.file_name();
        let Some(name) = file.to_str().and_then(|name| name.strip_prefix("sys_enter_")) else {
            continue;
        };
        // A few events have another name, such as newfstat for fstat.
        let call = Table::get().named(name).and_then(|call| call.on(Abi::X86_64));
        let Some(arguments) = call.and_then(|on| on.arguments.as_ref()) else { continue };
        let format = fs::read_to_string(entry.path().join("format")).expect("a format");
        let fields = format.lines().filter_map(|line| line.trim().strip_prefix("field:"));
        let own = fields.filter(|field| {
            let is_copy = field.starts_with("__data_loc");
            !is_copy && !field.contains(" common_") && !field.contains(" __syscall_nr;")
        });
        let traced = own.count();
        assert_eq!(arguments.len(), traced, "{name}");
        compared += 1;
    }
    assert!(compared > 300, "{compared}");
}
