//! Names of the operations of io_uring, from a generated table.

use std::{borrow::Cow, sync::LazyLock};

/// `enum io_uring_op` (include/uapi/linux/io_uring.h) without `IORING_OP_`, a name per line.
/// `cargo xtask syscalls --generate` writes the table.
const TABLE: &str = include_str!("operations.tsv");

/// The names by opcode.
static NAMES: LazyLock<Vec<&str>> =
    LazyLock::new(|| TABLE.lines().filter(|line| !line.starts_with('#')).collect());

/// The name for completions whose opcode is unknown.
pub const UNKNOWN: &str = "unknown";

/// The name of an opcode: `READ`, or `op 99` if the table lacks it.
pub fn name(opcode: Option<u8>) -> Cow<'static, str> {
    match opcode {
        None => Cow::Borrowed(UNKNOWN),
        Some(opcode) => NAMES
            .get(usize::from(opcode))
            .map_or_else(|| format!("op {opcode}").into(), |&name| Cow::Borrowed(name)),
    }
}

/// The opcodes with a name.
pub fn opcodes() -> impl Iterator<Item = u8> {
    (0..).take(NAMES.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_opcode_has_a_name() {
        assert_eq!(name(Some(0)), "NOP");
        assert_eq!(name(Some(22)), "READ");
        assert_eq!(name(Some(64)), "URING_CMD128");
        assert_eq!(name(Some(200)), "op 200");
        assert_eq!(name(None), "unknown");
    }
}
