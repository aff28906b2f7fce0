//! Prints values as strace does.

use std::fmt::{self, Write as _};

use super::{Argument, Value};

/// Appends arguments, separated by commas.
pub(super) fn arguments(line: &mut String, arguments: &[Argument]) {
    for (at, argument) in arguments.iter().enumerate() {
        if at > 0 {
            line.push_str(", ");
        }
        if let Some(label) = argument.label {
            let _ = write!(line, "{label}=");
        }
        let _ = write!(line, "{}", argument.value);
    }
}

/// Prints a number as `%#lx` of printf(3) does: zero has no prefix.
pub(super) fn hex(f: &mut fmt::Formatter<'_>, number: u64) -> fmt::Result {
    if number == 0 { f.write_str("0") } else { write!(f, "{number:#x}") }
}

/// Appends bytes with the escapes of C: a letter where C has one, otherwise octal with as few
/// digits as the next byte allows.
pub(super) fn escaped(f: &mut impl fmt::Write, bytes: &[u8], and: &[u8]) -> fmt::Result {
    for (at, &byte) in bytes.iter().enumerate() {
        match byte {
            b'\n' => f.write_str("\\n")?,
            b'\t' => f.write_str("\\t")?,
            b'\r' => f.write_str("\\r")?,
            0x0b => f.write_str("\\v")?,
            0x0c => f.write_str("\\f")?,
            b'"' => f.write_str("\\\"")?,
            b'\\' => f.write_str("\\\\")?,
            b' '..=b'~' if !and.contains(&byte) => f.write_char(char::from(byte))?,
            _ => {
                let is_digit_next = bytes.get(at + 1).is_some_and(|b| matches!(b, b'0'..=b'7'));
                if is_digit_next {
                    write!(f, "\\{byte:03o}")?;
                } else {
                    write!(f, "\\{byte:o}")?;
                }
            }
        }
    }
    Ok(())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signed(number) => write!(f, "{number}"),
            Self::Unsigned(number) => write!(f, "{number}"),
            Self::Hex(number) => hex(f, *number),
            Self::Octal(number) => octal(f, *number),
            Self::Address(address) | Self::Fault(address) if *address != 0 => {
                write!(f, "{address:#x}")
            }
            Self::Unread(address) => write!(f, "... /* {address:#x} */"),
            Self::Null | Self::Address(_) | Self::Fault(_) => f.write_str("NULL"),
            Self::Name { name: Some(name), .. } => f.write_str(name),
            Self::Name { name: None, number, prefix } => nameless(f, *number, prefix),
            Self::Flags { names, rest, prefix } => {
                if names.is_empty() {
                    let prefix = if *rest == 0 { "" } else { prefix };
                    return nameless(f, *rest, prefix);
                }
                f.write_str(&names.join("|"))?;
                if *rest != 0 {
                    write!(f, "|{rest:#x}")?;
                }
                Ok(())
            }
            Self::Text { bytes, is_cut } => {
                f.write_char('"')?;
                escaped(f, bytes, b"")?;
                f.write_str(if *is_cut { "\"..." } else { "\"" })
            }
            Self::HexText { bytes, is_cut } => {
                f.write_char('"')?;
                for byte in bytes {
                    write!(f, "\\x{byte:02x}")?;
                }
                f.write_str(if *is_cut { "\"..." } else { "\"" })
            }
            Self::File { number, name } => {
                write!(f, "{number}")?;
                let Some(name) = name else { return Ok(()) };
                f.write_char('<')?;
                // The arrow between the addresses of a socket is no part of a path.
                let is_path = name.first().is_none_or(|&byte| byte == b'/' || byte == b'.');
                escaped(f, name, if is_path { b"<>" } else { b"" })?;
                f.write_char('>')
            }
            Self::Struct { fields, is_cut } => {
                f.write_char('{')?;
                for (at, field) in fields.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    if !field.name.is_empty() {
                        write!(f, "{}=", field.name)?;
                    }
                    write!(f, "{}", field.value)?;
                }
                if *is_cut {
                    f.write_str(if fields.is_empty() { "..." } else { ", ..." })?;
                }
                f.write_char('}')
            }
            Self::Array { items, is_cut } => {
                f.write_char('[')?;
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        f.write_str(", ")?;
                    }
                    write!(f, "{item}")?;
                }
                if *is_cut {
                    f.write_str(if items.is_empty() { "..." } else { ", ..." })?;
                }
                f.write_char(']')
            }
            Self::Set { members, is_complement } => {
                f.write_str(if *is_complement { "~[" } else { "[" })?;
                f.write_str(&members.join(" "))?;
                f.write_char(']')
            }
            Self::Changed(before, after) => write!(f, "{before} => {after}"),
            Self::Remark(value, remark) => write!(f, "{value} /* {remark} */"),
            Self::Macro(text) => f.write_str(text),
        }
    }
}

/// A mode: three digits at least, the first of which is 0 unless there are more.
fn octal(f: &mut fmt::Formatter<'_>, number: u64) -> fmt::Result {
    let digits = format!("{number:o}");
    if number == 0 { f.write_str("000") } else { write!(f, "{:0>3}", format!("0{digits}")) }
}

/// A number without a name. A prefix with question marks is the whole comment.
fn nameless(f: &mut fmt::Formatter<'_>, number: u64, prefix: &str) -> fmt::Result {
    hex(f, number)?;
    match prefix {
        "" => Ok(()),
        _ if prefix.contains('?') => write!(f, " /* {prefix} */"),
        _ => write!(f, " /* {prefix}??? */"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> String {
        Value::Text { bytes: bytes.to_vec(), is_cut: false }.to_string()
    }

    #[test]
    fn escapes_are_those_of_c() {
        assert_eq!(text(b"a\n\t\r\x0b\x0c\"\\"), r#""a\n\t\r\v\f\"\\""#);
        assert_eq!(text(b"\0a\x007\x7fELF\xff8\xff7"), r#""\0a\0007\177ELF\3778\3777""#);
        let cut = Value::Text { bytes: b"ab".to_vec(), is_cut: true };
        assert_eq!(cut.to_string(), r#""ab"..."#);
        let file = Value::File { number: 3, name: Some(b"/a<b>\x1b".to_vec()) };
        assert_eq!(file.to_string(), r"3</a\74b\76\33>");
    }

    #[test]
    fn numbers_without_a_name_have_a_comment() {
        let name = |name: Option<&'static str>, number| {
            Value::Name { name: name.map(Into::into), number, prefix: "F_" }.to_string()
        };
        assert_eq!(name(Some("F_GETFD"), 1), "F_GETFD");
        assert_eq!(name(None, 99), "0x63 /* F_??? */");
        let flags = |names: &[&'static str], rest| {
            let names = names.iter().map(|&name| name.into()).collect();
            Value::Flags { names, rest, prefix: "O_" }.to_string()
        };
        assert_eq!(flags(&[], 0), "0");
        assert_eq!(flags(&[], 0x8000), "0x8000 /* O_??? */");
        assert_eq!(flags(&["O_RDONLY", "O_CLOEXEC"], 0x4000_0000), "O_RDONLY|O_CLOEXEC|0x40000000");
    }

    #[test]
    fn modes_have_three_digits() {
        let octal = |number| Value::Octal(number).to_string();
        assert_eq!(octal(0), "000");
        assert_eq!(octal(7), "007");
        assert_eq!(octal(0o22), "022");
        assert_eq!(octal(0o644), "0644");
        assert_eq!(octal(0o100_644), "0100644");
    }
}
