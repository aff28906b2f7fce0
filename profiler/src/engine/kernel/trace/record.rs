//! Parses the records of the kernel side. They are untrusted: every length is checked.

use std::fmt;

use profiler_common::{
    call::CallKey,
    recorder::{Head, Mark, SLOT_DATA, Slot},
    trace::{
        About, COPIED, COPIED_LATE, DENIED, FAULT, Header, NEVER_RETURNED, OPEN_FILE, PART_ALIGN,
        Part as Described,
    },
};

use super::file;
use crate::{
    model::{Call, Copied, Event, Happened, Left, Part, SignalDelivered},
    text::Untrusted,
};

/// Why a record is malformed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(&'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a record of the kernel side {}", self.0)
    }
}

/// Parses a record.
///
/// # Errors
/// [`Malformed`] if the record is too short, or names what does not exist.
pub fn parse(record: &[u8]) -> Result<Event, Malformed> {
    let (header, data) = split(record)?;
    event(&header, data, false)
}

/// Parses an event in a ring of a flight recorder, of whose parts only the beginning may be there.
pub(super) fn parse_slot(slot: &Slot) -> Result<Event, Malformed> {
    let header = &slot.head.header;
    let bytes = header.bytes as usize;
    let data = slot.data.get(..bytes.min(SLOT_DATA)).ok_or(Malformed("is too short"))?;
    event(header, data, bytes > SLOT_DATA)
}

/// Parses the beginning of a slot.
pub(super) fn parse_head(record: &[u8]) -> Result<Head, Malformed> {
    let mut fields = Fields(record);
    let mark = Mark {
        seq: fields.u64()?,
        calls: fields.u32()?,
        ring: fields.u32()?,
        owner: fields.u32()?,
        reserved: fields.u32()?,
    };
    Ok(Head { mark, header: header(&mut fields)? })
}

/// Makes an event of its header and parts. If `is_cut`, only the beginning of the parts is there.
pub(super) fn event(header: &Header, data: &[u8], is_cut: bool) -> Result<Event, Malformed> {
    let happened = match header.about {
        about if about == About::Call as u8 => Happened::Call(call(header, data, is_cut)?),
        about if about == About::Signal as u8 => Happened::Signal(signal(header)),
        about if about == About::End as u8 => Happened::Ended {
            at_ns: header.exit_ns,
            status: header.result as i32,
            is_last: header.args[0] != 0,
        },
        _ => return Err(Malformed("is about nothing known")),
    };
    Ok(Event {
        tid: header.tid,
        tgid: header.tgid,
        comm: Untrusted::from_comm(&header.comm),
        dropped: header.dropped.into(),
        happened,
    })
}

/// Parses a call in flight. `data` has its parts, and may be longer.
pub(super) fn in_flight(header: &Header, data: &[u8]) -> Result<Event, Malformed> {
    let data = data.get(..header.bytes as usize).ok_or(Malformed("is too short"))?;
    let call = Call { left: None, ..call(header, data, false)? };
    Ok(Event {
        tid: header.tid,
        tgid: header.tgid,
        comm: Untrusted::from_comm(&header.comm),
        dropped: 0,
        happened: Happened::Call(call),
    })
}

/// Splits a record into its header and the bytes of its parts.
fn split(record: &[u8]) -> Result<(Header, &[u8]), Malformed> {
    let mut fields = Fields(record);
    let header = header(&mut fields)?;
    let data = fields.take(header.bytes as usize)?;
    Ok((header, data))
}

fn header(fields: &mut Fields<'_>) -> Result<Header, Malformed> {
    let mut header = Header {
        about: fields.u8()?,
        flags: fields.u8()?,
        parts: fields.u16()?,
        bytes: fields.u32()?,
        tid: fields.u32()?,
        tgid: fields.u32()?,
        nr: fields.u32()?,
        dropped: fields.u32()?,
        entry_ns: fields.u64()?,
        exit_ns: fields.u64()?,
        result: fields.u64()?.cast_signed(),
        ..Header::default()
    };
    for argument in &mut header.args {
        *argument = fields.u64()?;
    }
    header.comm = fields.array()?;
    Ok(header)
}

