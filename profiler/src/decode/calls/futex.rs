//! futex(2): the operation decides what the other arguments are.

use super::{set, truncate};
use crate::decode::{Decoded, Value, context::Context, kinds};

/// `FUTEX_PRIVATE_FLAG` and `FUTEX_CLOCK_REALTIME`.
const FLAGS: u32 = 0x180;

pub(super) fn futex(context: &Context<'_>, decoded: &mut Decoded) {
    let operation = context.uint(1);
    let hex = |at: usize| Value::Hex(u64::from(context.uint(at)));
    let count = |at: usize| Value::Unsigned(u64::from(context.uint(at)));
    let value = Value::Unsigned(u64::from(context.uint(2)));
    // Only waits have a clock.
    let has_valid_flags = operation & 0x100 == 0 || [0, 9, 11, 13].contains(&(operation & !FLAGS));
    match kinds::name("futex_operation", u64::from(operation & !FLAGS)) {
        Value::Name { name: Some(name), .. } if has_valid_flags => {
            let mut text = name.into_owned();
            if operation & 0x80 != 0 {
                text.push_str("_PRIVATE");
            }
            if operation & 0x100 != 0 {
                text.push_str("|FUTEX_CLOCK_REALTIME");
            }
            set(decoded, 1, Value::Macro(text.into()));
        }
        other => {
            if let Value::Name { prefix, .. } = other {
                let number = u64::from(operation);
                set(decoded, 1, Value::Name { name: None, number, prefix });
            }
        }
    }
    match operation & !FLAGS {
        // FUTEX_WAIT
        0 => {
            set(decoded, 2, value);
            truncate(decoded, 4);
        }
        // FUTEX_WAKE
        1 => {
            set(decoded, 2, count(2));
            truncate(decoded, 3);
        }
        // FUTEX_FD
        2 => {
            set(decoded, 2, count(2));
            truncate(decoded, 3);
        }
        // FUTEX_REQUEUE
        3 => {
            set(decoded, 2, count(2));
            set(decoded, 3, count(3));
            truncate(decoded, 5);
        }
        // FUTEX_CMP_REQUEUE, FUTEX_CMP_REQUEUE_PI
        4 | 12 => {
            set(decoded, 2, count(2));
            set(decoded, 3, count(3));
            set(decoded, 5, Value::Unsigned(u64::from(context.uint(5))));
        }
        // FUTEX_WAKE_OP
        5 => {
            set(decoded, 2, count(2));
            set(decoded, 3, count(3));
            set(decoded, 5, Value::Macro(wake_op(context.uint(5)).into()));
        }
        // FUTEX_LOCK_PI
        6 | 13 => {
            if decoded.arguments.len() > 2 {
                decoded.arguments.remove(2);
            }
            truncate(decoded, 3);
        }
        // FUTEX_UNLOCK_PI, FUTEX_TRYLOCK_PI
        7 | 8 => truncate(decoded, 2),
        // FUTEX_WAIT_BITSET
        9 => {
            set(decoded, 2, value);
            set(decoded, 5, bitset(context.uint(5)));
            if decoded.arguments.len() > 5 {
                decoded.arguments.remove(4);
            }
        }
        // FUTEX_WAKE_BITSET
        10 => {
            set(decoded, 2, count(2));
            set(decoded, 5, bitset(context.uint(5)));
            if decoded.arguments.len() > 5 {
                decoded.arguments.drain(3..5);
            }
        }
        // FUTEX_WAIT_REQUEUE_PI
        11 => {
            set(decoded, 2, value);
            truncate(decoded, 5);
        }
        _ => {
            set(decoded, 2, hex(2));
            set(decoded, 3, kinds::address(context.arg(3)));
            set(decoded, 5, hex(5));
        }
    }
}

fn bitset(bits: u32) -> Value {
    if bits == u32::MAX {
        let name = Some("FUTEX_BITSET_MATCH_ANY".into());
        return Value::Name { name, number: u64::from(bits), prefix: "" };
    }
    Value::Hex(u64::from(bits))
}

/// The operation and the comparison of `FUTEX_WAKE_OP`, which are encoded in a number.
fn wake_op(number: u32) -> String {
    let operation = match number >> 28 & 7 {
        0 => "FUTEX_OP_SET",
        1 => "FUTEX_OP_ADD",
        2 => "FUTEX_OP_OR",
        3 => "FUTEX_OP_ANDN",
        4 => "FUTEX_OP_XOR",
        _ => "0x5 /* FUTEX_OP_??? */",
    };
    let comparison = match number >> 24 & 0xf {
        0 => "FUTEX_OP_CMP_EQ",
        1 => "FUTEX_OP_CMP_NE",
        2 => "FUTEX_OP_CMP_LT",
        3 => "FUTEX_OP_CMP_LE",
        4 => "FUTEX_OP_CMP_GT",
        5 => "FUTEX_OP_CMP_GE",
        _ => "0x6 /* FUTEX_OP_CMP_??? */",
    };
    let shift = if number >> 31 == 1 { "FUTEX_OP_OPARG_SHIFT<<28|" } else { "" };
    let hex = |number: u32| Value::Hex(u64::from(number));
    format!(
        "{shift}{operation}<<28|{}<<12|{comparison}<<24|{}",
        hex(number >> 12 & 0xfff),
        hex(number & 0xfff)
    )
}
