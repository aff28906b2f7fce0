//! Files: their status, file systems, locks, terminals.

use profiler_common::call::Abi;

use super::{
    super::{Style, Value, constants},
    Structure,
    read::{Reader, device, file_mode, of},
};

pub(super) static ALL: &[Structure] = &[
    Structure { name: "stat", bytes: |abi| if abi == Abi::I386 { 64 } else { 144 }, decode: stat },
    Structure { name: "stat64", bytes: |_| 96, decode: stat64 },
    Structure { name: "oldstat", bytes: |_| 32, decode: oldstat },
    Structure { name: "statx", bytes: |_| 256, decode: statx },
    Structure {
        name: "statfs",
        bytes: |abi| if abi == Abi::I386 { 64 } else { 120 },
        decode: statfs,
    },
    Structure { name: "statfs64", bytes: |_| 84, decode: statfs64 },
    Structure { name: "open_how", bytes: |_| 24, decode: open_how },
    Structure { name: "mount_attr", bytes: |_| 32, decode: mount_attr },
    Structure { name: "flock", bytes: |abi| if abi == Abi::I386 { 16 } else { 32 }, decode: flock },
    Structure {
        name: "flock64",
        bytes: |abi| if abi == Abi::I386 { 24 } else { 32 },
        decode: flock64,
    },
    Structure { name: "f_owner_ex", bytes: |_| 8, decode: owner },
    Structure { name: "winsize", bytes: |_| 8, decode: winsize },
    Structure { name: "termios", bytes: |_| 36, decode: termios },
    Structure { name: "pollfd", bytes: |_| 8, decode: pollfd },
    Structure { name: "epoll_event", bytes: |_| 12, decode: epoll_event },
];

/// What strace shows of a file's status by default.
fn status(mut reader: Reader<'_>, mode: u64, size: i64, rdev: u64) -> Value {
    reader.put("st_mode", file_mode(mode));
    if matches!(mode & 0o170_000, 0o020_000 | 0o060_000) {
        reader.put("st_rdev", device(rdev));
    } else {
        reader.put("st_size", Value::Signed(size));
    }
    reader.done(true)
}

fn stat(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    if abi == Abi::I386 {
        reader.seek(8);
        let mode = reader.u16();
        reader.seek(16);
        let rdev = reader.u32();
        let size = reader.u32().cast_signed();
        return status(reader, mode, size, rdev);
    }
    reader.seek(24);
    let mode = reader.u32();
    reader.seek(40);
    let rdev = reader.u64();
    let size = reader.i64();
    status(reader, mode, size, rdev)
}

fn stat64(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    reader.seek(16);
    let mode = reader.u32();
    reader.seek(32);
    let rdev = reader.u64();
    reader.seek(44);
    let low = reader.u32();
    let size = low | reader.u32() << 32;
    status(reader, mode, size.cast_signed(), rdev)
}

fn oldstat(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    reader.seek(4);
    let mode = reader.u16();
    reader.seek(12);
    let rdev = reader.u16();
    let size = reader.u32().cast_signed();
    status(reader, mode, size, rdev)
}

fn statx(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let mask = reader.u32();
    reader.seek(8);
    let attributes = reader.u64();
    reader.seek(28);
    let mode = reader.u16();
    reader.seek(40);
    let size = reader.u64();
    reader.put("stx_mask", constants::flags("statx_mask", mask));
    reader.put("stx_attributes", constants::flags("statx_attributes", attributes));
    reader.put("stx_mode", file_mode(mode));
    reader.put("stx_size", Value::Unsigned(size));
    reader.done(true)
}

fn magic(number: u64) -> Value {
    match constants::name("statfs_magic", number) {
        Some(name) => of(name),
        None => Value::Hex(number),
    }
}

fn statfs(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    file_system(Reader::new(bytes, abi), Reader::ulong)
}

fn statfs64(bytes: &[u8], _: Abi, _: &Style) -> Value {
    file_system(Reader::new(bytes, Abi::I386), Reader::u64)
}

fn file_system<'a>(mut reader: Reader<'a>, wide: fn(&mut Reader<'a>) -> u64) -> Value {
    let kind = reader.ulong();
    reader.put("f_type", magic(kind));
    let size = reader.ulong();
    reader.put("f_bsize", Value::Unsigned(size));
    for name in ["f_blocks", "f_bfree", "f_bavail", "f_files", "f_ffree"] {
        let count = wide(&mut reader);
        reader.put(name, Value::Unsigned(count));
    }
    let ids = vec![Value::Hex(reader.u32()), Value::Hex(reader.u32())];
    let ids = Value::Array { items: ids, is_cut: false };
    reader.put("f_fsid", Value::Struct { fields: vec![ids.named("val")], is_cut: false });
    for name in ["f_namelen", "f_frsize"] {
        let number = reader.ulong();
        reader.put(name, Value::Unsigned(number));
    }
    let flags = reader.ulong();
    reader.put("f_flags", constants::flags("statfs_flags", flags));
    reader.done(false)
}

