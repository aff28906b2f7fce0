//! Calls on processes and signals.

use profiler_common::{
    call::Abi,
    trace::{AT_ENTRY, AT_SUCCESS},
};

use super::{boxed, pointed, set, structure, truncate};
use crate::decode::{
    Argument, Decoded, Known, Value,
    context::{Context, Memory},
    kinds,
    signature::{Of, Scalar},
};

/// Flags of clone(2) (include/uapi/linux/sched.h).
const PIDFD: u64 = 0x1000;
const SETTLS: u64 = 0x8_0000;
const PARENT_SETTID: u64 = 0x10_0000;
const CHILD_CLEARTID: u64 = 0x20_0000;
const CHILD_SETTID: u64 = 0x100_0000;

/// strace names the arguments, begins with the stack, and leaves out what the flags do not use.
pub(super) fn clone(context: &Context<'_>, decoded: &mut Decoded) {
    let all = context.arg(0);
    let (tls, child) = if context.abi == Abi::I386 { (3, 4) } else { (4, 3) };
    let mut arguments = Vec::new();
    let mut push = |at: usize, label, value, known| {
        let name = decoded.arguments.get(at).map_or("arg", |argument| argument.name);
        arguments.push(Argument { name, label: Some(label), value, known });
    };
    push(1, "child_stack", kinds::address(context.arg(1)), Known::AtEntry);
    push(0, "flags", clone_flags(all), Known::AtEntry);
    if all & (PARENT_SETTID | PIDFD) != 0 {
        let written = match context.success() {
            Some(_) => kinds::pointee(context, &Of::Pointee(Scalar::Int), 2, AT_SUCCESS),
            None => kinds::address(context.arg(2)),
        };
        push(2, "parent_tid", written, Known::AtExit);
    }
    if all & SETTLS != 0 {
        let value = match context.abi {
            Abi::I386 => structure(context, "user_desc", tls, AT_ENTRY),
            _ => kinds::address(context.arg(tls)),
        };
        push(tls, "tls", value, Known::AtEntry);
    }
    if all & (CHILD_SETTID | CHILD_CLEARTID) != 0 {
        push(child, "child_tidptr", kinds::address(context.arg(child)), Known::AtEntry);
    }
    decoded.arguments = arguments;
}

/// The lower byte of the flags is the signal for the parent.
fn clone_flags(all: u64) -> Value {
    let signal = all & 0xff;
    let flags = kinds::flags("clone_flags", all & !0xff);
    if signal == 0 {
        return flags;
    }
    let name = kinds::scalar(Scalar::Signal, signal, Abi::X86_64);
    match flags {
        Value::Flags { mut names, rest, prefix } => {
            if rest != 0 {
                return Value::Macro(
                    format!("{}|{name}", Value::Flags { names, rest, prefix }).into(),
                );
            }
            names.push(name.to_string().into());
            Value::Flags { names, rest, prefix }
        }
        Value::Hex(0) => name,
        other => Value::Macro(format!("{other}|{name}").into()),
    }
}

/// The id of the new thread, which the call writes to the parent's memory, equals the result.
pub(super) fn clone3(context: &Context<'_>, decoded: &mut Decoded) {
    let flags = context.entry(0).bytes().and_then(|bytes| kinds::number(bytes, 8)).unwrap_or(0);
    let Some(result @ 1..) = context.success() else { return };
    if flags & (PARENT_SETTID | PIDFD) != PARENT_SETTID {
        return;
    }
    let Some(argument) = decoded.arguments.first_mut() else { return };
    if matches!(argument.value, Value::Struct { .. }) {
        let fields = vec![boxed(Value::Signed(result)).named("parent_tid")];
        let after = Value::Struct { fields, is_cut: false };
        let before = std::mem::replace(&mut argument.value, Value::Null);
        argument.value = Value::Changed(Box::new(before), Box::new(after));
    }
}

/// Nothing is written if no child changed its state.
pub(super) fn wait4(context: &Context<'_>, decoded: &mut Decoded) {
    if context.success() == Some(0) {
        set(decoded, 1, kinds::address(context.arg(1)));
        set(decoded, 3, kinds::address(context.arg(3)));
    }
}

/// A text at an address, up to its NUL.
fn text(context: &Context<'_>, at: usize, when: u8, limit: usize) -> Value {
    match context.memory(at, when, limit) {
        Memory::Bytes(bytes, wanted) => {
            let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
            let shown = end.min(limit - 1);
            let is_cut = shown < end || end == bytes.len() && wanted > end as u64;
            Value::Text { bytes: bytes[..shown].to_vec(), is_cut }
        }
        _ => kinds::address(context.arg(at)),
    }
}

