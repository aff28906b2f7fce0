//! The calls in which threads are, from `/proc`.
//!
//! Their arguments are read while the calls run. The programs in the kernel read those of all other
//! calls when the calls enter.

use std::{
    fs,
    io::Read as _,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use profiler_common::{
    call::{Abi, CallKey},
    trace::{AT_ENTRY, Capture, From, Kind, Plan},
};

use crate::{
    model::{Call, Copied, Event, Happened, Part},
    text::Untrusted,
};

/// The calls in flight of all threads of these processes. `plan` says what to copy of a call, and
/// `string_limit` how many bytes of text and buffers.
///
/// A thread that runs, or whose call cannot be read, has none.
pub fn calls_in_flight(
    pids: &[u32],
    plan: impl Fn(CallKey) -> Plan,
    string_limit: u32,
) -> Vec<(CallKey, Event)> {
    let copy = |pid: u32, key: CallKey, args: &[u64; 6]| {
        let memory = fs::File::open(format!("/proc/{pid}/mem"));
        memory.map_or_else(|_| Vec::new(), |memory| copy(&memory, &plan(key), args, string_limit))
    };
    let mut calls: Vec<_> = pids.iter().flat_map(|&pid| of_process(pid, &copy)).collect();
    calls.sort_by_key(|(_, event)| event.tid);
    calls
}

fn of_process(
    pid: u32,
    copy: &impl Fn(u32, CallKey, &[u64; 6]) -> Vec<Part>,
) -> Vec<(CallKey, Event)> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let abi = abi_of(&process.join("exe"));
    let threads = fs::read_dir(process.join("task")).into_iter().flatten().flatten();
    let event = |thread: fs::DirEntry| {
        let tid = thread.file_name().to_str()?.parse().ok()?;
        let Task::InCall(key, args) = parse(&read(&thread.path().join("syscall"))?, abi)? else {
            return None;
        };
        let parts = copy(pid, key, &args);
        let comm = fs::read(thread.path().join("comm")).unwrap_or_default();
        let comm = Untrusted::from_bytes(comm.trim_ascii_end());
        let happened = Happened::Call(call(key, args, parts));
        Some((key, Event { tid, tgid: pid, comm, dropped: 0, happened }))
    };
    threads.filter_map(event).collect()
}

/// A call in flight whose entry was not seen.
pub(super) fn call(key: CallKey, args: [u64; 6], parts: Vec<Part>) -> Call {
    let (entry_ns, left, thread_ended_ns, is_denied) = (None, None, None, false);
    Call { key, args, entry_ns, left, thread_ended_ns, is_denied, is_cut: false, parts }
}

/// The name of an open file, as a part of a call.
pub(super) fn file_part(capture: usize, name: Vec<u8>) -> Part {
    let wanted = u64::try_from(name.len()).unwrap_or(u64::MAX);
    Part { capture, index: 0, copied: Copied::Bytes(name), wanted }
}

/// Copies what the plan has at the entry, but for arrays of pointers and for open files.
pub(super) fn copy(
    memory: &fs::File,
    plan: &Plan,
    args: &[u64; 6],
    string_limit: u32,
) -> Vec<Part> {
    let wanted = |of: &Capture| {
        let count = match of.from {
            from if from == From::One as u8 => 1,
            from if from == From::Argument as u8 => *args.get(usize::from(of.from_arg))?,
            from if from == From::IntArgument as u8 => {
                *args.get(usize::from(of.from_arg))? & 0xffff_ffff
            }
            _ => return None,
        };
        count.checked_mul(of.size.into())
    };
    let is_text = |of: &Capture| of.kind == Kind::Text as u8;
    let part = |(capture, of): (usize, &Capture)| {
        let is_simple = is_text(of) || of.kind == Kind::Bytes as u8;
        let address = *args.get(usize::from(of.arg))?;
        if of.when & AT_ENTRY == 0 || !is_simple || address == 0 {
            return None;
        }
        let limit = if of.limit == 0 { string_limit.into() } else { u64::from(of.limit) };
        let wanted = if is_text(of) { limit + 1 } else { wanted(of)? };
        let mut bytes = vec![0; usize::try_from(wanted.min(limit + 1)).ok()?];
        // The memory may end within the text.
        let read = memory.read_at(&mut bytes, address).unwrap_or(0);
        bytes.truncate(read);
        let copied = match read {
            0 => Copied::Fault,
            _ if is_text(of) => {
                let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(read);
                let wanted = u64::try_from(end).ok()?;
                bytes.truncate(end.min(usize::try_from(limit).ok()?));
                return Some(Part { capture, index: 0, copied: Copied::Bytes(bytes), wanted });
            }
            _ => {
                bytes.truncate(usize::try_from(limit).ok()?);
                Copied::Bytes(bytes)
            }
        };
        Some(Part { capture, index: 0, copied, wanted })
    };
    plan.iter().enumerate().filter_map(part).collect()
}

