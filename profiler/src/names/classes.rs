//! Categories and classes of syscalls.

use std::{fmt, sync::LazyLock};

use profiler_common::call::{CallKey, OVERFLOW_SLOTS};

use super::{near, syscalls, table::Table};

/// The category of a syscall, by what it acts on. Every syscall in the table has exactly one
/// category.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Category {
    /// Processes, their memory, signals and timers.
    ProcessControl,
    /// Files, directories, file systems.
    FileManagement,
    /// Devices.
    DeviceManagement,
    /// Times, identities, limits, the kernel itself.
    InformationMaintenance,
    /// Sockets, pipes, queues, and waiting for descriptors.
    Communication,
    /// Owners, permissions, capabilities, security modules.
    Protection,
}

impl Category {
    /// Every category.
    pub const ALL: [Self; 6] = [
        Self::ProcessControl,
        Self::FileManagement,
        Self::DeviceManagement,
        Self::InformationMaintenance,
        Self::Communication,
        Self::Protection,
    ];

    /// The name in tables, JSON and filters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ProcessControl => "process-control",
            Self::FileManagement => "file-management",
            Self::DeviceManagement => "device-management",
            Self::InformationMaintenance => "information-maintenance",
            Self::Communication => "communication",
            Self::Protection => "protection",
        }
    }

    /// The category of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|category| category.name() == name)
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The classes of `strace -e trace=%CLASS`. The classes from index [`WIDE`] on only distinguish
/// variants of stat and statfs.
const CLASSES: [&str; 17] = [
    "file", "desc", "network", "process", "memory", "signal", "ipc", "creds", "clock", "pure",
    "stat", "lstat", "fstat", "%stat", "statfs", "fstatfs", "%statfs",
];

/// The number of [`CLASSES`] that `--by class` uses.
const WIDE: u32 = 10;

/// A set of strace's classes. A syscall can be in several, or in none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Classes(u32);

impl Classes {
    /// No class.
    pub const NONE: Self = Self(0);

    /// The class of this name, without the `%` before it. `net` is `network`.
    pub fn named(name: &str) -> Option<Self> {
        let name = if name == "net" { "network" } else { name };
        CLASSES.iter().position(|class| *class == name).map(|at| Self(1 << at))
    }

    /// A bit for each class.
    pub fn bits(self) -> u32 {
        self.0
    }

    /// Whether the sets share a class.
    pub fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The union of both sets.
    #[must_use]
    pub fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Removes the classes that only distinguish variants of stat and statfs.
    #[must_use]
    pub fn wide(self) -> Self {
        Self(self.0 & ((1 << WIDE) - 1))
    }

    /// The names, without the `%` before each.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        CLASSES
            .iter()
            .enumerate()
            .filter(move |(at, _)| self.0 & 1 << at != 0)
            .map(|(_, name)| *name)
    }
}

/// `%file %desc`, or `-` for no class.
impl fmt::Display for Classes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.names().map(|name| format!("%{name}")).collect();
        f.pad(if names.is_empty() { "-" } else { "" })?;
        f.write_str(&names.join(" "))
    }
}

/// Every name that can follow a `%` in a filter: classes and categories.
pub fn names() -> impl Iterator<Item = &'static str> {
    CLASSES.into_iter().chain(["net"]).chain(Category::ALL.map(Category::name))
}

/// Classes and categories that resemble `name`, the most similar first, with the `%` before each.
pub fn near(name: &str) -> Vec<String> {
    near::near(name, names()).into_iter().map(|name| format!("%{name}")).collect()
}

/// Returns a function that tests whether a syscall is in the class or category `name`. `None` if
/// `name` is neither.
pub fn contains(name: &str) -> Option<impl Fn(CallKey) -> bool> {
    let class = Classes::named(name);
    let wanted = Category::named(name);
    (class.is_some() || wanted.is_some()).then_some(move |key| {
        class.is_some_and(|class| classes(key).intersects(class))
            || wanted.is_some_and(|wanted| category(key) == Some(wanted))
    })
}

/// The category of a syscall. `None` if no table has the number. Looks up an array, so it can be
/// called for every row.
pub fn category(key: CallKey) -> Option<Category> {
    of(key).map(|(category, _)| category)
}

/// The classes of a syscall. Looks up an array, so it can be called for every row.
pub fn classes(key: CallKey) -> Classes {
    of(key).map(|(_, classes)| classes).unwrap_or_default()
}

fn of(key: CallKey) -> Option<(Category, Classes)> {
    static OF: LazyLock<Vec<Option<(Category, Classes)>>> = LazyLock::new(|| {
        let table = Table::get();
        let of = |key| {
            let call = table.named(syscalls::known(key)?)?;
            Some((call.category, call.classes))
        };
        (0..OVERFLOW_SLOTS).map(|at| CallKey::from_overflow_index(at).and_then(of)).collect()
    });
    OF.get(key.overflow_index() as usize).copied().flatten()
}

#[cfg(test)]
mod tests {
    use profiler_common::call::{ABIS, Abi};

    use super::*;

    #[test]
    fn every_known_number_has_a_category() {
        for abi in ABIS {
            for key in (0..abi.limit()).map(|nr| CallKey::of(abi, nr)) {
                let known = syscalls::known(key);
                assert_eq!(category(key).is_some(), known.is_some(), "{abi} {known:?}");
            }
        }
    }

    #[test]
    fn a_syscall_has_the_classes_of_strace() {
        let of = |abi, nr| classes(CallKey::of(abi, nr)).to_string();
        assert_eq!(of(Abi::X86_64, 257), "%file %desc");
        assert_eq!(of(Abi::I386, 295), "%file %desc");
        assert_eq!(of(Abi::X86_64, 39), "%pure");
        assert_eq!(of(Abi::X86_64, 202), "-");
        assert_eq!(of(Abi::X86_64, 59), "%file %process");
        assert_eq!(of(Abi::X86_64, 4), "%file %stat %%stat");
        assert_eq!(classes(CallKey::of(Abi::X86_64, 4)).wide().to_string(), "%file");
        assert_eq!(of(Abi::X86_64, 400), "-");
    }

    #[test]
    fn a_name_is_a_class_or_a_category() {
        let count = |name| {
            let contains = contains(name)?;
            let keys = (0..Abi::X86_64.limit()).map(|nr| CallKey::of(Abi::X86_64, nr));
            Some(keys.filter(|key| contains(*key)).count())
        };
        assert_eq!(count("net"), count("network"));
        assert_eq!(count("no-such"), None);
        for name in names() {
            assert!(count(name) > Some(0), "{name}");
        }
    }
}
