//! Calls that a tracer answers, changes or ends by ptrace.
//!
//! The entry tracepoint runs after the tracer's stop at the entry, and the exit tracepoint before
//! its stop at the exit (`syscall_trace_enter` and `syscall_exit_work`, kernel/entry/common.c). So
//! a call whose number the tracer sets to -1 does enter, as an unknown call, and a result that the
//! tracer sets at the exit is not seen.

use libc::{c_long, c_uint, user_regs_struct};

use super::{
    Calls, Made, Params, Statement, fork, own_pid, raw,
    seccomp::answer,
    statement::{add, calls},
    wait,
};

/// What a tracer does to each `getsid` of its tracee.
struct Way {
    at_entry: fn(&mut user_regs_struct),
    at_exit: fn(&mut user_regs_struct),
    /// Whether the tracee receives the expected result in this turn.
    result: fn(u64, c_long) -> bool,
    /// The expected counts after so many calls.
    made: fn(u64) -> Calls,
}

fn leave(_: &mut user_regs_struct) {}

fn no_call(registers: &mut user_regs_struct) {
    registers.orig_rax = u64::MAX;
}

fn result(value: i32) -> u64 {
    i64::from(value).cast_unsigned()
}

/// The errnos that a tracer sets in turn, and their names: one of each page of the errno table, and
/// three that no Linux call returns: one of the restart codes (ENOIOCTLCMD), one after them
/// (ENOTSUPP), and the largest (`MAX_ERRNO`, include/linux/err.h).
const ERRNOS: [(i32, &str); 8] = [
    (libc::EACCES, "EACCES"),
    (libc::ENAMETOOLONG, "ENAMETOOLONG"),
    (libc::EPROTO, "EPROTO"),
    (libc::EADDRINUSE, "EADDRINUSE"),
    (libc::EHWPOISON, "EHWPOISON"),
    (515, "other"),
    (524, "other"),
    (4095, "other"),
];

fn errno_of(turn: u64) -> (i32, &'static str) {
    ERRNOS[turn as usize % ERRNOS.len()]
}

/// The way of this name, if there is one.
fn way(name: &str) -> Option<Way> {
    Some(match name {
        "ptrace-result-at-exit" => Way {
            at_entry: no_call,
            at_exit: |registers| registers.rax = 77,
            result: |_, result| result == 77,
            // The result of a call that was not made, until the tracer sets one.
            made: |n| calls([("unknown", Made::failed(n, "ENOSYS")), ("getsid", Made::default())]),
        },
        "ptrace-result-at-entry" => Way {
            at_entry: |registers| {
                no_call(registers);
                registers.rax = result(-errno_of(registers.rsi).0);
            },
            at_exit: leave,
            result: |turn, result| result == -c_long::from(errno_of(turn).0),
            made: |n| {
                let mut made = calls([("getsid", Made::default())]);
                (0..n).for_each(|turn| {
                    add(&mut made, "unknown", &Made::failed(1, errno_of(turn).1));
                });
                made
            },
        },
        "ptrace-other-number" => Way {
            at_entry: |registers| registers.orig_rax = libc::SYS_getpgid.cast_unsigned(),
            at_exit: leave,
            result: |_, result| result >= 0,
            made: |n| calls([("getpgid", Made::succeeded(n)), ("getsid", Made::default())]),
        },
        "ptrace-other-result" => Way {
            at_entry: leave,
            at_exit: |registers| registers.rax = result(-libc::EPERM),
            result: |_, result| result == -c_long::from(libc::EPERM),
            made: |n| calls([("getsid", Made::succeeded(n))]),
        },
        _ => return None,
    })
}

