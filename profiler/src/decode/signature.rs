//! What the arguments of each call are, parsed from `signatures.txt`.
//!
//! A line has the name of a call, a kind for each argument, `!name` of a function in `calls`, and
//! after `->` the notation of the result.
//!
//! | kind | argument |
//! | --- | --- |
//! | `int`, `uint`, `long`, `ulong` | a number; a `long` has the width of a pointer |
//! | `hex`, `hexint`, `mode`, `addr` | a number in hexadecimal or octal, an address |
//! | `name:SET`, `flags:SET`, `long_flags:SET` | a number that has a name, or flags |
//! | `fd`, `dirfd`, `id`, `signal`, `dev` | what the name says |
//! | `offset` | 64 bits, in two registers on i386 |
//! | `path`, `text` | text that ends with NUL: a path in full, or up to the limit |
//! | `bytes(N)` | that many bytes |
//! | `struct:NAME`, `struct:NAME(N)` | a structure; `N` is its size |
//! | `structs:NAME(N)` | an array of structures |
//! | `*KIND`, `[KIND](N)` | the address of a number, or of an array |
//! | `iovec(N)`, `msghdr`, `texts`, `environment`, `sockaddr(N)`, `sigset(N)` | what the name says |
//! | `mmsghdrs(N)` | an array of messages, each with the number of its bytes |
//! | `sigset_and_size` | the address of the address and the size of a set of signals |
//!
//! `N` is the index of an argument, `*N` the number at the address in this argument, `=N` a
//! constant, and `result` the result. A suffix says who writes the memory: `/out` if the call
//! writes, `/inout` if it also reads, `/fail` if it writes only when it fails. Without a suffix,
//! the call reads.

use std::{collections::HashMap, sync::LazyLock};

use profiler_common::call::{Abi, CallKey};

use crate::names::syscalls;

/// The arguments of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Signature {
    /// The kind of each argument.
    pub(super) kinds: Vec<Kind>,
    /// The notation of the result.
    pub(super) result: Option<&'static str>,
    /// The function in `calls`.
    pub(super) special: Option<&'static str>,
}

/// Who uses the memory to which an argument points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Direction {
    /// The call reads.
    In,
    /// The call writes.
    Out,
    /// The call reads and writes.
    Both,
    /// The call writes if it fails.
    Failure,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kind {
    /// What it is.
    pub(super) of: Of,
    /// Who uses the memory to which it points.
    pub(super) direction: Direction,
}

/// A number of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Count {
    /// The argument with this index.
    Argument(u8),
    /// The number at the address in the argument with this index.
    Pointee(u8),
    /// The result.
    Result,
    /// A constant.
    Fixed(u16),
    /// The pages of a length in bytes, which is argument 1.
    Pages,
}

