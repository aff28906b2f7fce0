//! Folded text: a line per stack, with its functions separated by semicolons, and its weight.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::labels;
use crate::model::stacks::StackProfile;

/// Writes the stacks.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut impl Write, profile: &StackProfile) -> io::Result<()> {
    let mut lines: BTreeMap<String, u64> = BTreeMap::new();
    for row in &profile.rows {
        let labels: Vec<_> = labels(row).iter().map(|label| label.replace(';', ":")).collect();
        *lines.entry(labels.join(";")).or_default() += row.weight;
    }
    for (line, weight) in lines.iter().filter(|(_, weight)| **weight > 0) {
        writeln!(out, "{line} {weight}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{super::testing::profile, *};

    #[test]
    fn a_stack_is_a_line() {
        let mut out = Vec::new();
        write(&mut out, &profile()).expect("written");
        insta::assert_snapshot!(String::from_utf8(out).expect("UTF-8"), @"
        [not sampled];[no stack];[write] 10
        app (7);[truncated];b;libc.so+0x40;[write] 290
        app (7);main;a::<[u8: 4]>;[write];vfs_write_[k] 700
        ");
    }
}
