//! The codes by which the kernel asks itself to restart a call once a signal is handled
//! (include/linux/errno.h). User space never sees them.

/// Restart, unless a handler without `SA_RESTART` ran.
pub const ERESTARTSYS: u32 = 512;
/// Restart always.
pub const ERESTARTNOINTR: u32 = 513;
/// Restart, unless a handler ran.
pub const ERESTARTNOHAND: u32 = 514;
/// Restart by `restart_syscall`, unless a handler ran. 515, `ENOIOCTLCMD`, is not a restart code.
pub const ERESTART_RESTARTBLOCK: u32 = 516;

/// `EINTR` as a result.
const EINTR: u64 = -4_i64 as u64;

/// The result that stands for a call that is restarted, whatever its code was.
pub const RESTARTED: u64 = -(ERESTARTNOINTR as i64) as u64;

/// `SA_RESTART` (include/uapi/asm-generic/signal-defs.h).
const SA_RESTART: u64 = 0x1000_0000;

/// Whether a call left with a restart code. If the call cannot be restarted, `result` is an
/// ordinary result all the same.
#[inline(always)]
pub fn is_result(result: u64) -> bool {
    let code = (result as u32).wrapping_neg();
    // One comparison if the call succeeded.
    code.wrapping_sub(ERESTARTSYS) <= ERESTART_RESTARTBLOCK - ERESTARTSYS
        && result as i64 >> 32 == -1
        && code != ERESTART_RESTARTBLOCK - 1
}

/// The result of a call that left with this code, after a handler with these `sa_flags` ran:
/// [`RESTARTED`] or EINTR (`handle_signal`, arch/x86/kernel/signal.c, and the same in other
/// architectures).
#[inline(always)]
pub fn result_after_handler(code: u32, flags: u64) -> u64 {
    match code {
        ERESTARTSYS if flags & SA_RESTART != 0 => RESTARTED,
        ERESTARTNOINTR => RESTARTED,
        _ => EINTR,
    }
}
