//! ptrace(2): the request decides what the other arguments are.

use profiler_common::{
    call::{Abi, CallKey},
    trace::{AT_ENTRY, AT_SUCCESS},
};

use super::{boxed, kinds, pointed, set, structure, truncate};
use crate::{
    decode::{
        Decoded, Known, Value,
        context::Context,
        kinds::number,
        signature::{Scalar, word},
        value::Field,
    },
    names::syscalls,
};

fn at_exit(decoded: &mut Decoded, at: usize, value: Value) {
    if let Some(argument) = decoded.arguments.get_mut(at) {
        argument.known = Known::AtExit;
        argument.value = value;
    }
}

pub(super) fn ptrace(context: &Context<'_>, decoded: &mut Decoded) {
    let data = context.arg(3);
    let written =
        |width: usize| context.success().and_then(|_| pointed(context, 3, AT_SUCCESS, width));
    // The kernel takes a `long`.
    set(decoded, 0, kinds::name("ptrace_request", context.arg(0)));
    let Ok(request) = u32::try_from(context.arg(0)) else { return };
    match request {
        // PTRACE_TRACEME
        0 => truncate(decoded, 1),
        // PTRACE_CONT, PTRACE_SINGLESTEP, PTRACE_DETACH, PTRACE_SYSCALL, PTRACE_SYSEMU,
        // PTRACE_SYSEMU_SINGLESTEP, PTRACE_SINGLEBLOCK
        7 | 9 | 17 | 24 | 31 | 32 | 33 => {
            let signal = match kinds::low(data) {
                0 => Value::Signed(0),
                _ => kinds::scalar(Scalar::Signal, data, context.abi),
            };
            set(decoded, 3, signal);
        }
        // PTRACE_KILL, PTRACE_ATTACH, PTRACE_INTERRUPT, PTRACE_LISTEN
        8 | 16 | 0x4207 | 0x4208 => truncate(decoded, 2),
        // PTRACE_SETOPTIONS, PTRACE_SEIZE
        0x4200 | 0x4206 => set(decoded, 3, kinds::flags("ptrace_options", data)),
        // PTRACE_GETEVENTMSG
        0x4201 => {
            let value = written(8).map(|number| boxed(Value::Unsigned(number)));
            at_exit(decoded, 3, value.unwrap_or(kinds::address(data)));
        }
        // PTRACE_GETSIGINFO
        0x4202 if context.success().is_some() => {
            at_exit(decoded, 3, structure(context, "siginfo", 3, AT_SUCCESS));
        }
        // PTRACE_SETSIGINFO
        0x4203 => set(decoded, 3, structure(context, "siginfo", 3, AT_ENTRY)),
        // PTRACE_PEEKSIGINFO
        0x4209 => {
            let bytes = context.memory(2, AT_ENTRY, 16).bytes().unwrap_or_default();
            let field = |at: usize, width| number(bytes.get(at..)?, width);
            if let (Some(from), Some(flags), Some(count)) = (field(0, 8), field(8, 4), field(12, 4))
            {
                let flags = if flags == 1 {
                    Value::Macro("PTRACE_PEEKSIGINFO_SHARED".into())
                } else {
                    Value::Flags { names: Vec::new(), rest: flags, prefix: "PTRACE_PEEKSIGINFO_" }
                };
                let count = i64::from(kinds::low(count).cast_signed());
                let fields = vec![
                    Value::Unsigned(from).named("off"),
                    flags.named("flags"),
                    Value::Signed(count).named("nr"),
                ];
                set(decoded, 2, Value::Struct { fields, is_cut: false });
            }
        }
        // PTRACE_GETSIGMASK, PTRACE_SETSIGMASK
        0x420a | 0x420b => {
            set(decoded, 2, Value::Unsigned(context.arg(2)));
            let read = match request {
                0x420a => written(8),
                _ => pointed(context, 3, AT_ENTRY, 8),
            };
            if let Some(mask) = read.filter(|_| context.arg(2) == 8) {
                set(decoded, 3, kinds::signal_set(&mask.to_le_bytes()));
            }
        }
        // PTRACE_SECCOMP_GET_FILTER
        0x420c => set(decoded, 2, Value::Unsigned(context.arg(2))),
        // PTRACE_SECCOMP_GET_METADATA
        0x420d => metadata(context, decoded),
        // PTRACE_GET_SYSCALL_INFO
        0x420e => {
            set(decoded, 2, Value::Unsigned(context.arg(2)));
            if let Some(info) = context.success().and_then(|length| call_info(context, length)) {
                at_exit(decoded, 3, info);
            }
        }
        // PTRACE_PEEKTEXT, PTRACE_PEEKDATA, PTRACE_PEEKUSER
        1..=3 => {
            let value = written(8).map(|number| boxed(Value::Hex(number)));
            at_exit(decoded, 3, value.unwrap_or(kinds::address(data)));
        }
        // PTRACE_POKETEXT, PTRACE_POKEDATA, PTRACE_POKEUSER
        4..=6 => set(decoded, 3, Value::Hex(data)),
        // PTRACE_GETREGS, PTRACE_SETREGS, PTRACE_GETFPREGS, PTRACE_SETFPREGS, PTRACE_GETFPXREGS,
        // PTRACE_SETFPXREGS
        12..=15 | 18 | 19 if decoded.arguments.len() > 2 => {
            decoded.arguments.remove(2);
        }
        // PTRACE_GETREGSET, PTRACE_SETREGSET
        0x4204 | 0x4205 => register_set(context, decoded),
        _ => {}
    }
}

