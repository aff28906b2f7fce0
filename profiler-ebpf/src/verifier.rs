//! Helps the verifier to see what the compiler knows already.

use core::arch::asm;

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
