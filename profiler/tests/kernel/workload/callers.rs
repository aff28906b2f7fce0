//! Calls by known functions, with and without frame pointers.

use std::arch::global_asm;

use libc::c_long;

use super::{Made, Params, Statement, own_pid, statement::calls};

/// Defines a function that makes the call `number` with one argument. One with frame pointers, and one
/// that uses the frame pointer for something else, as compilers do.
macro_rules! caller {
    ($plain:ident, $framed:ident) => {
        unsafe extern "C" {
            fn $plain(number: c_long, argument: c_long) -> c_long;
            fn $framed(number: c_long, argument: c_long) -> c_long;
        }
        global_asm!(
            ".pushsection .text",
            concat!(".globl ", stringify!($plain)),
            concat!(".type ", stringify!($plain), ", @function"),
            concat!(stringify!($plain), ":"),
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "sub rsp, 64",
            ".cfi_def_cfa_offset 80",
            "mov ebp, 12345",
            "mov rax, rdi",
            "mov rdi, rsi",
            "syscall",
            "add rsp, 64",
            ".cfi_def_cfa_offset 16",
            "pop rbp",
            ".cfi_def_cfa_offset 8",
            "ret",
            ".cfi_endproc",
            concat!(".size ", stringify!($plain), ", . - ", stringify!($plain)),
            concat!(".globl ", stringify!($framed)),
            concat!(".type ", stringify!($framed), ", @function"),
            concat!(stringify!($framed), ":"),
            ".cfi_startproc",
            "push rbp",
            ".cfi_def_cfa_offset 16",
            ".cfi_offset rbp, -16",
            "mov rbp, rsp",
            ".cfi_def_cfa_register rbp",
            "mov rax, rdi",
            "mov rdi, rsi",
            "syscall",
            "pop rbp",
            ".cfi_def_cfa rsp, 8",
            "ret",
            ".cfi_endproc",
            concat!(".size ", stringify!($framed), ", . - ", stringify!($framed)),
            ".popsection",
        );
    };
}

caller!(caller_a, framed_caller_a);
caller!(caller_b, framed_caller_b);
caller!(caller_c, framed_caller_c);

/// Makes `calls` calls of `getpgid`: half of them by `caller_a`, 30 % by `caller_b` and 20 % by
/// `caller_c`, in turns. With `framed=1`, by the functions with frame pointers. With `failing=1`, the
/// calls of `caller_c` fail.
pub(super) fn run(params: &Params) -> Statement {
    params.hold();
    let total = params.number("calls");
    let [a, b, c] = match params.has("framed") {
        true => [framed_caller_a, framed_caller_b, framed_caller_c],
        false => [caller_a, caller_b, caller_c],
    };
    let fails = params.has("failing");
    let mut failed = 0;
    for index in 0..total {
        // SAFETY: `getpgid` writes no memory.
        unsafe {
            match index % 10 {
                0..=4 => a(libc::SYS_getpgid, 0),
                5..=7 => b(libc::SYS_getpgid, 0),
                _ if fails => {
                    failed += 1;
                    c(libc::SYS_getpgid, -1)
                }
                _ => c(libc::SYS_getpgid, 0),
            }
        };
    }
    let mut made = Made::succeeded(total - failed);
    if failed > 0 {
        made.add(&Made::failed(failed, "ESRCH"));
    }
    Statement::of(own_pid(), calls([("getpgid", made)]))
}

/// Sleeps `calls` times: each time 9 ms in `caller_a` and 1 ms in `caller_b`.
pub(super) fn sleep(params: &Params) -> Statement {
    let total = params.number("calls");
    for _ in 0..total {
        for (caller, ms) in [(caller_a as unsafe extern "C" fn(_, _) -> _, 9), (caller_b, 1)] {
            let time = libc::timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 };
            // SAFETY: `nanosleep` reads the time. Its second argument is what `rsi` was: the same
            // address, to which the kernel writes only if a signal interrupts the sleep.
            unsafe { caller(libc::SYS_nanosleep, &raw const time as c_long) };
        }
    }
    Statement::of(own_pid(), calls([("nanosleep", Made::succeeded(2 * total))]))
}