fn metadata(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 2, Value::Unsigned(context.arg(2)));
    if context.arg(2) < 8 {
        return;
    }
    let Some(offset) = pointed(context, 3, AT_ENTRY, 8) else { return };
    let mut fields = vec![Value::Unsigned(offset).named("filter_off")];
    let bytes = context.success().and_then(|_| context.memory(3, AT_SUCCESS, 16).bytes());
    if let Some(flags) = bytes.and_then(|bytes| number(bytes.get(8..)?, 8)) {
        fields.push(kinds::flags("seccomp_flags", flags).named("flags"));
    }
    set(decoded, 3, Value::Struct { fields, is_cut: false });
}

/// The sets of registers of a core dump (linux/elf.h).
fn register_set(context: &Context<'_>, decoded: &mut Decoded) {
    const NAMES: [(u64, &str); 6] = [
        (1, "NT_PRSTATUS"),
        (2, "NT_FPREGSET"),
        (3, "NT_PRPSINFO"),
        (4, "NT_TASKSTRUCT"),
        (6, "NT_AUXV"),
        (0x202, "NT_X86_XSTATE"),
    ];
    let kind = context.arg(2);
    let name = NAMES.iter().find(|(number, _)| *number == kind).map(|(_, name)| (*name).into());
    set(decoded, 2, Value::Name { name, number: kind, prefix: "NT_" });
    let width = word(context.abi);
    let bytes = context.memory(3, AT_ENTRY, 2 * width).bytes().unwrap_or_default();
    let length = bytes.get(width..).and_then(|rest| number(rest, width));
    if let (Some(base), Some(length), None) = (number(bytes, width), length, context.success()) {
        set(decoded, 3, kinds::vector(kinds::address(base), length));
    }
}

/// A `struct ptrace_syscall_info`, of which the process asked for `args[2]` bytes.
fn call_info(context: &Context<'_>, length: i64) -> Option<Value> {
    // What follows depends on the operation (linux/ptrace.h).
    const OPERATIONS: [&str; 4] = [
        "PTRACE_SYSCALL_INFO_NONE",
        "PTRACE_SYSCALL_INFO_ENTRY",
        "PTRACE_SYSCALL_INFO_EXIT",
        "PTRACE_SYSCALL_INFO_SECCOMP",
    ];
    let asked = usize::try_from(context.arg(2)).unwrap_or(usize::MAX);
    let there = asked.min(usize::try_from(length).ok()?).min(88);
    let bytes = context.memory(3, AT_SUCCESS, there).bytes()?;
    let bytes = &bytes[..there.min(bytes.len())];
    let field = |at: usize, width: usize| number(bytes.get(at..)?, width);
    let operation = field(0, 1)?;
    let name = usize::try_from(operation).ok().and_then(|at| OPERATIONS.get(at));
    let name = name.map(|name| (*name).into());
    let operation_name = Value::Name { name, number: operation, prefix: "PTRACE_SYSCALL_INFO_" };
    let mut fields: Vec<Field> = vec![operation_name.named("op")];
    let (mut abi, mut is_known) = (context.abi, false);
    if let Some(arch) = field(4, 4) {
        let name = match arch {
            0xc000_003e => Some("AUDIT_ARCH_X86_64"),
            0x4000_0003 => Some("AUDIT_ARCH_I386"),
            _ => None,
        };
        is_known = name.is_some();
        abi = if arch == 0x4000_0003 { Abi::I386 } else { Abi::X86_64 };
        let name = name.map(Into::into);
        fields.push(Value::Name { name, number: arch, prefix: "AUDIT_ARCH_" }.named("arch"));
    }
    for (at, name) in [(8, "instruction_pointer"), (16, "stack_pointer")] {
        fields.extend(field(at, 8).map(|pointer| kinds::address(pointer).named(name)));
    }
    if let Some(nr) = field(24, 8) {
        let (inner, name) = match operation {
            1 | 3 => {
                let known = u32::try_from(nr).ok().filter(|_| is_known);
                let known = known.and_then(|nr| syscalls::known(CallKey::of(abi, nr)));
                let nr = match known {
                    Some(name) if abi == context.abi => Value::Macro(format!("__NR_{name}").into()),
                    Some(name) => Value::Remark(Box::new(Value::Unsigned(nr)), name.into()),
                    None => Value::Unsigned(nr),
                };
                let mut inner = vec![nr.named("nr")];
                let words = (0..6).map_while(|at| field(32 + 8 * at, 8)).map(Value::Hex);
                let items: Vec<_> = words.collect();
                if !items.is_empty() {
                    inner.push(Value::Array { items, is_cut: false }.named("args"));
                }
                if operation == 3 {
                    inner.extend(field(80, 4).map(|data| Value::Unsigned(data).named("ret_data")));
                }
                (inner, if operation == 1 { "entry" } else { "seccomp" })
            }
            2 => {
                let is_error = field(32, 1);
                let value = match u16::try_from(nr.cast_signed().unsigned_abs()).ok() {
                    Some(errno) if is_error == Some(1) => {
                        let name = crate::decode::errors::name(errno);
                        name.map(|name| Value::Macro(format!("-{name}").into()))
                    }
                    _ => None,
                };
                let mut inner =
                    vec![value.unwrap_or(Value::Signed(nr.cast_signed())).named("rval")];
                inner.extend(is_error.map(|number| Value::Unsigned(number).named("is_error")));
                (inner, "exit")
            }
            _ => return Some(Value::Struct { fields, is_cut: false }),
        };
        fields.push(Value::Struct { fields: inner, is_cut: false }.named(name));
    }
    Some(Value::Struct { fields, is_cut: false })
}
