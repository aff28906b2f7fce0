//! The value of an argument, by its kind.

use profiler_common::{
    call::Abi,
    trace::{AT_ENTRY, AT_FAILURE, AT_SUCCESS, PART_BYTES},
};

pub(super) use super::scalars::{scalar, signal_set};
use super::{
    Decoded, Known, Outcome, Value, constants,
    context::{Context, Memory},
    signature::{Count, Direction, Kind, Of, Scalar, word},
    structs,
    value::Field,
};
use crate::names::syscalls;

/// The lower half of a register.
#[expect(clippy::cast_possible_truncation, reason = "the kernel ignores the upper half as well")]
pub(super) fn low(number: u64) -> u32 {
    number as u32
}

/// A number of so many bytes, with its sign.
pub(super) fn signed(number: u64, bytes: usize) -> i64 {
    let shift = 64 - 8 * bytes.clamp(1, 8);
    (number << shift).cast_signed() >> shift
}

/// The number at the beginning of `bytes`; little endian.
pub(super) fn number(bytes: &[u8], width: usize) -> Option<u64> {
    let bytes = bytes.get(..width.min(8))?;
    Some(bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte)))
}

/// A pointer.
pub(super) fn address(address: u64) -> Value {
    if address == 0 { Value::Null } else { Value::Address(address) }
}

/// A named number; the number itself if the set is unknown.
pub(super) fn name(set: &str, number: u64) -> Value {
    match constants::find(set) {
        Some(set) => set.one(number),
        None => Value::Hex(number),
    }
}

/// Flags; the number itself if the set is unknown.
pub(super) fn flags(set: &str, number: u64) -> Value {
    match constants::find(set) {
        Some(set) => set.flags(number),
        None => Value::Hex(number),
    }
}

/// How many elements there are.
fn count(context: &Context<'_>, count: Count) -> u64 {
    match count {
        Count::Argument(index) if context.is_int(index) => {
            u64::from(context.uint(usize::from(index)))
        }
        Count::Argument(index) => context.arg(usize::from(index)),
        Count::Fixed(number) => u64::from(number),
        Count::Result => {
            context.success().and_then(|result| u64::try_from(result).ok()).unwrap_or(0)
        }
        Count::Pages => context.arg(1).div_ceil(4096),
        Count::Pointee(index) => {
            let at = usize::from(index);
            let before = context.entry(at).bytes().and_then(|bytes| number(bytes, 4));
            let after = context.exit(at).bytes().and_then(|bytes| number(bytes, 4));
            match (before, after) {
                (Some(before), Some(after)) => before.min(after),
                (before, after) => before.or(after).unwrap_or(0),
            }
        }
    }
}

/// The value of an argument, and when it is known. `None` if it is not shown.
pub(super) fn argument(context: &Context<'_>, kind: &Kind, at: usize) -> Option<(Value, Known)> {
    let number = context.arg(at);
    let value = match kind.of {
        Of::Skip => return None,
        Of::Scalar(Scalar::Fd | Scalar::DirFd) => {
            match self::scalar_of(kind, number, context.abi) {
                Value::File { number, .. } => Value::File { number, name: context.file(Some(at)) },
                other => other,
            }
        }
        Of::Scalar(scalar) if scalar == Scalar::Offset && context.abi == Abi::I386 => {
            Value::Signed(pair(context, at).cast_signed())
        }
        Of::Scalar(_) => self::scalar_of(kind, number, context.abi),
        Of::OffsetPair => Value::Signed(
            if context.abi == Abi::I386 { pair(context, at) } else { number }.cast_signed(),
        ),
        Of::OffsetHighLow => {
            Value::Signed((context.arg(at) << 32 | context.arg(at + 1)).cast_signed())
        }
        Of::OffsetFlags(set) => {
            flags(set, if context.abi == Abi::I386 { pair(context, at) } else { number })
        }
        _ => return Some(memory(context, kind, at)),
    };
    Some((value, Known::AtEntry))
}

fn scalar_of(kind: &Kind, number: u64, abi: Abi) -> Value {
    match kind.of {
        Of::Scalar(of) => scalar(of, number, abi),
        _ => Value::Hex(number),
    }
}

