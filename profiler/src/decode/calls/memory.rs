//! Calls on mappings.

use profiler_common::trace::AT_ENTRY;

use super::{set, truncate};
use crate::decode::{Argument, Decoded, Known, Value, context::Context, kinds};

/// The offset is in bytes.
pub(super) fn mmap(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 5, Value::Hex(context.arg(5)));
}

/// The offset is in pages of 4096 bytes.
pub(super) fn mmap2(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 5, Value::Hex(context.arg(5).wrapping_mul(4096)));
}

/// The arguments are in memory.
pub(super) fn old_mmap(context: &Context<'_>, decoded: &mut Decoded) {
    let Some(bytes) = context.memory(0, AT_ENTRY, 24).bytes().filter(|bytes| bytes.len() >= 24)
    else {
        set(decoded, 0, kinds::address(context.arg(0)));
        return;
    };
    let args: Vec<_> = bytes.chunks_exact(4).filter_map(|word| kinds::number(word, 4)).collect();
    let fd = i64::from(kinds::low(args[4]).cast_signed());
    let values = [
        ("addr", kinds::address(args[0])),
        ("len", Value::Unsigned(args[1])),
        ("prot", kinds::flags("protection", args[2])),
        ("flags", kinds::flags("map_flags", args[3])),
        ("fd", Value::File { number: fd, name: None }),
        ("off", Value::Hex(args[5])),
    ];
    let known = Known::AtEntry;
    let argument = |(name, value)| Argument { name, label: None, value, known };
    decoded.arguments = values.into_iter().map(argument).collect();
}

/// The new address exists only with `MREMAP_FIXED` or `MREMAP_DONTUNMAP`.
pub(super) fn mremap(context: &Context<'_>, decoded: &mut Decoded) {
    if context.uint(3) & 6 == 0 {
        truncate(decoded, 4);
    }
}
