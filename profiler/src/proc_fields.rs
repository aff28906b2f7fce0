//! Reads fields of files in /proc: of files with a line per field, such as `VmRSS: 1024 kB`, and of
//! /proc/PID/stat.

use std::{fs, path::Path, str::FromStr};

const KIB: u64 = 1024;

/// Nanoseconds in a tick of /proc/PID/stat: USER_HZ is 100 on x86 (include/asm-generic/param.h).
pub(crate) const TICK_NS: u64 = 10_000_000;

/// Reads sizes in bytes, in the order of `names`. `None` if the file or the field is missing.
pub(crate) fn sizes<const N: usize>(path: impl AsRef<Path>, names: [&str; N]) -> [Option<u64>; N] {
    let text = fs::read_to_string(path).unwrap_or_default();
    names.map(|name| size(&text, name))
}

/// The real user id of the process `tgid` that started at `start_ns`, nanoseconds since boot.
/// `None` if the process has ended, or if another process has its id in `proc`, for example in a
/// pid namespace.
pub(crate) fn real_uid(proc: &Path, tgid: u32, start_ns: u64) -> Option<u32> {
    let directory = proc.join(tgid.to_string());
    let status = fs::read(directory.join("status")).ok()?;
    let uid = uid_in(&status)?;
    // Read the start time last. If it matches, the fields read before belong to this process too.
    let stat = fs::read(directory.join("stat")).ok()?;
    let start = start_ticks(&stat)?;
    (start == start_ns / TICK_NS).then_some(uid)
}

/// The first id of the line `Uid:` of /proc/PID/status.
fn uid_in(status: &[u8]) -> Option<u32> {
    let ids = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"Uid:"))?;
    number(ids, 0)
}

/// The start of a process, in ticks since boot: the field 22 of /proc/PID/stat. The second field
/// is the name, which may contain anything.
pub(crate) fn start_ticks(stat: &[u8]) -> Option<u64> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    number(&stat[end_of_name + 1..], 22 - 3)
}

/// The state of a task: the field 3 of /proc/PID/stat, such as `b'Z'` for a zombie.
pub(crate) fn state(stat: &[u8]) -> Option<u8> {
    let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
    stat.get(end_of_name + 2).copied()
}

/// A number in a line of words, the first word being 0.
fn number<T: FromStr>(line: &[u8], at: usize) -> Option<T> {
    str::from_utf8(line).ok()?.split_whitespace().nth(at)?.parse().ok()
}

fn size(text: &str, name: &str) -> Option<u64> {
    let of_name = |line: &'_ str| -> Option<u64> {
        let value = line.strip_prefix(name)?.strip_prefix(':')?.trim().strip_suffix("kB")?;
        value.trim_end().parse().ok()
    };
    text.lines().find_map(of_name)?.checked_mul(KIB)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_and_the_real_user_are_found() {
        assert_eq!(uid_in(b"Name:\tUid: 1\nUid:\t33\t0\t0\t0\n"), Some(33));
        assert_eq!(uid_in(b"Name:\tx\n"), None);
        let stat = b"7 (a) S 1 (b)) S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20\n";
        assert_eq!(start_ticks(stat), Some(4242));
        assert_eq!(start_ticks(b"7 (a) S 1"), None);
        assert_eq!((state(stat), state(b"7 (a)")), (Some(b'S'), None));
        let own = fs::read("/proc/self/stat").expect("/proc");
        let start_ns = start_ticks(&own).expect("a start") * TICK_NS + 1;
        let pid = std::process::id();
        let uid = nix::unistd::getuid().as_raw();
        assert_eq!(real_uid("/proc".as_ref(), pid, start_ns), Some(uid));
        assert_eq!(real_uid("/proc".as_ref(), pid, start_ns + TICK_NS), None);
    }

    #[test]
    fn a_size_is_found_by_its_whole_name() {
        let text = "Name:\tVmRSS: 5 kB\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\nThreads:\t3\n";
        assert_eq!(size(text, "VmRSS"), Some(1 << 20));
        assert_eq!(size(text, "VmHWM"), Some(2 << 20));
        assert_eq!(size(text, "Vm"), None);
        assert_eq!(size(text, "Threads"), None, "no size");
        assert_eq!(sizes("/no/such/file", ["VmRSS"]), [None]);
        assert!(sizes("/proc/self/status", ["VmRSS"])[0].is_some_and(|bytes| bytes > 0));
    }
}
