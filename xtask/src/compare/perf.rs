//! Parses the output of `perf stat -x ,`.

use anyhow::{Context as _, Result};

/// The name of the executable.
pub(super) const NAME: &str = "perf";

/// The event: an entry of any syscall, with any ABI.
pub(super) const EVENT: &str = "raw_syscalls:sys_enter";

/// Returns the number of entries, which is the first field of the event's line.
///
/// # Errors
/// If there is no number, for example because perf printed `<not counted>` or `<not supported>`.
pub(super) fn entries(text: &str) -> Result<u64> {
    let line = text.lines().find(|line| line.split(',').any(|field| field == EVENT));
    let count = line.and_then(|line| line.split(',').next()?.parse().ok());
    count.with_context(|| format!("perf counted no {EVENT}: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_count_is_the_first_field() {
        let text = "# started on Fri\n\n9904,,raw_syscalls:sys_enter,101893350,100.00,,\n";
        assert_eq!(entries(text).expect("a count"), 9904);
        assert!(entries("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n").is_err());
        assert!(entries("").is_err());
    }
}
