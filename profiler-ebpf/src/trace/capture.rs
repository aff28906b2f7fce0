//! Runs the plan of a call: decides what to copy.
//!
//! Each kind of capture is a global function, which the verifier checks once
//! ([`global`](profiler_ebpf::global) says why).

use aya_ebpf::helpers::bpf_probe_read_user;
use profiler_common::trace::{
    AT_ENTRY, CAPTURES, COPIED, Capture, FAULT, From, Kind, MAX_MESSAGES, MAX_TEXT, MAX_TEXTS,
    MAX_VECTORS, NO_SPACE, PARTS_PER_MESSAGE, Part,
};

use super::{
    copy::{self, COMPAT, INDEX_SHIFT, LATE, OF_ARRAY, PARTIAL, TEXT},
    files,
    maps::{PENDING, PLANS},
};
use profiler_ebpf::{settings::TEXT_LIMIT, verifier::masked};

/// In `what` of [`run`]: the first bit of the captures to repeat.
pub const RETRIED_SHIFT: u32 = 8;

/// Bytes of an address or of what [`Kind::Followed`] follows, and of control data, that are copied,
/// at most.
const MAX_NAME: u64 = 128;
const MAX_CONTROL: u64 = 1024;

/// Copies a part: see [`copy::copy`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_part(slot: u32, what: u32, address: u64, wanted: u64, limit: u32) -> u32 {
    copy::copy(slot, what, address, wanted, limit)
}

/// Copies vectors: see [`copy_vectors`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_all_vectors(
    slot: u32,
    what: u32,
    address: u64,
    count: u64,
    most: u64,
) -> u32 {
    copy_vectors(slot, what, address, count, most)
}

/// Copies a message: see [`copy_message`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_most_of_message(slot: u32, what: u32, address: u64) -> u32 {
    copy_message(slot, what, address)
}

/// In the result of [`count_texts`]: a pointer could not be read.
const UNREADABLE: u32 = 1 << 31;

/// Counts texts: see [`count_texts`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn count_all_texts(what: u32, address: u64) -> u32 {
    count_texts(what, address)
}

/// Copies texts: see [`copy_texts`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_all_texts(slot: u32, what: u32, address: u64, limit: u32) -> u32 {
    copy_texts(slot, what, address, limit)
}

/// Describes an open file: see [`files::copy_file`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn copy_open_file(slot: u32, what: u32, descriptor: u32) -> u32 {
    files::copy_file(slot, what, descriptor)
}

/// Runs one capture: see [`run_numbered`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn run_one_capture(
    slot: u32,
    plan: u32,
    what: u64,
    result: u64,
    faulted: u32,
) -> u32 {
    run_numbered(slot, plan, what, result, faulted)
}

/// Runs the captures of a plan, and returns a bit for each one that faulted. `what` has the times of
/// [`Capture::when`] in the lowest byte, and a bit for each capture to repeat in the next.
///
/// Until Linux 6.4, the verifier tells apart all values of a variable in a program with functions
/// (`__mark_reg_unknown`, kernel/bpf/verifier.c). So it would check the captures that follow for
/// each combination of captures that faulted. A function of its own returns any value, and so
/// forgets the combination.
#[inline(always)]
pub fn run(slot: u32, plan: u32, what: u32, result: u64) -> u32 {
    let Some(captures) = PLANS.get_ptr(plan) else { return 0 };
    let mut faulted = 0;
    for index in 0..CAPTURES {
        // SAFETY: fields of a live map value. Nobody writes it any more.
        let (kind, when) = unsafe {
            let capture = (&raw const *captures).cast::<Capture>().add(index);
            ((&raw const (*capture).kind).read(), (&raw const (*capture).when).read())
        };
        if kind == Kind::Nothing as u8 {
            break;
        }
        let is_repeated = what >> RETRIED_SHIFT >> index & 1;
        if u32::from(when) & what & 0xff | is_repeated != 0 {
            // A fault at the entry is not final: the part is copied again at the exit.
            let partial = if what & u32::from(AT_ENTRY) == 0 { PARTIAL } else { 0 };
            let late = if is_repeated != 0 { LATE } else { 0 };
            let one = (index as u64) | u64::from(late | partial) << 32;
            faulted = run_one_capture(slot, plan, one, result, faulted);
        }
    }
    faulted
}

