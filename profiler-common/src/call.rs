//! How a system call is keyed: its ABI and its number, clamped to what the
//! tables can hold.

use core::fmt;

/// The calling convention by which a call entered, each with its own table of
/// numbers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Abi {
    /// `syscall` from 64-bit code.
    X86_64 = 0,
    /// `int 0x80` and `sysenter`, by 32-bit and by 64-bit code.
    I386 = 1,
    /// `syscall` with `__X32_SYSCALL_BIT` set.
    X32 = 2,
}

/// Every ABI, in the order of their discriminants.
pub const ABIS: [Abi; 3] = [Abi::X86_64, Abi::I386, Abi::X32];

/// `__X32_SYSCALL_BIT` (arch/x86/include/uapi/asm/unistd.h).
pub const X32_BIT: u64 = 0x4000_0000;

/// `TS_COMPAT` (arch/x86/include/asm/thread_info.h): a 32-bit system call is
/// active on this thread.
pub const TS_COMPAT: u32 = 0x0002;

impl Abi {
    /// Numbers that are told apart, the last of which stands for all unknown
    /// ones. x86_64 and i386 share new numbers, 470 of them in Linux 6.18; x32
    /// has its own from 512 to 547.
    pub const fn limit(self) -> u32 {
        match self {
            Self::X86_64 | Self::I386 => 512,
            Self::X32 => 640,
        }
    }

    /// First overflow slot of this ABI.
    pub const fn overflow_base(self) -> u32 {
        match self {
            Self::X86_64 => 0,
            Self::I386 => Self::X86_64.limit(),
            Self::X32 => Self::X86_64.limit() + Self::I386.limit(),
        }
    }

    /// The name that users see and labels carry.
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

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Overflow slots of all ABIs together.
pub const OVERFLOW_SLOTS: u32 = Abi::X32.overflow_base() + Abi::X32.limit();

/// An ABI and a number within its limit, in one word: the ABI in the upper 16
/// bits, the number in the lower.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CallKey(pub u32);

impl CallKey {
    /// A key that no call has: nothing is in flight.
    pub const NONE: Self = Self(u32::MAX);

    /// A key that no call has: one is in flight that does not count.
    pub const UNCOUNTED: Self = Self(u32::MAX - 1);

    /// Bit in the key of a call that has left and of which it is not known yet whether it is
    /// restarted or returns EINTR: it counts as in flight. The kernel side's alone.
    pub const INTERRUPTED: u32 = 1 << 30;

    /// Whether this is the key of a call that has been interrupted.
    #[inline(always)]
    pub const fn is_interrupted(self) -> bool {
        self.0 & (Self::INTERRUPTED << 1 | Self::INTERRUPTED) == Self::INTERRUPTED
    }

    /// The key of a call that is in flight for the user side, interrupted or not.
    #[inline(always)]
    pub const fn without_mark(self) -> Self {
        if self.is_interrupted() { Self(self.0 & !Self::INTERRUPTED) } else { self }
    }

    /// Whether this is no key, or that of a call that has been interrupted or does not count.
    #[inline(always)]
    pub const fn is_special(self) -> bool {
        self.0 >= Self::INTERRUPTED
    }

    /// The key of a call that entered with `nr`, `compat` telling whether
    /// `TS_COMPAT` was set.
    ///
    /// `nr` is what `syscall_get_nr` gave to the tracepoint: the kernel cuts it
    /// to 32 bits (`do_syscall_64`, arch/x86/entry/common.c) and sign-extends,
    /// so `-1` and numbers beyond the table arrive as they are, and all become
    /// the unknown number of their ABI.
    #[inline(always)]
    pub const fn new(nr: u64, compat: bool) -> Self {
        if !compat && nr < (Abi::X86_64.limit() - 1) as u64 {
            return Self(nr as u32);
        }
        Self::unusual(nr, compat)
    }

    #[inline(always)]
    const fn unusual(nr: u64, compat: bool) -> Self {
        let nr = nr as u32 as u64;
        // A negative number has bit 30 set too, and is no x32 call:
        // do_syscall_x32 subtracts the bit and checks the range.
        let (abi, nr) = if compat {
            (Abi::I386, nr)
        } else if nr & X32_BIT != 0 && nr < 2 * X32_BIT {
            (Abi::X32, nr - X32_BIT)
        } else {
            (Abi::X86_64, nr)
        };
        let unknown = (abi.limit() - 1) as u64;
        let nr = if nr < unknown { nr } else { unknown };
        Self(((abi as u32) << 16) | nr as u32)
    }

    /// The key of `nr` in `abi`; numbers beyond the limit become the unknown one.
    pub const fn of(abi: Abi, nr: u32) -> Self {
        let unknown = abi.limit() - 1;
        let nr = if nr < unknown { nr } else { unknown };
        Self(((abi as u32) << 16) | nr)
    }

