//! Why a call was refused, as far as the kernel says.

use std::borrow::Cow;

use profiler_common::call::CallKey;

use crate::{decode::constants, names::syscalls};

/// `EPERM` and `EACCES` (include/uapi/asm-generic/errno-base.h).
const EPERM: u16 = 1;
const EACCES: u16 = 13;

/// Capabilities (include/uapi/linux/capability.h).
const CAP_DAC_OVERRIDE: u32 = 1;
const CAP_DAC_READ_SEARCH: u32 = 2;
const CAP_SYS_ADMIN: u32 = 21;

/// Calls that reserve memory. The kernel then checks `CAP_SYS_ADMIN`, to decide how much memory it
/// leaves for others (`cap_vm_enough_memory`, security/commoncap.c). The call does not fail for it.
const RESERVING: [&str; 13] = [
    "brk",
    "clone",
    "clone3",
    "execve",
    "execveat",
    "fork",
    "mmap",
    "mmap2",
    "mprotect",
    "mremap",
    "remap_file_pages",
    "shmat",
    "vfork",
];

/// Why a call was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// Seccomp or a tracer refused the call before it entered.
    Denied,
    /// The mode or the ACL of a file refused the access. The kernel checks this capability only then
    /// (`generic_permission`, fs/namei.c).
    Permissions(u32),
    /// The kernel found this capability missing.
    Capability(u32),
    /// No failed check of a capability is known.
    Unknown,
}

impl Reason {
    /// The reason of a failure; `None` unless the errno says that the call was refused.
    pub fn of(
        denied: bool,
        key: CallKey,
        errno: Option<u16>,
        capability: Option<u32>,
    ) -> Option<Self> {
        if denied {
            return Some(Self::Denied);
        }
        let errno = errno.filter(|errno| [EPERM, EACCES].contains(errno))?;
        let reserves = || syscalls::known(key).is_some_and(|name| RESERVING.contains(&name));
        Some(match capability {
            Some(CAP_SYS_ADMIN) if reserves() => Self::Unknown,
            Some(number @ (CAP_DAC_OVERRIDE | CAP_DAC_READ_SEARCH)) if errno == EACCES => {
                Self::Permissions(number)
            }
            Some(number) => Self::Capability(number),
            None => Self::Unknown,
        })
    }

    /// Its name in JSON.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Denied => "seccomp_or_tracer",
            Self::Permissions(_) => "file_permissions",
            Self::Capability(_) => "capability",
            Self::Unknown => "unknown",
        }
    }

    /// The name of the capability that was missing.
    pub(super) fn capability(self) -> Option<Cow<'static, str>> {
        match self {
            Self::Permissions(number) | Self::Capability(number) => Some(
                constants::name("capability", number.into())
                    .map_or_else(|| format!("capability {number}").into(), Cow::Borrowed),
            ),
            Self::Denied | Self::Unknown => None,
        }
    }

    /// The reason for people.
    pub fn text(self) -> String {
        let missing = self.capability().unwrap_or_default();
        match self {
            Self::Denied => "seccomp or a tracer".to_owned(),
            Self::Permissions(_) => format!("file permissions, {missing} missing"),
            Self::Capability(_) => format!("{missing} missing"),
            Self::Unknown => "unknown".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use profiler_common::call::Abi;

    use super::*;

    const KILL: CallKey = CallKey::of(Abi::X86_64, 62);
    const EXECVE: CallKey = CallKey::of(Abi::X86_64, 59);

    #[test]
    fn only_calls_that_were_refused_have_a_reason() {
        let of = |errno, capability| Reason::of(false, KILL, errno, capability).map(Reason::text);
        assert_eq!(of(Some(2), Some(5)), None);
        assert_eq!(of(None, None), None);
        assert_eq!(of(Some(EPERM), Some(5)).as_deref(), Some("CAP_KILL missing"));
        assert_eq!(of(Some(EPERM), Some(99)).as_deref(), Some("capability 99 missing"));
        assert_eq!(of(Some(EACCES), None).as_deref(), Some("unknown"));
        let files = of(Some(EACCES), Some(CAP_DAC_OVERRIDE));
        assert_eq!(files.as_deref(), Some("file permissions, CAP_DAC_OVERRIDE missing"));
        assert_eq!(Reason::of(true, KILL, None, None), Some(Reason::Denied));
    }

    #[test]
    fn the_check_of_a_reserve_of_memory_is_no_reason() {
        let of = |key| Reason::of(false, key, Some(EACCES), Some(CAP_SYS_ADMIN));
        assert_eq!(of(EXECVE), Some(Reason::Unknown));
        assert_eq!(of(KILL), Some(Reason::Capability(CAP_SYS_ADMIN)));
    }
}
