//! Calls on the system as a whole.

use profiler_common::trace::AT_ENTRY;

use super::{set, truncate};
use crate::decode::{Decoded, Known, Value, context::Context, kinds};

pub(super) fn syslog(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 1, kinds::address(context.arg(1)));
    let action = i64::from(context.uint(0).cast_signed());
    let name = match kinds::name("syslog_action", u64::from(context.uint(0))) {
        Value::Name { name: Some(name), .. } => name,
        _ => "SYSLOG_ACTION_???".into(),
    };
    set(decoded, 0, Value::Remark(Box::new(Value::Signed(action)), name));
    match context.uint(0) {
        // SYSLOG_ACTION_CLOSE, OPEN, CLEAR, CONSOLE_OFF, CONSOLE_ON, SIZE_UNREAD, SIZE_BUFFER
        0 | 1 | 5 | 6 | 7 | 9 | 10 => truncate(decoded, 1),
        _ => {
            if let Some(argument) = decoded.arguments.get_mut(1) {
                argument.known = Known::AtExit;
            }
        }
    }
}

/// The last argument exists only with `LINUX_REBOOT_CMD_RESTART2`.
pub(super) fn reboot(context: &Context<'_>, decoded: &mut Decoded) {
    if context.uint(2) != 0xa1b2_c3d4 {
        truncate(decoded, 3);
    }
}

pub(super) fn sysfs(context: &Context<'_>, decoded: &mut Decoded) {
    match context.uint(0) {
        2 => set(decoded, 1, Value::Unsigned(context.arg(1))),
        3 => truncate(decoded, 1),
        1 => truncate(decoded, 2),
        _ => {}
    }
}

/// What the attributes are depends on the command.
pub(super) fn bpf(context: &Context<'_>, decoded: &mut Decoded) {
    let size = usize::try_from(context.uint(2)).unwrap_or(0);
    let bytes = context.memory(1, AT_ENTRY, size).bytes().unwrap_or_default();
    let bytes = &bytes[..bytes.len().min(size)];
    let field = |at: usize, width| bytes.get(at..).and_then(|rest| kinds::number(rest, width));
    let fd = |number: u64| Value::File {
        number: i64::from(kinds::low(number).cast_signed()),
        name: None,
    };
    let (Some(first), true) = (field(0, 4), size >= 4) else { return };
    let mut fields = Vec::new();
    match context.uint(0) {
        // BPF_MAP_CREATE
        0 => {
            let rest = [field(4, 4), field(8, 4), field(12, 4)];
            let [Some(key), Some(value), Some(entries)] = rest else { return };
            fields.push(kinds::name("bpf_map_type", first).named("map_type"));
            fields.push(Value::Unsigned(key).named("key_size"));
            fields.push(Value::Unsigned(value).named("value_size"));
            fields.push(Value::Unsigned(entries).named("max_entries"));
        }
        // BPF_MAP_LOOKUP_ELEM, BPF_MAP_UPDATE_ELEM, BPF_MAP_DELETE_ELEM, BPF_MAP_GET_NEXT_KEY
        command @ 1..=4 => {
            let Some(key) = field(8, 8) else { return };
            fields.push(fd(first).named("map_fd"));
            fields.push(kinds::address(key).named("key"));
            if command != 3
                && let Some(value) = field(16, 8)
            {
                let name = if command == 4 { "next_key" } else { "value" };
                fields.push(kinds::address(value).named(name));
            }
            if command <= 2
                && let Some(flags) = field(24, 8)
            {
                fields.push(kinds::flags("bpf_map_update_flags", flags).named("flags"));
            }
        }
        _ => return,
    }
    set(decoded, 1, Value::Struct { fields, is_cut: false });
}

/// The command, whose lower byte is a type. The command is argument `at`.
pub(super) fn quotactl(context: &Context<'_>, decoded: &mut Decoded, at: usize) {
    let number = context.uint(at);
    let command = kinds::name("quota_command", u64::from(number >> 8));
    let kind = match kinds::name("quota_type", u64::from(number & 0xff)) {
        Value::Name { name: None, number, .. } => {
            Value::Name { name: None, number, prefix: "???QUOTA" }
        }
        named => named,
    };
    if decoded.arguments.len() > 2 && context.uint(2) == u32::MAX {
        set(decoded, 2, Value::Signed(-1));
    }
    if matches!(command, Value::Name { .. }) {
        set(decoded, at, Value::Macro(format!("QCMD({command}, {kind})").into()));
    }
}

pub(super) fn keyctl(context: &Context<'_>, decoded: &mut Decoded) {
    let key = |at: usize| match context.uint(at).cast_signed() {
        number @ -8..=-1 => kinds::name("keyring", u64::from(number.cast_unsigned())),
        number => Value::Signed(i64::from(number)),
    };
    let count = match context.uint(0) {
        // KEYCTL_GET_KEYRING_ID
        0 => {
            set(decoded, 1, key(1));
            set(decoded, 2, Value::Signed(i64::from(context.uint(2).cast_signed())));
            3
        }
        // KEYCTL_REVOKE, KEYCTL_CLEAR, KEYCTL_INVALIDATE, KEYCTL_ASSUME_AUTHORITY
        3 | 7 | 16 | 21 => {
            set(decoded, 1, key(1));
            2
        }
        // KEYCTL_LINK, KEYCTL_UNLINK
        8 | 9 => {
            set(decoded, 1, key(1));
            set(decoded, 2, key(2));
            3
        }
        // KEYCTL_SESSION_TO_PARENT
        18 => 1,
        _ => return,
    };
    truncate(decoded, count);
}

pub(super) fn getrandom(_context: &Context<'_>, decoded: &mut Decoded) {
    if let Some(argument) = decoded.arguments.first_mut()
        && let Value::Text { bytes, is_cut } = &mut argument.value
    {
        argument.value = Value::HexText { bytes: std::mem::take(bytes), is_cut: *is_cut };
    }
}

pub(super) fn ioprio_get(context: &Context<'_>, decoded: &mut Decoded) {
    let Some(number) = context.success() else { return };
    let number = number.cast_unsigned();
    if let Value::Name { name: Some(class), .. } = kinds::name("ioprio_class", number >> 13) {
        let text = format!("IOPRIO_PRIO_VALUE({class}, {})", number & 0x1fff);
        if let Some(super::Outcome::Returned { value, .. }) = &mut decoded.outcome {
            *value = Value::Hex(number);
        }
        super::note(decoded, text);
    }
}

pub(super) fn ioprio_set(context: &Context<'_>, decoded: &mut Decoded) {
    let number = context.uint(2);
    let class = kinds::name("ioprio_class", u64::from(number >> 13));
    let text = format!("IOPRIO_PRIO_VALUE({class}, {})", number & 0x1fff);
    set(decoded, 2, Value::Macro(text.into()));
}
