//! Flags that take several values at once.

use std::path::PathBuf;

use crate::{
    filter::{Comm, CommError},
    model::{Dimension, Grouping},
};

/// What one flag lists.
pub type List<T> = Vec<T>;

/// Process ids, separated by commas or, as pidof(1) prints them, by spaces.
pub(super) fn pids(text: &str) -> Result<List<u32>, String> {
    let ids: Result<List<u32>, _> =
        text.split([',', ' ', '\n']).filter(|part| !part.is_empty()).map(str::parse).collect();
    match ids {
        Ok(ids) if !ids.is_empty() && !text.starts_with(',') && !text.ends_with(',') => Ok(ids),
        _ => Err("expected process ids, for example 1234 or 1234,5678".into()),
    }
}

/// Dimensions, separated by commas.
pub(super) fn grouping(text: &str) -> Result<Grouping, String> {
    let named = |name: &str| Dimension::ALL.into_iter().find(|of| of.name() == name.trim());
    text.split(',').map(named).collect::<Option<Grouping>>().ok_or_else(|| {
        let names = Dimension::ALL.map(Dimension::name).join(", ");
        format!("expected one or more of {names}, separated by commas")
    })
}

/// Names of processes, separated by commas.
pub(super) fn comms(text: &str) -> Result<List<Comm>, String> {
    let names = split(text);
    let refused = |name: &String, why: CommError| match names.len() {
        // The message already quotes the value.
        1 => why.to_string(),
        _ => format!("{name:?}: {why}"),
    };
    names.iter().map(|name| name.parse().map_err(|why| refused(name, why))).collect()
}

/// Paths of cgroups, separated by commas.
pub(super) fn cgroups(text: &str) -> Result<List<PathBuf>, String> {
    let paths = split(text);
    if paths.iter().any(String::is_empty) {
        return Err("expected a path, for example system.slice; / is the root".into());
    }
    Ok(paths.into_iter().map(PathBuf::from).collect())
}

/// Splits a text at commas. `\,` is a comma within a part. Any other backslash stays, because
/// cgroup names of systemd contain backslashes.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        let c = match c {
            ',' => {
                parts.push(String::new());
                continue;
            }
            '\\' => rest.next_if_eq(&',').unwrap_or('\\'),
            other => other,
        };
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_can_be_within_a_name() {
        assert_eq!(split(r"a,b\,c,\x2d\\,"), ["a", "b,c", r"\x2d\,"]);
        assert_eq!(split(""), [""]);
        let names: Vec<_> =
            comms(r"a\,b,c").expect("two").iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a,b", "c"]);
        assert_eq!(
            comms("a,,b").expect_err("an empty one"),
            "\"\": expected the name of a process, for example nginx"
        );
        assert_eq!(cgroups(r"/a\,b").expect("one"), [PathBuf::from("/a,b")]);
        assert!(cgroups("/a,").is_err());
    }

    #[test]
    fn dimensions_come_in_any_order() {
        assert_eq!(grouping("syscall"), Ok(Grouping::SYSCALL));
        for text in ["process,syscall", "syscall,process", "syscall, process,syscall"] {
            assert_eq!(grouping(text), Ok(Grouping::PROCESS_SYSCALL), "{text:?}");
        }
        for text in ["", "process,", "threads", "process syscall"] {
            assert!(grouping(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn ids_are_separated_by_commas_or_spaces() {
        for text in ["1,2", "1 2", "1, 2", " 1  2\n"] {
            assert_eq!(pids(text).expect(text), [1, 2], "{text:?}");
        }
        for text in ["", " ", "self", "1,", "-1", "1;2", "99999999999"] {
            assert!(pids(text).is_err(), "{text:?}");
        }
    }
}