/// 64 bits in two registers, the lower half first.
fn pair(context: &Context<'_>, at: usize) -> u64 {
    context.arg(at + 1) << 32 | context.arg(at) & 0xffff_ffff
}

fn memory(context: &Context<'_>, kind: &Kind, at: usize) -> (Value, Known) {
    let pointed = address(context.arg(at));
    let decode = |when| pointee(context, &kind.of, at, when);
    match kind.direction {
        Direction::In => (decode(AT_ENTRY), Known::AtEntry),
        Direction::Out if context.success().is_some() => (decode(AT_SUCCESS), Known::AtExit),
        // The time that was left is written if a signal interrupted the call.
        Direction::Failure if matches!(context.result(), Some(-4 | -516..=-512)) => {
            (decode(AT_FAILURE), Known::AtExit)
        }
        Direction::Out => match kind.of {
            Of::Vectors(count) if context.result().is_some() => {
                (pointee(context, &Of::Addresses(count), at, AT_FAILURE), Known::AtExit)
            }
            _ => (pointed, Known::AtExit),
        },
        Direction::Failure => (pointed, Known::AtExit),
        Direction::Both => (changed(context, kind, at), Known::AtExit),
    }
}

/// A value before and after the call.
fn changed(context: &Context<'_>, kind: &Kind, at: usize) -> Value {
    // Without an address, the kernel does not read its length.
    let is_length = matches!(kind.of, Of::Pointee(Scalar::Int));
    let is_option = syscalls::known(context.call.key) == Some("getsockopt");
    if is_length && !is_option && at > 0 && context.arg(at - 1) == 0 {
        return address(context.arg(at));
    }
    let before = pointee(context, &kind.of, at, AT_ENTRY);
    if context.success().is_none() {
        return before;
    }
    let after = pointee(context, &kind.of, at, AT_SUCCESS);
    match (before, after) {
        (before, after) if before == after => before,
        (Value::Array { items: mut old, .. }, Value::Array { items: mut new, .. })
            if is_length && old.len() == 1 && new.len() == 1 =>
        {
            let changed = Value::Changed(Box::new(old.remove(0)), Box::new(new.remove(0)));
            Value::Array { items: vec![changed], is_cut: false }
        }
        (before, Value::Null | Value::Address(_) | Value::Fault(_)) => before,
        // The kernel adds to what it read.
        (_, after) if matches!(kind.of, Of::Struct("io_uring_params", _)) => after,
        (before, after) => Value::Changed(Box::new(before), Box::new(after)),
    }
}

