//! Named numbers: flags, commands and modes, by the name of their set.

use std::borrow::Cow;

use super::Value;

/// A set of named numbers, for example `open_flags`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// The name by which signatures refer to the set.
    pub name: &'static str,
    /// The prefix of the names, such as `O_`, for a comment beside a number without a name.
    pub prefix: &'static str,
    /// The bits that are one number instead of separate flags, such as `O_ACCMODE`. 0 if all bits
    /// are flags.
    pub field: u64,
    /// The numbers and their names. Of several names, the first one is used. Flags of several bits
    /// come before the flags that they include.
    pub names: Vec<(u64, &'static str)>,
}

/// The set of this name.
pub fn find(_name: &str) -> Option<&'static Set> {
    None
}

impl Set {
    /// The name of a number.
    pub fn name(&self, number: u64) -> Option<&'static str> {
        self.names.iter().find(|(of, _)| *of == number).map(|&(_, name)| name)
    }

    /// A number as one of the names.
    pub fn one(&self, number: u64) -> Value {
        Value::Name { name: self.name(number).map(Cow::Borrowed), number, prefix: self.prefix }
    }

    /// A number as flags.
    pub fn flags(&self, number: u64) -> Value {
        let mut names = Vec::new();
        let mut rest = number;
        if self.field != 0
            && let Some(name) = self.name(number & self.field)
        {
            names.push(Cow::Borrowed(name));
            rest &= !self.field;
        }
        if number == 0
            && names.is_empty()
            && let Some(name) = self.name(0)
        {
            names.push(Cow::Borrowed(name));
        }
        for &(bits, name) in &self.names {
            if bits != 0 && bits & self.field == 0 && rest & bits == bits {
                names.push(Cow::Borrowed(name));
                rest &= !bits;
            }
        }
        Value::Flags { names, rest, prefix: self.prefix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_one_number_and_the_rest_is_flags() {
        let set = Set {
            name: "open_flags",
            prefix: "O_",
            field: 3,
            names: vec![
                (0, "O_RDONLY"),
                (1, "O_WRONLY"),
                (0x0010_1000, "O_SYNC"),
                (0x1000, "O_DSYNC"),
                (0x8_0000, "O_CLOEXEC"),
            ],
        };
        let flags = |number| match set.flags(number) {
            Value::Flags { names, rest, .. } => (names.join("|"), rest),
            other => panic!("{other:?}"),
        };
        assert_eq!(flags(0), ("O_RDONLY".into(), 0));
        assert_eq!(flags(0x8_0001), ("O_WRONLY|O_CLOEXEC".into(), 0));
        assert_eq!(flags(0x0010_1000), ("O_RDONLY|O_SYNC".into(), 0));
        assert_eq!(flags(0x4000_1003), ("O_DSYNC".into(), 0x4000_0003));
    }
}
