//! Records the standard streams and signals that this process inherited, before Rust's runtime
//! changes them.
//!
//! The runtime opens /dev/null for each standard stream that is closed, and ignores SIGPIPE
//! (`sanitize_standard_fds` and `reset_sigpipe`, library/std/src/sys/pal/unix/mod.rs). As a
//! consequence, `>&-` would lose all output without an error, and a command that the profiler
//! starts would not inherit the settings of the parent process. A function in `.init_array`
//! therefore records the state before `main`.

use std::{
    mem::MaybeUninit,
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

use nix::errno::Errno;

/// Standard input, output and error: whether each was closed.
static CLOSED: [AtomicBool; 3] = [const { AtomicBool::new(false) }; 3];

/// Signals whose disposition this process changes: Rust's runtime changes SIGPIPE, and the profiler
/// changes SIGCHLD.
const CHANGED: [libc::c_int; 2] = [libc::SIGPIPE, libc::SIGCHLD];

/// Whether each signal of [`CHANGED`] was ignored.
static IGNORED: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];

/// Signals are numbered from 1 to this (`_NSIG`, include/uapi/asm-generic/signal.h).
const LAST_SIGNAL: libc::c_int = 64;

/// Whether each signal was blocked, by its number.
static BLOCKED: [AtomicBool; LAST_SIGNAL as usize + 1] =
    [const { AtomicBool::new(false) }; LAST_SIGNAL as usize + 1];

// The C library calls these functions before `main`, in the only thread.
#[used]
// SAFETY: the section contains pointers to C functions. `record` is a C function that ignores its
// arguments, which the C calling convention allows.
#[unsafe(link_section = ".init_array")]
static RECORD: extern "C" fn() = record;

/// Runs before Rust's runtime, so it only makes syscalls and stores to statics.
extern "C" fn record() {
    for (descriptor, closed) in (0..).zip(&CLOSED) {
        // SAFETY: takes numbers only.
        closed.store(unsafe { libc::fcntl(descriptor, libc::F_GETFD) } < 0, Ordering::Relaxed);
    }
    for (signal, ignored) in CHANGED.into_iter().zip(&IGNORED) {
        ignored.store(is_ignored(signal), Ordering::Relaxed);
    }
    let mut mask = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: reads the mask and does not set it. Zeros are a valid set.
    let mask = unsafe {
        libc::sigprocmask(libc::SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
        mask.assume_init()
    };
    for (signal, blocked) in (0..).zip(&BLOCKED).skip(1) {
        // SAFETY: a valid set and a number.
        blocked.store(unsafe { libc::sigismember(&mask, signal) } == 1, Ordering::Relaxed);
    }
}

/// Whether the signal is ignored now.
pub(crate) fn is_ignored(signal: libc::c_int) -> bool {
    let mut action = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: reads the current action and does not set it. Zeros are a valid value.
    unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr()) == 0
            && action.assume_init().sa_sigaction == libc::SIG_IGN
    }
}

/// Whether the standard stream with this descriptor was closed when the process started.
pub(crate) fn was_closed(descriptor: libc::c_int) -> bool {
    usize::try_from(descriptor)
        .ok()
        .and_then(|at| CLOSED.get(at))
        .is_some_and(|closed| closed.load(Ordering::Relaxed))
}

/// Restores in a forked process what this process inherited: the signal dispositions, the signal
/// mask, and closed standard streams.
///
/// Safe between fork and exec.
///
/// # Errors
/// The kernel's.
pub(crate) fn pass_on() -> Result<(), Errno> {
    for (signal, ignored) in CHANGED.into_iter().zip(&IGNORED) {
        let action = if ignored.load(Ordering::Relaxed) { libc::SIG_IGN } else { libc::SIG_DFL };
        // SAFETY: neither action runs a handler.
        if unsafe { libc::signal(signal, action) } == libc::SIG_ERR {
            return Err(Errno::last());
        }
    }
    let mut mask = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` makes the set valid, and it is a local variable.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        for (signal, blocked) in (0..).zip(&BLOCKED).skip(1) {
            // The C library reserves two signals, and refuses these.
            if blocked.load(Ordering::Relaxed) {
                libc::sigaddset(mask.as_mut_ptr(), signal);
            }
        }
        Errno::result(libc::sigprocmask(libc::SIG_SETMASK, mask.as_ptr(), ptr::null_mut()))?;
    }
    for (descriptor, closed) in (0..).zip(&CLOSED) {
        if closed.load(Ordering::Relaxed) {
            // SAFETY: Rust's runtime opened /dev/null as this descriptor, and nothing in this
            // process uses it.
            unsafe { libc::close(descriptor) };
        }
    }
    Ok(())
}