    /// The key that stands for all unknown numbers of `abi`.
    pub const fn unknown(abi: Abi) -> Self {
        Self::of(abi, u32::MAX)
    }

    /// Whether this stands for all unknown numbers of its ABI.
    pub fn is_unknown(self) -> bool {
        self.abi().is_some_and(|abi| self == Self::unknown(abi))
    }

    /// The ABI, or `None` for bits that no key has.
    pub const fn abi(self) -> Option<Abi> {
        Abi::from_index(self.0 >> 16)
    }

    /// The number as its ABI's table lists it, without the x32 bit.
    pub const fn nr(self) -> u32 {
        self.0 & 0xffff
    }

    /// Index of this call's overflow slot.
    #[inline(always)]
    pub const fn overflow_index(self) -> u32 {
        let base = match self.0 >> 16 {
            0 => Abi::X86_64.overflow_base(),
            1 => Abi::I386.overflow_base(),
            _ => Abi::X32.overflow_base(),
        };
        base + self.nr()
    }

    /// The key whose overflow slot this is.
    pub fn from_overflow_index(index: u32) -> Option<Self> {
        ABIS.into_iter().rev().find(|abi| index >= abi.overflow_base()).and_then(|abi| {
            let nr = index - abi.overflow_base();
            (nr < abi.limit()).then(|| Self::of(abi, nr))
        })
    }

    /// Whether a code by which the kernel restarts a call is one when this call leaves with
    /// it. `lseek` of `/proc/PID/mem` leaves with any offset (`mem_lseek`, fs/proc/base.c),
    /// and is interrupted nowhere but on a network's file system, and there only by a signal
    /// that kills.
    #[inline(always)]
    pub const fn can_be_restarted(self) -> bool {
        // x86_64, i386 and x32.
        !matches!(self.0, 8 | 0x1_0013 | 0x2_0008)
    }

    /// Whether a tracer has given the result in 32 bits, if it is that of a 32-bit tracer: the
    /// call is none, since its number is -1, and no call of the kernel's has set the result.
    #[inline(always)]
    pub const fn is_of_tracer(self) -> bool {
        self.0 == Self::unknown(Abi::I386).0
    }

    /// `rt_sigreturn` and `sigreturn` "return" what the interrupted code had in its
    /// register (arch/x86/kernel/signal_64.c returns `regs->ax`), and so do `uretprobe`
    /// and `uprobe` (arch/x86/kernel/uprobes.c), of which the kernel has as many as
    /// `probe_calls`: no outcome of theirs.
    #[inline(always)]
    pub const fn restores_registers(self, probe_calls: u32) -> bool {
        match self.0 {
            // x86_64 rt_sigreturn; i386 sigreturn and rt_sigreturn; x32 rt_sigreturn.
            15 | 0x1_0077 | 0x1_00ad | 0x2_0201 => true,
            // x86_64 uretprobe and uprobe.
            335 => probe_calls >= 1,
            336 => probe_calls >= 2,
            _ => false,
        }
    }
}

impl fmt::Debug for CallKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.abi() {
            Some(abi) => write!(f, "{abi}:{}", self.nr()),
            None => f.write_str("none"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_numbers_are_themselves() {
        assert_eq!(CallKey::new(0, false), CallKey(0));
        assert_eq!(CallKey::new(470, false).nr(), 470);
        assert_eq!(CallKey::new(470, false).abi(), Some(Abi::X86_64));
    }

    #[test]
    fn bogus_numbers_share_one_key_per_abi() {
        for nr in [511, 512, 99_999, 0x3fff_ffff, 0x8000_0000, u64::MAX, 0xffff_ffff] {
            assert_eq!(CallKey::new(nr, false), CallKey::unknown(Abi::X86_64), "{nr:#x}");
        }
        for nr in [511, 99_999, 0x4000_0000, u64::MAX] {
            assert_eq!(CallKey::new(nr, true), CallKey::unknown(Abi::I386), "{nr:#x}");
        }
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
    fn overflow_indexes_are_a_bijection() {
        let mut seen = 0;
        for abi in ABIS {
            for nr in 0..abi.limit() {
                let key = CallKey::of(abi, nr);
                assert_eq!(key.overflow_index(), seen);
                assert_eq!(CallKey::from_overflow_index(seen), Some(key));
                seen += 1;
            }
        }
        assert_eq!(seen, OVERFLOW_SLOTS);
        assert_eq!(CallKey::from_overflow_index(seen), None);
    }

    #[test]
    fn none_has_no_abi() {
        assert_eq!(CallKey::NONE.abi(), None);
        assert_eq!(CallKey::UNCOUNTED.abi(), None);
        assert!(!CallKey::NONE.is_unknown());
    }
}
