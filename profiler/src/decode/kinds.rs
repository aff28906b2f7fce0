//! The value of an argument, by its kind.

use profiler_common::{
    call::Abi,
    trace::{AT_ENTRY, AT_FAILURE, AT_SUCCESS},
};

use super::{
    Decoded, Known, Outcome, Value, constants,
    context::{Context, Memory},
    events,
    signature::{Count, Direction, Kind, Of, Scalar, word},
    structs,
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

/// A number.
pub(super) fn scalar(scalar: Scalar, number: u64, abi: Abi) -> Value {
    let int = low(number).cast_signed();
    match scalar {
        Scalar::Int | Scalar::Key => {
            if scalar == Scalar::Key {
                return if int == 0 {
                    Value::Macro("IPC_PRIVATE".into())
                } else {
                    Value::Hex(u64::from(low(number)))
                };
            }
            Value::Signed(i64::from(int))
        }
        Scalar::Unsigned => Value::Unsigned(u64::from(low(number))),
        Scalar::Long => Value::Signed(signed(number, if abi == Abi::I386 { 4 } else { 8 })),
        Scalar::UnsignedLong => Value::Unsigned(number),
        Scalar::Hex | Scalar::Hex64 | Scalar::Hex8 => Value::Hex(number),
        Scalar::HexInt => Value::Hex(u64::from(low(number))),
        Scalar::Mode => Value::Octal(u64::from(low(number) & 0xffff)),
        Scalar::FileMode => file_mode(low(number) & 0xffff),
        Scalar::Address => address(number),
        Scalar::Fd => Value::File { number: i64::from(int), name: None },
        Scalar::DirFd if int == -100 => {
            Value::Name { name: Some("AT_FDCWD".into()), number: u64::MAX - 99, prefix: "AT_" }
        }
        Scalar::DirFd => Value::File { number: i64::from(int), name: None },
        Scalar::Id if int == -1 => Value::Signed(-1),
        Scalar::Id => Value::Unsigned(u64::from(low(number))),
        Scalar::Id16 if low(number) & 0xffff == 0xffff => Value::Signed(-1),
        Scalar::Id16 => Value::Unsigned(u64::from(low(number) & 0xffff)),
        Scalar::Signal => Value::Name {
            name: (1..=64).contains(&int).then(|| events::signal_name(int.unsigned_abs())),
            number: u64::from(low(number)),
            prefix: "",
        }
        .or_decimal(i64::from(int)),
        Scalar::Device => device(u64::from(low(number))),
        Scalar::Offset => Value::Signed(number.cast_signed()),
        Scalar::WaitStatus => wait_status(low(number)),
        Scalar::Name("keyring") => {
            name("keyring", u64::from(low(number))).or_decimal(i64::from(int))
        }
        Scalar::Name(set) => name(set, u64::from(low(number))),
        Scalar::Flags("personality") if int == -1 => Value::Hex(u64::from(low(number))),
        Scalar::Flags(set) => flags(set, u64::from(low(number))),
        Scalar::LongFlags(set) => flags(set, number),
        Scalar::Permissions(set) => permissions(set, low(number)),
        Scalar::Command(set) => command(set, low(number)),
        Scalar::SignalSet => signal_set(&low(number).to_le_bytes()),
    }
}

impl Value {
    /// A name, or the number in decimal if it has none.
    fn or_decimal(self, number: i64) -> Self {
        match self {
            Self::Name { name: None, .. } => Self::Signed(number),
            other => other,
        }
    }
}

/// A mode with the type of the file: `S_IFREG|0644`.
fn file_mode(mode: u32) -> Value {
    let kind = match mode & 0o170_000 {
        0o140_000 => "S_IFSOCK",
        0o120_000 => "S_IFLNK",
        0o100_000 => "S_IFREG",
        0o060_000 => "S_IFBLK",
        0o040_000 => "S_IFDIR",
        0o020_000 => "S_IFCHR",
        0o010_000 => "S_IFIFO",
        _ => return Value::Octal(u64::from(mode)),
    };
    let mut names = vec![kind];
    for (bit, name) in [(0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")] {
        if mode & bit != 0 {
            names.push(name);
        }
    }
    Value::Macro(format!("{}|{}", names.join("|"), Value::Octal(u64::from(mode & 0o777))).into())
}

/// A device: `makedev(0x8, 0x1)`.
fn device(number: u64) -> Value {
    let major = number >> 8 & 0xfff | number >> 32 & 0xffff_f000;
    let minor = number & 0xff | number >> 12 & 0xffff_ff00;
    Value::Macro(format!("makedev({}, {})", Value::Hex(major), Value::Hex(minor)).into())
}

/// Flags whose lower nine bits are a mode: `IPC_CREAT|0600`.
fn permissions(set: &str, number: u32) -> Value {
    let mode = Value::Octal(u64::from(number & 0o777));
    match flags(set, u64::from(number & !0o777)) {
        Value::Flags { ref names, rest: 0, .. } if names.is_empty() => mode,
        Value::Hex(0) => mode,
        Value::Flags { names, rest, .. } if !names.is_empty() && rest == 0 => {
            Value::Macro(format!("{}|{mode}", names.join("|")).into())
        }
        Value::Flags { names, rest, .. } if !names.is_empty() => {
            Value::Macro(format!("{}|{rest:#x}|{mode}", names.join("|")).into())
        }
        other => Value::Macro(format!("{other}|{mode}").into()),
    }
}

/// A command of `System V` interprocess communication: `IPC_64|IPC_RMID`.
fn command(set: &str, number: u32) -> Value {
    if number & 0x100 == 0 {
        return name(set, u64::from(number));
    }
    Value::Macro(format!("IPC_64|{}", name(set, u64::from(number & !0x100))).into())
}

/// A status as wait(2) reports it.
fn wait_status(status: u32) -> Value {
    let signal = events::signal_name(status & 0x7f);
    let stopped_by = events::signal_name(status >> 8 & 0x7f);
    Value::Macro(
        if status & 0x7f == 0 {
            format!("{{WIFEXITED(s) && WEXITSTATUS(s) == {}}}", status >> 8 & 0xff)
        } else if status == 0xffff {
            "{WIFCONTINUED(s)}".into()
        } else if status & 0xff == 0x7f {
            let is_syscall = status >> 8 & 0xff == 0x85;
            let stop = if is_syscall { "SIGTRAP | 0x80".into() } else { stopped_by };
            let event = match status >> 16 {
                0 => String::new(),
                event => format!(" | {}", ptrace_event(event)),
            };
            format!("{{WIFSTOPPED(s) && WSTOPSIG(s) == {stop}}}{event}")
        } else {
            let core = if status & 0x80 == 0 { "" } else { " && WCOREDUMP(s)" };
            format!("{{WIFSIGNALED(s) && WTERMSIG(s) == {signal}{core}}}")
        }
        .into(),
    )
}

fn ptrace_event(event: u32) -> String {
    match name("ptrace_event", u64::from(event)) {
        Value::Name { name: Some(name), .. } => format!("{name} << 16"),
        _ => format!("{event} << 16"),
    }
}

/// A set of signals: `[INT TERM]`, or `~[INT]` if most signals are in it.
pub(super) fn signal_set(bytes: &[u8]) -> Value {
    let count = 8 * bytes.len().min(8);
    let bits = number(bytes, bytes.len().min(8)).unwrap_or(0);
    let set = usize::try_from(bits.count_ones()).unwrap_or(0);
    let is_complement = set >= count * 2 / 3 && count > 0;
    let shown = if is_complement { !bits } else { bits };
    let members = (0..count).filter(|bit| shown >> bit & 1 == 1).map(|bit| {
        let name = events::signal_name(u32::try_from(bit + 1).unwrap_or(0));
        match name.strip_prefix("SIG") {
            Some(short) => short.to_owned().into(),
            None => name,
        }
    });
    Value::Set { members: members.collect(), is_complement }
}

/// How many elements there are.
fn count(context: &Context<'_>, count: Count) -> u64 {
    match count {
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
        Direction::Out | Direction::Failure => (pointed, Known::AtExit),
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
        Of::Bytes(of) => text(bytes, count(context, of), limit),
        Of::Struct(name, size) => {
            let Some(structure) = structs::find(name) else { return address(pointer) };
            let full = (structure.bytes)(abi);
            let there = match size {
                Some(size) => usize::try_from(count(context, size)).unwrap_or(full).min(full),
                None => full,
            };
            match bytes.get(..there) {
                Some(bytes) if there > 0 => match (structure.decode)(bytes, abi, context.style) {
                    Value::Struct { fields, .. } if fields.is_empty() => address(pointer),
                    value => value,
                },
                _ => address(pointer),
            }
        }
        Of::Structs(name, of) | Of::StructItems(name, of) => {
            let Some(structure) = structs::find(name) else { return address(pointer) };
            let size = (structure.bytes)(abi);
            let decode = |item: &[u8]| (structure.decode)(item, abi, context.style);
            array(context, bytes, size, count(context, of), of, decode)
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
            array(context, bytes, size, count(context, of), of, decode)
        }
        Of::Vectors(from) => vectors(context, bytes, at, when, context.arg(usize::from(from))),
        Of::Addresses(from) => {
            let decode = |item: &[u8]| {
                let base = number(item, word(abi)).unwrap_or(0);
                let length = item.get(word(abi)..).and_then(|rest| number(rest, word(abi)));
                vector(address(base), length.unwrap_or(0))
            };
            let all = context.arg(usize::from(from));
            array(context, bytes, 2 * word(abi), all, Count::Fixed(0), decode)
        }
        Of::Message => super::calls::message(context, bytes, at, when),
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
        | Of::Environment => address(pointer),
    }
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

/// An array of which `count` elements exist.
fn array(
    context: &Context<'_>,
    bytes: &[u8],
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
    let items: Vec<_> = items.collect();
    let is_cut = items.len() < there;
    Value::Array { items, is_cut }
}

/// An element of an array of vectors.
pub(super) fn vector(base: Value, length: u64) -> Value {
    let fields = vec![base.named("iov_base"), Value::Unsigned(length).named("iov_len")];
    Value::Struct { fields, is_cut: false }
}

fn vectors(context: &Context<'_>, bytes: &[u8], at: usize, when: u8, count: u64) -> Value {
    vectors_from(context, bytes, at, when, count, 1)
}

/// An array of vectors. The bytes of its first element are in part `first`.
pub(super) fn vectors_from(
    context: &Context<'_>,
    bytes: &[u8],
    at: usize,
    when: u8,
    count: u64,
    first: usize,
) -> Value {
    let width = word(context.abi);
    let mut left = match when {
        AT_SUCCESS => context.success().and_then(|result| u64::try_from(result).ok()).unwrap_or(0),
        _ => u64::MAX,
    };
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
