//! x86_64: stores stay in order (x86-TSO), and `orig_ax` has the number of a syscall.

use core::{
    mem::offset_of,
    sync::atomic::{Ordering::SeqCst, compiler_fence},
};

use aya_ebpf::{
    bindings::pt_regs,
    helpers::{bpf_probe_read_kernel, generated},
};

use crate::atomic;

/// Publishes the stores above to a reader on another CPU: the reader sees them if it sees a store
/// below.
///
/// x86 keeps the order of stores (Intel's Software Developer's Manual, volume 3, 9.2.2), so only
/// the compiler has to keep it too.
#[inline(always)]
pub fn publish() {
    compiler_fence(SeqCst);
}

/// Adds `value` to `*place`, and orders all memory accesses above before all below.
///
/// An instruction with a lock prefix is a full barrier (Intel's Software Developer's Manual, volume
/// 3, 9.2.2). BPF has no barrier of its own that Linux 5.10 knows.
///
/// # Safety
/// `place` is within a live map value.
#[inline(always)]
pub unsafe fn add_with_full_barrier(place: *mut u64, value: u64) {
    // SAFETY: the caller's place.
    unsafe { atomic::add(place, value) }
}

/// The number of the call whose registers are at `regs`; `u64::MAX` if they cannot be read.
#[inline(always)]
pub fn call_number(regs: u64) -> u64 {
    // SAFETY: the helper checks the address.
    unsafe {
        let regs = regs as *const pt_regs;
        bpf_probe_read_kernel(&raw const (*regs).orig_rax).unwrap_or(u64::MAX)
    }
}

/// The value of `regs->ax` from the entry of a call until the call has a result: `-ENOSYS`
/// (arch/x86/entry).
const NO_RESULT: i32 = -38;

/// The number of the call whose registers are at `regs`, if the call has no result yet.
///
/// `None` also in these cases:
///
/// - The registers are of an exception or an interrupt, which leave a negative number
///   (`error_entry`, arch/x86/entry/entry_64.S).
/// - The task is a worker of io_uring. It has a copy of the registers of its maker, but no stack
///   (`copy_thread`, arch/x86/kernel/process.c).
/// - The task sleeps on its way out of a call, so the call has a result. If the result is `-ENOSYS`
///   itself, this function cannot tell.
#[inline(always)]
pub fn number_of_unfinished_call(regs: *const pt_regs) -> Option<u64> {
    // SAFETY: the helper checks the address.
    unsafe {
        let nr = bpf_probe_read_kernel(&raw const (*regs).orig_rax).ok()?;
        let stack = bpf_probe_read_kernel(&raw const (*regs).rsp).ok()?;
        let result = bpf_probe_read_kernel(&raw const (*regs).rax).ok()?;
        (nr as i32 >= 0 && stack != 0 && result as i32 == NO_RESULT).then_some(nr)
    }
}

/// The registers of a call: from `bp` to `orig_ax` of `struct pt_regs`
/// (arch/x86/include/asm/ptrace.h).
pub struct CallRegisters([u64; 12]);

impl CallRegisters {
    /// Copies the registers at `regs`; all are 0 if they cannot be read.
    #[inline(always)]
    pub fn read(regs: u64) -> Self {
        // SAFETY: the helper checks the address.
        unsafe {
            let from = &raw const (*(regs as *const pt_regs)).rbp;
            Self(bpf_probe_read_kernel(from.cast()).unwrap_or([0; 12]))
        }
    }

    /// Copies the registers at `regs` into a map value; all are 0 if they cannot be read.
    ///
    /// # Safety
    /// `to` is within a live map value.
    #[inline(always)]
    pub unsafe fn read_to(to: *mut Self, regs: u64) {
        // SAFETY: the caller's place, and the helper checks the address.
        unsafe {
            let from = &raw const (*(regs as *const pt_regs)).rbp;
            generated::bpf_probe_read_kernel(to.cast(), size_of::<Self>() as u32, from.cast());
        }
    }