fn open_how(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let flags = reader.u64();
    reader.put("flags", constants::flags("open_flags", flags));
    let mode = reader.u64();
    // O_CREAT, or the bit that only O_TMPFILE has.
    if flags & (0o100 | 0o20_000_000) != 0 || mode != 0 {
        reader.put("mode", Value::Octal(mode));
    }
    let resolve = reader.u64();
    reader.put("resolve", constants::flags("resolve_flags", resolve));
    reader.done(false)
}

fn mount_attr(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["attr_set", "attr_clr"] {
        let flags = reader.u64();
        reader.put(name, constants::flags("mount_attr_flags", flags));
    }
    let propagation = reader.u64();
    reader.put("propagation", constants::one("mount_propagation", propagation));
    let fd = reader.u64();
    reader.put("userns_fd", Value::Unsigned(fd));
    reader.done(false)
}

fn flock(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    lock(Reader::new(bytes, abi), Reader::long)
}

fn flock64(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    lock(Reader::new(bytes, abi), Reader::i64)
}

fn lock<'a>(mut reader: Reader<'a>, offset: fn(&mut Reader<'a>) -> i64) -> Value {
    let kind = reader.u16();
    reader.put("l_type", constants::one("lock_type", kind));
    let whence = reader.u16();
    reader.put("l_whence", constants::one("whence", whence));
    for name in ["l_start", "l_len"] {
        let number = offset(&mut reader);
        reader.put(name, Value::Signed(number));
    }
    let pid = reader.i32();
    reader.put("l_pid", Value::Signed(pid));
    reader.done(false)
}

fn owner(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let kind = reader.u32();
    reader.put("type", constants::one("f_owner_type", kind));
    let pid = reader.i32();
    reader.put("pid", Value::Signed(pid));
    reader.done(false)
}

fn winsize(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    for name in ["ws_row", "ws_col", "ws_xpixel", "ws_ypixel"] {
        let number = reader.u16();
        reader.put(name, Value::Unsigned(number));
    }
    reader.done(false)
}

/// Flags without a remark, and nothing for none.
fn bits(set: &str, number: u64) -> String {
    if number == 0 { String::new() } else { without_remark(&constants::flags(set, number)) }
}

fn without_remark(value: &Value) -> String {
    let text = value.to_string();
    text.split_once(" /*").map_or(text.clone(), |(before, _)| before.to_owned())
}

fn termios(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    // The delays of output, by their lowest bit and the width of their field.
    const DELAYS: [(u32, u64, [&str; 4]); 6] = [
        (8, 1, ["NL0", "NL1", "", ""]),
        (9, 3, ["CR0", "CR1", "CR2", "CR3"]),
        (11, 3, ["TAB0", "TAB1", "TAB2", "XTABS"]),
        (13, 1, ["BS0", "BS1", "", ""]),
        (14, 1, ["VT0", "VT1", "", ""]),
        (15, 1, ["FF0", "FF1", "", ""]),
    ];
    let mut reader = Reader::new(bytes, abi);
    let input = reader.u32();
    reader.put("c_iflag", of(bits("termios_iflag", input)));
    let output = reader.u32();
    let mut names = Vec::new();
    for (bit, mask, delays) in DELAYS {
        // The mask has two bits at most.
        let delay = usize::try_from(output >> bit & mask).unwrap_or(0);
        names.push(delays[delay & 3].to_owned());
    }
    names.push(bits("termios_oflag", output & !0xff00));
    reader.put("c_oflag", of(names.join("|")));
    let control = reader.u32();
    let mut names = vec![without_remark(&constants::one("baud_rates", control & 0o10_017))];
    let speed = control >> 16 & 0o10_017;
    if speed != 0 {
        names.push(format!("{}<<IBSHIFT", constants::one("baud_rates", speed)));
    }
    names.push(["CS5", "CS6", "CS7", "CS8"][usize::try_from(control >> 4 & 3).unwrap_or(0)].into());
    names.push(bits("termios_cflag", control & !(0o10_017 | 0o10_017 << 16 | 0o60)));
    reader.put("c_cflag", of(names.join("|")));
    let local = reader.u32();
    reader.put("c_lflag", of(bits("termios_lflag", local)));
    reader.done(true)
}

fn pollfd(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let fd = reader.i32();
    reader.put("fd", Value::Signed(fd));
    let events = reader.u16();
    if fd >= 0 {
        reader.put("events", constants::flags("poll_events", events));
    }
    reader.done(false)
}

fn epoll_event(bytes: &[u8], abi: Abi, _: &Style) -> Value {
    let mut reader = Reader::new(bytes, abi);
    let events = reader.u32();
    let low = reader.u32();
    let high = reader.u32();
    reader.put("events", constants::flags("epoll_events", events));
    let data =
        vec![Value::Unsigned(low).named("u32"), Value::Unsigned(low | high << 32).named("u64")];
    reader.put("data", Value::Struct { fields: data, is_cut: false });
    reader.done(false)
}