/// What an argument points to.
pub(super) fn pointee(context: &Context<'_>, of: &Of, at: usize, when: u8) -> Value {
    let pointer = context.arg(at);
    if pointer == 0 {
        return Value::Null;
    }
    let limit = context.style.string_limit;
    let abi = context.abi;
    let unread =
        |memory| if memory == Memory::Fault { Value::Fault(pointer) } else { address(pointer) };
    let copied = context.memory(at, when, usize::MAX);
    match *of {
        Of::Environment => return environment(context, at),
        Of::Messages(of) => return super::calls::messages(context, at, when, count(context, of)),
        Of::Bytes(of) if count(context, of) == 0 => {
            return Value::Text { bytes: Vec::new(), is_cut: false };
        }
        Of::Items(_, of) | Of::Structs(_, of) if count(context, of) == 0 => {
            return Value::Array { items: Vec::new(), is_cut: false };
        }
        _ => {}
    }
    let Memory::Bytes(bytes, wanted) = copied else { return unread(copied) };
    match *of {
        Of::Path | Of::Text => {
            let end = bytes.iter().position(|&byte| byte == 0);
            let all = end.map_or(bytes, |end| &bytes[..end]);
            let length = u64::try_from(all.len()).unwrap_or(u64::MAX);
            let shown = if *of == Of::Path { all.len() } else { all.len().min(limit) };
            let is_cut = shown < all.len() || end.is_none() && wanted > length;
            Value::Text { bytes: all[..shown].to_vec(), is_cut }
        }
        Of::Bytes(of) => {
            let all = count(context, of);
            let shown = usize::try_from(all).unwrap_or(usize::MAX).min(limit);
            // Part of the memory could not be read.
            if bytes.len() < shown.min(PART_BYTES - 1) && !context.call.is_cut {
                return address(pointer);
            }
            text(bytes, all, limit)
        }
        Of::Struct(name, size) => {
            let Some(structure) = structs::find(name) else { return address(pointer) };
            let full = (structure.bytes)(abi);
            let there = match size {
                Some(size) => usize::try_from(count(context, size)).unwrap_or(full).min(full),
                None => full,
            };
            let value = match bytes.get(..there) {
                Some(bytes) if there > 0 => (structure.decode)(bytes, abi, context.style),
                _ => return address(pointer),
            };
            match value {
                Value::Struct { fields, .. } if fields.is_empty() => address(pointer),
                Value::Struct { fields, is_cut } => match size {
                    Some(of) => with_tail(
                        fields,
                        is_cut,
                        name,
                        &bytes[there..],
                        count(context, of) - there as u64,
                    ),
                    None => Value::Struct { fields, is_cut },
                },
                value => value,
            }
        }
        Of::Structs(name, of) | Of::StructItems(name, of) => {
            let Some(structure) = structs::find(name) else { return address(pointer) };
            let size = (structure.bytes)(abi);
            let decode = |item: &[u8]| (structure.decode)(item, abi, context.style);
            array(context, (pointer, bytes), size, count(context, of), of, decode)
        }
        Of::Pointee(scalar) => match number(bytes, scalar.bytes(abi)) {
            Some(number) => {
                let value = self::scalar(scalar, sign(scalar, number, abi), abi);
                Value::Array { items: vec![value], is_cut: false }
            }
            None => address(pointer),
        },
        Of::Items(scalar, of) => {
            let size = scalar.bytes(abi);
            let decode = |item: &[u8]| {
                let number = number(item, size).unwrap_or(0);
                self::scalar(scalar, sign(scalar, number, abi), abi)
            };
            array(context, (pointer, bytes), size, count(context, of), of, decode)
        }
        Of::Vectors(from) => vectors(context, bytes, at, when, context.arg(usize::from(from))),
        Of::Addresses(from) => {
            let decode = |item: &[u8]| {
                let base = number(item, word(abi)).unwrap_or(0);
                let length = item.get(word(abi)..).and_then(|rest| number(rest, word(abi)));
                vector(address(base), length.unwrap_or(0))
            };
            let all = context.arg(usize::from(from));
            array(context, (pointer, bytes), 2 * word(abi), all, Count::Fixed(0), decode)
        }
        Of::Message => super::calls::message(context, bytes, at, when),
        Of::SignalSetAndSize => set_and_size(context, bytes, at, when),
        Of::Texts => texts(context, (bytes, wanted), at, when),
        Of::SocketAddress(of) => {
            let Some(structure) = structs::find("sockaddr") else { return address(pointer) };
            let there = usize::try_from(count(context, of)).unwrap_or(0).min(bytes.len());
            if there < 2 {
                return address(pointer);
            }
            (structure.decode)(&bytes[..there], abi, context.style)
        }
        Of::SignalSet(of) => {
            let there = usize::try_from(count(context, of)).unwrap_or(0);
            match bytes.get(..there) {
                // The kernel refuses any other size.
                Some(bytes) if there == if matches!(of, Count::Fixed(_)) { 4 } else { 8 } => {
                    signal_set(bytes)
                }
                _ => address(pointer),
            }
        }
        Of::CpuSet(of) => {
            let there = usize::try_from(count(context, of)).unwrap_or(0).min(bytes.len());
            let bits = (0..8 * there).filter(|bit| bytes[bit / 8] >> (bit % 8) & 1 == 1);
            Value::Set {
                members: bits.map(|bit| bit.to_string().into()).collect(),
                is_complement: false,
            }
        }
        Of::Scalar(_)
        | Of::OffsetPair
        | Of::OffsetHighLow
        | Of::OffsetFlags(_)
        | Of::Skip
        | Of::Messages(_)
        | Of::Environment => address(pointer),
    }
}

