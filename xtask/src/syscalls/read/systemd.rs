//! Reads the groups of syscalls that systemd has for `SystemCallFilter=`.

use std::{collections::BTreeMap, process::Command};

use anyhow::{Context, Result};

use crate::workspace::output;

/// Reads the output of `systemd-analyze syscall-filter`.
pub(super) fn read() -> Result<String> {
    let version = output(Command::new("systemd-analyze").arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("systemd printed no version")?;
    let listed = output(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"]))?;
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut group = None;
    for line in listed.lines() {
        // The last part, behind `#`, lists calls of the running kernel that are in no group.
        let is_member = line.starts_with(' ');
        let line = line.trim();
        if line.starts_with('@') && !is_member {
            group = Some(line);
        } else if line.starts_with('#') || line.is_empty() {
            group = group.filter(|_| is_member);
        } else if let Some(group) = group {
            groups.entry(group).or_default().push(line);
        }
    }
    // This group has every call that systemd knows.
    groups.remove("@known");
    let lines: Vec<_> =
        groups.iter().map(|(group, members)| format!("{group}: {}", members.join(" "))).collect();
    Ok(format!("# systemd {version}\n{}\n", lines.join("\n")))
}
