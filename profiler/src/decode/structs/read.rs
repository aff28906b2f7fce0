//! Reads structures field by field.

use std::borrow::Cow;

use profiler_common::call::Abi;

use super::super::{Value, constants, value::Field};

/// Bytes of a structure, and the fields that were read so far.
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    abi: Abi,
    is_short: bool,
    fields: Vec<Field>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], abi: Abi) -> Self {
        Self { bytes, at: 0, abi, is_short: false, fields: Vec::new() }
    }

    /// Continues at an offset.
    pub(super) fn seek(&mut self, at: usize) {
        self.at = at;
    }

    /// Skips bytes.
    pub(super) fn skip(&mut self, count: usize) {
        self.at = self.at.saturating_add(count);
    }

    fn take<const N: usize>(&mut self, align: usize) -> [u8; N] {
        let start = self.at.next_multiple_of(align);
        self.at = start.saturating_add(N);
        match self.bytes.get(start..).and_then(|rest| rest.first_chunk::<N>()) {
            Some(bytes) => *bytes,
            None => {
                self.is_short = true;
                [0; N]
            }
        }
    }

    pub(super) fn u8(&mut self) -> u64 {
        u64::from(u8::from_le_bytes(self.take(1)))
    }

    pub(super) fn u16(&mut self) -> u64 {
        u64::from(u16::from_le_bytes(self.take(2)))
    }

    /// A number in network byte order.
    pub(super) fn be16(&mut self) -> u64 {
        u64::from(u16::from_be_bytes(self.take(2)))
    }

    /// A number in network byte order.
    pub(super) fn be32(&mut self) -> u64 {
        u64::from(u32::from_be_bytes(self.take(4)))
    }

    pub(super) fn u32(&mut self) -> u64 {
        u64::from(u32::from_le_bytes(self.take(4)))
    }

    pub(super) fn i16(&mut self) -> i64 {
        i64::from(i16::from_le_bytes(self.take(2)))
    }

    pub(super) fn i32(&mut self) -> i64 {
        i64::from(i32::from_le_bytes(self.take(4)))
    }

    /// A number of 64 bits, which i386 aligns at 4 bytes.
    pub(super) fn u64(&mut self) -> u64 {
        let align = if self.abi == Abi::I386 { 4 } else { 8 };
        u64::from_le_bytes(self.take(align))
    }

    pub(super) fn i64(&mut self) -> i64 {
        self.u64().cast_signed()
    }

    /// A pointer, or a number of its size.
    pub(super) fn word(&mut self) -> u64 {
        if self.abi == Abi::X86_64 { self.u64() } else { self.u32() }
    }

    /// A `long` of the structures that x32 shares with x86_64.
    pub(super) fn long(&mut self) -> i64 {
        if self.abi == Abi::I386 { self.i32() } else { self.i64() }
    }

    /// An `unsigned long` of the structures that x32 shares with x86_64.
    pub(super) fn ulong(&mut self) -> u64 {
        if self.abi == Abi::I386 { self.u32() } else { self.u64() }
    }

    /// The bytes from here on, `count` at most.
    pub(super) fn rest(&self, count: usize) -> &'a [u8] {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        &rest[..rest.len().min(count)]
    }

    /// The text from here on, up to a NUL within `count` bytes.
    pub(super) fn text(&self, count: usize) -> Vec<u8> {
        let rest = self.rest(count);
        let end = rest.iter().position(|&byte| byte == 0).unwrap_or(rest.len());
        rest[..end].to_vec()
    }

    /// Appends a field.
    pub(super) fn put(&mut self, name: &'static str, value: Value) {
        self.fields.push(value.named(name));
    }

    /// The structure. If there were too few bytes, the fields are left out.
    pub(super) fn done(self, is_cut: bool) -> Value {
        if self.is_short {
            return Value::Struct { fields: Vec::new(), is_cut: true };
        }
        Value::Struct { fields: self.fields, is_cut }
    }

    /// A value that is built from the numbers that were read.
    pub(super) fn or_cut(self, value: Value) -> Value {
        if self.is_short { Value::Struct { fields: Vec::new(), is_cut: true } } else { value }
    }
}

/// Text of our own.
pub(super) fn of(text: impl Into<Cow<'static, str>>) -> Value {
    Value::Macro(text.into())
}

/// An address, or `NULL`.
pub(super) fn address(address: u64) -> Value {
    if address == 0 { Value::Null } else { Value::Address(address) }
}

/// A device number: `makedev(0x8, 0x1)`.
pub(super) fn device(number: u64) -> Value {
    let major = (number >> 8 & 0xfff) | (number >> 32 & 0xffff_f000);
    let minor = number & 0xff | (number >> 12 & 0xffff_ff00);
    of(format!("makedev({}, {})", hex(major), hex(minor)))
}

/// A number as `%#x` of printf(3) does.
pub(super) fn hex(number: u64) -> String {
    if number == 0 { "0".to_owned() } else { format!("{number:#x}") }
}

/// The mode of a file: `S_IFREG|S_ISUID|0755`.
pub(super) fn file_mode(mode: u64) -> Value {
    let mut text = String::new();
    match constants::name("mode_type", mode & 0o170_000) {
        Some(kind) => text += kind,
        None if mode & 0o170_000 != 0 => text += &format!("{:#o}", mode & 0o170_000),
        None => {}
    }
    for (bit, name) in [(0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")] {
        if mode & bit != 0 {
            text += if text.is_empty() { "" } else { "|" };
            text += name;
        }
    }
    text += if text.is_empty() { "" } else { "|" };
    text += &Value::Octal(mode & 0o777).to_string();
    of(text)
}

/// Clock ticks, of which a second has 100 (`USER_HZ`, asm/param.h).
pub(super) fn clock_ticks(ticks: u64) -> Value {
    let value = Value::Unsigned(ticks);
    match ticks {
        0 => value,
        _ => {
            let seconds = format!("{}.{:02} s", ticks / 100, ticks % 100);
            Value::Remark(Box::new(value), seconds.into())
        }
    }
}