pub(super) fn prctl(context: &Context<'_>, decoded: &mut Decoded) {
    let arg = context.arg(1);
    let unsigned = |at: usize| Value::Unsigned(context.arg(at));
    let written = |value: Option<Value>| match context.success() {
        Some(_) => value.unwrap_or(kinds::address(arg)),
        None => kinds::address(arg),
    };
    let int = || {
        pointed(context, 1, AT_SUCCESS, 4)
            .map(|number| Value::Signed(i64::from(kinds::low(number).cast_signed())))
    };
    match context.uint(0) {
        // PR_SET_PDEATHSIG
        1 => {
            let signal = kinds::scalar(Scalar::Signal, arg, context.abi);
            set(decoded, 1, signal);
            truncate(decoded, 2);
        }
        // PR_GET_PDEATHSIG
        2 => {
            let signal = pointed(context, 1, AT_SUCCESS, 4)
                .map(|number| boxed(kinds::scalar(Scalar::Signal, number, context.abi)));
            at_exit(decoded, 1, written(signal));
            truncate(decoded, 2);
        }
        // PR_GET_DUMPABLE, PR_GET_KEEPCAPS, PR_GET_TIMING, PR_GET_SECCOMP, PR_GET_SECUREBITS,
        // PR_GET_TIMERSLACK, PR_MCE_KILL_GET without further arguments
        3 | 7 | 13 | 21 | 27 | 30 => truncate(decoded, 1),
        // PR_SET_DUMPABLE
        4 => {
            set(decoded, 1, kinds::name("dumpable", arg));
            truncate(decoded, 2);
        }
        // PR_SET_KEEPCAPS, PR_SET_TIMERSLACK
        8 | 29 => {
            set(decoded, 1, unsigned(1));
            truncate(decoded, 2);
        }
        // PR_SET_NAME
        15 => {
            set(decoded, 1, text(context, 1, AT_ENTRY, 16));
            truncate(decoded, 2);
        }
        // PR_GET_NAME
        16 => {
            at_exit(decoded, 1, written(Some(text(context, 1, AT_SUCCESS, 16))));
            truncate(decoded, 2);
        }
        // PR_SET_SECCOMP
        22 => {
            set(decoded, 1, kinds::name("seccomp_mode", arg));
            match arg {
                2 => truncate(decoded, 3),
                _ => truncate(decoded, 2),
            }
            if arg == 2 {
                set(decoded, 2, kinds::address(context.arg(2)));
            }
        }
        // PR_CAPBSET_READ, PR_CAPBSET_DROP
        23 | 24 => {
            set(decoded, 1, kinds::name("capability", arg));
            truncate(decoded, 2);
        }
        // PR_SET_SECUREBITS
        28 => {
            set(decoded, 1, kinds::flags("securebits", arg));
            truncate(decoded, 2);
        }
        // PR_GET_UNALIGN, PR_GET_FPEMU, PR_GET_FPEXC, PR_GET_ENDIAN, PR_GET_TSC
        5 | 9 | 11 | 19 | 25 => {
            at_exit(decoded, 1, written(int().map(boxed)));
            truncate(decoded, 2);
        }
        // PR_SET_CHILD_SUBREAPER
        36 => {
            set(decoded, 1, unsigned(1));
            truncate(decoded, 2);
        }
        // PR_GET_CHILD_SUBREAPER
        37 => {
            at_exit(decoded, 1, written(int().map(boxed)));
            truncate(decoded, 2);
        }
        // PR_SET_NO_NEW_PRIVS, PR_SET_THP_DISABLE
        38 | 41 => (1..5).for_each(|at| set(decoded, at, unsigned_or_hex(context, at))),
        // PR_CAP_AMBIENT
        47 => {
            set(decoded, 1, kinds::name("cap_ambient", arg));
            if (1..=3).contains(&arg) {
                set(decoded, 2, kinds::name("capability", context.arg(2)));
            }
        }
        // PR_SET_VMA, PR_SET_VMA_ANON_NAME
        0x5356_4d41 => {
            set(decoded, 1, kinds::name("prctl_vma", arg));
            set(decoded, 2, kinds::address(context.arg(2)));
            set(decoded, 3, unsigned(3));
            set(decoded, 4, kinds::address(context.arg(4)));
        }
        // PR_SET_PTRACER
        0x5961_6d61 => {
            let value = match context.long(1) {
                -1 => Value::Macro("PR_SET_PTRACER_ANY".into()),
                pid => Value::Signed(pid),
            };
            set(decoded, 1, value);
            truncate(decoded, 2);
        }
        _ => {}
    }
}