/// Adds what follows the fields that are known of a structure. The process passed `count` bytes
/// more, of which `tail` was copied.
fn with_tail(mut fields: Vec<Field>, is_cut: bool, name: &str, tail: &[u8], count: u64) -> Value {
    if !structs::EXTENSIBLE.contains(&name) || count == 0 {
        return Value::Struct { fields, is_cut };
    }
    if tail.len() < usize::try_from(count).unwrap_or(usize::MAX).min(structs::TAIL) {
        if name == "landlock_ruleset_attr" {
            return Value::Struct { fields, is_cut: true };
        }
        fields.push(Value::Macro("???".into()).named(""));
    } else if name == "landlock_ruleset_attr" {
        return Value::Struct { fields, is_cut: true };
    } else if tail.iter().any(|&byte| byte != 0) {
        let start = structs::find(name).map_or(0, |found| (found.bytes)(Abi::X86_64));
        let bytes = Value::HexText { bytes: tail.to_vec(), is_cut: false };
        let text = format!("/* bytes {start}..{} */ {bytes}", start + tail.len() - 1);
        fields.push(Value::Macro(text.into()).named(""));
    }
    Value::Struct { fields, is_cut }
}

/// Gives a number from memory the width that a register has.
fn sign(scalar: Scalar, number: u64, abi: Abi) -> u64 {
    match scalar {
        Scalar::Long => signed(number, word(abi)).cast_unsigned(),
        _ => number,
    }
}

/// The first bytes of `count` bytes.
pub(super) fn text(bytes: &[u8], count: u64, limit: usize) -> Value {
    let all = usize::try_from(count).unwrap_or(usize::MAX);
    let shown = bytes.len().min(limit).min(all);
    Value::Text { bytes: bytes[..shown].to_vec(), is_cut: shown < all }
}

/// An array of which `count` elements exist: its address, and the bytes that were copied.
pub(super) fn array(
    context: &Context<'_>,
    (pointer, bytes): (u64, &[u8]),
    size: usize,
    count: u64,
    of: Count,
    decode: impl Fn(&[u8]) -> Value,
) -> Value {
    let there = usize::try_from(count).unwrap_or(usize::MAX);
    let is_fixed = matches!(of, Count::Fixed(number) if number > 0);
    let limit =
        if is_fixed || context.style.is_verbose { there } else { context.style.string_limit };
    let items = bytes.chunks_exact(size.max(1)).take(there.min(limit)).map(decode);
    let mut items: Vec<_> = items.collect();
    let is_whole = items.len() >= there.min(limit) || bytes.len() + size > PART_BYTES - 8;
    if !is_whole {
        if items.is_empty() {
            return address(pointer);
        }
        let read = u64::try_from(items.len() * size).unwrap_or(0);
        items.push(Value::Unread(pointer.wrapping_add(read)));
        return Value::Array { items, is_cut: false };
    }
    let is_cut = items.len() < there;
    Value::Array { items, is_cut }
}

/// An element of an array of vectors.
pub(super) fn vector(base: Value, length: u64) -> Value {
    let fields = vec![base.named("iov_base"), Value::Unsigned(length).named("iov_len")];
    Value::Struct { fields, is_cut: false }
}

fn vectors(context: &Context<'_>, bytes: &[u8], at: usize, when: u8, count: u64) -> Value {
    let used = match when {
        AT_SUCCESS => context.success().and_then(|result| u64::try_from(result).ok()).unwrap_or(0),
        _ => u64::MAX,
    };
    vectors_from(context, bytes, (at, when, 1), count, used)
}

/// An array of vectors, which have `used` bytes of data. The bytes of its first element are in part
/// `first`.
pub(super) fn vectors_from(
    context: &Context<'_>,
    bytes: &[u8],
    (at, when, first): (usize, u8, usize),
    count: u64,
    used: u64,
) -> Value {
    let width = word(context.abi);
    let mut left = used;
    let there = usize::try_from(count).unwrap_or(usize::MAX);
    let limit = if context.style.is_verbose { there } else { context.style.string_limit };
    let mut items = Vec::new();
    for (index, item) in bytes.chunks_exact(2 * width).take(there.min(limit)).enumerate() {
        let base = number(item, width).unwrap_or(0);
        let length = number(&item[width..], width).unwrap_or(0);
        let used = length.min(left);
        left -= used;
        let value = match context.part(at, when, first + index) {
            _ if base == 0 => Value::Null,
            _ if used == 0 => Value::Text { bytes: Vec::new(), is_cut: false },
            Memory::Bytes(bytes, _) => text(bytes, used, context.style.string_limit),
            Memory::Fault => Value::Fault(base),
            Memory::Missing => address(base),
        };
        items.push(vector(value, length));
    }
    let is_cut = items.len() < there;
    Value::Array { items, is_cut }
}

