//! Reads the opcodes of io_uring from the types of the running kernel: `enum io_uring_op`
//! (include/uapi/linux/io_uring.h).

use std::{collections::BTreeMap, fs};

use anyhow::{Context, Result, ensure};

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Reads the opcodes and their names.
pub(super) fn read() -> Result<String> {
    let types = fs::read(TYPES).context(TYPES)?;
    let release = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let version = release.split(['-', '\n']).next().unwrap_or_default();
    let mut text = format!("# types of Linux {version}\n");
    for (opcode, name) in opcodes(&types)? {
        text += &format!("{opcode} {name}\n");
    }
    Ok(text)
}

/// Returns the enumerators of `enum io_uring_op`, without `IORING_OP_`, by value.
fn opcodes(types: &[u8]) -> Result<BTreeMap<u32, String>> {
    let all = enumerators(types, "io_uring_op").context("the types have no enum io_uring_op")?;
    let mut opcodes = BTreeMap::new();
    for (name, opcode) in all {
        let name = name.strip_prefix("IORING_OP_").context("an opcode has no prefix IORING_OP_")?;
        if name != "LAST" {
            opcodes.insert(opcode, name.to_owned());
        }
    }
    ensure!(opcodes.keys().copied().eq(0..opcodes.len() as u32), "the opcodes have gaps");
    Ok(opcodes)
}

/// Returns the enumerators of an enum in BTF (Documentation/bpf/btf.rst).
fn enumerators(btf: &[u8], wanted: &str) -> Option<Vec<(String, u32)>> {
    const MAGIC: u32 = 0xeb9f;
    const ENUM: u32 = 6;
    let word = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(btf.get(at..at + 4)?.try_into().ok()?))
    };
    if word(0)? & 0xffff != MAGIC {
        return None;
    }
    let header = word(4)? as usize;
    let (first, end) = (header + word(8)? as usize, header + (word(8)? + word(12)?) as usize);
    let strings = header + word(16)? as usize;
    let name = |offset: u32| -> Option<String> {
        let text = btf.get(strings + offset as usize..)?;
        let end = text.iter().position(|&byte| byte == 0)?;
        String::from_utf8(text[..end].to_vec()).ok()
    };
    let mut at = first;
    while at < end {
        let (info, body) = (word(at + 4)?, at + 12);
        let (kind, members) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        if kind == ENUM && name(word(at)?)? == wanted {
            let enumerator = |n: usize| {
                let at = body + 8 * n;
                Some((name(word(at)?)?, word(at + 4)?))
            };
            return (0..members).map(enumerator).collect();
        }
        at = body
            + match kind {
                // An integer, a variable, a declaration tag.
                1 | 14 | 17 => 4,
                3 => 12,
                // A structure, a union, a section, a 64-bit enum.
                4 | 5 | 15 | 19 => 12 * members,
                // A prototype.
                ENUM | 13 => 8 * members,
                _ => 0,
            };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns BTF with an integer, and with an enum of two enumerators.
    fn types() -> Vec<u8> {
        let strings = b"\0int\0io_uring_op\0IORING_OP_NOP\0IORING_OP_LAST\0";
        let at = |name: &str| {
            let found = strings.windows(name.len()).position(|part| part == name.as_bytes());
            found.expect("a string") as u32
        };
        let integer = [at("int"), 1 << 24, 4, 32];
        let opcodes = [at("io_uring_op"), 6 << 24 | 2, 4, at("IORING_OP_NOP"), 0];
        let last = [at("IORING_OP_LAST"), 1];
        let words: Vec<u32> = integer.into_iter().chain(opcodes).chain(last).collect();
        let length = 4 * words.len() as u32;
        let header = [0x0001_eb9f, 24, 0, length, length, strings.len() as u32];
        let bytes = header.into_iter().chain(words).flat_map(u32::to_le_bytes);
        bytes.chain(strings.iter().copied()).collect()
    }

    #[test]
    fn opcodes_are_the_enumerators_before_the_last() {
        let found = opcodes(&types()).expect("opcodes");
        assert_eq!(found, BTreeMap::from([(0, "NOP".to_owned())]));
        assert!(opcodes(b"").is_err());
    }
}
