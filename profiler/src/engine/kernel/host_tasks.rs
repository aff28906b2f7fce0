//! How many tasks the host has.

use std::fs;

use nix::sys::sysinfo::sysinfo;

/// Tasks that may start between the count and the use of what is made for them.
pub(super) const HEADROOM: u32 = 1_024;

/// Counts the tasks of the host, and adds [`HEADROOM`].
pub(super) fn count() -> u32 {
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    // A hardened service cannot see that file (ProcSubset=pid). sysinfo(2) has the number too, in
    // 16 bits (do_sysinfo, kernel/sys.c).
    let of_sysinfo = || sysinfo().map_or(0, |info| info.process_count().into());
    parse_loadavg(&load).unwrap_or_else(of_sysinfo).saturating_add(HEADROOM)
}

/// The number of tasks in `0.00 0.01 0.05 2/345 6789` (fs/proc/loadavg.c).
fn parse_loadavg(loadavg: &str) -> Option<u32> {
    loadavg.split_whitespace().nth(3)?.split_once('/')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_are_counted_by_the_load() {
        assert_eq!(parse_loadavg("0.00 0.01 0.05 2/345 6789\n"), Some(345));
        assert_eq!(parse_loadavg("0.00 0.01 0.05"), None);
        assert_eq!(parse_loadavg("0.00 0.01 0.05 2 6789"), None);
    }
}