/// Bytes of `/proc/PID/syscall` at most: nine numbers.
const MOST_BYTES: u64 = 256;

fn read(path: &Path) -> Option<String> {
    let mut text = String::new();
    fs::File::open(path).ok()?.take(MOST_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// Where a thread is, as /proc/PID/syscall says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// In a call with these arguments.
    InCall(CallKey, [u64; 6]),
    /// It runs, or is ready to run.
    Running,
    /// It is blocked outside of calls.
    Blocked,
}

/// Parses `/proc/PID/syscall` (proc_pid_syscall(5)): the number, six arguments, the stack pointer and
/// the program counter; or `running`; or -1 for a thread that is blocked outside of calls. `None` if
/// the text is malformed.
pub fn parse(text: &str, abi: Abi) -> Option<Task> {
    let mut words = text.split_whitespace();
    let number: u32 = match words.next()? {
        "running" => return Some(Task::Running),
        "-1" => return Some(Task::Blocked),
        number => number.parse().ok()?,
    };
    let mut args = [0; 6];
    for arg in &mut args {
        *arg = u64::from_str_radix(words.next()?.strip_prefix("0x")?, 16).ok()?;
    }
    let key = match abi {
        Abi::I386 => CallKey::of(abi, number),
        _ => CallKey::new(number.into(), false),
    };
    Some(Task::InCall(key, args))
}

/// The ABI of a process, from its executable. A 64-bit program that makes a 32-bit call by
/// `int 0x80` is not recognised.
pub(super) fn abi_of(executable: &Path) -> Abi {
    let mut start = [0_u8; 5];
    let read = fs::File::open(executable).and_then(|mut file| file.read_exact(&mut start));
    // `EI_CLASS` of elf(5): 1 is 32 bits.
    if read.is_ok() && start == *b"\x7fELF\x01" { Abi::I386 } else { Abi::X86_64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_its_number_and_arguments() {
        let line = "202 0x7f1 0x80 0x0 0x0 0x0 0xffffffff 0x7ffd0 0x7f2\n";
        let args = [0x7f1, 0x80, 0, 0, 0, 0xffff_ffff];
        for abi in [Abi::X86_64, Abi::I386] {
            assert_eq!(parse(line, abi), Some(Task::InCall(CallKey::of(abi, 202), args)));
        }
    }

    #[test]
    fn other_texts_are_no_call() {
        for text in ["", "1 0x1 0x2\n", "1 a b c d e f g h\n", "-2 0x1\n"] {
            assert_eq!(parse(text, Abi::X86_64), None, "{text:?}");
        }
        assert_eq!(parse("running\n", Abi::X86_64), Some(Task::Running));
        assert_eq!(parse("-1 0x7ffd0 0x7f2\n", Abi::X86_64), Some(Task::Blocked));
    }

    /// A thread waits in nanosleep(2), with a time that is known.
    #[test]
    fn the_threads_of_a_process_are_found_with_what_they_passed() {
        let nanosleep = crate::names::table::Table::get();
        let nanosleep = nanosleep.named("nanosleep").and_then(|call| call.on(Abi::X86_64));
        let nr = nanosleep.expect("a call of x86_64").number;
        let time = libc::timespec { tv_sec: 3_000, tv_nsec: 77 };
        let address = (&raw const time) as u64;
        let plan = crate::decode::plan(CallKey::of(Abi::X86_64, nr));
        let memory = fs::File::open("/proc/self/mem").expect("own memory");
        let parts = copy(&memory, &plan, &[address, 0, 0, 0, 0, 0], 32);
        let bytes = [3_000_u64.to_ne_bytes(), 77_u64.to_ne_bytes()].concat();
        assert_eq!(parts[0].copied, Copied::Bytes(bytes));
        // One byte of text more than the limit is there.
        let path = c"/some/path";
        let open = crate::decode::plan(CallKey::of(Abi::X86_64, 2));
        let parts = copy(&memory, &open, &[path.as_ptr() as u64, 0, 0, 0, 0, 0], 32);
        assert_eq!(parts[0].copied, Copied::Bytes(path.to_bytes().to_vec()));
        assert_eq!(parts[0].wanted, 10);

        let own = std::process::id();
        let (send, wait) = std::sync::mpsc::channel::<()>();
        let waiting = std::thread::spawn(move || wait.recv());
        let calls = || calls_in_flight(&[own], crate::decode::plan, 32);
        while !calls().iter().any(|(key, _)| key.nr() == FUTEX) {
            std::thread::yield_now();
        }
        drop(send);
        assert!(waiting.join().expect("no panic").is_err());
        assert!(calls_in_flight(&[u32::MAX], crate::decode::plan, 32).is_empty());
    }

    const FUTEX: u32 = 202;
}