/// Runs the capture with the number in the lower half of `what`. The upper half has [`LATE`] and
/// [`PARTIAL`].
/// Returns `faulted`, with the bit of the capture set if the capture faulted.
#[inline(always)]
pub fn run_numbered(slot: u32, plan: u32, what: u64, result: u64, faulted: u32) -> u32 {
    let Some(captures) = PLANS.get_ptr(plan) else { return faulted };
    let index = masked::<7>(what) as usize;
    // SAFETY: a live map value: the mask keeps the index within it. Nobody writes it any more.
    let capture = unsafe { (&raw const *captures).cast::<Capture>().add(index).read() };
    let flags = (what >> 32) as u32 & (LATE | PARTIAL);
    if run_capture(slot, index as u32 | flags, &capture, result) == FAULT.into() {
        return faulted | 1 << index;
    }
    faulted
}

/// Runs one capture. Returns the state of its part.
#[inline(always)]
fn run_capture(slot: u32, what: u32, capture: &Capture, result: u64) -> u32 {
    let Some(pending) = PENDING.get_ptr(slot.wrapping_sub(1)) else { return COPIED.into() };
    // SAFETY: words of a live map value: the mask keeps them within the header.
    let argument = |index: u8| unsafe {
        let at = masked::<7>(index.into()) as usize;
        (&raw const (*pending).header.args).cast::<u64>().add(at).read()
    };
    // SAFETY: a live map value.
    let is_compat = unsafe { (*pending).header.nr } >> 16 != 0;
    let what = if is_compat { what | COMPAT } else { what };
    if capture.kind == Kind::FileOfResult as u8 {
        return copy_open_file(slot, what, result as u32);
    }
    let address = argument(capture.arg);
    if capture.kind == Kind::File as u8 {
        return copy_open_file(slot, what, address as u32);
    }
    if address == 0 {
        return COPIED.into();
    }
    let limit = match capture.limit {
        0 => TEXT_LIMIT.load(),
        limit => limit.into(),
    };
    let limit = limit.min(MAX_TEXT);
    let count = match capture.from {
        from if from == From::Argument as u8 => argument(capture.from_arg),
        from if from == From::IntArgument as u8 => argument(capture.from_arg) & 0xffff_ffff,
        from if from == From::Bits as u8 => {
            let word = if is_compat { 32 } else { 64 };
            (argument(capture.from_arg) & 0xffff_ffff).div_ceil(word) * (word / 8)
        }
        from if from == From::Pointee as u8 => {
            // SAFETY: the helper checks the address.
            match unsafe { bpf_probe_read_user(argument(capture.from_arg) as *const u32) } {
                Ok(count) => count.into(),
                Err(_) => return FAULT.into(),
            }
        }
        from if from == From::Result as u8 => {
            if result as i64 <= 0 {
                return COPIED.into();
            }
            result
        }
        _ => 1,
    };
    // What is left of the result, for arrays of vectors that were filled.
    let left = if result as i64 > 0 { result.min(u32::MAX.into()) } else { u32::MAX.into() };
    let most = left << 32 | u64::from(limit);
    match capture.kind {
        kind if kind == Kind::Text as u8 => copy_part(slot, what | TEXT, address, 0, limit),
        kind if kind == Kind::Bytes as u8 => {
            let wanted = count.min(u32::MAX.into()) * u64::from(capture.size);
            copy_part(slot, what, address, wanted, limit)
        }
        kind if kind == Kind::Vectors as u8 => copy_all_vectors(slot, what, address, count, most),
        kind if kind == Kind::Message as u8 => copy_whole_message(slot, what, address, most),
        kind if kind == Kind::Messages as u8 => copy_messages(slot, what, address, count),
        kind if kind == Kind::Followed as u8 => copy_followed(slot, what, address),
        kind if kind == Kind::Texts as u8 => copy_all_texts(slot, what, address, limit),
        _ => COPIED.into(),
    }
}

