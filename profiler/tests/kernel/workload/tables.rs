//! Calls by other tables than that of x86_64, and by numbers that are in none.

use super::{Calls, Made, Params, Statement, own_pid, raw, statement::add};

/// `__X32_SYSCALL_BIT`.
const X32_BIT: libc::c_long = 0x4000_0000;

/// `calls` of i386 and of x32 from 64-bit code, whose numbers mean other calls in the
/// table of x86_64: 20 is `writev` there, 64 `semget`, 5 `fstat`.
pub(super) fn abis(params: &Params) -> Statement {
    let times = params.number("calls");
    let own = own_pid().cast_signed();
    // Kernels without CONFIG_X86_X32_ABI have the number and not the call.
    let by_x32 = || raw::syscall(X32_BIT | libc::SYS_getppid, [0; 4]);
    let has_x32 = by_x32() > 0;
    for _ in 0..times {
        assert_eq!(
            raw::int80(20, [0; 3]),
            own,
            "getpid by int 0x80: is CONFIG_IA32_EMULATION off?"
        );
        assert!(raw::int80(64, [0; 3]) > 0, "getppid");
        // An address that is no pointer of this process's.
        assert_eq!(raw::int80(5, [16, 0, 0]), -libc::EFAULT, "open");
        assert_eq!(raw::int80(5000, [0; 3]), -libc::ENOSYS, "no call");
        assert_eq!(by_x32() > 0, has_x32);
        assert!(raw::syscall(libc::SYS_getppid, [0; 4]) > 0);
    }
    let mut calls = Calls::new();
    let mut made = |name: &str, made| calls.insert(name.to_owned(), made);
    made("i386/getpid", Made::succeeded(times));
    made("i386/getppid", Made::succeeded(times));
    made("i386/open", Made::failed(times, "EFAULT"));
    made("i386/unknown", Made::failed(times, "ENOSYS"));
    let x32_calls = times + 1;
    made(
        "x32/getppid",
        if has_x32 { Made::succeeded(x32_calls) } else { Made::failed(x32_calls, "ENOSYS") },
    );
    made("x86_64/getppid", Made::succeeded(times));
    Statement::of(own_pid(), calls)
}

/// `calls` of each of a few numbers that no table has, and of one whose lower half is
/// `getpid`. Kernels before Linux 5.13 looked at all of it, but for calls that something
/// traces (`do_syscall_64`, arch/x86/entry/common.c).
pub(super) fn bogus(params: &Params) -> Statement {
    const GETPID_BELOW: libc::c_long = 1 << 32 | libc::SYS_getpid;
    let times = params.number("calls");
    let unknown = [99_999, -1, 511, 600, 0x3fff_ffff, i32::MIN.into(), i64::MIN | 600];
    let not_there = -libc::c_long::from(libc::ENOSYS);
    let own = own_pid();
    for _ in 0..times {
        for number in unknown {
            assert_eq!(raw::syscall(number, [0; 4]), not_there, "{number}");
        }
        assert_eq!(raw::syscall(GETPID_BELOW, [0; 4]), libc::c_long::from(own));
    }
    let mut calls = Calls::new();
    add(&mut calls, "unknown", &Made::failed(times * unknown.len() as u64, "ENOSYS"));
    // And the one before the loop.
    add(&mut calls, "getpid", &Made::succeeded(times + 1));
    Statement::of(own, calls)
}
