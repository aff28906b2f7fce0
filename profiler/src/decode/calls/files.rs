//! Calls on files.

use profiler_common::{
    call::Abi,
    trace::{AT_ENTRY, AT_SUCCESS},
};

use super::{super::Known, boxed, note, pointed, set, structure, truncate};
use crate::decode::{Decoded, Value, constants, context::Context, kinds};

/// `O_CREAT`.
const CREATES: u32 = 0o100;
/// `O_TMPFILE` without `O_DIRECTORY`.
const IS_TEMPORARY: u32 = 0o20_000_000;

/// The mode exists only if the call can create a file. The flags are argument `at`.
pub(super) fn open(context: &Context<'_>, decoded: &mut Decoded, at: usize) {
    if context.uint(at) & (CREATES | IS_TEMPORARY) == 0 {
        truncate(decoded, at + 1);
    }
}

pub(super) fn mq_open(context: &Context<'_>, decoded: &mut Decoded) {
    open(context, decoded, 1);
}

/// The device exists only for devices. The mode is argument `at`.
pub(super) fn mknod(context: &Context<'_>, decoded: &mut Decoded, at: usize) {
    let kind = context.uint(at) & 0o170_000;
    if kind != 0o020_000 && kind != 0o060_000 {
        truncate(decoded, at + 1);
    }
}

/// `MS_MGC_VAL` in the upper half of the flags is not a flag.
pub(super) fn mount(context: &Context<'_>, decoded: &mut Decoded) {
    let all = context.arg(3);
    let is_magic = all & 0xffff_0000 == 0xc0ed_0000;
    let flags = if is_magic { all & 0xffff } else { all };
    // The type is ignored for remounts, binds and moves, and the kernel does not read the data of
    // the latter two.
    let (remount, bind, shift) = (32, 4096, 8192);
    let propagation = 0x1e_0000;
    if is_magic {
        let text = match kinds::flags("mount_flags", flags) {
            Value::Flags { names, rest: 0, .. } if names.is_empty() => "MS_MGC_VAL".to_owned(),
            other => format!("MS_MGC_VAL|{other}"),
        };
        set(decoded, 3, Value::Macro(text.into()));
    }
    let ignores_type = flags & (remount | bind | shift | propagation) != 0;
    if ignores_type {
        set(decoded, 2, kinds::address(context.arg(2)));
    }
    if flags & (bind | shift | propagation) != 0 {
        set(decoded, 4, kinds::address(context.arg(4)));
    }
}

pub(super) fn fsconfig(context: &Context<'_>, decoded: &mut Decoded) {
    if context.arg(2) == 0 {
        set(decoded, 2, Value::Null);
    }
}

/// Without a directory.
pub(super) fn fanotify_mark(_context: &Context<'_>, decoded: &mut Decoded) {
    if let Some(argument) = decoded.arguments.get_mut(3)
        && matches!(argument.value, Value::File { number: -1, .. })
    {
        let name = Some("FAN_NOFD".into());
        argument.value = Value::Name { name, number: u64::MAX, prefix: "" };
    }
}

/// The number of entries in place of the entries.
pub(super) fn getdents(context: &Context<'_>, decoded: &mut Decoded) {
    let pointer = kinds::address(context.arg(1));
    let Some(result) = context.success() else { return set(decoded, 1, pointer) };
    let bytes = context.exit(1).bytes().unwrap_or_default();
    let width =
        if context.call.key.abi() == Some(Abi::I386) && decoded.name == "getdents" { 4 } else { 8 };
    let all = usize::try_from(result).unwrap_or(0);
    let (mut at, mut entries) = (0_usize, 0_u32);
    while at < all {
        let length = bytes.get(at + 2 * width..).and_then(|rest| kinds::number(rest, 2));
        match length.and_then(|length| usize::try_from(length).ok()) {
            Some(length @ 1..) => at += length,
            _ => break,
        }
        entries += 1;
    }
    let remark = if at < all {
        format!("{entries} entries and more")
    } else {
        format!("{entries} entr{}", if entries == 1 { "y" } else { "ies" })
    };
    set(decoded, 1, Value::Remark(Box::new(pointer), remark.into()));
}

