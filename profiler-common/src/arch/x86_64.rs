//! x86_64: three ABIs, each with its own table of numbers.

/// The calling convention of a syscall.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Abi {
    /// `syscall` from 64-bit code.
    X86_64 = 0,
    /// `int 0x80` and `sysenter`, from 32-bit or 64-bit code.
    I386 = 1,
    /// `syscall` with `__X32_SYSCALL_BIT` set.
    X32 = 2,
}

/// Every ABI, in the order of their discriminants.
pub const ABIS: [Abi; 3] = [Abi::X86_64, Abi::I386, Abi::X32];

/// The ABI of 64-bit programs.
pub const NATIVE: Abi = Abi::X86_64;

/// The ABI of 32-bit programs.
pub const COMPAT: Abi = Abi::I386;

/// How many ABIs there are beside [`NATIVE`].
pub const FOREIGN_ABIS: usize = ABIS.len() - 1;

/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h).
const X32_BIT: u64 = 0x4000_0000;

/// `TS_COMPAT` (arch/x86/include/asm/thread_info.h): the thread is in a 32-bit syscall.
const TS_COMPAT: u32 = 0x0002;

/// Kernel stacks have two to this power bytes, and are aligned to their size (`THREAD_SIZE`,
/// arch/x86/include/asm/page_64_types.h).
pub const KERNEL_STACK_SHIFT: u32 = 14;

impl Abi {
    /// How many numbers are distinguished. The last one stands for all unknown numbers.
    ///
    /// x86_64 and i386 share new numbers, 470 of them in Linux 6.18. x32 has numbers of its own
    /// from 512 to 547.
    pub const fn limit(self) -> u32 {
        match self {
            Self::X86_64 | Self::I386 => 512,
            Self::X32 => 640,
        }
    }

    /// The first overflow slot of this ABI.
    pub const fn overflow_base(self) -> u32 {
        match self {
            Self::X86_64 => 0,
            Self::I386 => Self::X86_64.limit(),
            Self::X32 => Self::X86_64.limit() + Self::I386.limit(),
        }
    }

    /// The name that users see and that metric labels have.
    pub const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::I386 => "i386",
            Self::X32 => "x32",
        }
    }

    /// The ABI with this discriminant.
    pub const fn from_index(index: u32) -> Option<Self> {
        match index {
            0 => Some(Self::X86_64),
            1 => Some(Self::I386),
            2 => Some(Self::X32),
            _ => None,
        }
    }
}

/// Overflow slots of all ABIs together.
pub const OVERFLOW_SLOTS: u32 = Abi::X32.overflow_base() + Abi::X32.limit();

/// The first overflow slot of the ABI with this discriminant.
#[inline(always)]
pub const fn overflow_base(abi: u32) -> u32 {
    match abi {
        0 => Abi::X86_64.overflow_base(),
        1 => Abi::I386.overflow_base(),
        _ => Abi::X32.overflow_base(),
    }
}

/// The index among the ABIs other than [`NATIVE`] of the one with this discriminant.
#[inline(always)]
pub const fn foreign_index(abi: u32) -> usize {
    if abi == Abi::I386 as u32 { 0 } else { 1 }
}

/// The ABI of a syscall, and its number in the table of the ABI. `is_compat` says whether
/// [`is_compat`] was true.
#[inline(always)]
pub const fn abi_and_number(nr: u64, is_compat: bool) -> (Abi, u64) {
    if is_compat {
        (Abi::I386, nr)
    } else if nr & X32_BIT != 0 && nr < 2 * X32_BIT {
        // A negative number has bit 30 set too, and is not an x32 call: `do_syscall_x32`
        // (arch/x86/entry/syscall_64.c) subtracts the bit and checks the range.
        (Abi::X32, nr - X32_BIT)
    } else {
        (Abi::X86_64, nr)
    }
}

/// Whether a thread with this `thread_info.status` is in a 32-bit syscall.
#[inline(always)]
pub const fn is_compat(status: u32) -> bool {
    status & TS_COMPAT != 0
}

/// Whether a result in the range of the restart codes is one, if the call with this key leaves
/// with it.
///
/// `lseek` on `/proc/PID/mem` returns any offset (`mem_lseek`, fs/proc/base.c). `lseek` is
/// interrupted only on a network file system, and only by a signal that kills.
#[inline(always)]
pub const fn can_be_restarted(key: u32) -> bool {
    // x86_64, i386 and x32.
    !matches!(key, 8 | 0x1_0013 | 0x2_0008)
}

/// Whether the call with this key "returns" the register of the interrupted code, which is not an
/// outcome.
///
/// `rt_sigreturn` and `sigreturn` do (arch/x86/kernel/signal_64.c returns `regs->ax`), and so do
/// `uretprobe` and `uprobe` (arch/x86/kernel/uprobes.c). The kernel has the first `probe_calls` of
/// the latter two.
#[inline(always)]
pub const fn restores_registers(key: u32, probe_calls: u32) -> bool {
    match key {
        // x86_64 rt_sigreturn; i386 sigreturn and rt_sigreturn; x32 rt_sigreturn.
        15 | 0x1_0077 | 0x1_00ad | 0x2_0201 => true,
        // x86_64 uretprobe and uprobe.
        335 => probe_calls >= 1,
        336 => probe_calls >= 2,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::call::CallKey;

    #[test]
    fn bogus_x32_numbers_share_one_key() {
        for nr in [639, 99_999, 0x3fff_ffff] {
            assert_eq!(CallKey::new(X32_BIT | nr, false), CallKey::unknown(Abi::X32), "{nr:#x}");
        }
    }

    #[test]
    fn x32_loses_its_bit() {
        let key = CallKey::new(X32_BIT | 547, false);
        assert_eq!((key.abi(), key.nr()), (Some(Abi::X32), 547));
    }

    #[test]
    fn discriminants_are_indexes() {
        for (index, abi) in (0..).zip(ABIS) {
            assert_eq!((abi as u32, Abi::from_index(index)), (index, Some(abi)));
            assert_eq!(overflow_base(index), abi.overflow_base());
            if abi != NATIVE {
                assert_eq!(foreign_index(index) + 1, index as usize);
            }
        }
        assert_eq!(Abi::from_index(ABIS.len() as u32), None);
    }
}