    /// The result of the call, once it has one.
    #[inline(always)]
    pub fn result(&self) -> u64 {
        self.0[6]
    }

    /// The number of the call.
    #[inline(always)]
    pub fn number(&self) -> u64 {
        self.0[11]
    }

    /// The arguments of a native call whose registers are at `regs`. `two_words` reads the two words
    /// at an address.
    #[inline(always)]
    pub fn native_arguments(regs: u64, two_words: impl Fn(u64) -> [u64; 2]) -> [u64; 6] {
        let from = |offset: usize| two_words(regs.wrapping_add(offset as u64));
        let [r10, r9] = from(offset_of!(pt_regs, r10));
        let [r8, _] = from(offset_of!(pt_regs, r8));
        let [dx, si] = from(offset_of!(pt_regs, rdx));
        let [di, _] = from(offset_of!(pt_regs, rdi));
        [di, si, dx, r10, r8, r9]
    }

    /// The arguments of the call.
    #[inline(always)]
    pub fn arguments(&self, is_compat: bool) -> [u64; 6] {
        let [bp, bx, r10, r9, r8, cx, dx, si, di] =
            [0, 1, 3, 4, 5, 7, 8, 9, 10].map(|index| self.0[index]);
        if is_compat {
            [bx, cx, dx, si, di, bp].map(|register| u64::from(register as u32))
        } else {
            [di, si, dx, r10, r8, r9]
        }
    }
}

/// Whether the call with this number is execve or execveat, which replace the memory of the process
/// (arch/x86/entry/syscalls).
#[inline(always)]
pub fn is_exec(nr: u64, is_compat: bool) -> bool {
    let nr = nr as u32;
    if is_compat {
        nr == 11 || nr == 358
    } else {
        // The latter two are those of x32.
        nr == 59 || nr == 322 || nr == 0x4000_0208 || nr == 0x4000_0221
    }
}

/// The registers that name the frame of a call.
pub struct FrameRegisters {
    /// The instruction pointer.
    pub ip: u64,
    /// The stack pointer.
    pub sp: u64,
    /// The frame pointer.
    pub bp: u64,
}

impl FrameRegisters {
    /// Copies the registers at `regs`; all are 0 if they cannot be read.
    #[inline(always)]
    pub fn read(regs: u64) -> Self {
        // SAFETY: the helper checks the addresses.
        unsafe {
            let regs = regs as *const pt_regs;
            Self {
                ip: bpf_probe_read_kernel(&raw const (*regs).rip).unwrap_or(0),
                sp: bpf_probe_read_kernel(&raw const (*regs).rsp).unwrap_or(0),
                bp: bpf_probe_read_kernel(&raw const (*regs).rbp).unwrap_or(0),
            }
        }
    }
}

/// Whether the lower half of a result is at least `least`, which is negative.
///
/// A 32-bit tracer's `PTRACE_SETREGS` sets only the lower half, and clears the other half
/// (`putreg32`, arch/x86/kernel/ptrace.c).
#[inline(always)]
pub fn lower_half_is_at_least(result: u64, least: u64) -> bool {
    result as u32 >= least as u32
}

/// The beginning of `struct sigaction` (include/linux/signal_types.h).
pub struct SigAction {
    /// `sa_handler`; 0 if it cannot be read.
    pub handler: u64,
    /// `sa_flags`; 0 if they cannot be read.
    pub flags: u64,
}

impl SigAction {
    /// Reads the action of a signal.
    #[inline(always)]
    pub fn read(action: *const u64) -> Self {
        // SAFETY: the helper checks the address.
        unsafe {
            Self {
                handler: bpf_probe_read_kernel(action).unwrap_or(0),
                flags: bpf_probe_read_kernel(action.add(1)).unwrap_or(0),
            }
        }
    }
}
