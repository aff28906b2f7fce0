//! Signals: actions, sets, alternate stacks, and what is known of a delivered signal.

use std::borrow::Cow;

use profiler_common::call::{Abi, CallKey};

use super::{
    super::{Style, Value, constants, errors},
    Structure,
    read::{Reader, address, clock_ticks, hex, of},
};
use crate::names::syscalls;

pub(super) static ALL: &[Structure] = &[
    Structure {
        name: "sigaction",
        bytes: |abi| if abi == Abi::X86_64 { 32 } else { 20 },
        decode: sigaction,
    },
    Structure { name: "old_sigaction", bytes: |_| 16, decode: old_sigaction },
    Structure {
        name: "stack",
        bytes: |abi| if abi == Abi::X86_64 { 24 } else { 12 },
        decode: stack,
    },
    Structure { name: "siginfo", bytes: |_| 128, decode: siginfo },
];

/// A set of signals: `[INT TERM]`, or `~[KILL STOP]` if most signals are in the set.
fn set(bits: u64, width: u32) -> Value {
    let name = |bit: u32| -> Cow<'static, str> {
        match constants::signal_name(u64::from(bit) + 1) {
            Some(Cow::Borrowed(name)) => Cow::Borrowed(name.trim_start_matches("SIG")),
            Some(Cow::Owned(name)) => Cow::Owned(name.trim_start_matches("SIG").to_owned()),
            None => Cow::Owned((bit + 1).to_string()),
        }
    };
    let all = if width >= 64 { u64::MAX } else { (1 << width) - 1 };
    let is_complement = bits.count_ones() >= width * 2 / 3;
    let shown = if is_complement { !bits & all } else { bits & all };
    let members = (0..width).filter(|bit| shown >> bit & 1 == 1).map(name);
    Value::Set { members: members.collect(), is_complement }
}

fn handler(handler: u64) -> Value {
    match handler {
        0 => of("SIG_DFL"),
        1 => of("SIG_IGN"),
        _ => Value::Address(handler),
    }
}

/// `SA_RESTORER` (asm/signal.h).
const RESTORER: u64 = 0x0400_0000;

fn sigaction(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let called = reader.word();
    let flags = reader.word();
    let restorer = reader.word();
    let low = reader.u32();
    let mask = low | reader.u32() << 32;
    action(reader, called, flags, restorer, set(mask, 64))
}

fn old_sigaction(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let called = reader.u32();
    let mask = reader.u32();
    let flags = reader.u32();
    let restorer = reader.u32();
    action(reader, called, flags, restorer, set(mask, 32))
}

fn action(mut reader: Reader<'_>, called: u64, flags: u64, restorer: u64, mask: Value) -> Value {
    reader.put("sa_handler", handler(called));
    reader.put("sa_mask", mask);
    reader.put("sa_flags", constants::flags("sigaction_flags", flags));
    if flags & RESTORER != 0 {
        reader.put("sa_restorer", address(restorer));
    }
    reader.done(false)
}

fn stack(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let pointer = reader.word();
    reader.put("ss_sp", address(pointer));
    let flags = reader.u32();
    reader.put("ss_flags", constants::flags("sigaltstack_flags", flags));
    let size = reader.word();
    reader.put("ss_size", Value::Unsigned(size));
    reader.done(false)
}

/// The set of the codes that a signal has of its own.
fn codes(signal: u64) -> &'static str {
    match signal {
        4 => "si_code_ill",
        5 => "si_code_trap",
        7 => "si_code_bus",
        8 => "si_code_fpe",
        11 => "si_code_segv",
        17 => "si_code_chld",
        29 => "si_code_poll",
        31 => "si_code_sys",
        _ => "",
    }
}

/// Codes that all signals have: `SI_USER` and others.
const USER: i64 = 0;
const TIMER: i64 = -2;
const SIGIO: i64 = -5;
const TKILL: i64 = -6;

fn siginfo(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let signal = reader.u32();
    let errno = reader.u32();
    let code = reader.i32();
    if signal == 0 {
        return reader.done(false);
    }
    reader.put("si_signo", constants::signal(signal));
    let number = u64::from((code as i32).cast_unsigned());
    let name =
        constants::name("si_code_kill", number).or_else(|| constants::name(codes(signal), number));
    reader.put("si_code", name.map_or_else(|| of(hex(number)), of));
    if errno != 0 {
        let name = u16::try_from(errno).ok().and_then(errors::name);
        reader.put("si_errno", name.map_or(Value::Unsigned(errno), of));
    }
    if abi == Abi::X86_64 {
        reader.seek(16);
    }
    fields(&mut reader, abi, signal, code);
    reader.done(false)
}

