//! A tree for people: each syscall, and below it who calls it.

use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{call, label, missing, process, summary};
use crate::model::stacks::{StackProfile, StackRow};

/// Smaller shares are not shown, as a part of 1.
const LEAST_SHARE: f64 = 0.005;

/// Callers above each other, at most.
const MOST_DEPTH: usize = 512;

/// A function and its callers.
#[derive(Default)]
struct Node {
    weight: u64,
    /// The sum of the variances.
    variance: f64,
    callers: BTreeMap<String, Node>,
}

impl Node {
    fn add(&mut self, row: &StackRow, path: impl Iterator<Item = String>) {
        let mut node = self;
        for label in path.take(MOST_DEPTH) {
            node = node.callers.entry(label).or_default();
            node.weight += row.weight;
            node.variance += row.variance;
        }
    }

    /// The callers, the greatest first.
    fn sorted(&self) -> Vec<(&String, &Node)> {
        let mut callers: Vec<_> = self.callers.iter().collect();
        callers.sort_by_key(|(name, node)| (std::cmp::Reverse(node.weight), *name));
        callers
    }
}

/// Writes the tree, and below it what the figures are of.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut impl Write, profile: &StackProfile) -> io::Result<()> {
    let mut root = Node::default();
    let mut all = 0.0;
    for row in &profile.rows {
        root.add(row, path(row).into_iter());
        all += row.variance;
    }
    let tree = Tree { total: profile.total as f64, variance: all };
    tree.write(out, &root, 0)?;
    writeln!(out)?;
    out.write_all(summary(profile).as_bytes())
}

/// The labels of a row, the syscall first and the process last.
fn path(row: &StackRow) -> Vec<String> {
    let mut labels = vec![call(row)];
    if let Some(innermost) = row.kernel.last() {
        labels.push(format!("waits in {}", label(innermost)));
    }
    labels.extend(row.user.iter().rev().map(label));
    labels.extend(missing(row).map(Into::into));
    labels.push(process(row));
    labels
}

/// What shares are of.
struct Tree {
    total: f64,
    variance: f64,
}

impl Tree {
    fn write(&self, out: &mut impl Write, node: &Node, depth: usize) -> io::Result<()> {
        let mut hidden = 0;
        for (name, caller) in node.sorted() {
            let share = caller.weight as f64 / self.total;
            if share < LEAST_SHARE {
                hidden += caller.weight;
                continue;
            }
            let outside = (self.variance - caller.variance).max(0.0);
            let variance = (1.0 - share).powi(2) * caller.variance + share.powi(2) * outside;
            let error = 100.0 * variance.sqrt() / self.total;
            let indent = 2 * depth;
            let share = 100.0 * share;
            // Without sampling, there is no error.
            match error {
                0.0 => writeln!(out, "{:indent$}{share:5.1} %  {name}", "")?,
                _ => writeln!(out, "{:indent$}{share:5.1} % ±{error:.1}  {name}", "")?,
            }
            self.write_callers(out, caller, depth + 1)?;
        }
        if hidden > 0 {
            let share = 100.0 * hidden as f64 / self.total;
            writeln!(out, "{:indent$}{share:5.1} %  others", "", indent = 2 * depth)?;
        }
        Ok(())
    }

    /// Writes the callers of a function. As long as there is only one, its share is the same, and it
    /// needs no indentation.
    fn write_callers(&self, out: &mut impl Write, node: &Node, depth: usize) -> io::Result<()> {
        let mut node = node;
        while let [(name, caller)] = node.sorted().as_slice()
            && caller.weight == node.weight
        {
            writeln!(out, "{:indent$}{name}", "", indent = 2 * depth + 5)?;
            node = caller;
        }
        if node.callers.is_empty() { Ok(()) } else { self.write(out, node, depth) }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::testing::profile, *};

    #[test]
    fn callers_are_below_the_syscall() {
        let mut out = Vec::new();
        write(&mut out, &profile()).expect("written");
        let text = String::from_utf8(out).expect("UTF-8");
        let tree = text.split("\n\n").next().expect("a tree");
        insta::assert_snapshot!(tree, @"
        100.0 %  [write]
           70.0 % ±4.3  waits in vfs_write_[k]
                 a::<[u8; 4]>
                 main
                 app (7)
           29.0 % ±4.3  libc.so+0x40
                 b
                 [truncated]
                 app (7)
            1.0 % ±0.9  [no stack]
                 [not sampled]
        ");
    }
}