fn unsigned_or_hex(context: &Context<'_>, at: usize) -> Value {
    if at == 1 { Value::Unsigned(context.arg(at)) } else { Value::Hex(context.arg(at)) }
}

fn at_exit(decoded: &mut Decoded, at: usize, value: Value) {
    if let Some(argument) = decoded.arguments.get_mut(at) {
        argument.known = Known::AtExit;
        argument.value = value;
    }
}

pub(super) fn arch_prctl(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 1, Value::Hex(context.arg(1)));
    // ARCH_GET_FS, ARCH_GET_GS
    if [0x1003, 0x1004].contains(&context.uint(0)) {
        let read = context.success().and_then(|_| pointed(context, 1, AT_SUCCESS, 8));
        let value = read.map(|number| boxed(Value::Hex(number)));
        at_exit(decoded, 1, value.unwrap_or(kinds::address(context.arg(1))));
    }
}

/// The indexes exist only for files.
pub(super) fn kcmp(context: &Context<'_>, decoded: &mut Decoded) {
    match context.uint(2) {
        0 => {
            for at in [3, 4] {
                let number = i64::from(context.uint(at).cast_signed());
                set(decoded, at, Value::File { number, name: None });
            }
        }
        1..=6 => truncate(decoded, 3),
        // KCMP_EPOLL_TFD
        7 => {
            let number = i64::from(context.uint(3).cast_signed());
            set(decoded, 3, Value::File { number, name: None });
            let field = |at: usize| {
                let bytes = context.entry(4).bytes()?;
                kinds::number(bytes.get(at..)?, 4).map(kinds::low)
            };
            let slot = match (field(0), field(4), field(8)) {
                (Some(epoll), Some(target), Some(offset)) => {
                    let fd = |fd: u32| {
                        let number = i64::from(fd.cast_signed());
                        Value::File { number, name: None }
                    };
                    let fields = vec![
                        fd(epoll).named("efd"),
                        fd(target).named("tfd"),
                        Value::Unsigned(u64::from(offset)).named("toff"),
                    ];
                    Value::Struct { fields, is_cut: false }
                }
                _ => kinds::address(context.arg(4)),
            };
            set(decoded, 4, slot);
        }
        _ => [3, 4].into_iter().for_each(|at| set(decoded, at, Value::Hex(context.arg(at)))),
    }
}

pub(super) fn seccomp(context: &Context<'_>, decoded: &mut Decoded) {
    match context.uint(0) {
        // SECCOMP_SET_MODE_STRICT
        0 => {
            set(decoded, 1, Value::Hex(u64::from(context.uint(1))));
            set(decoded, 2, kinds::address(context.arg(2)));
        }
        // SECCOMP_SET_MODE_FILTER
        1 => {
            let width = super::super::signature::word(context.abi);
            let bytes = context.memory(2, AT_ENTRY, 16).bytes().unwrap_or_default();
            let length = kinds::number(bytes, 2);
            let filter = bytes.get(width..).and_then(|rest| kinds::number(rest, width));
            if let (Some(length), Some(filter)) = (length, filter) {
                let fields = vec![
                    Value::Unsigned(length).named("len"),
                    kinds::address(filter).named("filter"),
                ];
                set(decoded, 2, Value::Struct { fields, is_cut: false });
            }
        }
        // SECCOMP_GET_ACTION_AVAIL
        2 => {
            set(decoded, 1, Value::Hex(u64::from(context.uint(1))));
            if let Some(action) = pointed(context, 2, AT_ENTRY, 4) {
                set(decoded, 2, boxed(kinds::name("seccomp_action", action)));
            }
        }
        _ => {}
    }
}

/// The call has no arguments. strace shows the mask that it restores, which is on the stack.
pub(super) fn sigreturn(_context: &Context<'_>, _decoded: &mut Decoded) {}

/// The information about the signal is written only if a signal came.
pub(super) fn sigtimedwait(context: &Context<'_>, decoded: &mut Decoded) {
    if let Some(signal @ 1..) = context.success() {
        let name = kinds::scalar(Scalar::Signal, signal.cast_unsigned(), context.abi);
        super::note(decoded, name.to_string());
    }
}

/// The kernel continues a call that a signal interrupted. Which one it was, the record of the
/// interrupted call says.
pub(super) fn restart_syscall(_context: &Context<'_>, decoded: &mut Decoded) {
    let value = Value::Macro("<... resuming interrupted system call ...>".into());
    decoded.arguments =
        vec![Argument { name: "interrupted", label: None, value, known: Known::AtEntry }];
}
