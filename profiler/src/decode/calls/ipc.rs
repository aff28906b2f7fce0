//! Interprocess communication of System V.

use profiler_common::{
    call::Abi,
    trace::{AT_ENTRY, AT_SUCCESS},
};

use super::{set, structure, truncate};
use crate::decode::{Argument, Decoded, Known, Value, context::Context, kinds, signature::word};

/// `IPC_SET` and `IPC_STAT`.
const SET: u32 = 1;
const STAT: u32 = 2;

fn at_exit(decoded: &mut Decoded, at: usize, value: Value) {
    if let Some(argument) = decoded.arguments.get_mut(at) {
        argument.known = Known::AtExit;
        argument.value = value;
    }
}

/// A command that reads or writes a structure at argument `at`.
fn control(context: &Context<'_>, decoded: &mut Decoded, command: u32, at: usize, name: &str) {
    match command & !0x100 {
        SET => set(decoded, at, structure(context, name, at, AT_ENTRY)),
        STAT => {
            let value = match context.success() {
                Some(_) => structure(context, name, at, AT_SUCCESS),
                None => kinds::address(context.arg(at)),
            };
            at_exit(decoded, at, value);
        }
        _ => set(decoded, at, kinds::address(context.arg(at))),
    }
}

pub(super) fn semctl(context: &Context<'_>, decoded: &mut Decoded) {
    let command = context.uint(2);
    match command & !0x100 {
        // SETVAL
        16 => set(decoded, 3, Value::Signed(i64::from(context.uint(3).cast_signed()))),
        // IPC_RMID, GETPID, GETVAL, GETNCNT, GETZCNT
        0 | 11 | 12 | 14 | 15 => set(decoded, 3, kinds::address(context.arg(3))),
        _ => control(context, decoded, command, 3, "semid_ds"),
    }
}

pub(super) fn msgctl(context: &Context<'_>, decoded: &mut Decoded) {
    control(context, decoded, context.uint(1), 2, "msqid_ds");
}

pub(super) fn shmctl(context: &Context<'_>, decoded: &mut Decoded) {
    control(context, decoded, context.uint(1), 2, "shmid_ds");
}

/// A message: its type, then its text.
fn message(context: &Context<'_>, when: u8, length: u64) -> Value {
    let width = word(context.abi);
    let wanted = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(width);
    let bytes = context.memory(1, when, wanted).bytes().unwrap_or_default();
    let Some(kind) = kinds::number(bytes, width) else { return kinds::address(context.arg(1)) };
    let kind = Value::Signed(kinds::signed(kind, width));
    let text = kinds::text(&bytes[width..], length, context.style.string_limit);
    Value::Struct { fields: vec![kind.named(""), text.named("")], is_cut: false }
}

pub(super) fn msgsnd(context: &Context<'_>, decoded: &mut Decoded) {
    set(decoded, 1, message(context, AT_ENTRY, context.arg(2)));
}

pub(super) fn msgrcv(context: &Context<'_>, decoded: &mut Decoded) {
    let value = match context.success() {
        Some(length) => message(context, AT_SUCCESS, length.cast_unsigned()),
        None => kinds::address(context.arg(1)),
    };
    at_exit(decoded, 1, value);
}

/// The calls of ipc(2) (include/uapi/linux/ipc.h), and the order in which their arguments come.
const CALLS: [(u32, &str, &[usize]); 12] = [
    (1, "semop", &[1, 4, 2]),
    (2, "semget", &[1, 2, 3]),
    (3, "semctl", &[1, 2, 3, 4]),
    (4, "semtimedop", &[1, 4, 2, 5]),
    (11, "msgsnd", &[1, 4, 2, 3]),
    (12, "msgrcv", &[1, 4, 2, 5, 3]),
    (13, "msgget", &[1, 2]),
    (14, "msgctl", &[1, 2, 4]),
    (21, "shmat", &[1, 4, 2]),
    (22, "shmdt", &[4]),
    (23, "shmget", &[1, 2, 3]),
    (24, "shmctl", &[1, 2, 4]),
];

/// strace shows the call that ipc(2) makes. The memory to which its arguments point was not copied.
pub(super) fn ipc(context: &Context<'_>, decoded: &mut Decoded) {
    if context.abi != Abi::I386 {
        return;
    }
    let number = context.uint(0) & 0xffff;
    let Some((_, name, order)) = CALLS.iter().find(|(of, ..)| *of == number) else { return };
    decoded.name = (*name).into();
    let names = ["call", "first", "second", "third", "ptr", "fifth"];
    let argument = |&at: &usize| Argument {
        name: names[at],
        label: None,
        value: match at {
            4 => kinds::address(context.arg(at)),
            _ => Value::Signed(i64::from(context.uint(at).cast_signed())),
        },
        known: Known::AtEntry,
    };
    decoded.arguments = order.iter().map(argument).collect();
    truncate(decoded, 6);
}
