//! Reads names and types of arguments from the formats in tracefs.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{signature, type_and_name};

const EVENTS: &str = "/sys/kernel/tracing/events/syscalls";

/// The offset of the first argument in a record, behind the common fields and the number
/// (`struct syscall_trace_enter`, kernel/trace/trace.h).
const FIRST_ARGUMENT: u32 = 16;

/// Reads `events/syscalls/sys_enter_*/format`.
pub(super) fn read() -> Result<String> {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = release.trim().split(['-', '+']).next().unwrap_or_default();
    let mut lines = Vec::new();
    for entry in fs::read_dir(EVENTS)
        .with_context(|| format!("cannot read {EVENTS}: is tracefs mounted?"))?
    {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(call) = name.strip_prefix("sys_enter_") {
            lines.push(signature(&format!("sys_{call}"), &arguments(&path.join("format"))?));
        }
    }
    lines.sort();
    Ok(format!("# tracefs of Linux {version}\n{}\n", lines.join("\n")))
}

fn arguments(format: &Path) -> Result<Vec<(String, String)>> {
    let text = fs::read_to_string(format).with_context(|| format.display().to_string())?;
    let fields = text.lines().filter_map(|line| line.trim().strip_prefix("field:"));
    let mut arguments = Vec::new();
    for field in fields {
        let mut parts = field.split(';').map(str::trim);
        let declaration = parts.next().unwrap_or_default();
        let offset = parts.next().and_then(|part| part.strip_prefix("offset:"));
        let offset: u32 = offset.context("a field has no offset")?.parse()?;
        // Newer kernels append copies of strings and buffers, which are not arguments.
        let is_copy = declaration.starts_with("__data_loc");
        if offset >= FIRST_ARGUMENT && !is_copy {
            arguments.push(type_and_name(declaration));
        }
    }
    Ok(arguments)
}
