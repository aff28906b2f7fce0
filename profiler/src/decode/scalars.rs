//! The value of a number, in a register or in memory, by its kind.

use profiler_common::call::Abi;

use super::{
    Value, events,
    kinds::{address, flags, low, name, number, signed},
    signature::Scalar,
};

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
        Scalar::UnsignedLong | Scalar::Unsigned8 => Value::Unsigned(number),
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
