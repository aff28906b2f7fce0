//! Sets of syscalls that share a row: the syscalls of a category, or the syscalls that are in the
//! same classes of strace. Each syscall is in exactly one set, so rows always add up to the total.

use profiler_common::call::CallKey;

use crate::names::classes::{Category, Classes, category, classes};

/// How syscalls are grouped into sets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum SetsBy {
    /// By category.
    Category,
    /// By the classes of strace.
    Class,
}

impl SetsBy {
    /// The set of a syscall.
    pub(super) fn set_of(self, key: CallKey) -> CallSet {
        match self {
            Self::Category => CallSet::Category(category(key)),
            Self::Class => CallSet::Class(classes(key).wide()),
        }
    }

    /// The title of the list.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Category => "Categories",
            Self::Class => "Classes",
        }
    }
}

/// A set of syscalls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) enum CallSet {
    /// The syscalls of a category. `None` is the set of all numbers without a name.
    Category(Option<Category>),
    /// The syscalls that are in all of these classes and in no other class.
    Class(Classes),
}

impl CallSet {
    /// Whether the syscall is in the set.
    pub(super) fn contains(self, key: CallKey) -> bool {
        let by = match self {
            Self::Category(_) => SetsBy::Category,
            Self::Class(_) => SetsBy::Class,
        };
        by.set_of(key) == self
    }

    /// The name, as in the title of a view.
    pub(super) fn title(self) -> String {
        match self {
            Self::Category(Some(category)) => category.name().into(),
            Self::Category(None) => "no category".into(),
            Self::Class(Classes::NONE) => "no class".into(),
            Self::Class(classes) => classes.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::Abi;

    use super::*;
    use crate::commands::top::fixtures::call;

    #[test]
    fn a_syscall_is_in_one_set() {
        let read = SetsBy::Category.set_of(call("read"));
        assert_eq!(read.title(), "file-management");
        assert!(read.contains(call("write")) && !read.contains(call("futex")));
        let openat = SetsBy::Class.set_of(call("openat"));
        assert_eq!(openat.title(), "%file %desc");
        assert!(!openat.contains(call("read")), "read is in %desc only");
    }

    #[test]
    fn syscalls_without_a_category_or_a_class_have_a_set() {
        let unknown = CallKey::unknown(Abi::X86_64);
        assert_eq!(SetsBy::Category.set_of(unknown).title(), "no category");
        assert_eq!(SetsBy::Class.set_of(call("futex")).title(), "no class");
        assert!(SetsBy::Class.set_of(call("futex")).contains(unknown));
    }
}