/// The fields that depend on the signal and on its code.
fn fields(reader: &mut Reader<'_>, abi: Abi, signal: u64, code: i64) {
    match (signal, code) {
        (_, USER | TKILL) => sender(reader),
        (_, TIMER) => {
            let timer = reader.u32();
            reader.put("si_timerid", Value::Hex(timer));
            let count = reader.i32();
            reader.put("si_overrun", Value::Signed(count));
            let sent = reader.word();
            put_sent_value(reader, sent);
        }
        (_, SIGIO) => band(reader),
        (_, ..0) => {
            sender(reader);
            put_sent_value_if_any(reader);
        }
        (4 | 5 | 7 | 8 | 11, 1..) => fault(reader, abi, signal, code),
        (17, 1..) => {
            sender(reader);
            let status = reader.i32();
            // An exit has a code, everything else a signal.
            let status = match code {
                1 => Value::Signed(status),
                _ => constants::signal(status.cast_unsigned()),
            };
            reader.put("si_status", status);
            for name in ["si_utime", "si_stime"] {
                let ticks = if abi == Abi::I386 { reader.u32() } else { reader.u64() };
                reader.put(name, clock_ticks(ticks));
            }
        }
        (29, 1..) => band(reader),
        (31, 1..) => {
            let pointer = reader.word();
            reader.put("si_call_addr", address(pointer));
            let number = reader.u32();
            let arch = reader.u32();
            let (arch, of_arch) = match arch {
                0xc000_003e => (of("AUDIT_ARCH_X86_64"), Some(Abi::X86_64)),
                0x4000_0003 => (of("AUDIT_ARCH_I386"), Some(Abi::I386)),
                _ => (Value::Hex(arch), None),
            };
            reader.put("si_syscall", call(number, of_arch, abi));
            reader.put("si_arch", arch);
        }
        _ => {
            let both = reader.rest(8);
            if both.iter().any(|byte| *byte != 0) {
                sender(reader);
            } else {
                reader.skip(8);
            }
            put_sent_value_if_any(reader);
        }
    }
}

/// A call that was refused: `__NR_open`, or its number if it is one of another ABI.
fn call(number: u64, of_arch: Option<Abi>, abi: Abi) -> Value {
    let key = u32::try_from(number).ok().zip(of_arch);
    let name = key.and_then(|(number, abi)| syscalls::known(CallKey::of(abi, number)));
    match name {
        Some(name) if of_arch == Some(abi) => of(format!("__NR_{name}")),
        Some(name) => Value::Remark(Box::new(Value::Unsigned(number)), name.into()),
        None => Value::Unsigned(number),
    }
}

/// The address of a fault, and what was wrong with it.
fn fault(reader: &mut Reader<'_>, abi: Abi, signal: u64, code: i64) {
    let pointer = reader.word();
    reader.put("si_addr", address(pointer));
    // SEGV_BNDERR and SEGV_PKUERR. `si_addr_lsb` is before the bounds, with the alignment of a
    // pointer.
    if signal == 11 && code == 3 {
        reader.skip(if abi == Abi::X86_64 { 8 } else { 4 });
        for name in ["si_lower", "si_upper"] {
            let pointer = reader.word();
            reader.put(name, address(pointer));
        }
    } else if signal == 11 && code == 4 {
        reader.skip(if abi == Abi::X86_64 { 8 } else { 4 });
        let key = reader.u32();
        reader.put("si_pkey", Value::Unsigned(key));
    }
}

fn band(reader: &mut Reader<'_>) {
    let band = reader.word().cast_signed();
    reader.put("si_band", Value::Signed(band));
    let fd = reader.i32();
    reader.put("si_fd", Value::Signed(fd));
}

fn sender(reader: &mut Reader<'_>) {
    let pid = reader.i32();
    reader.put("si_pid", Value::Signed(pid));
    let user = reader.u32();
    let is_none = user == u64::from(u32::MAX);
    reader.put("si_uid", if is_none { Value::Signed(-1) } else { Value::Unsigned(user) });
}

fn put_sent_value(reader: &mut Reader<'_>, sent: u64) {
    reader.put("si_int", Value::Signed(i64::from((sent as u32).cast_signed())));
    reader.put("si_ptr", address(sent));
}

fn put_sent_value_if_any(reader: &mut Reader<'_>) {
    let sent = reader.word();
    if sent != 0 {
        put_sent_value(reader, sent);
    }
}
