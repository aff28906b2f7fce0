//! System calls by their instruction, so that a workload makes the calls that it
//! says and libc adds none.

use std::arch::asm;

use libc::c_long;

/// Makes a call; the result as the kernel gives it, an errno being negative.
pub(crate) fn syscall(number: c_long, args: [c_long; 4]) -> c_long {
    let result;
    // SAFETY: the callers pass arguments that have the kernel write nowhere but to
    // memory that is theirs.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// Makes a call of the i386 table from 64-bit code; the upper halves of the
/// arguments are ignored.
pub(crate) fn int80(number: i32, first: i32) -> i32 {
    let result;
    // SAFETY: as above. `rbx` cannot be named as an operand, so it is swapped in; the
    // kernel clobbers r8 to r11 on this way in (entry_64_compat.S).
    unsafe {
        asm!(
            "xchg {first:r}, rbx",
            "int 0x80",
            "xchg {first:r}, rbx",
            first = inout(reg) i64::from(first) => _,
            inlateout("eax") number => result,
            in("ecx") 0,
            in("edx") 0,
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    result
}

/// A `vfork` whose child only ends; its pid.
pub(crate) fn vfork_and_end() -> c_long {
    let pid;
    // SAFETY: the child shares this stack, and touches it not at all before it ends.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov eax, {exit_group}",
            "xor edi, edi",
            "syscall",
            "2:",
            exit_group = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_vfork => pid,
            out("rcx") _,
            out("r11") _,
            out("rdi") _,
        );
    }
    pid
}

/// A `fork`, or a `clone` that amounts to one, whose child only ends; its pid.
pub(crate) fn fork_and_end(number: c_long) -> c_long {
    // `clone` without a stack goes on with a copy of this one.
    let flags = if number == libc::SYS_clone { libc::SIGCHLD.into() } else { 0 };
    match syscall(number, [flags, 0, 0, 0]) {
        0 => end(0),
        pid => pid,
    }
}

/// `exit_group`, once, whatever there is left to run at exit.
pub(crate) fn end(code: c_long) -> ! {
    loop {
        syscall(libc::SYS_exit_group, [code, 0, 0, 0]);
    }
}
