//! Helps the verifier to see what the compiler knows already.

use core::arch::asm;

use aya_ebpf::EbpfContext;

/// Returns `value`, and hides from the compiler what it knows about it. The compiler then keeps a
/// comparison that it would drop as always true, and the verifier sees the comparison.
#[inline(always)]
pub fn opaque(mut value: u32) -> u32 {
    // An empty instruction would share its line with the next instruction, and the kernel refuses
    // that. So this is a real instruction.
    // SAFETY: moves a register onto itself.
    unsafe { asm!("{0} = {0}", inlateout(wreg) value, options(nomem, nostack, pure)) };
    value
}

/// Reads argument `N` of a program in a typed or raw tracepoint.
///
/// If branches read different arguments, the compiler merges the reads into one at a computed
/// address, which the verifier refuses. It does not merge different instructions of our own.
#[inline(always)]
pub fn argument<const N: usize>(ctx: &impl EbpfContext) -> u64 {
    let value: u64;
    // SAFETY: the context of these programs is the arguments, and the verifier checks the index.
    unsafe {
        asm!(
            "{0} = *(u64 *)({1} + {2})",
            lateout(reg) value,
            in(reg) ctx.as_ptr(),
            const 8 * N,
            options(nostack, readonly)
        );
    }
    value
}

/// Returns `value & MASK`, and hides the operation from the compiler. The verifier sees the bound
/// in the register that is used from then on.
#[inline(always)]
pub fn masked<const MASK: u64>(mut value: u64) -> u64 {
    // SAFETY: changes a register.
    unsafe {
        asm!("{0} &= {1}", inlateout(reg) value, const MASK, options(nomem, nostack, pure));
    }
    value
}