fn call(header: &Header, data: &[u8], is_cut: bool) -> Result<Call, Malformed> {
    let key = CallKey(header.nr);
    if key.is_special() || key.abi().is_none_or(|abi| key.nr() >= abi.limit()) {
        return Err(Malformed("names no syscall"));
    }
    let is_left = header.flags & NEVER_RETURNED == 0;
    let left = is_left.then_some(Left { exit_ns: header.exit_ns, result: header.result });
    Ok(Call {
        key,
        args: header.args,
        entry_ns: (header.entry_ns != 0).then_some(header.entry_ns),
        left,
        thread_ended_ns: (!is_left).then_some(header.exit_ns),
        is_denied: header.flags & DENIED != 0,
        is_cut,
        parts: parts(header.parts, data, is_cut)?,
    })
}

/// Parses the parts of a call, and sorts them by capture and index. A part that was copied again at
/// the exit replaces the part of the entry. If `is_cut`, the last part is as long as the data, and
/// those behind it are missing.
fn parts(count: u16, data: &[u8], is_cut: bool) -> Result<Vec<Part>, Malformed> {
    let mut fields = Fields(data);
    let mut parts: Vec<Part> = Vec::new();
    for _ in 0..count {
        if is_cut && fields.0.len() < size_of::<Described>() {
            break;
        }
        let described = Described {
            capture: fields.u8()?,
            index: fields.u8()?,
            state: fields.u8()?,
            content: fields.u8()?,
            bytes: fields.u16()?,
            reserved_too: fields.u16()?,
            wanted: fields.u64()?,
        };
        let mut length = usize::from(described.bytes);
        let there = fields.0.len();
        if is_cut && length.next_multiple_of(PART_ALIGN) > there {
            length = length.min(there - there % PART_ALIGN);
        }
        let is_whole = length == usize::from(described.bytes);
        let bytes = fields.take(length.next_multiple_of(PART_ALIGN))?;
        let copied = match described.state {
            COPIED | COPIED_LATE if described.content == OPEN_FILE => {
                let bytes = &bytes[..length];
                Copied::Bytes(if is_whole { file::name(bytes) } else { file::cut_name(bytes) })
            }
            COPIED | COPIED_LATE => Copied::Bytes(bytes[..length].to_vec()),
            FAULT => Copied::Fault,
            _ => Copied::NoSpace,
        };
        let (capture, index) = (described.capture.into(), described.index.into());
        let part = Part { capture, index, copied, wanted: described.wanted };
        match parts.binary_search_by_key(&(capture, index), |part| (part.capture, part.index)) {
            Ok(found) => parts[found] = part,
            Err(place) => parts.insert(place, part),
        }
    }
    Ok(parts)
}

fn signal(header: &Header) -> SignalDelivered {
    let [code, pid, uid, address, ..] = header.args;
    SignalDelivered {
        at_ns: header.exit_ns,
        number: header.nr,
        code: code as i32,
        pid: pid as u32,
        uid: uid as u32,
        address,
    }
}