/// Copies an array of vectors and the bytes to which they point. `most` has the limit of a part in
/// its lower half, and the number of bytes in all vectors in its upper half.
#[inline(always)]
pub fn copy_vectors(slot: u32, what: u32, address: u64, count: u64, most: u64) -> u32 {
    let word = if what & COMPAT != 0 { 4 } else { 8 };
    let entry = 2 * word;
    let at = copy::used(slot) + size_of::<Part>() as u32;
    let copied = count.min(MAX_VECTORS.into()) as u32;
    let wanted = count.min(u32::MAX.into()) * u64::from(entry);
    let mut state = copy_part(slot, what, address, wanted, copied * entry);
    if state != COPIED.into() && state != u32::from(profiler_common::trace::COPIED_LATE) {
        return state;
    }
    // Of an array of its own, the vectors follow the array. Of a message, they follow the control
    // data.
    let first = if what >> INDEX_SHIFT & (PARTS_PER_MESSAGE - 1) == 0 { 1 } else { 2 };
    let limit = most as u32;
    let mut left = most >> 32;
    for index in 0..MAX_VECTORS {
        if index >= copied {
            break;
        }
        let base = copy::word(slot, what, at + index * entry);
        let length = copy::word(slot, what, at + index * entry + word).min(left);
        left -= length;
        let what = what + ((first + index) << INDEX_SHIFT);
        if copy_part(slot, what, base, length, limit) == FAULT.into() {
            state = FAULT.into();
        }
    }
    state
}

/// Copies a `struct msghdr` and what it points to. The vectors are copied here, and not by
/// [`copy_message`]: one more function between would exceed the space on the stack.
#[inline(always)]
fn copy_whole_message(slot: u32, what: u32, address: u64, most: u64) -> u32 {
    let word = if what & COMPAT != 0 { 4 } else { 8 };
    let at = copy::used(slot) + size_of::<Part>() as u32;
    let state = copy_most_of_message(slot, what, address);
    // The structure could not be read, or there was no space for it.
    if copy::used(slot) < at + 7 * word {
        return state;
    }
    let vectors = copy::word(slot, what, at + 2 * word);
    let count = copy::word(slot, what, at + 3 * word);
    if vectors == 0 {
        return state;
    }
    match copy_all_vectors(slot, what + (2 << INDEX_SHIFT), vectors, count, most) {
        faulted if faulted == FAULT.into() => faulted,
        _ => state,
    }
}

/// Copies the first messages of an array. The bytes of a message that was received can be fewer than
/// its vectors have room for. The vectors are copied up to the limit of strings all the same.
#[inline(always)]
fn copy_messages(slot: u32, what: u32, address: u64, count: u64) -> u32 {
    let entry = if what & COMPAT != 0 { 8 * 4 } else { 8 * 8 };
    let most = u64::from(u32::MAX) << 32 | u64::from(TEXT_LIMIT.load().min(MAX_TEXT));
    let mut state = COPIED.into();
    for index in 0..MAX_MESSAGES {
        if u64::from(index) >= count {
            break;
        }
        let one = (what | OF_ARRAY) + ((index * PARTS_PER_MESSAGE) << INDEX_SHIFT);
        let at = address.wrapping_add(u64::from(index * entry));
        if copy_whole_message(slot, one, at, most) == FAULT.into() {
            state = FAULT.into();
        }
    }
    state
}

