//! Sizes in files of /proc that have a line for each field, as `VmRSS:     1024 kB`.

use std::{fs, path::Path};

const KIB: u64 = 1024;

/// Reads sizes in bytes, in the order of `names`. `None` where the file or the field is
/// missing.
pub(crate) fn sizes<const N: usize>(path: impl AsRef<Path>, names: [&str; N]) -> [Option<u64>; N] {
    let text = fs::read_to_string(path).unwrap_or_default();
    names.map(|name| size(&text, name))
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
