//! What the kernel side copies of each call, as the signatures say.

use profiler_common::{
    call::{Abi, CallKey},
    trace::{
        AT_ENTRY, AT_FAILURE, AT_SUCCESS, CAPTURES, Capture, From, Kind as What, NO_PLAN,
        PART_BYTES, Plan,
    },
};

use super::{
    calls,
    signature::{self, Count, Direction, Of, Scalar, Signature, word},
    structs,
};

/// The plan of a call, with the files that its descriptors name at the end.
pub(super) fn of(key: CallKey, with_files: bool) -> Plan {
    let Some((abi, signature)) = key.abi().zip(signature::of(key)) else { return NO_PLAN };
    let mut builder = Builder { plan: NO_PLAN, used: 0 };
    builder.add_signature(signature, abi);
    if with_files {
        builder.add_files(signature, abi);
    }
    for capture in &mut builder.plan {
        if capture.from == From::Argument as u8 && signature.is_int(capture.from_arg, abi) {
            capture.from = From::IntArgument as u8;
        }
    }
    builder.plan
}

struct Builder {
    plan: Plan,
    used: usize,
}

/// When the parts are copied of memory that is used in this direction.
pub(super) fn whens(direction: Direction) -> &'static [u8] {
    match direction {
        Direction::In => &[AT_ENTRY],
        Direction::Out => &[AT_SUCCESS],
        Direction::Both => &[AT_ENTRY, AT_SUCCESS],
        Direction::Failure => &[AT_FAILURE],
    }
}

/// A limit that fits a part.
#[expect(clippy::cast_possible_truncation, reason = "PART_BYTES fits into 16 bits")]
fn limit(bytes: usize) -> u16 {
    bytes.min(PART_BYTES) as u16
}

impl Builder {
    /// Adds a capture. Further captures than fit are left out.
    fn add(&mut self, capture: Capture) {
        if self.used < CAPTURES {
            self.plan[self.used] = capture;
            self.used += 1;
        }
    }

    fn add_signature(&mut self, signature: &Signature, abi: Abi) {
        let mut register = 0_u8;
        for kind in &signature.kinds {
            for &when in whens(kind.direction) {
                self.add_kind(&kind.of, register, when, abi);
            }
            // The addresses are shown if the call failed.
            if let (&Of::Vectors(count), Direction::Out) = (&kind.of, kind.direction) {
                self.add_kind(&Of::Addresses(count), register, AT_FAILURE, abi);
            }
            register += u8::try_from(kind.of.registers(abi)).unwrap_or(1);
        }
        let extra = signature.special.map_or(&[][..], |special| calls::captures(special));
        for &(arg, bytes, when) in extra {
            let kind = if bytes == calls::TEXT { What::Text } else { What::Bytes };
            let capture = match bytes {
                calls::TEXT => Capture::NOTHING,
                calls::BITS => Capture {
                    from: From::Bits as u8,
                    size: 1,
                    limit: limit(128),
                    ..Capture::NOTHING
                },
                _ => fixed(bytes),
            };
            self.add(Capture { kind: kind as u8, arg, when, ..capture });
        }
    }