/// Copies a pointer with a number of bytes, and then these bytes.
#[inline(always)]
fn copy_followed(slot: u32, what: u32, address: u64) -> u32 {
    let word = if what & COMPAT != 0 { 4 } else { 8 };
    let at = copy::used(slot) + size_of::<Part>() as u32;
    let state = copy_part(slot, what, address, u64::from(2 * word), 2 * word);
    if state == FAULT.into() || state == NO_SPACE.into() {
        return state;
    }
    let (pointer, bytes) = (copy::word(slot, what, at), copy::word(slot, what, at + word));
    if pointer == 0 {
        return state;
    }
    copy_part(slot, what + (1 << INDEX_SHIFT), pointer, bytes, MAX_NAME as u32)
}

/// Copies a `struct msghdr`, its address and its control data.
#[inline(always)]
pub fn copy_message(slot: u32, what: u32, address: u64) -> u32 {
    let word = if what & COMPAT != 0 { 4 } else { 8 };
    let at = copy::used(slot) + size_of::<Part>() as u32;
    // `msg_namelen` and `msg_flags` are padded in the native structure.
    let size = if what & OF_ARRAY != 0 { 8 } else { 7 } * word;
    let state = copy_part(slot, what, address, size.into(), size);
    if state == FAULT.into() || state == NO_SPACE.into() {
        return state;
    }
    let field = |index: u32| copy::word(slot, what, at + index * word);
    let part = |index: u32| what + (index << INDEX_SHIFT);
    let mut faulted = false;
    let mut note = |state: u32| faulted |= state == FAULT.into();
    let (name, name_length) = (field(0), field(1) as u32);
    if name != 0 {
        let length = u64::from(name_length);
        note(copy_part(slot, part(1), name, length, MAX_NAME as u32));
    }
    let (control, control_length) = (field(4), field(5));
    if control != 0 && control_length != 0 {
        note(copy_part(slot, part(3), control, control_length, MAX_CONTROL as u32));
    }
    if faulted { FAULT.into() } else { state }
}

/// Counts the texts in an array of pointers, up to one more than [`MAX_TEXTS`]. Sets [`UNREADABLE`]
/// if a pointer could not be read.
#[inline(always)]
pub fn count_texts(what: u32, address: u64) -> u32 {
    let word = if what & COMPAT != 0 { 4 } else { 8_u32 };
    let pointer = |index: u32| {
        let at = address + u64::from(index * word);
        // SAFETY: the helper checks the address.
        unsafe {
            if what & COMPAT != 0 {
                bpf_probe_read_user(at as *const u32).map(u64::from)
            } else {
                bpf_probe_read_user(at as *const u64)
            }
        }
    };
    for index in 0..=MAX_TEXTS {
        match pointer(index) {
            Ok(0) => return index,
            Ok(_) => {}
            Err(_) => return index | UNREADABLE,
        }
    }
    MAX_TEXTS + 1
}

/// Copies an array of pointers to text, which a null pointer ends, and the texts.
#[inline(always)]
pub fn copy_texts(slot: u32, what: u32, address: u64, limit: u32) -> u32 {
    let word = if what & COMPAT != 0 { 4 } else { 8_u32 };
    // From a function of its own, so that the verifier knows nothing about the number. It would walk
    // the loop below once for each one.
    let counted = count_all_texts(what, address);
    let (count, is_faulted) = (counted & !UNREADABLE, counted & UNREADABLE != 0);
    let copied = count.min(MAX_TEXTS) * word;
    let at = copy::used(slot) + size_of::<Part>() as u32;
    // An array of which nothing can be read faults.
    let state = if is_faulted && count == 0 {
        copy_part(slot, what, address, word.into(), word)
    } else {
        copy_part(slot, what, address, (count * word).into(), copied)
    };
    let mut faulted = is_faulted || state == FAULT.into();
    if state == FAULT.into() || state == NO_SPACE.into() {
        return state;
    }
    for index in 0..MAX_TEXTS {
        if index >= count {
            break;
        }
        let text = copy::word(slot, what, at + index * word);
        let what = (what | TEXT) + ((1 + index) << INDEX_SHIFT);
        faulted |= copy_part(slot, what, text, 0, limit) == FAULT.into();
    }
    if faulted { FAULT.into() } else { state }
}
