//! Syscalls by their instruction, so that a workload makes the calls that it
//! says and libc adds none.

use std::arch::asm;

use libc::c_long;

/// Makes a call; the result as the kernel gives it, an errno being negative.
pub(crate) fn syscall<const N: usize>(number: c_long, args: [c_long; N]) -> c_long {
    let mut all = [0; 6];
    all[..N].copy_from_slice(&args);
    let result;
    // SAFETY: the callers pass arguments that have the kernel write nowhere but to
    // memory that is theirs.
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

/// Makes a call of the i386 table from 64-bit code; the upper halves of the
/// arguments are ignored.
pub(crate) fn int80(number: i32, args: [i32; 3]) -> i32 {
    int80_of_four(number, [args[0], args[1], args[2], 0])
}

/// The same with an argument more.
pub(crate) fn int80_of_four(number: i32, args: [i32; 4]) -> i32 {
    let result;
    // SAFETY: as above. `rbx` cannot be named as an operand, so it is swapped in; the
    // kernel clobbers r8 to r11 on this way in (entry_64_compat.S).
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

/// What a child that shares its parent's memory runs, on a stack of its own.
pub(crate) type Life = extern "C" fn(c_long) -> !;

/// Makes a call that returns in a child too, and in one that shares this memory: the
/// child takes to the stack that ends at `stack`, and lives `life` there.
pub(crate) fn bear(
    number: c_long,
    args: [c_long; 5],
    stack: *mut u8,
    life: Life,
    argument: c_long,
) -> c_long {
    let result;
    // SAFETY: the child touches nothing of this frame: it leaves this stack first, and
    // never comes back.
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

/// The top of a new stack, which is never given back.
pub(crate) fn new_stack() -> *mut u8 {
    const SIZE: usize = 256 * 1024;
    // Of words of 16 bytes, to which the ABI has a stack aligned.
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
    /// For a process with memory of its own, as `fork` makes.
    pub(crate) fn fork() -> Self {
        Self { exit_signal: libc::SIGCHLD.cast_unsigned().into(), ..Self::default() }
    }

    /// For another thread of this process.
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

/// `clone3`, without sharing memory; the child lives `life`.
pub(crate) fn clone3(args: &CloneArgs, life: impl FnOnce()) -> c_long {
    match syscall(libc::SYS_clone3, args.of_call()) {
        0 => {
            life();
            end(0)
        }
        pid => pid,
    }
}

/// `clone3`, sharing memory; the child lives `life` on the stack that ends at `stack`.
pub(crate) fn clone3_beside(
    args: &CloneArgs,
    stack: *mut u8,
    life: Life,
    argument: c_long,
) -> c_long {
    let [args, size] = args.of_call();
    bear(libc::SYS_clone3, [args, size, 0, 0, 0], stack, life, argument)
}

/// `exit`, of the running thread alone.
pub(crate) fn end_thread() -> ! {
    loop {
        syscall(libc::SYS_exit, [0; 1]);
    }
}

/// `exit_group`, once, whatever there is left to run at exit.
pub(crate) fn end(code: c_long) -> ! {
    loop {
        syscall(libc::SYS_exit_group, [code, 0, 0, 0]);
    }
}
