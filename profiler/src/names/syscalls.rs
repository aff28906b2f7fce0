//! Names of syscalls, from the kernel's own table of each ABI.

use profiler_common::call::{Abi, CallKey};

use syscalls::{x86, x86_64};

/// The name of all numbers that are not in the table of their ABI.
pub const UNKNOWN: &str = "unknown";

/// First number of the calls that only x32 has.
const X32_FIRST: u32 = 512;

/// Calls that only x32 has (arch/x86/entry/syscalls/syscall_64.tbl, abi "x32"),
/// from [`X32_FIRST`] on; below, it shares the numbers of x86_64.
const X32: [&str; 36] = [
    "rt_sigaction",
    "rt_sigreturn",
    "ioctl",
    "readv",
    "writev",
    "recvfrom",
    "sendmsg",
    "recvmsg",
    "execve",
    "ptrace",
    "rt_sigpending",
    "rt_sigtimedwait",
    "rt_sigqueueinfo",
    "sigaltstack",
    "timer_create",
    "mq_notify",
    "kexec_load",
    "waitid",
    "set_robust_list",
    "get_robust_list",
    "vmsplice",
    "move_pages",
    "preadv",
    "pwritev",
    "rt_tgsigqueueinfo",
    "recvmmsg",
    "sendmmsg",
    "process_vm_readv",
    "process_vm_writev",
    "setsockopt",
    "getsockopt",
    "io_setup",
    "io_submit",
    "execveat",
    "preadv2",
    "pwritev2",
];

/// The name of a syscall. `None` if the number is not in the table.
pub fn known(key: CallKey) -> Option<&'static str> {
    let nr = key.nr();
    let name = match key.abi()? {
        Abi::X86_64 => x86_64::Sysno::new(nr as usize).map(|s| s.name()),
        Abi::I386 => x86::Sysno::new(nr as usize).map(|s| s.name()),
        Abi::X32 if nr >= X32_FIRST => X32.get((nr - X32_FIRST) as usize).copied(),
        Abi::X32 => x86_64::Sysno::new(nr as usize).map(|s| s.name()),
    };
    // The library escapes names that are keywords of Rust: `r#break`.
    name.map(|name| name.strip_prefix("r#").unwrap_or(name))
}

/// The name of a syscall, or [`UNKNOWN`].
pub fn name(key: CallKey) -> &'static str {
    known(key).unwrap_or(UNKNOWN)
}

/// The name of a syscall, with its ABI unless the ABI is x86_64.
pub fn name_with_abi(key: CallKey) -> String {
    match key.abi() {
        Some(Abi::X86_64) | None => name(key).to_owned(),
        Some(abi) => format!("{} ({abi})", name(key)),
    }
}

/// The ABI and the name of a syscall, in the syntax of filters: `i386:open`.
pub fn name_in_abi(key: CallKey) -> String {
    match key.abi() {
        Some(abi) => format!("{abi}:{}", name(key)),
        None => name(key).to_owned(),
    }
}

/// Replaces a number without a name by the key for all unknown numbers of its ABI, so that all of
/// them share a row.
pub fn fold_unknown(key: CallKey) -> CallKey {
    match (known(key), key.abi()) {
        (None, Some(abi)) => CallKey::unknown(abi),
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(abi: Abi, nr: u32) -> &'static str {
        name(CallKey::of(abi, nr))
    }

    #[test]
    fn every_abi_has_its_own_table() {
        assert_eq!(of(Abi::X86_64, 0), "read");
        assert_eq!(of(Abi::X86_64, 5), "fstat");
        assert_eq!(of(Abi::I386, 5), "open");
        assert_eq!(of(Abi::I386, 252), "exit_group");
        assert_eq!(of(Abi::I386, 17), "break");
        assert_eq!(of(Abi::X32, 0), "read");
        assert_eq!(of(Abi::X32, 512), "rt_sigaction");
        assert_eq!(of(Abi::X32, 545), "execveat");
        assert_eq!(of(Abi::X32, 547), "pwritev2");
    }

    #[test]
    fn holes_and_bogus_numbers_are_unknown() {
        for (abi, nr) in [(Abi::X86_64, 400), (Abi::X86_64, 511), (Abi::X32, 548)] {
            let key = CallKey::of(abi, nr);
            assert_eq!(name(key), UNKNOWN);
            assert_eq!(fold_unknown(key), CallKey::unknown(abi));
        }
        let read = CallKey::of(Abi::X86_64, 0);
        assert_eq!(fold_unknown(read), read);
    }

    #[test]
    fn the_bucket_of_unknown_numbers_is_outside_every_table() {
        for abi in profiler_common::call::ABIS {
            assert_eq!(known(CallKey::unknown(abi)), None, "{abi}");
        }
    }
}
