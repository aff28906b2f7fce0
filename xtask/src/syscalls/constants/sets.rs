//! The hand-written lists of sets: which constants belong together, and where their numbers are.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::workspace::root;

/// Where the number of a constant comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// This header defines it.
    Header(String),
    /// The list states it.
    Stated(u64),
}

/// A constant, or several that a pattern selects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Member {
    /// A name, names joined by `|`, `<<NAME`, or a pattern.
    pub(super) word: String,
    pub(super) origin: Origin,
}

/// A set of constants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Set {
    pub(super) name: String,
    /// Prefix, and attributes as they are written.
    pub(super) head: Vec<String>,
    pub(super) members: Vec<Member>,
}

impl Set {
    /// Whether all names of a number are shown.
    pub(super) fn is_joined(&self) -> bool {
        self.head.iter().any(|word| word == "joined")
    }
}

/// The committed sets.
pub(super) fn committed() -> Result<Vec<Set>> {
    let mut sets = Vec::new();
    for file in ["sets.txt", "ioctls.txt"] {
        let path = root().join("xtask/src/syscalls/constants").join(file);
        let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        sets.extend(parse(&text).with_context(|| file.to_owned())?);
    }
    Ok(sets)
}

fn parse(text: &str) -> Result<Vec<Set>> {
    let mut sets: Vec<Set> = Vec::new();
    // The header of the following names, or `None` if they are stated.
    let mut header: Option<String> = None;
    for line in super::super::facts::lines(text) {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("set") => {
                let name = words.next().context("a set without a name")?.to_owned();
                let head = words.map(str::to_owned).collect();
                sets.push(Set { name, head, members: Vec::new() });
            }
            Some("from") => header = Some(words.next().context("`from` without a header")?.into()),
            Some("stated") => header = None,
            _ => {
                let set = sets.last_mut().context("names before the first set")?;
                for word in line.split_whitespace() {
                    set.members.push(member(word, header.as_deref())?);
                }
            }
        }
    }
    Ok(sets)
}

fn member(word: &str, header: Option<&str>) -> Result<Member> {
    if let Some(header) = header {
        return Ok(Member { word: word.to_owned(), origin: Origin::Header(header.to_owned()) });
    }
    let Some((name, number)) = word.split_once("=0x") else {
        bail!("{word}: a stated name needs a number, such as NAME=0x10");
    };
    let number = u64::from_str_radix(number, 16).with_context(|| word.to_owned())?;
    Ok(Member { word: name.to_owned(), origin: Origin::Stated(number) })
}

/// Whether a pattern with `*` matches a name.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_have_members_from_headers_and_stated_ones() {
        let sets = parse("set a A_ field=0x3\nfrom x.h\nA_B A_C|A_D\nstated here\nA_E=0x10\n");
        let sets = sets.expect("a list of sets");
        assert_eq!(sets[0].head, ["A_", "field=0x3"]);
        let origins: Vec<_> =
            sets[0].members.iter().map(|m| (m.word.as_str(), m.origin.clone())).collect();
        let header = Origin::Header("x.h".into());
        assert_eq!(
            origins,
            [("A_B", header.clone()), ("A_C|A_D", header), ("A_E", Origin::Stated(16))]
        );
        assert!(parse("A_B").is_err());
        assert!(parse("set a -\nstated here\nA_B").is_err());
    }

    #[test]
    fn patterns_match_names() {
        assert!(matches("ETH_P_*", "ETH_P_IP"));
        assert!(matches("*_MAGIC", "EXT4_SUPER_MAGIC"));
        assert!(matches("A_*_B", "A_X_B"));
        assert!(!matches("A_*_B", "A_B"));
        assert!(!matches("ETH_P_*", "ETH_ALEN"));
        assert!(matches("NAME", "NAME"));
        assert!(!matches("NAME", "NAMES"));
    }
}
