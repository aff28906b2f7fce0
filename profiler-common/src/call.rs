//! The key of a syscall: its ABI and its number, capped at what the tables can hold.

use core::fmt;

use crate::arch;
pub use crate::arch::{ABIS, Abi, OVERFLOW_SLOTS};

impl fmt::Display for Abi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A syscall: its ABI in the upper 16 bits, and a number below the ABI's limit in the lower 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct CallKey(pub u32);

impl CallKey {
    /// No call is in flight.
    pub const NONE: Self = Self(u32::MAX);

    /// A call is in flight that does not count.
    pub const UNCOUNTED: Self = Self(u32::MAX - 1);

    /// Bit in the key of a call that left with a restart code. Until the kernel side knows whether
    /// the call is restarted or returns EINTR, the call counts as in flight.
    pub const INTERRUPTED: u32 = 1 << 30;

    /// Whether the key has [`Self::INTERRUPTED`].
    #[inline(always)]
    pub const fn is_interrupted(self) -> bool {
        self.0 & (Self::INTERRUPTED << 1 | Self::INTERRUPTED) == Self::INTERRUPTED
    }

    /// The key without [`Self::INTERRUPTED`].
    #[inline(always)]
    pub const fn without_mark(self) -> Self {
        if self.is_interrupted() { Self(self.0 & !Self::INTERRUPTED) } else { self }
    }

    /// Whether the key is [`Self::NONE`], [`Self::UNCOUNTED`] or that of an interrupted call.
    #[inline(always)]
    pub const fn is_special(self) -> bool {
        self.0 >= Self::INTERRUPTED
    }

    /// The key of a call that entered with `nr`. `is_compat` says whether the thread was in a
    /// 32-bit syscall ([`arch::is_compat`]).
    ///
    /// `nr` is what `syscall_get_nr` gave to the tracepoint. The kernel cuts it to 32 bits
    /// (`do_syscall_64`, arch/x86/entry/common.c) and sign-extends it. So `-1` and numbers beyond
    /// the table arrive unchanged. They all become the unknown number of their ABI.
    #[inline(always)]
    pub const fn new(nr: u64, is_compat: bool) -> Self {
        if !is_compat && nr < (arch::NATIVE.limit() - 1) as u64 {
            return Self(nr as u32);
        }
        Self::unusual(nr, is_compat)
    }

    #[inline(always)]
    const fn unusual(nr: u64, is_compat: bool) -> Self {
        let (abi, nr) = arch::abi_and_number(nr as u32 as u64, is_compat);
        let unknown = (abi.limit() - 1) as u64;
        let nr = if nr < unknown { nr } else { unknown };
        Self(((abi as u32) << 16) | nr as u32)
    }

    /// The key of `nr` in `abi`. Numbers beyond the limit become the unknown number.
    pub const fn of(abi: Abi, nr: u32) -> Self {
        let unknown = abi.limit() - 1;
        let nr = if nr < unknown { nr } else { unknown };
        Self(((abi as u32) << 16) | nr)
    }

    /// The key that stands for all unknown numbers of `abi`.
    pub const fn unknown(abi: Abi) -> Self {
        Self::of(abi, u32::MAX)
    }

    /// Whether the key stands for all unknown numbers of its ABI.
    pub fn is_unknown(self) -> bool {
        self.abi().is_some_and(|abi| self == Self::unknown(abi))
    }

    /// The ABI; `None` if no call has this key.
    pub const fn abi(self) -> Option<Abi> {
        Abi::from_index(self.0 >> 16)
    }

    /// The number in the table of the ABI.
    pub const fn nr(self) -> u32 {
        self.0 & 0xffff
    }

    /// Index of the overflow slot of this call.
    #[inline(always)]
    pub const fn overflow_index(self) -> u32 {
        arch::overflow_base(self.0 >> 16) + self.nr()
    }

    /// The key whose overflow slot this is.
    pub fn from_overflow_index(index: u32) -> Option<Self> {
        ABIS.into_iter().rev().find(|abi| index >= abi.overflow_base()).and_then(|abi| {
            let nr = index - abi.overflow_base();
            (nr < abi.limit()).then(|| Self::of(abi, nr))
        })
    }

    /// Whether the kernel can restart this call. If not, a result in the range of the restart codes
    /// is an ordinary result.
    #[inline(always)]
    pub const fn can_be_restarted(self) -> bool {
        arch::can_be_restarted(self.0)
    }

    /// Whether a 32-bit tracer may have set the result of this call in 32 bits only.
    ///
    /// The number of such a call is -1, so the kernel ran no call that could have set the result.
    #[inline(always)]
    pub const fn has_result_of_tracer(self) -> bool {
        self.0 == Self::unknown(arch::COMPAT).0
    }

    /// Whether the result of this call is the register of the interrupted code, and not an outcome.
    /// `probe_calls` is the setting [`PROBE_CALLS`](crate::settings::PROBE_CALLS).
    #[inline(always)]
    pub const fn restores_registers(self, probe_calls: u32) -> bool {
        arch::restores_registers(self.0, probe_calls)
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