/// The fields of a record, one after the other.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, bytes: usize) -> Result<&'a [u8], Malformed> {
        let (taken, rest) = self.0.split_at_checked(bytes).ok_or(Malformed("is too short"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed("is too short"))
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.array().map(u8::from_ne_bytes)
    }

    fn u16(&mut self) -> Result<u16, Malformed> {
        self.array().map(u16::from_ne_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.array().map(u32::from_ne_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.array().map(u64::from_ne_bytes)
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::trace::{ENTERED_BEFORE, NO_SPACE};

    use super::*;

    /// A record of a call with these parts: capture, index, state and bytes.
    fn record(flags: u8, parts: &[(u8, u8, u8, &[u8])]) -> Vec<u8> {
        let mut data = Vec::new();
        for &(capture, index, state, bytes) in parts {
            data.extend([capture, index, state, 0]);
            data.extend(u16::try_from(bytes.len()).expect("short").to_ne_bytes());
            data.extend([0; 2]);
            data.extend((bytes.len() as u64 + 1).to_ne_bytes());
            data.extend(bytes);
            data.resize(data.len().next_multiple_of(PART_ALIGN), 0);
        }
        let mut record = vec![About::Call as u8, flags];
        record.extend(u16::try_from(parts.len()).expect("few").to_ne_bytes());
        record.extend(u32::try_from(data.len()).expect("few").to_ne_bytes());
        // The thread, its process, the syscall, and what was dropped.
        record.extend([7_u32, 6, 2, 3].map(u32::to_ne_bytes).as_flattened());
        // The entry, the exit, the result, and the arguments.
        let words = [100, 150, (-2_i64).cast_unsigned(), 11, 12, 13, 14, 15, 16];
        record.extend(words.map(u64::to_ne_bytes).as_flattened());
        record.extend(b"cat\0\0\0\0\0\0\0\0\0\0\0\0\0");
        record.extend(data);
        record
    }

    fn parsed(record: &[u8]) -> Call {
        match parse(record).expect("a record").happened {
            Happened::Call(call) => call,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_call_has_its_fields_and_parts() {
        let record = record(0, &[(0, 0, COPIED, b"/etc/passwd"), (1, 0, NO_SPACE, b"")]);
        let event = parse(&record).expect("a record");
        assert_eq!((event.tid, event.tgid, event.dropped), (7, 6, 3));
        assert_eq!(event.comm.raw(), "cat");
        let call = parsed(&record);
        assert_eq!(call.args, [11, 12, 13, 14, 15, 16]);
        assert_eq!(call.entry_ns, Some(100));
        assert_eq!(call.left, Some(Left { exit_ns: 150, result: -2 }));
        let path = call.part(0, 0).expect("a path");
        assert_eq!(path.copied, Copied::Bytes(b"/etc/passwd".to_vec()));
        assert_eq!(path.wanted, 12);
        assert_eq!(call.part(1, 0).map(|part| &part.copied), Some(&Copied::NoSpace));
        assert_eq!(call.part(1, 1), None);
    }

    #[test]
    fn a_part_that_was_copied_late_replaces_the_fault() {
        let call = parsed(&record(
            0,
            &[(0, 1, FAULT, b""), (0, 0, COPIED, b"a"), (0, 1, COPIED_LATE, b"b")],
        ));
        let texts: Vec<_> = call.parts.iter().map(|part| (part.index, &part.copied)).collect();
        let (a, b) = (Copied::Bytes(b"a".to_vec()), Copied::Bytes(b"b".to_vec()));
        assert_eq!(texts, [(0, &a), (1, &b)]);
    }

    #[test]
    fn flags_say_how_a_call_left() {
        assert!(parsed(&record(DENIED, &[])).is_denied);
        assert!(!parsed(&record(ENTERED_BEFORE, &[])).is_denied);
        let ended = parsed(&record(NEVER_RETURNED, &[]));
        assert_eq!((ended.left, ended.thread_ended_ns.is_some()), (None, true));
    }

    #[test]
    fn a_record_that_ends_anywhere_is_an_error() {
        let record = record(0, &[(0, 0, COPIED, b"text"), (1, 0, COPIED, b"more text")]);
        for end in 0..record.len() {
            assert!(parse(&record[..end]).is_err(), "{end}");
        }
        assert!(parse(&record).is_ok());
    }

    #[test]
    fn unknown_syscalls_and_kinds_are_errors() {
        let mut bad = record(0, &[]);
        bad[0] = 77;
        assert!(parse(&bad).is_err());
        let mut bad = record(0, &[]);
        bad[16..20].copy_from_slice(&u32::MAX.to_ne_bytes());
        assert!(parse(&bad).is_err());
    }
}