/// Starts a child that makes `calls` calls, each of which is treated in this way.
pub(super) fn traced(name: &str, params: &Params) -> Statement {
    let way = way(name).expect("a way");
    let times = params.number("calls");
    let child = tracee(|| (0..times).all(|turn| (way.result)(turn, attempt(turn))));
    let mut is_entry = true;
    // The stops after the first come in pairs. The last call does not leave.
    while stopped_after(child, libc::PTRACE_SYSCALL) {
        let mut registers = registers(child);
        if registers.orig_rax == libc::SYS_getsid.cast_unsigned() && is_entry {
            (way.at_entry)(&mut registers);
        } else if !is_entry {
            (way.at_exit)(&mut registers);
        }
        set_registers(child, &registers);
        is_entry = !is_entry;
    }
    let mut made = (way.made)(times);
    made.extend(calls([("exit_group", Made::never_returned(1))]));
    Statement::of(child, made)
}

/// Starts a child whose `calls` calls are all answered by its tracer. None of them is made: all are
/// denied.
pub(super) fn emulated(params: &Params) -> Statement {
    let times = params.number("calls");
    let child = tracee(|| (0..times).all(|turn| attempt(turn) == 77));
    for _ in 0..times {
        assert!(stopped_after(child, libc::PTRACE_SYSEMU), "it made a call");
        let mut registers = registers(child);
        assert_eq!(registers.orig_rax, libc::SYS_getsid.cast_unsigned());
        registers.rax = 77;
        set_registers(child, &registers);
    }
    ptrace(libc::PTRACE_DETACH, child, 0);
    assert_eq!(wait(child), 0);
    let made = calls([("getsid", Made::denied(times)), ("exit_group", Made::never_returned(1))]);
    Statement::of(child, made)
}

/// Starts a child whose `calls` calls seccomp passes to its tracer, which sets their number to -1.
/// They are denied, and their original number is lost.
pub(super) fn skipped_for_seccomp(params: &Params) -> Statement {
    let times = params.number("calls");
    let child = tracee(|| {
        answer(libc::SECCOMP_RET_TRACE, 0);
        (0..times).all(|turn| attempt(turn) == -c_long::from(libc::EACCES))
    });
    ptrace(libc::PTRACE_SETOPTIONS, child, libc::PTRACE_O_TRACESECCOMP.into());
    for _ in 0..times {
        ptrace(libc::PTRACE_CONT, child, 0);
        let status = wait(child);
        assert_eq!(status >> 8, libc::SIGTRAP | libc::PTRACE_EVENT_SECCOMP << 8, "{status:#x}");
        let mut registers = registers(child);
        no_call(&mut registers);
        registers.rax = result(-libc::EACCES);
        set_registers(child, &registers);
    }
    ptrace(libc::PTRACE_DETACH, child, 0);
    assert_eq!(wait(child), 0);
    let made = calls([
        ("unknown", Made::denied(times)),
        ("getsid", Made::default()),
        ("exit_group", Made::never_returned(1)),
    ]);
    Statement::of(child, made)
}

/// Kills `calls` children in the stop before their call enters. The exit tracepoint runs for that
/// call, and the entry tracepoint does not.
pub(super) fn killed_at_entry(params: &Params) -> Statement {
    let processes = (0..params.number("calls")).map(|_| {
        let child = tracee(|| attempt(0) == 0);
        assert!(stopped_after(child, libc::PTRACE_SYSCALL));
        // SAFETY: a child of ours that has not been waited for.
        unsafe { libc::kill(child.cast_signed(), libc::SIGKILL) };
        assert!(libc::WIFSIGNALED(wait(child)));
        let made = calls([("getsid", Made::denied(1)), ("exit_group", Made::default())]);
        super::Process::new(child, made)
    });
    Statement::of_all(processes.collect())
}