    fn add_kind(&mut self, of: &Of, arg: u8, when: u8, abi: Abi) {
        let base = Capture { arg, when, ..Capture::NOTHING };
        let bytes = |capture: Capture| Capture { kind: What::Bytes as u8, arg, when, ..capture };
        match *of {
            Of::Scalar(_) | Of::OffsetPair | Of::OffsetHighLow | Of::OffsetFlags(_) | Of::Skip => {}
            Of::Path => {
                self.add(Capture { kind: What::Text as u8, limit: limit(PART_BYTES), ..base });
            }
            Of::Text => self.add(Capture { kind: What::Text as u8, ..base }),
            Of::Bytes(count) => self.add(bytes(counted(count, 1, 0))),
            Of::Struct(name, count) => {
                let Some(size) = structs::find(name).map(|found| (found.bytes)(abi)) else {
                    return;
                };
                match count {
                    None => self.add(bytes(fixed(size))),
                    Some(count) if structs::EXTENSIBLE.contains(&name) => {
                        self.add(bytes(counted(count, 1, size + structs::TAIL)));
                    }
                    Some(count) => self.add(bytes(counted(count, 1, size))),
                }
            }
            Of::Structs(name, count) | Of::StructItems(name, count) => {
                let size = match name {
                    "pollfd" => 8,
                    _ => structs::find(name).map_or(0, |found| (found.bytes)(abi)),
                };
                if (1..=PART_BYTES).contains(&size) {
                    let all = PART_BYTES / size * size;
                    self.add(bytes(counted(count, size, all)));
                }
            }
            Of::Pointee(scalar) => self.add(bytes(fixed(scalar.bytes(abi)))),
            Of::Items(scalar, count) => {
                self.add(bytes(counted(count, scalar.bytes(abi), PART_BYTES)));
            }
            Of::Vectors(from_arg) => self.add(Capture {
                kind: What::Vectors as u8,
                from: From::Argument as u8,
                from_arg,
                size: limit(2 * word(abi)),
                ..base
            }),
            Of::Addresses(from_arg) => {
                let count = Count::Argument(from_arg);
                self.add(bytes(counted(count, 2 * word(abi), PART_BYTES)));
            }
            Of::Message => self.add(Capture { kind: What::Message as u8, ..base }),
            Of::Messages(count) => {
                let size = 8 * word(abi);
                self.add(Capture { kind: What::Messages as u8, ..bytes(counted(count, size, 0)) });
                if when == AT_ENTRY {
                    // The call writes how many bytes of each message it sent.
                    let all = PART_BYTES / size * size;
                    let sent = counted(Count::Result, size, all);
                    self.add(Capture { when: AT_SUCCESS, ..bytes(sent) });
                }
            }
            Of::SignalSetAndSize => self.add(Capture { kind: What::Followed as u8, ..base }),
            Of::Texts => self.add(Capture { kind: What::Texts as u8, ..base }),
            Of::Environment => {
                // The array has no stated length. What lies behind its end may not be mapped.
                for size in [2048, 512, 64, 32, 16, 8] {
                    self.add(bytes(fixed(size)));
                }
            }
            Of::SocketAddress(count) => self.add(bytes(counted(count, 1, 128))),
            Of::SignalSet(count) | Of::CpuSet(count) => self.add(bytes(counted(count, 1, 128))),
        }
    }

    fn add_files(&mut self, signature: &Signature, abi: Abi) {
        let mut arg = 0_u8;
        for kind in &signature.kinds {
            if matches!(kind.of, Of::Scalar(Scalar::Fd | Scalar::DirFd)) {
                let kind = What::File as u8;
                self.add(Capture { kind, arg, when: AT_ENTRY, ..Capture::NOTHING });
            }
            arg += u8::try_from(kind.of.registers(abi)).unwrap_or(1);
        }
        if signature.result == Some("fd") {
            let kind = What::FileOfResult as u8;
            self.add(Capture { kind, when: AT_SUCCESS, ..Capture::NOTHING });
        }
    }
}

/// So many bytes.
fn fixed(bytes: usize) -> Capture {
    Capture { from: From::One as u8, size: limit(bytes), limit: limit(bytes), ..Capture::NOTHING }
}

/// Elements of `size` bytes; together at most `all` bytes, or the limit of strings if `all` is 0.
fn counted(count: Count, size: usize, all: usize) -> Capture {
    let base = Capture { size: limit(size), limit: limit(all), ..Capture::NOTHING };
    match count {
        Count::Argument(from_arg) => Capture { from: From::Argument as u8, from_arg, ..base },
        Count::Pointee(from_arg) => Capture { from: From::Pointee as u8, from_arg, ..base },
        Count::Result => Capture { from: From::Result as u8, ..base },
        Count::Fixed(number) => fixed(usize::from(number) * size),
        // A vector has a byte per page of 4096 bytes, so the length in bytes is far too much.
        Count::Pages => fixed(64),
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::ABIS;

    use super::*;

    #[test]
    fn plans_are_within_bounds() {
        for abi in ABIS {
            for nr in 0..abi.limit() {
                let plan = of(CallKey::of(abi, nr), true);
                let end = plan.iter().position(|capture| capture.kind == 0).unwrap_or(CAPTURES);
                for (at, capture) in plan.iter().enumerate() {
                    assert_eq!(capture.kind == 0, at >= end, "{abi} {nr}: {capture:?}");
                    assert!(capture.arg < 6 && capture.from_arg < 6, "{abi} {nr}: {capture:?}");
                    assert!(usize::from(capture.limit) <= PART_BYTES);
                    assert!(at >= end || [1, 2, 4].contains(&capture.when), "{capture:?}");
                }
            }
        }
    }

    #[test]
    fn a_plan_copies_what_the_call_uses() {
        let read = of(CallKey::of(Abi::X86_64, 0), false);
        let expected = Capture {
            kind: What::Bytes as u8,
            arg: 1,
            from: From::Result as u8,
            size: 1,
            when: AT_SUCCESS,
            ..Capture::NOTHING
        };
        assert_eq!(read[0], expected);
        assert_eq!(read[1], Capture::NOTHING);
        let open = of(CallKey::of(Abi::X86_64, 257), false);
        assert_eq!((open[0].kind, open[0].arg, open[0].when), (What::Text as u8, 1, AT_ENTRY));
        assert_eq!(usize::from(open[0].limit), PART_BYTES);
    }
}
