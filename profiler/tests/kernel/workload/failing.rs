//! Calls that fail on known paths and addresses, and for known reasons.

use std::{ffi::CString, thread, time::Duration};

use libc::c_long;

use super::{Made, Params, Statement, own_pid, raw, seccomp, statement::calls};

/// Longer than the time between two readings of the profiler.
const READING: Duration = Duration::from_millis(2_200);

/// Makes a call `times` times, which fails with this errno.
fn fail<const N: usize>(times: u32, errno: i32, number: c_long, args: [c_long; N]) {
    for _ in 0..times {
        assert_eq!(raw::syscall(number, args), -c_long::from(errno), "{number} {args:?}");
    }
}

fn text(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

fn opens(times: u32, errno: i32, directory: c_long, path: &str) {
    let path = text(path);
    fail(times, errno, libc::SYS_openat, [directory, path.as_ptr() as c_long, 0, 0]);
}

fn enter(directory: &str) {
    let path = text(directory);
    assert_eq!(raw::syscall(libc::SYS_chdir, [path.as_ptr() as c_long]), 0, "{directory}");
}

/// Fails on paths below `path`, which has the directories `a` and `b`, and on addresses.
pub(super) fn targets(params: &Params) -> Statement {
    let path = &params.0["path"];
    let here = c_long::from(libc::AT_FDCWD);
    opens(7, libc::ENOENT, here, "/no/such/file");
    // The directory is open while the profiler reads.
    enter(&format!("{path}/a"));
    let directory = text(path);
    let fd = raw::syscall(libc::SYS_open, [directory.as_ptr() as c_long, libc::O_PATH.into(), 0]);
    opens(3, libc::ENOENT, here, "missing");
    opens(4, libc::ENOENT, fd, "gone");
    thread::sleep(READING);
    enter(&format!("{path}/b"));
    opens(5, libc::ENOENT, here, "missing");
    thread::sleep(READING);
    // Nothing is mapped there.
    fail(2, libc::EFAULT, libc::SYS_openat, [here, 8, 0, 0]);
    let (from, to) = (text("/no/x"), text("/no/y"));
    let both = [from.as_ptr() as c_long, to.as_ptr() as c_long];
    fail(2, libc::ENOENT, libc::SYS_rename, both);
    // A path that is cut.
    opens(1, libc::ENAMETOOLONG, here, &format!("/{}", "x".repeat(300)));
    fail(6, libc::EBADF, libc::SYS_close, [-1]);
    let mut made = connects();
    made.extend(in_32_bits());
    let at: Made = [(12 + 7, "ENOENT"), (2, "EFAULT"), (1, "ENAMETOOLONG")]
        .into_iter()
        .map(|(times, errno)| Made::failed(times, errno))
        .fold(Made::default(), |mut sum, made| {
            sum.add(&made);
            sum
        });
    made.extend(calls([
        ("openat", at),
        ("rename", Made::failed(2, "ENOENT")),
        ("close", Made::failed(6, "EBADF")),
    ]));
    Statement::of(own_pid(), made)
}

/// Connects to addresses where nobody listens.
fn connects() -> super::Calls {
    let socket = |family: i32| {
        let fd = raw::syscall(libc::SYS_socket, [family.into(), libc::SOCK_STREAM.into(), 0]);
        assert!(fd > 2, "{fd}");
        fd
    };
    // Port 1 of 127.0.0.1.
    let inet: [u8; 16] = [2, 0, 0, 1, 127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    for _ in 0..3 {
        // A new socket: the second connect of the same one may fail differently.
        let address = [socket(libc::AF_INET), inet.as_ptr() as c_long, 16];
        fail(1, libc::ECONNREFUSED, libc::SYS_connect, address);
    }
    let unix = b"\x01\0/no/socket\0";
    let address = [socket(libc::AF_UNIX), unix.as_ptr() as c_long, unix.len() as c_long];
    fail(2, libc::ENOENT, libc::SYS_connect, address);
    let mut made = Made::failed(3, "ECONNREFUSED");
    made.add(&Made::failed(2, "ENOENT"));
    calls([("connect", made)])
}

/// Opens a file by the i386 table. Its path is in the lower 4 GiB.
fn in_32_bits() -> super::Calls {
    // SAFETY: new memory, which is never freed.
    let memory = unsafe {
        libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        )
    };
    let address = i32::try_from(memory as usize).expect("memory below 2 GiB");
    let path = b"/no/i386\0";
    // SAFETY: the memory is larger.
    unsafe { std::ptr::copy_nonoverlapping(path.as_ptr(), memory.cast(), path.len()) };
    for _ in 0..2 {
        assert_eq!(raw::int80(5, [address, 0, 0]), -libc::ENOENT);
    }
    [("i386/open".to_owned(), Made::failed(2, "ENOENT"))].into()
}

/// Fails on more paths than the profiler has rows for, `calls` of them, and every fourth time on one
/// that begins late.
pub(super) fn many(params: &Params) -> Statement {
    let paths = params.number("calls");
    let here = c_long::from(libc::AT_FDCWD);
    let mut made = 0;
    for index in 0..paths {
        opens(1, libc::ENOENT, here, &format!("/no/{index}"));
        made += 1;
        if index > paths / 2 && index % 4 == 0 {
            opens(1, libc::ENOENT, here, "/no/late");
            made += 1;
        }
    }
    Statement::of(own_pid(), calls([("openat", Made::failed(made, "ENOENT"))]))
}

/// Is refused, as an ordinary user. Below `path` are the file `closed`, which nobody may open, and
/// the file `open`.
pub(super) fn refused(params: &Params) -> Statement {
    let path = &params.0["path"];
    let here = c_long::from(libc::AT_FDCWD);
    opens(4, libc::EACCES, here, &format!("{path}/closed"));
    let file = text(&format!("{path}/open"));
    fail(2, libc::EPERM, libc::SYS_chown, [file.as_ptr() as c_long, 0, 0]);
    fail(3, libc::EPERM, libc::SYS_kill, [1, 0]);
    // A check that failed in an earlier call is no reason of this one: nothing is checked for the
    // missing descriptor.
    fail(1, libc::EBADF, libc::SYS_fchown, [-1, 0, 0]);
    seccomp::answer(libc::SECCOMP_RET_ERRNO | libc::EPERM as u32, 0);
    for _ in 0..5 {
        assert_eq!(seccomp::attempt(), -c_long::from(libc::EPERM));
    }
    Statement::of(
        own_pid(),
        calls([
            ("openat", Made::failed(4, "EACCES")),
            ("chown", Made::failed(2, "EPERM")),
            ("kill", Made::failed(3, "EPERM")),
            ("fchown", Made::failed(1, "EBADF")),
            ("getsid", Made::denied(5)),
        ]),
    )
}