/// Starts children whose `calls` calls a 32-bit tracer answers at their entry with errnos in turn.
/// Such a tracer can set only the lower half of the result.
///
/// One child makes i386 calls, and finds the errno in the 32 bits. The other makes 64-bit calls,
/// and finds a large number, which is not an errno.
pub(super) fn answered_in_32_bits(params: &Params) -> Statement {
    let times = params.number("calls");
    let mut processes = Vec::new();
    for is_native in [false, true] {
        let child = tracee(|| {
            (0..times).all(|turn| {
                let errno = -errno_of(turn).0;
                if is_native {
                    attempt(turn) == c_long::from(errno.cast_unsigned())
                } else {
                    raw::int80(I386_GETSID, [0, turn as i32, 0]) == errno
                }
            })
        });
        let mut is_entry = true;
        while stopped_after(child, libc::PTRACE_SYSCALL) {
            let registers = registers(child);
            let getsid = if is_native { libc::SYS_getsid } else { c_long::from(I386_GETSID) };
            if is_entry && registers.orig_rax == getsid.cast_unsigned() {
                let turn = if is_native { registers.rsi } else { registers.rcx };
                poke_32_bits(child, I386_EAX, -errno_of(turn).0);
                poke_32_bits(child, I386_ORIG_EAX, -1);
            }
            is_entry = !is_entry;
        }
        let mut made = calls([("exit_group", Made::never_returned(1))]);
        if is_native {
            add(&mut made, "unknown", &Made::succeeded(times));
        } else {
            let unknown = made.entry("i386/unknown".to_owned()).or_default();
            (0..times).for_each(|turn| unknown.add(&Made::failed(1, errno_of(turn).1)));
        }
        processes.push(super::Process::new(child, made));
    }
    Statement::of_all(processes)
}

/// Numbers of `getsid` and `ptrace` in the i386 table.
const I386_GETSID: i32 = 147;
const I386_PTRACE: i32 = 26;
/// Where `eax` and `orig_eax` are in `struct user32` (arch/x86/include/asm/user32.h).
const I386_EAX: i32 = 6 * 4;
const I386_ORIG_EAX: i32 = 11 * 4;

/// Sets a register as a 32-bit tracer does (`putreg32`, arch/x86/kernel/ptrace.c).
#[track_caller]
fn poke_32_bits(child: u32, register: i32, value: i32) {
    let args = [libc::PTRACE_POKEUSER as i32, child.cast_signed(), register, value];
    assert_eq!(raw::int80_of_four(I386_PTRACE, args), 0, "ptrace in 32 bits");
}

/// Calls `getsid`, which takes one argument. The second argument tells the tracer the turn.
fn attempt(turn: u64) -> c_long {
    raw::syscall(libc::SYS_getsid, [0, turn.cast_signed()])
}

/// Starts a traced child that stops itself and then runs `life`.
pub(super) fn tracee(life: impl FnOnce() -> bool) -> u32 {
    let child = fork(|| {
        let own = own_pid().into();
        raw::syscall(libc::SYS_ptrace, [libc::PTRACE_TRACEME.into(), 0, 0, 0]);
        // A direct syscall, since the C library would make others after it.
        raw::syscall(libc::SYS_kill, [own, libc::SIGSTOP.into()]);
        life()
    });
    let status = wait(child);
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGSTOP, "{status:#x}");
    ptrace(
        libc::PTRACE_SETOPTIONS,
        child,
        (libc::PTRACE_O_TRACESYSGOOD | libc::PTRACE_O_EXITKILL).into(),
    );
    child
}

/// Continues the child. Returns whether it then stopped at a call, rather than ended.
pub(super) fn stopped_after(child: u32, request: c_uint) -> bool {
    ptrace(request, child, 0);
    let status = wait(child);
    if libc::WIFEXITED(status) {
        assert_eq!(libc::WEXITSTATUS(status), 0, "it was given another result");
        return false;
    }
    assert!(libc::WIFSTOPPED(status) && libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80);
    true
}

fn registers(child: u32) -> user_regs_struct {
    // SAFETY: zeros are valid registers, and the kernel writes one such structure.
    let mut registers = unsafe { std::mem::zeroed() };
    ptrace(libc::PTRACE_GETREGS, child, &raw mut registers as c_long);
    registers
}

fn set_registers(child: u32, registers: &user_regs_struct) {
    ptrace(libc::PTRACE_SETREGS, child, std::ptr::from_ref(registers) as c_long);
}

#[track_caller]
pub(super) fn ptrace(request: c_uint, child: u32, data: c_long) {
    let done = raw::syscall(libc::SYS_ptrace, [request.into(), child.into(), 0, data]);
    assert_eq!(done, 0, "ptrace {request}");
}