/// The argument of fcntl(2) depends on the command.
pub(super) fn fcntl(context: &Context<'_>, decoded: &mut Decoded) {
    let command = context.uint(1);
    let arg = context.arg(2);
    let int = i64::from(context.uint(2).cast_signed());
    let is_wide = command >= 36 || (12..=14).contains(&command) && context.abi == Abi::I386;
    let lock = if is_wide && context.abi == Abi::I386 { "flock64" } else { "flock" };
    let value = match command {
        // F_DUPFD, F_DUPFD_CLOEXEC
        0 | 1030 => Value::Signed(int),
        // F_SETFD
        2 => kinds::flags("fd_flags", u64::from(context.uint(2))),
        // F_SETFL
        4 => kinds::flags("open_flags", u64::from(context.uint(2))),
        // F_SETLK, F_SETLKW, their 64-bit variants and those of open file descriptions
        6 | 7 | 13 | 14 | 37 | 38 => {
            let mut value = structure(context, lock, 2, AT_ENTRY);
            // The kernel does not read the process.
            if let Value::Struct { fields, .. } = &mut value {
                fields.retain(|field| field.name != "l_pid");
            }
            value
        }
        // F_GETLK and its variants
        5 | 12 | 36 => {
            known_at_exit(decoded, 2);
            let before = structure(context, lock, 2, AT_ENTRY);
            match context.success() {
                Some(_) => structure(context, lock, 2, AT_SUCCESS),
                None => before,
            }
        }
        // F_SETOWN, F_SETPIPE_SZ
        8 | 1031 => Value::Signed(int),
        // F_SETSIG
        10 => kinds::scalar(
            super::super::signature::Scalar::Signal,
            u64::from(context.uint(2)),
            context.abi,
        ),
        // F_SETOWN_EX
        15 => structure(context, "f_owner_ex", 2, AT_ENTRY),
        // F_GETOWN_EX
        16 => {
            known_at_exit(decoded, 2);
            match context.success() {
                Some(_) => structure(context, "f_owner_ex", 2, AT_SUCCESS),
                None => kinds::address(arg),
            }
        }
        // F_SETLEASE
        1024 => kinds::name("lock_type", u64::from(context.uint(2))),
        // F_NOTIFY
        1026 => kinds::flags("notify_flags", u64::from(context.uint(2))),
        // F_ADD_SEALS
        1033 => kinds::flags("seals", u64::from(context.uint(2))),
        // F_GET_RW_HINT, F_GET_FILE_RW_HINT
        1035 | 1037 => {
            known_at_exit(decoded, 2);
            let number = context.success().and_then(|_| pointed(context, 2, AT_SUCCESS, 8));
            number.map_or(kinds::address(arg), |number| boxed(kinds::name("rw_hint", number)))
        }
        // F_SET_RW_HINT, F_SET_FILE_RW_HINT
        1036 | 1038 => pointed(context, 2, AT_ENTRY, 8)
            .map_or(kinds::address(arg), |number| boxed(kinds::name("rw_hint", number))),
        // F_GETFD, F_GETFL, F_GETOWN, F_GETSIG, F_GETLEASE, F_GETPIPE_SZ, F_GET_SEALS
        1 | 3 | 9 | 11 | 1025 | 1032 | 1034 => {
            truncate(decoded, 2);
            return result(context, decoded, command);
        }
        _ => Value::Hex(arg),
    };
    set(decoded, 2, value);
    result(context, decoded, command);
}

fn known_at_exit(decoded: &mut Decoded, at: usize) {
    if let Some(argument) = decoded.arguments.get_mut(at) {
        argument.known = Known::AtExit;
    }
}

/// What the result of fcntl(2) means.
fn result(context: &Context<'_>, decoded: &mut Decoded, command: u32) {
    let Some(result) = context.success() else { return };
    let number = u64::from(kinds::low(result.cast_unsigned()));
    let (value, text) = match command {
        0 | 1030 => (Value::File { number: result, name: context.file(None) }, None),
        1 if number != 0 => {
            (Value::Hex(number), Some(format!("flags {}", kinds::flags("fd_flags", number))))
        }
        3 => (Value::Hex(number), Some(format!("flags {}", kinds::flags("open_flags", number)))),
        11 if number != 0 => {
            let scalar = super::super::signature::Scalar::Signal;
            let name = kinds::scalar(scalar, number, context.abi);
            (Value::Signed(result), Some(name.to_string()))
        }
        1025 => (Value::Hex(number), Some(kinds::name("lock_type", number).to_string())),
        1034 if number != 0 => {
            (Value::Hex(number), Some(format!("seals {}", kinds::flags("seals", number))))
        }
        1034 => (Value::Hex(0), None),
        _ => return,
    };
    if let Some(super::Outcome::Returned { value: shown, .. }) = &mut decoded.outcome {
        *shown = value;
    }
    // Without names, the note would repeat the number.
    let has_names = constants::find("fd_flags").is_some();
    if let Some(text) = text.filter(|_| has_names || command == 11) {
        note(decoded, text);
    }
}

