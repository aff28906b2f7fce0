//! The value of an argument, as data. `write.rs` prints it as strace does, and `json.rs` as JSON.

use std::borrow::Cow;

/// The value of an argument, of a field or of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A signed number.
    Signed(i64),
    /// An unsigned number.
    Unsigned(u64),
    /// A number in hexadecimal.
    Hex(u64),
    /// A number in octal, such as a mode.
    Octal(u64),
    /// A pointer to memory that is not shown.
    Address(u64),
    /// A null pointer.
    Null,
    /// A pointer to memory that could not be read when the call was recorded.
    Fault(u64),
    /// The rest of an array, at this address, could not be read.
    Unread(u64),
    /// One of several named numbers, such as a command of fcntl(2). Without a name: the number,
    /// and the prefix of the names that it could have had, for a comment.
    Name {
        /// The name.
        name: Option<Cow<'static, str>>,
        /// The number.
        number: u64,
        /// The prefix of all names, such as `F_`.
        prefix: &'static str,
    },
    /// Named bits.
    Flags {
        /// The names of the bits.
        names: Vec<Cow<'static, str>>,
        /// The bits without a name.
        rest: u64,
        /// The prefix of all names, such as `O_`.
        prefix: &'static str,
    },
    /// Bytes of the process, which are printed with escapes.
    Text {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether there were more.
        is_cut: bool,
    },
    /// Bytes without meaning as text, such as random numbers, which are printed in hexadecimal.
    HexText {
        /// The bytes.
        bytes: Vec<u8>,
        /// Whether there were more.
        is_cut: bool,
    },
    /// A file descriptor.
    File {
        /// Its number.
        number: i64,
        /// The open file that it named, if that is known.
        name: Option<Vec<u8>>,
    },
    /// A structure.
    Struct {
        /// Its fields.
        fields: Vec<Field>,
        /// Whether further fields are left out.
        is_cut: bool,
    },
    /// An array.
    Array {
        /// Its elements.
        items: Vec<Value>,
        /// Whether there are more elements.
        is_cut: bool,
    },
    /// A set, such as signals: `[INT TERM]`, or `~[INT]` for all but the members.
    Set {
        /// The members.
        members: Vec<Cow<'static, str>>,
        /// Whether all but the members are in the set.
        is_complement: bool,
    },
    /// A value that the call changed: before, and after.
    Changed(Box<Value>, Box<Value>),
    /// A value with a remark: `value /* remark */`.
    Remark(Box<Value>, Cow<'static, str>),
    /// Text of our own, for what no other variant can say, such as a macro: `MAKEDEV(0x8, 0x1)`.
    Macro(Cow<'static, str>),
}

/// A field of a structure.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    /// Its name; empty for a value without a name.
    pub name: Cow<'static, str>,
    /// Its value.
    pub value: Value,
}

impl Value {
    /// Shows names as numbers, also inside.
    pub fn make_raw(&mut self) {
        match self {
            Self::Name { name, number, prefix } if name.is_some() || !prefix.is_empty() => {
                *self = Self::Hex(*number);
            }
            Self::Struct { fields, .. } => {
                fields.iter_mut().for_each(|field| field.value.make_raw());
            }
            Self::Array { items, .. } => items.iter_mut().for_each(Self::make_raw),
            Self::Changed(before, after) => {
                before.make_raw();
                after.make_raw();
            }
            Self::Remark(value, _) => value.make_raw(),
            _ => {}
        }
    }

    /// A named field.
    pub fn named(self, name: &'static str) -> Field {
        Field { name: Cow::Borrowed(name), value: self }
    }
}
