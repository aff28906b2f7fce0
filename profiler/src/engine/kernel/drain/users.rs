//! The real user ids of processes.
//!
//! The kernel side notes the user of a thread at its first call, at an exec and at its end. In
//! between, only a few calls change the user (setuid(2) and its relatives). If a thread has made
//! one and lives, its id is read from /proc. So the id is exact also for a process that lives for
//! a few milliseconds, and costs nothing for a process that keeps its user.

use profiler_common::call::{CallKey, OVERFLOW_SLOTS};

use crate::{engine::kernel::options::Options, names::syscalls};

/// Calls that can change the real user id of the thread that makes them.
const SETTERS: [&str; 6] =
    ["setuid", "setreuid", "setresuid", "setuid32", "setreuid32", "setresuid32"];

/// Calls after which the kernel side has noted the user anew.
const EXECS: [&str; 2] = ["execve", "execveat"];

/// What the calls of a thread say about its user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// It ran another program, so that the user is noted anew.
    pub(super) noted: bool,
    /// It may have changed its user since.
    pub(super) unnoted: bool,
}

impl Change {
    /// Both.
    pub(super) fn and(self, other: Self) -> Self {
        Self { noted: self.noted || other.noted, unnoted: self.unnoted || other.unnoted }
    }
}

/// Which calls change users.
pub(crate) struct Changes {
    /// By [`CallKey::overflow_index`].
    by_call: Vec<Change>,
    /// Of any thread that did something: where calls that change users may go unseen.
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

    /// With filters that hide calls which change users, every thread that does something may
    /// have made one. That matters only if somebody asked for users.
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

    /// What a call says.
    pub(super) fn of(&self, key: CallKey) -> Change {
        self.by_call.get(key.overflow_index() as usize).copied().unwrap_or_default()
    }

    /// What it says that a thread did anything.
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
        // seteuid(3) is setresuid(2), and setgid(2) is of groups.
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
        assert!(!of("read", false), "nobody asked");
        assert!(!of("!read", true), "all of them count");
        assert!(of("!setuid", true));
    }
}