/// Known requests by name; others by what `_IOC` encodes.
fn request_name(number: u32) -> Value {
    match kinds::name("ioctl_request", u64::from(number)) {
        named @ Value::Name { name: Some(_), .. } => named,
        _ => {
            let (direction, size) = (number >> 30, number >> 16 & 0x3fff);
            let (kind, nr) = (number >> 8 & 0xff, number & 0xff);
            let direction = match direction {
                0 => "_IOC_NONE",
                1 => "_IOC_WRITE",
                2 => "_IOC_READ",
                _ => "_IOC_READ|_IOC_WRITE",
            };
            let hex = |number: u32| Value::Hex(u64::from(number));
            let text = format!("_IOC({direction}, {}, {}, {})", hex(kind), hex(nr), hex(size));
            Value::Macro(text.into())
        }
    }
}

/// The argument of ioctl(2) depends on the request. Without knowledge of the request, it is an
/// address.
pub(super) fn ioctl(context: &Context<'_>, decoded: &mut Decoded) {
    let number = context.uint(1);
    let name = request_name(number);
    let is_named = matches!(name, Value::Name { .. });
    set(decoded, 1, name);
    let arg = context.arg(2);
    let int = |when| {
        let read = pointed(context, 2, when, 4);
        read.map(|number| Value::Signed(i64::from(kinds::low(number).cast_signed())))
    };
    let at_exit = |value: Option<Value>| match context.success() {
        Some(_) => value.unwrap_or(kinds::address(arg)),
        None => kinds::address(arg),
    };
    let (value, is_at_exit) = match number {
        // TCGETS
        0x5401 => (at_exit(Some(structure(context, "termios", 2, AT_SUCCESS))), true),
        // TCSETS, TCSETSW, TCSETSF
        0x5402..=0x5404 => (structure(context, "termios", 2, AT_ENTRY), false),
        // TCSBRK, TCXONC, TCFLSH, TIOCSCTTY, TIOCNOTTY
        0x5409 | 0x540a | 0x540b | 0x540e => {
            (Value::Signed(i64::from(context.uint(2).cast_signed())), false)
        }
        // FIOCLEX, FIONCLEX, TIOCNOTTY, TIOCEXCL, TIOCNXCL
        0x5451 | 0x5450 | 0x5422 | 0x540c | 0x540d => return truncate(decoded, 2),
        // TIOCGWINSZ
        0x5413 => (at_exit(Some(structure(context, "winsize", 2, AT_SUCCESS))), true),
        // TIOCSWINSZ
        0x5414 => (structure(context, "winsize", 2, AT_ENTRY), false),
        // TIOCGPGRP, TIOCGSID, TIOCOUTQ, FIONREAD
        0x540f | 0x5429 | 0x5411 | 0x541b => (at_exit(int(AT_SUCCESS).map(boxed)), true),
        // TIOCSPGRP, FIONBIO, FIOASYNC
        0x5410 | 0x5421 | 0x5452 => (int(AT_ENTRY).map_or(kinds::address(arg), boxed), false),
        // FICLONE
        0x4004_9409 => (Value::Signed(i64::from(context.uint(2).cast_signed())), false),
        _ if is_named => (kinds::address(arg), false),
        _ => (Value::Hex(arg), false),
    };
    set(decoded, 2, value);
    if is_at_exit {
        known_at_exit(decoded, 2);
    }
}

/// The value of an attribute is shown without the NUL at its end.
pub(super) fn xattr(_context: &Context<'_>, decoded: &mut Decoded) {
    if let Some(argument) = decoded.arguments.get_mut(2)
        && let Value::Text { bytes, is_cut: false } = &mut argument.value
        && bytes.last() == Some(&0)
    {
        bytes.pop();
    }
}
