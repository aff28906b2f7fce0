//! Calls on mappings.

use profiler_common::trace::AT_ENTRY;

use super::{set, truncate};
use crate::decode::{
    Argument, Decoded, Known, Value,
    context::Context,
    kinds,
    signature::{Count, word},
};

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

/// A policy is a number with flags (`MPOL_MODE_FLAGS`, linux/mempolicy.h).
const POLICY_FLAGS: [(u32, &str); 3] = [
    (0x8000, "MPOL_F_STATIC_NODES"),
    (0x4000, "MPOL_F_RELATIVE_NODES"),
    (0x2000, "MPOL_F_NUMA_BALANCING"),
];

fn policy(number: u32) -> Value {
    const ALL: u32 = 0xe000;
    let mode = number & !ALL;
    let mut names: Vec<std::borrow::Cow<'static, str>> = Vec::new();
    let name = match kinds::name("memory_policy", u64::from(mode)) {
        Value::Name { name, .. } => name,
        _ => None,
    };
    if number & ALL == 0 {
        return Value::Name { name, number: u64::from(mode), prefix: "MPOL_" };
    }
    let rest = if name.is_some() { 0 } else { u64::from(mode) };
    names.extend(name);
    let flags = POLICY_FLAGS.into_iter().filter(|(bit, _)| number & bit != 0);
    names.extend(flags.map(|(_, name)| name.into()));
    Value::Flags { names, rest, prefix: "MPOL_" }
}

/// The nodes of a policy: an array of words with a bit for each node. Argument `at` is their
/// address, argument `count` the number of bits and one more.
fn nodes(context: &Context<'_>, at: usize, count: usize) -> Value {
    let pointer = context.arg(at);
    let width = word(context.abi);
    let bits = u64::try_from(8 * width).unwrap_or(64);
    let most = context.arg(count);
    let words = most.wrapping_add(bits - 2) / bits;
    if pointer == 0 || words < most / bits || most != 0 && words == 0 {
        return kinds::address(pointer);
    }
    if words == 0 {
        return Value::Array { items: Vec::new(), is_cut: false };
    }
    let Some(bytes) = context.memory(at, AT_ENTRY, usize::MAX).bytes() else {
        return kinds::address(pointer);
    };
    let item = |bytes: &[u8]| {
        let number = kinds::number(bytes, width).unwrap_or(0);
        Value::Macro(if number == 0 {
            "0".repeat(2 * width).into()
        } else {
            format!("0x{number:0digits$x}", digits = 2 * width).into()
        })
    };
    kinds::array(context, (pointer, bytes), width, words, Count::Argument(0), item)
}

pub(super) fn set_mempolicy(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 0, policy(context.uint(0)));
    set(decoded, 1, nodes(context, 1, 2));
}

pub(super) fn mbind(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 2, policy(context.uint(2)));
    set(decoded, 3, nodes(context, 3, 4));
}

pub(super) fn migrate_pages(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 2, nodes(context, 2, 1));
    set(decoded, 3, nodes(context, 3, 1));
}
