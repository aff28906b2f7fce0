//! Syscalls by inline assembly, so that a workload makes exactly the calls that it states.

use std::arch::asm;

use libc::c_long;

/// Makes a call, and returns the kernel's result: an errno is negative.
pub(crate) fn syscall<const N: usize>(number: c_long, args: [c_long; N]) -> c_long {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&args);
    let result;
    // SAFETY: the callers pass arguments by which the kernel writes only to memory of the caller.
    unsafe {
        asm!(
            "syscall",
            inlateout("rax") number => result,
            in("rdi") all[0],
            in("rsi") all[1],
            in("rdx") all[2],
            in("r10") all[3],
            in("r8") all[4],
            in("r9") all[5],
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// Makes an i386 call from 64-bit code. The kernel ignores the upper halves of the arguments.
pub(crate) fn int80(number: i32, args: [i32; 3]) -> i32 {
    int80_of_four(number, [args[0], args[1], args[2], 0])
}

/// The same with one more argument.
pub(crate) fn int80_of_four(number: i32, args: [i32; 4]) -> i32 {
    let result;
    // SAFETY: as above. `rbx` cannot be an operand, so it is exchanged. The kernel clobbers r8 to
    // r11 on this entry path (entry_64_compat.S).
    unsafe {
        asm!(
            "xchg {first:r}, rbx",
            "int 0x80",
            "xchg {first:r}, rbx",
            first = inout(reg) i64::from(args[0]) => _,
            inlateout("eax") number => result,
            in("ecx") args[1],
            in("edx") args[2],
            in("esi") args[3],
            out("r8") _,
            out("r9") _,
            out("r10") _,
            out("r11") _,
        );
    }
    result
}

/// Calls `vfork`. The child ends at once. Returns its pid.
pub(crate) fn vfork_and_end() -> c_long {
    let pid;
    // SAFETY: the child shares this stack, and does not use it before it ends.
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

/// Calls `fork`, or `clone` with the same effect. The child ends at once. Returns its pid.
pub(crate) fn fork_and_end(number: c_long) -> c_long {
    // `clone` without a stack continues on a copy of this one.
    let flags = if number == libc::SYS_clone { libc::SIGCHLD.into() } else { 0 };
    match syscall(number, [flags, 0, 0, 0]) {
        0 => end(0),
        pid => pid,
    }
}

/// The function that a child with shared memory runs, on a stack of its own.
pub(crate) type Life = extern "C" fn(c_long) -> !;

/// Makes a call that also returns in a child with shared memory. The child switches to the stack
/// that ends at `stack`, and runs `life` there.
pub(crate) fn bear(
    number: c_long,
    args: [c_long; 5],
    stack: *mut u8,
    life: Life,
    argument: c_long,
) -> c_long {
    let result;
    // SAFETY: the child does not use this frame: it first switches to its own stack, and never
    // returns.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "mov rsp, r12",
            "xor ebp, ebp",
            "mov rdi, r13",
            "call r14",
            "ud2",
            "2:",
            inlateout("rax") number => result,
            in("rdi") args[0],
            in("rsi") args[1],
            in("rdx") args[2],
            in("r10") args[3],
            in("r8") args[4],
            in("r12") stack,
            in("r13") argument,
            in("r14") life,
            out("rcx") _,
            out("r11") _,
        );
    }
    result
}

/// The top of a new stack, which is never freed.
pub(crate) fn new_stack() -> *mut u8 {
    const SIZE: usize = 256 * 1024;
    // Words of 16 bytes: the ABI requires this alignment of the stack.
    let stack = Vec::leak(vec![0_u128; SIZE / size_of::<u128>()]);
    stack.as_mut_ptr_range().end.cast()
}

/// `struct clone_args` up to its second version (include/uapi/linux/sched.h, Linux 5.5).
#[derive(Default)]
#[repr(C)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
}

impl CloneArgs {
    /// Creates a process with memory of its own, like `fork`.
    pub(crate) fn fork() -> Self {
        Self { exit_signal: libc::SIGCHLD.cast_unsigned().into(), ..Self::default() }
    }

    /// Creates another thread of this process.
    pub(crate) fn thread() -> Self {
        let flags = libc::CLONE_VM
            | libc::CLONE_FS
            | libc::CLONE_FILES
            | libc::CLONE_SIGHAND
            | libc::CLONE_THREAD
            | libc::CLONE_SYSVSEM;
        Self { flags: flags.cast_unsigned().into(), ..Self::default() }
    }

    /// The arguments of the call.
    pub(crate) fn of_call(&self) -> [c_long; 2] {
        [std::ptr::from_ref(self) as c_long, size_of::<Self>() as c_long]
    }
}

/// Calls `clone3` without shared memory. The child runs `life`.
pub(crate) fn clone3(args: &CloneArgs, life: impl FnOnce()) -> c_long {
    match syscall(libc::SYS_clone3, args.of_call()) {
        0 => {
            life();
            end(0)
        }
        pid => pid,
    }
}

/// Calls `clone3` with shared memory. The child runs `life` on the stack that ends at `stack`.
pub(crate) fn clone3_beside(
    args: &CloneArgs,
    stack: *mut u8,
    life: Life,
    argument: c_long,
) -> c_long {
    let [args, size] = args.of_call();
    bear(libc::SYS_clone3, [args, size, 0, 0, 0], stack, life, argument)
}

/// Calls `exit`, which ends only this thread.
pub(crate) fn end_thread() -> ! {
    loop {
        syscall(libc::SYS_exit, [0; 1]);
    }
}

/// Calls `exit_group` directly, without running exit handlers.
pub(crate) fn end(code: c_long) -> ! {
    loop {
        syscall(libc::SYS_exit_group, [code, 0, 0, 0]);
    }
}
