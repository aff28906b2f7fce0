//! Calls of the i386 and x32 tables, and by numbers that no table has.

use super::{Calls, Made, Params, Statement, own_pid, raw, statement::add};

/// `__X32_SYSCALL_BIT`.
const X32_BIT: libc::c_long = 0x4000_0000;

/// Makes `calls` i386 and x32 calls from 64-bit code. Their numbers are other calls in the x86_64
/// table: 20 is `writev` there, 64 `semget`, 5 `fstat`.
pub(super) fn abis(params: &Params) -> Statement {
    let times = params.number("calls");
    let own = own_pid().cast_signed();
    // Kernels without CONFIG_X86_X32_ABI accept the number but have no such call.
    let by_x32 = || raw::syscall(X32_BIT | libc::SYS_getppid, [0; 4]);
    let has_x32 = by_x32() > 0;
    for _ in 0..times {
        assert_eq!(
            raw::int80(20, [0; 3]),
            own,
            "getpid by int 0x80: is CONFIG_IA32_EMULATION off?"
        );
        assert!(raw::int80(64, [0; 3]) > 0, "getppid");
        // 16 is not a valid address of this process.
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

/// Makes `calls` calls by each of a few numbers that no table has, and by one whose lower half is
/// that of `getpid`. Before Linux 5.13, kernels used the whole number, except for traced calls
/// (`do_syscall_64`, arch/x86/entry/common.c).
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
    // One more, made before the loop.
    add(&mut calls, "getpid", &Made::succeeded(times + 1));
    Statement::of(own, calls)
}

/// Makes `calls` rounds of calls whose results are an errno or look like one:
///
/// - `lseek` of this process's memory returns the offset, whatever that is. In the C library's
///   eyes, and so in the profiler's, -4095 to -1 are errnos, even where the kernel has codes by
///   which it would restart an interrupted call.
/// - `getuid32` of the i386 table returns an id in 32 bits: never an errno.
pub(super) fn results_like_errnos(params: &Params) -> Statement {
    const I386_LSEEK: i32 = 19;
    const I386_GETUID32: i32 = 199;
    /// Results, and the errno that each is reported as.
    const OFFSETS: [(i32, Option<&str>); 9] = [
        (-1, Some("EPERM")),
        (-4, Some("EINTR")),
        (-512, Some("other")),
        (-513, Some("other")),
        (-514, Some("other")),
        (-516, Some("other")),
        (-4095, Some("other")),
        (-4096, None),
        (4096, None),
    ];
    let times = params.number("calls");
    let memory = std::fs::File::open("/proc/self/mem").expect("a file of ours");
    let descriptor = std::os::fd::AsRawFd::as_raw_fd(&memory);
    // SAFETY: changes only the ids, and nothing after this depends on them.
    assert_eq!(unsafe { libc::setresuid(ALMOST_NONE, ALMOST_NONE, ALMOST_NONE) }, 0);
    let mut calls = Calls::new();
    for (offset, errno) in OFFSETS {
        for _ in 0..times {
            let result = raw::syscall(libc::SYS_lseek, [descriptor.into(), offset.into(), 0]);
            assert_eq!(result, libc::c_long::from(offset));
            assert_eq!(raw::int80(I386_LSEEK, [descriptor, offset, 0]), offset);
        }
        for name in ["x86_64/lseek", "i386/lseek"] {
            let made = calls.entry(name.to_owned()).or_default();
            made.add(&errno.map_or(Made::succeeded(times), |errno| Made::failed(times, errno)));
        }
    }
    for _ in 0..times {
        assert_eq!(raw::int80(I386_GETUID32, [0; 3]), ALMOST_NONE.cast_signed());
    }
    calls.insert("i386/getuid32".to_owned(), Made::succeeded(times));
    Statement::of(own_pid(), calls)
}

/// The greatest user id: -2 in 32 bits.
const ALMOST_NONE: u32 = u32::MAX - 1;
