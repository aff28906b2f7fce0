//! Calls as JSON.
//!
//! ```json
//! {"syscall":"openat","args":{"dfd":"AT_FDCWD","filename":"/x","flags":["O_RDONLY"]},"result":-2,
//!  "errno":"ENOENT"}
//! ```
//!
//! | value | JSON |
//! | --- | --- |
//! | number, in any notation | number |
//! | address | string in hexadecimal: `"0x7ffc0000"` |
//! | null pointer | `null` |
//! | address of memory that could not be read | `{"fault":"0x7ffc0000"}` |
//! | one of several names | string; the number if it has no name |
//! | flags | array of strings; bits without a name are a number at its end |
//! | text | string |
//! | text of which only the beginning was copied | `{"text":"…","cut":true}` |
//! | bytes that are not UTF-8 | `{"hex":"ff00","cut":false}` |
//! | descriptor | number; with its file `{"fd":3,"file":"/etc/passwd"}` |
//! | structure | object; `"cut":true` if fields are left out; a field without a name has its index |
//! | array | array; `{"items":[…],"cut":true}` if elements are left out |
//! | set | array of strings; `{"all_but":[…]}` for a complement |
//! | value that the call changed | `{"before":…,"after":…}` |
//! | value with a remark | `{"value":…,"remark":"…"}` |
//! | any other notation, such as `makedev(0x8, 0x1)` | string |
//!
//! `result` is the number in the register, `errno` the name of an error, and `note` what the call
//! said beside its result. Of a call in flight, all three are missing.

use serde::{
    Serialize, Serializer,
    ser::{SerializeMap as _, SerializeSeq as _},
};

use super::{Argument, Decoded, Value};

impl Serialize for Decoded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("syscall", &self.name)?;
        map.serialize_entry("args", &Arguments(&self.arguments))?;
        if let Some(outcome) = &self.outcome {
            if let Some(number) = outcome.number() {
                map.serialize_entry("result", &number)?;
            }
            if let Some(errno) = outcome.errno() {
                map.serialize_entry("errno", &errno)?;
            }
            if let Some(note) = outcome.note() {
                map.serialize_entry("note", note)?;
            }
        }
        map.end()
    }
}

struct Arguments<'a>(&'a [Argument]);

impl Serialize for Arguments<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|argument| (argument.name, &argument.value)))
    }
}

fn address(address: u64) -> String {
    format!("{address:#x}")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Signed(number) => serializer.serialize_i64(*number),
            Self::Unsigned(number) | Self::Hex(number) | Self::Octal(number) => {
                serializer.serialize_u64(*number)
            }
            Self::Null | Self::Address(0) => serializer.serialize_none(),
            Self::Address(number) => serializer.serialize_str(&address(*number)),
            Self::Fault(number) | Self::Unread(number) => {
                serializer.collect_map([("fault", address(*number))])
            }
            Self::Name { name: Some(name), .. } => serializer.serialize_str(name),
            Self::Name { name: None, number, .. } => serializer.serialize_u64(*number),
            Self::Flags { names, rest, .. } => {
                let mut items = serializer.serialize_seq(None)?;
                for name in names {
                    items.serialize_element(name)?;
                }
                if *rest != 0 {
                    items.serialize_element(rest)?;
                }
                items.end()
            }
            Self::Text { bytes, is_cut } => text(bytes, *is_cut, serializer),
            Self::HexText { bytes, is_cut } => {
                let mut map = serializer.serialize_map(Some(2))?;
                map.serialize_entry("hex", &hex(bytes))?;
                map.serialize_entry("cut", is_cut)?;
                map.end()
            }
            Self::File { number, name: None } => serializer.serialize_i64(*number),
            Self::File { number, name: Some(name) } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("fd", number)?;
                map.serialize_entry("file", &Bytes(name))?;
                map.end()
            }
            Self::Struct { fields, is_cut } => {
                let mut map = serializer.serialize_map(None)?;
                for (at, field) in fields.iter().enumerate() {
                    if field.name.is_empty() {
                        map.serialize_entry(&at.to_string(), &field.value)?;
                    } else {
                        map.serialize_entry(&field.name, &field.value)?;
                    }
                }
                if *is_cut {
                    map.serialize_entry("cut", &true)?;
                }
                map.end()
            }
            Self::Array { items, is_cut: false } => serializer.collect_seq(items),
            Self::Array { items, is_cut: true } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("items", items)?;
                map.serialize_entry("cut", &true)?;
                map.end()
            }
            Self::Set { members, is_complement: false } => serializer.collect_seq(members),
            Self::Set { members, is_complement: true } => {
                serializer.collect_map([("all_but", members)])
            }
            Self::Changed(before, after) => {
                serializer.collect_map([("before", before), ("after", after)])
            }
            Self::Remark(value, remark) => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("value", value)?;
                map.serialize_entry("remark", remark)?;
                map.end()
            }
            Self::Macro(text) => serializer.serialize_str(text),
        }
    }
}

struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        text(self.0, false, serializer)
    }
}

fn text<S: Serializer>(bytes: &[u8], is_cut: bool, serializer: S) -> Result<S::Ok, S::Error> {
    // The cut may be within a character.
    let text = match str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if is_cut && error.error_len().is_none() => {
            str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    if let (Some(text), false) = (text, is_cut) {
        return serializer.serialize_str(text);
    }
    let mut map = serializer.serialize_map(Some(2))?;
    match text {
        Some(text) => map.serialize_entry("text", text)?,
        None => map.serialize_entry("hex", &hex(bytes))?,
    }
    map.serialize_entry("cut", &is_cut)?;
    map.end()
}
