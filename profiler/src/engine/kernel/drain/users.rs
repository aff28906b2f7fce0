//! The real user ids of processes.
//!
//! The kernel side notes the user of a thread at its first call, at an exec and at its end. In
//! between, only a few syscalls change the user (setuid(2) and its relatives). If a thread has made
//! such a call and still lives, the user id is read from /proc. So the id is exact even for a
//! process that lives for a few milliseconds, and costs nothing for a process that keeps its user.

use profiler_common::call::{CallKey, OVERFLOW_SLOTS};

use crate::{engine::kernel::options::Options, names::syscalls};

/// Syscalls that can change the real user id of the calling thread.
const SETTERS: [&str; 6] =
    ["setuid", "setreuid", "setresuid", "setuid32", "setreuid32", "setresuid32"];

/// Syscalls after which the kernel side notes the user again.
const EXECS: [&str; 2] = ["execve", "execveat"];

/// What the calls of a thread imply about its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The thread ran another program, so the kernel side has noted the user again.
    pub(super) noted: bool,
    /// The thread may have changed its user since the kernel side noted it.
    pub(super) unnoted: bool,
}

impl Change {
    /// Combines two changes.
    pub(super) fn and(self, other: Self) -> Self {
        Self { noted: self.noted || other.noted, unnoted: self.unnoted || other.unnoted }
    }
}

/// Which syscalls change users.
pub(crate) struct Changes {
    /// By [`CallKey::overflow_index`].
    by_call: Vec<Change>,
    /// The change that any active thread may have made, if filters hide syscalls that change users.
    always: Change,
}

impl Changes {
    pub(super) fn new() -> Self {
        let of = |index| {
            let name = CallKey::from_overflow_index(index).map_or("", syscalls::name);
            Change { noted: EXECS.contains(&name), unnoted: SETTERS.contains(&name) }
        };
        Self { by_call: (0..OVERFLOW_SLOTS).map(of).collect(), always: Change::default() }
    }

    /// Derives the changes from the options. If filters hide syscalls that change users, every
    /// active thread may have made such a call. This matters only if the query asks for users.
    pub(crate) fn for_options(options: &Options) -> Self {
        let mut this = Self::new();
        let calls = options.filter.calls.as_ref();
        let is_hidden = calls.is_some_and(|calls| {
            let counts = calls.counts().iter();
            counts.zip(&this.by_call).any(|(&counts, change)| change.unnoted && !counts)
        });
        this.always.unnoted = options.users && (is_hidden || options.filter.changes());
        this
    }

    /// Returns what a call implies.
    pub(super) fn of(&self, key: CallKey) -> Change {
        self.by_call.get(key.overflow_index() as usize).copied().unwrap_or_default()
    }

    /// Returns what any activity of a thread implies.
    pub(super) fn of_any(&self) -> Change {
        self.always
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::Abi;

    use super::*;
    use crate::filter::{Calls, Filter};

    #[test]
    fn calls_that_change_the_user_are_known_in_every_abi() {
        let changes = Changes::new();
        for (abi, nr) in [
            (Abi::X86_64, 105),
            (Abi::X86_64, 117),
            (Abi::X32, 113),
            (Abi::I386, 23),
            (Abi::I386, 164),
            (Abi::I386, 203),
            (Abi::I386, 208),
            (Abi::I386, 213),
        ] {
            let change = changes.of(CallKey::of(abi, nr));
            assert_eq!(change, Change { noted: false, unnoted: true }, "{abi:?} {nr}");
        }
        for (abi, nr) in [(Abi::X86_64, 59), (Abi::I386, 11), (Abi::X32, 545)] {
            assert_eq!(changes.of(CallKey::of(abi, nr)), Change { noted: true, unnoted: false });
        }
        // seteuid(3) calls setresuid(2), and setgid(2) changes only the group.
        assert_eq!(changes.of(CallKey::of(Abi::X86_64, 106)), Change::default());
    }

    #[test]
    fn where_such_calls_are_hidden_any_call_tells_of_one() {
        let of = |pattern: &str, users| {
            let patterns = [pattern.parse().expect("a call")];
            let filter =
                Filter { calls: Calls::new(&patterns).expect("calls"), ..Filter::default() };
            let options = Options { users, ..Options::default().filtered(filter) };
            Changes::for_options(&options).of_any().unnoted
        };
        assert!(of("read", true));
        assert!(!of("read", false), "the query does not ask for users");
        assert!(!of("!read", true), "no syscall that changes users is hidden");
        assert!(of("!setuid", true));
    }
}
