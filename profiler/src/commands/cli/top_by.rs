//! The flag `top --by`, which groups the lists of `top`.

use crate::model::Dimension;

/// How the lists of `top` are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListsBy {
    /// The first list.
    pub owners: OwnersBy,
    /// The list of syscalls.
    pub calls: CallsBy,
}

/// What a row of the first list in `top` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnersBy {
    /// One process.
    Process,
    /// One thread.
    Thread,
    /// One container, pod, unit or cgroup.
    Site(Dimension),
}

/// What a row of the list of syscalls in `top` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallsBy {
    /// One syscall.
    Syscall,
    /// All syscalls of a category.
    Category,
    /// All syscalls in the same classes of strace.
    Class,
}

/// The dimensions that `top --by` takes.
pub(super) const DIMENSIONS: [Dimension; 9] = {
    use Dimension::{Category, Cgroup, Class, Container, Pod, Process, Syscall, Thread, Unit};
    [Process, Thread, Container, Pod, Unit, Cgroup, Syscall, Category, Class]
};

/// Parses dimensions that are separated by commas: at most one for each list.
pub(super) fn parse(text: &str) -> Result<ListsBy, String> {
    let (mut owners, mut calls) = (None, None);
    for name in text.split(',').map(str::trim) {
        let known = DIMENSIONS.into_iter().find(|dimension| dimension.name() == name);
        let taken = match known {
            Some(Dimension::Syscall) => calls.replace(CallsBy::Syscall).is_some(),
            Some(Dimension::Category) => calls.replace(CallsBy::Category).is_some(),
            Some(Dimension::Class) => calls.replace(CallsBy::Class).is_some(),
            Some(Dimension::Process) => owners.replace(OwnersBy::Process).is_some(),
            Some(Dimension::Thread) => owners.replace(OwnersBy::Thread).is_some(),
            Some(site) => owners.replace(OwnersBy::Site(site)).is_some(),
            None => return Err(expected()),
        };
        if taken {
            return Err(format!("a list has one dimension: {}", expected()));
        }
    }
    let owners = owners.unwrap_or(OwnersBy::Process);
    Ok(ListsBy { owners, calls: calls.unwrap_or(CallsBy::Syscall) })
}

fn expected() -> String {
    "expected one of process, thread, container, pod, unit and cgroup, or one of syscall, category \
     and class, or one of each, separated by a comma"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_list_has_a_dimension() {
        let parsed = |text: &str| parse(text).map(|by| (by.owners, by.calls)).ok();
        assert_eq!(parsed("syscall"), Some((OwnersBy::Process, CallsBy::Syscall)));
        assert_eq!(parsed("class"), Some((OwnersBy::Process, CallsBy::Class)));
        let containers = OwnersBy::Site(Dimension::Container);
        assert_eq!(parsed("container"), Some((containers, CallsBy::Syscall)));
        for text in ["container,category", "category, container"] {
            assert_eq!(parsed(text), Some((containers, CallsBy::Category)));
        }
        for text in ["", "containers", "container,", "container,unit", "class,category", "user"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
        for dimension in DIMENSIONS {
            assert!(parse(dimension.name()).is_ok(), "{dimension:?}");
        }
    }
}
