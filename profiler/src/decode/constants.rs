//! Named numbers: flags, commands and modes, by the name of their set.
//!
//! `cargo xtask syscalls` generates the table from the headers of the kernel and of libc.

use std::{borrow::Cow, collections::BTreeMap, sync::OnceLock};

use super::Value;

/// The table. The format is described in `xtask/src/syscalls/constants/mod.rs`.
const TABLE: &str = include_str!("constants.tsv");

/// A set of named numbers, for example `open_flags`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// The name by which signatures refer to the set.
    pub name: &'static str,
    /// The prefix of the names, such as `O_`, for a comment beside a number without a name.
    pub prefix: &'static str,
    /// The bits that are one number instead of separate flags, such as `O_ACCMODE`. 0 if all bits
    /// are flags.
    pub field: u64,
    /// The prefix of the names of the field, if a field without a name has a comment of its own.
    pub field_prefix: Option<&'static str>,
    /// The bits that are the number of a signal, which comes last.
    pub signal: u64,
    /// The lowest bit and the name of a number in the upper bits: `21<<MAP_HUGE_SHIFT`.
    pub shift: Option<(u32, &'static str)>,
    /// The numbers and their names. Of several names, the first one is used. Flags of several bits
    /// come before the flags that they include.
    pub names: Vec<(u64, &'static str)>,
    /// Indices of `names`, by number. Of equal numbers, the first name.
    by_number: BTreeMap<u64, usize>,
}

/// The set of this name.
pub fn find(name: &str) -> Option<&'static Set> {
    static SETS: OnceLock<BTreeMap<&'static str, Set>> = OnceLock::new();
    SETS.get_or_init(|| parse(TABLE)).get(name)
}

/// The name of a number in a set, such as `SIGINT` of 2 in `signals`.
pub fn name(set: &str, number: u64) -> Option<&'static str> {
    find(set)?.name(number)
}

/// A number as one of the names of a set.
pub fn one(set: &str, number: u64) -> Value {
    find(set).map_or(Value::Hex(number), |set| set.one(number))
}

/// A number as the flags of a set.
pub fn flags(set: &str, number: u64) -> Value {
    find(set).map_or(Value::Hex(number), |set| set.flags(number))
}

/// The name of a signal: `SIGINT`, `SIGRTMIN` or `SIGRT_1`; a number without a name as it is.
pub fn signal(number: u64) -> Value {
    match signal_name(number) {
        Some(name) => Value::Macro(name),
        None => Value::Unsigned(number),
    }
}

/// The name of a signal, if the number is that of one.
pub fn signal_name(number: u64) -> Option<Cow<'static, str>> {
    match number {
        32 => Some(Cow::Borrowed("SIGRTMIN")),
        33..=64 => Some(Cow::Owned(format!("SIGRT_{}", number - 32))),
        _ => name("signals", number).map(Cow::Borrowed),
    }
}

fn parse(text: &'static str) -> BTreeMap<&'static str, Set> {
    let mut sets = BTreeMap::new();
    let mut set = Set::default();
    for line in text.lines() {
        let mut columns = line.split('\t');
        let first = columns.next().unwrap_or_default();
        if first.starts_with(['#', '!']) {
            continue;
        }
        if let Some(name) = first.strip_prefix('=') {
            let done = std::mem::replace(&mut set, begin(name, columns));
            sets.insert(done.name, done);
            continue;
        }
        let number = columns.next().and_then(|number| u64::from_str_radix(number, 16).ok());
        let Some(number) = number else { continue };
        match first.strip_prefix("<<") {
            Some(name) => set.shift = u32::try_from(number).ok().map(|bit| (bit, name)),
            None => {
                set.by_number.entry(number).or_insert(set.names.len());
                set.names.push((number, first));
            }
        }
    }
    sets.insert(set.name, set);
    sets
}

fn begin(name: &'static str, columns: impl Iterator<Item = &'static str>) -> Set {
    let mut set = Set { name, ..Set::default() };
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0);
    for column in columns {
        match column.split_once('=') {
            Some(("field", value)) => {
                let (mask, prefix) = value.split_once(',').unzip();
                set.field = hex(mask.unwrap_or(value));
                set.field_prefix = prefix;
            }
            Some(("signal", mask)) => set.signal = hex(mask),
            None if set.prefix.is_empty() && column != "-" && column != "joined" => {
                set.prefix = column;
            }
            _ => {}
        }
    }
    set
}

impl Set {
    /// The name of a number.
    pub fn name(&self, number: u64) -> Option<&'static str> {
        let &at = self.by_number.get(&number)?;
        self.names.get(at).map(|&(_, name)| name)
    }

    /// A number as one of the names.
    pub fn one(&self, number: u64) -> Value {
        Value::Name { name: self.name(number).map(Cow::Borrowed), number, prefix: self.prefix }
    }

    /// A number as flags.
    pub fn flags(&self, number: u64) -> Value {
        let mut names = Vec::new();
        let mut rest = number & !self.signal;
        if self.field != 0 {
            let field = number & self.field;
            if let Some(name) = self.name(field) {
                names.push(Cow::Borrowed(name));
                rest &= !self.field;
            } else if let Some(prefix) = self.field_prefix {
                names.push(Cow::Owned(format!("{field:#x} /* {prefix}??? */")));
                rest &= !self.field;
            }
        } else if number == 0
            && let Some(name) = self.name(0)
        {
            names.push(Cow::Borrowed(name));
        }
        let upper = self.shift.map(|(bit, name)| (rest >> bit, bit, name));
        let upper = upper.filter(|(number, ..)| *number != 0);
        if let Some((number, bit, _)) = upper {
            rest &= !(number << bit);
        }
        for &(bits, name) in &self.names {
            // Not a number of the field.
            let is_flag = bits != 0 && (self.field == 0 || bits & !self.field != 0);
            if is_flag && rest & bits == bits {
                names.push(Cow::Borrowed(name));
                rest &= !bits;
            }
        }
        let signal = number & self.signal;
        if upper.is_some() || signal != 0 {
            if rest != 0 {
                names.push(Cow::Owned(format!("{rest:#x}")));
                rest = 0;
            }
            names.extend(upper.map(|(number, _, name)| Cow::Owned(format!("{number}<<{name}"))));
        }
        if signal != 0 {
            names.push(signal_name(signal).unwrap_or_else(|| Cow::Owned(signal.to_string())));
        }
        Value::Flags { names, rest, prefix: self.prefix }
    }
}

#[cfg(test)]
#[path = "constants_tests.rs"]
mod tests;