/// A number, in a register or in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scalar {
    Int,
    Unsigned,
    Long,
    UnsignedLong,
    Hex,
    HexInt,
    Hex8,
    Unsigned8,
    Hex64,
    Mode,
    FileMode,
    Address,
    Fd,
    DirFd,
    Id,
    Id16,
    Signal,
    Device,
    Offset,
    WaitStatus,
    Key,
    Name(&'static str),
    Flags(&'static str),
    LongFlags(&'static str),
    Permissions(&'static str),
    Command(&'static str),
    SignalSet,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Of {
    Scalar(Scalar),
    OffsetPair,
    OffsetHighLow,
    OffsetFlags(&'static str),
    Skip,
    Path,
    Text,
    Bytes(Count),
    Struct(&'static str, Option<Count>),
    Structs(&'static str, Count),
    Pointee(Scalar),
    Items(Scalar, Count),
    StructItems(&'static str, Count),
    Vectors(u8),
    Addresses(u8),
    Message,
    Messages(Count),
    SignalSetAndSize,
    Texts,
    Environment,
    SocketAddress(Count),
    SignalSet(Count),
    CpuSet(Count),
}

/// The signature of a call; without arguments if the call is unknown.
pub(super) fn of(key: CallKey) -> Option<&'static Signature> {
    static ALL: LazyLock<HashMap<&'static str, Signature>> =
        LazyLock::new(|| include_str!("signatures.txt").lines().filter_map(line).collect());
    let name = syscalls::known(key)?;
    let i386 = (key.abi() == Some(Abi::I386)).then(|| ALL.get(format!("{name}@i386").as_str()));
    i386.flatten().or_else(|| ALL.get(name))
}

fn line(line: &'static str) -> Option<(&'static str, Signature)> {
    let mut words = line.split_whitespace();
    let name = words.next().filter(|name| !name.starts_with('#'))?;
    let mut signature = Signature::default();
    while let Some(word) = words.next() {
        if word == "->" {
            signature.result = words.next();
        } else if let Some(special) = word.strip_prefix('!') {
            signature.special = Some(special);
        } else {
            signature.kinds.push(kind(word)?);
        }
    }
    Some((name, signature))
}

fn kind(word: &'static str) -> Option<Kind> {
    let (word, direction) = match word.rsplit_once('/') {
        Some((word, "out")) => (word, Direction::Out),
        Some((word, "inout")) => (word, Direction::Both),
        Some((word, "fail")) => (word, Direction::Failure),
        _ => (word, Direction::In),
    };
    Some(Kind { of: what(word)?, direction })
}

fn what(word: &'static str) -> Option<Of> {
    if let Some(pointee) = word.strip_prefix('*') {
        return scalar(pointee).map(Of::Pointee);
    }
    if let Some((item, rest)) = word.strip_prefix('[').and_then(|word| word.split_once(']')) {
        let count = count(rest.strip_prefix('(')?.strip_suffix(')')?)?;
        return match item.strip_prefix("struct:") {
            Some(name) => Some(Of::StructItems(name, count)),
            None => scalar(item).map(|item| Of::Items(item, count)),
        };
    }
    let (word, counted) = match word.strip_suffix(')').and_then(|word| word.split_once('(')) {
        Some((word, text)) => (word, Some(count(text)?)),
        None => (word, None),
    };
    let index = match counted {
        Some(Count::Argument(index)) => index,
        _ => 0,
    };
    Some(match (word, word.split_once(':')) {
        (_, Some(("struct", name))) => Of::Struct(name, counted),
        (_, Some(("structs", name))) => Of::Structs(name, counted?),
        (_, Some(("offset_flags", set))) => Of::OffsetFlags(set),
        ("offset_pair", _) => Of::OffsetPair,
        ("offset_high_low", _) => Of::OffsetHighLow,
        ("skip", _) => Of::Skip,
        ("path", _) => Of::Path,
        ("text", _) => Of::Text,
        ("bytes", _) => Of::Bytes(counted?),
        ("iovec", _) => Of::Vectors(index),
        ("iovec_addresses", _) => Of::Addresses(index),
        ("msghdr", _) => Of::Message,
        ("mmsghdrs", _) => Of::Messages(counted?),
        ("sigset_and_size", _) => Of::SignalSetAndSize,
        ("texts", _) => Of::Texts,
        ("environment", _) => Of::Environment,
        ("sockaddr", _) => Of::SocketAddress(counted?),
        ("sigset", _) => Of::SignalSet(counted?),
        ("cpuset", _) => Of::CpuSet(counted?),
        _ => Of::Scalar(scalar(word)?),
    })
}

fn count(text: &str) -> Option<Count> {
    Some(match text {
        "result" => Count::Result,
        "pages" => Count::Pages,
        _ => match (text.strip_prefix('*'), text.strip_prefix('=')) {
            (Some(index), _) => Count::Pointee(index.parse().ok()?),
            (_, Some(number)) => Count::Fixed(number.parse().ok()?),
            _ => Count::Argument(text.parse().ok()?),
        },
    })
}

fn scalar(word: &'static str) -> Option<Scalar> {
    Some(match (word, word.split_once(':')) {
        (_, Some(("name", set))) => Scalar::Name(set),
        (_, Some(("flags", set))) => Scalar::Flags(set),
        (_, Some(("long_flags", set))) => Scalar::LongFlags(set),
        (_, Some(("file_permissions", set))) => Scalar::Permissions(set),
        (_, Some(("ipc_command", set))) => Scalar::Command(set),
        ("int", _) => Scalar::Int,
        ("uint", _) => Scalar::Unsigned,
        ("long", _) => Scalar::Long,
        ("ulong", _) => Scalar::UnsignedLong,
        ("hex", _) => Scalar::Hex,
        ("hexint" | "ioctl" | "ioprio" | "quota_command", _) => Scalar::HexInt,
        ("hex8", _) => Scalar::Hex8,
        ("uint8", _) => Scalar::Unsigned8,
        ("hex64", _) => Scalar::Hex64,
        ("mode", _) => Scalar::Mode,
        ("file_mode", _) => Scalar::FileMode,
        ("addr" | "signal_handler", _) => Scalar::Address,
        ("fd", _) => Scalar::Fd,
        ("dirfd", _) => Scalar::DirFd,
        ("id", _) => Scalar::Id,
        ("id16", _) => Scalar::Id16,
        ("signal", _) => Scalar::Signal,
        ("dev", _) => Scalar::Device,
        ("offset", _) => Scalar::Offset,
        ("wait_status", _) => Scalar::WaitStatus,
        ("key", _) => Scalar::Key,
        ("sigset_register", _) => Scalar::SignalSet,
        _ => return None,
    })
}

impl Signature {
    /// Whether the kernel reads the lower half of a register only.
    pub(super) fn is_int(&self, register: u8, abi: Abi) -> bool {
        let mut at = 0;
        for kind in &self.kinds {
            if at == usize::from(register) {
                return matches!(kind.of, Of::Scalar(scalar) if scalar.bytes(abi) == 4);
            }
            at += kind.of.registers(abi);
        }
        false
    }
}

impl Of {
    /// How many registers the argument takes.
    pub(super) fn registers(&self, abi: Abi) -> usize {
        match self {
            Self::Scalar(Scalar::Offset) | Self::OffsetFlags(_) if abi == Abi::I386 => 2,
            Self::OffsetPair if abi != Abi::X32 => 2,
            Self::OffsetHighLow => 2,
            _ => 1,
        }
    }
}

impl Scalar {
    /// Bytes in memory.
    pub(super) fn bytes(self, abi: Abi) -> usize {
        match self {
            Self::Hex8 | Self::Unsigned8 => 1,
            Self::Id16 => 2,
            Self::Long | Self::UnsignedLong | Self::Hex | Self::Address | Self::LongFlags(_) => {
                word(abi)
            }
            Self::Hex64 | Self::Offset => 8,
            _ => 4,
        }
    }
}

/// Bytes of a pointer in the memory of a process.
pub(super) fn word(abi: Abi) -> usize {
    if abi == Abi::X86_64 { 8 } else { 4 }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::ABIS;

    use super::*;
    use crate::names::table::Table;

    #[test]
    fn every_line_is_valid() {
        let mut seen = std::collections::HashSet::new();
        for text in include_str!("signatures.txt").lines() {
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let Some((name, signature)) = line(text) else {
                let bad = text.split_whitespace().skip(1).find(|word| kind(word).is_none());
                panic!("{text}: {bad:?}");
            };
            assert!(seen.insert(name), "{name} twice");
            let base = name.split('@').next().expect("a name");
            let known = Table::get().named(base).is_some();
            assert!(known, "{base} is no call");
            if let Some(special) = signature.special {
                assert!(super::super::calls::find(special).is_some(), "{special}");
            }
        }
    }

    /// Each call with arguments has a signature, with as many registers as the kernel reads.
    #[test]
    fn every_call_has_a_signature() {
        let mut missing = Vec::new();
        for call in Table::get().calls() {
            for abi in ABIS {
                let Some(on) = call.on(abi) else { continue };
                let Some(arguments) = on.arguments.as_ref().filter(|all| !all.is_empty()) else {
                    continue;
                };
                match of(CallKey::of(abi, on.number)) {
                    None => missing.push(format!("{} on {abi}", call.name)),
                    Some(signature) => {
                        let registers: usize =
                            signature.kinds.iter().map(|kind| kind.of.registers(abi)).sum();
                        if registers != arguments.len() {
                            missing.push(format!(
                                "{} on {abi}: {registers} of {}",
                                call.name,
                                arguments.len()
                            ));
                        }
                    }
                }
            }
        }
        assert!(missing.is_empty(), "{}", missing.join("\n"));
    }
}
