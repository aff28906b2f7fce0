//! `uretprobe` and `uprobe`: the calls by which a probed program enters the kernel. They restore
//! the result register of the interrupted code.

use std::{arch::global_asm, ffi::CString, os::unix::ffi::OsStrExt as _};

use libc::c_long;

use super::{Made, Params, Statement, own_pid, raw, signals::install_handler_of, statement::calls};

// Functions that return their argument. The last two begin with a nop of five or ten bytes, which
// kernels from Linux 6.18 on replace by a call once the function is probed.
global_asm!(
    ".pushsection .text.probed, \"ax\", @progbits",
    ".balign 64",
    "probed_at_return:",
    "push rbp",
    "mov rax, rdi",
    "pop rbp",
    "ret",
    ".balign 64",
    "probed_at_five_bytes:",
    ".byte 0x0f, 0x1f, 0x44, 0x00, 0x00",
    "mov rax, rdi",
    "ret",
    ".balign 64",
    "probed_at_ten_bytes:",
    ".byte 0x66, 0x2e, 0x0f, 0x1f, 0x84, 0x00, 0x00, 0x00, 0x00, 0x00",
    "mov rax, rdi",
    "ret",
    ".popsection",
);

type Probed = unsafe extern "C" fn(c_long) -> c_long;

unsafe extern "C" {
    fn probed_at_return(result: c_long) -> c_long;
    fn probed_at_five_bytes(result: c_long) -> c_long;
    fn probed_at_ten_bytes(result: c_long) -> c_long;
}

/// Calls a function whose return is probed `calls` times. Each makes a `uretprobe`, whose result is
/// that of the function, here -EIO.
pub(super) fn at_return(params: &Params) -> Statement {
    let times = params.number("calls");
    assert!(probe(probed_at_return, true), "push can be probed");
    call(probed_at_return, times);
    Statement::of(
        own_pid(),
        calls([("uretprobe", Made::succeeded(times)), ("uprobe", Made::default())]),
    )
}

/// Calls two functions whose entries are probed, `calls` times each. The first probe is a
/// breakpoint, which some kernels then replace by a `uprobe` call. Its result is the value of the
/// register, here -EIO.
pub(super) fn at_entry(params: &Params) -> Statement {
    let times = params.number("calls");
    let mut by_call = 0;
    for function in [probed_at_five_bytes as Probed, probed_at_ten_bytes] {
        if !probe(function, false) {
            continue;
        }
        call(function, 1);
        // SAFETY: this is code of this program, which only the kernel modifies.
        let first = unsafe { (function as *const u8).read_volatile() };
        by_call += if first == BREAKPOINT { 0 } else { times - 1 };
        call(function, times - 1);
    }
    Statement::of(
        own_pid(),
        calls([("uprobe", Made::succeeded(by_call)), ("uretprobe", Made::default())]),
    )
}

/// An errno internal to the kernel (include/linux/errno.h).
const ENOTSUPP: c_long = 524;

/// `int3`.
const BREAKPOINT: u8 = 0xcc;

fn call(function: Probed, times: u64) {
    let result = -c_long::from(libc::EIO);
    for _ in 0..times {
        let returned: c_long;
        // SAFETY: the function only moves a register. The result register has -EIO before the call
        // too.
        unsafe {
            std::arch::asm!(
                "call {function}",
                function = in(reg) function,
                in("rdi") result,
                inlateout("rax") result => returned,
                clobber_abi("C"),
            );
        }
        assert_eq!(returned, result);
    }
}

/// Makes the kernel probe a function of this process until the process ends. Returns false if the
/// kernel cannot probe an instruction such as the first one of this function (ENOTSUPP).
fn probe(function: Probed, at_return: bool) -> bool {
    let kind = std::fs::read_to_string("/sys/bus/event_source/devices/uprobe/type");
    let kind: u64 = kind.expect("uprobes").trim().parse().expect("a number");
    let path = std::env::current_exe().expect("an executable").into_os_string();
    let path = CString::new(path.as_bytes()).expect("no NUL");
    // The first version of `struct perf_event_attr`: type and size, config, of which bit 0
    // asks for returns, and at the end config1 and config2, path and offset.
    const SIZE: u64 = 72;
    let config = u64::from(at_return);
    let offset = offset_in_file(function as usize as u64);
    let attributes = [kind | SIZE << 32, config, 0, 0, 0, 0, 0, path.as_ptr() as u64, offset];
    let (own, any_cpu, no_group) = (0, -1, -1);
    let args = [attributes.as_ptr() as c_long, own, any_cpu, no_group, 0];
    let opened = raw::syscall(libc::SYS_perf_event_open, args);
    assert!(opened >= 0 || opened == -ENOTSUPP, "perf_event_open: {opened}");
    opened >= 0
}

fn offset_in_file(address: u64) -> u64 {
    let own = procfs::process::Process::myself().expect("/proc");
    let maps = own.maps().expect("/proc");
    let map = maps.iter().find(|map| (map.address.0..map.address.1).contains(&address));
    let map = map.expect("a mapping");
    address - map.address.0 + map.offset
}

extern "C" fn on_illegal(_: libc::c_int) {}

/// `calls` calls of `uretprobe` by a program itself, which the kernel answers by SIGILL
/// (`sys_uretprobe`, arch/x86/kernel/uprobes.c), or before Linux 6.11 as it does unknown
/// numbers.
pub(super) fn called(params: &Params) -> Statement {
    let times = params.number("calls");
    install_handler_of(libc::SIGILL, on_illegal, 0);
    let not_there = -c_long::from(libc::ENOSYS);
    let mut missing = 0;
    for _ in 0..times {
        missing += u64::from(raw::syscall(335, [0; 0]) == not_there);
    }
    let made = if missing == 0 { Made::succeeded(times) } else { Made::failed(missing, "ENOSYS") };
    let returns = if missing == 0 { times } else { 0 };
    Statement::of(
        own_pid(),
        calls([("uretprobe", made), ("rt_sigreturn", Made::succeeded(returns))]),
    )
}