fn texts(context: &Context<'_>, (pointers, wanted): (&[u8], u64), at: usize, when: u8) -> Value {
    let width = word(context.abi);
    let limit = if context.style.is_verbose { usize::MAX } else { context.style.string_limit };
    let mut items = Vec::new();
    // The kernel side copies the pointers before the null pointer.
    let mut is_cut = wanted > u64::try_from(pointers.len()).unwrap_or(u64::MAX);
    for (index, pointer) in pointers.chunks_exact(width).enumerate() {
        let pointer = number(pointer, width).unwrap_or(0);
        if pointer == 0 {
            is_cut = false;
            break;
        }
        if index >= limit {
            is_cut = true;
            break;
        }
        items.push(match context.part(at, when, 1 + index) {
            Memory::Bytes(bytes, wanted) => {
                let end = bytes.iter().position(|&byte| byte == 0);
                let all = end.map_or(bytes, |end| &bytes[..end]);
                let length = u64::try_from(all.len()).unwrap_or(u64::MAX);
                let shown = all.len().min(context.style.string_limit);
                let is_cut = shown < all.len() || end.is_none() && wanted > length;
                Value::Text { bytes: all[..shown].to_vec(), is_cut }
            }
            Memory::Fault => Value::Fault(pointer),
            Memory::Missing => address(pointer),
        });
    }
    Value::Array { items, is_cut }
}

/// The address and the size of a set of signals.
fn set_and_size(context: &Context<'_>, bytes: &[u8], at: usize, when: u8) -> Value {
    let width = word(context.abi);
    let (Some(set), Some(size)) =
        (number(bytes, width), bytes.get(width..).and_then(|rest| number(rest, width)))
    else {
        return address(context.arg(at));
    };
    let mask = match context.part(at, when, 1) {
        // The kernel refuses any other size.
        Memory::Bytes(bytes, _) if set != 0 && size == 8 && bytes.len() >= 8 => {
            signal_set(&bytes[..8])
        }
        Memory::Fault if size == 8 => Value::Fault(set),
        _ => address(set),
    };
    let fields = vec![mask.named("sigmask"), Value::Unsigned(size).named("sigsetsize")];
    Value::Struct { fields, is_cut: false }
}

/// The address of the environment, and how many variables it has.
fn environment(context: &Context<'_>, at: usize) -> Value {
    let width = word(context.abi);
    let pointer = address(context.arg(at));
    let count = |bytes: &[u8]| {
        bytes.chunks_exact(width).position(|pointer| pointer.iter().all(|&byte| byte == 0))
    };
    // The longest part has the end of the array, if any part has it.
    let Some(vars) = context.memory(at, AT_ENTRY, usize::MAX).bytes().and_then(count) else {
        return pointer;
    };
    let noun = if vars == 1 { "var" } else { "vars" };
    Value::Remark(Box::new(pointer), format!("{vars} {noun}").into())
}

/// Changes the notation of the result.
pub(super) fn set_notation(context: &Context<'_>, notation: &str, decoded: &mut Decoded) {
    let Some(Outcome::Returned { number, value, note }) = &mut decoded.outcome else { return };
    let bits = number.cast_unsigned();
    let bits = if context.abi == Abi::I386 { bits & 0xffff_ffff } else { bits };
    match notation {
        "hex" => *value = Value::Hex(bits),
        "octal" => *value = Value::Octal(bits),
        "fd" => *value = Value::File { number: *number, name: context.file(None) },
        "signal_handler" => *value = name("signal_handler", bits),
        "time" => *note = structs::date(*number),
        "clock_ticks" => *value = Value::Unsigned(bits),
        "sigset" => *value = signal_set(&low(bits).to_le_bytes()),
        "sched_policy" | "adjtimex_state" | "personality" => {
            let named = if notation == "personality" {
                flags(notation, bits)
            } else {
                name(notation, bits)
            };
            if notation == "personality" {
                *value = Value::Hex(bits);
            }
            *note = (!matches!(named, Value::Hex(_))).then(|| named.to_string());
        }
        _ => {}
    }
}
