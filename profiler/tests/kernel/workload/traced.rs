//! Calls with known arguments and results, in a known order.

use std::{
    ffi::CString,
    io::{BufRead as _, Write as _},
    thread,
};

use libc::c_long;

use super::{Made, Params, Process, READY, Statement, own_pid, own_tid, raw, statement::calls};

/// The id of no process: above `PID_MAX_LIMIT`. `getpgid` of this id is the mark before the first
/// known call and after the last one.
const MARK: c_long = 0x7fff_fff0;

/// The text that the known calls write.
pub(crate) const TEXT: &str = "known\nbytes";

fn mark() {
    assert_eq!(raw::syscall(libc::SYS_getpgid, [MARK]), -c_long::from(libc::ESRCH));
}

/// Makes the known calls `calls` times on the file `path`, between two marks.
pub(super) fn known(params: &Params) -> Statement {
    let path = CString::new(params.0["path"].as_str()).expect("no NUL");
    let times = params.number("calls");
    let at = c_long::from(libc::AT_FDCWD);
    let (name, text) = (path.as_ptr() as c_long, TEXT.as_ptr() as c_long);
    let length = TEXT.len() as c_long;
    let mut buffer = [0_u8; 64];
    let buffer = buffer.as_mut_ptr() as c_long;
    let is = |result: c_long, expected: c_long| assert_eq!(result, expected);
    let failed = |result: c_long, errno: i32| assert_eq!(result, -c_long::from(errno));
    let open = (libc::O_RDWR | libc::O_CREAT | libc::O_TRUNC | libc::O_CLOEXEC).into();
    mark();
    for _ in 0..times {
        let fd = raw::syscall(libc::SYS_openat, [at, name, open, 0o640]);
        assert!(fd > 2, "{fd}");
        is(raw::syscall(libc::SYS_write, [fd, text, length]), length);
        is(raw::syscall(libc::SYS_lseek, [fd, 2, libc::SEEK_SET.into()]), 2);
        is(raw::syscall(libc::SYS_read, [fd, buffer, 5]), 5);
        is(raw::syscall(libc::SYS_lseek, [fd, -1, libc::SEEK_END.into()]), length - 1);
        is(raw::syscall(libc::SYS_read, [fd, buffer, 64]), 1);
        is(raw::syscall(libc::SYS_read, [fd, buffer, 64]), 0);
        failed(raw::syscall(libc::SYS_lseek, [fd, 0, 99]), libc::EINVAL);
        failed(raw::syscall(libc::SYS_write, [fd, 8, 3]), libc::EFAULT);
        is(raw::syscall(libc::SYS_close, [fd]), 0);
        failed(raw::syscall(libc::SYS_close, [-1]), libc::EBADF);
        let missing = c"/no/such/file".as_ptr() as c_long;
        failed(raw::syscall(libc::SYS_openat, [at, missing, 0, 0]), libc::ENOENT);
    }
    mark();
    let made = calls([("getpgid", Made::failed(2, "ESRCH"))]);
    Statement::of(own_pid(), made)
}

/// What the messages of [`messages`] contain.
pub(crate) const MESSAGES: [&str; 5] = ["one", "two", "", "four", "five"];

/// Sends [`MESSAGES`] by one call, receives them by another, and then waits for nothing while two
/// signals are blocked, all between two marks.
pub(super) fn messages() -> Statement {
    let mut fds = [0; 2];
    let pair = [libc::AF_UNIX.into(), libc::SOCK_DGRAM.into(), 0, fds.as_mut_ptr() as c_long];
    assert_eq!(raw::syscall(libc::SYS_socketpair, pair), 0);
    let count = MESSAGES.len();
    let mut buffers = [[0_u8; 8]; MESSAGES.len()];
    let vector = |base: *mut u8, length| libc::iovec { iov_base: base.cast(), iov_len: length };
    let mut sent = MESSAGES.map(|text| vector(text.as_ptr().cast_mut(), text.len()));
    let mut received = buffers.each_mut().map(|buffer| vector(buffer.as_mut_ptr(), buffer.len()));
    let [mut sending, mut receiving] = [&mut sent, &mut received].map(|vectors| {
        vectors.each_mut().map(|vector| {
            // SAFETY: integers and null pointers.
            let mut message: libc::mmsghdr = unsafe { std::mem::zeroed() };
            message.msg_hdr.msg_iov = std::ptr::from_mut(vector);
            message.msg_hdr.msg_iovlen = 1;
            message
        })
    });
    let all = count as c_long;
    let [from, to] = fds.map(c_long::from);
    let mask: u64 = 1 << (libc::SIGUSR1 - 1) | 1 << (libc::SIGCHLD - 1);
    let set = [(&raw const mask) as c_long, 8];
    let time = [0_i64; 2];
    mark();
    let send = [from, sending.as_mut_ptr() as c_long, all, 0];
    assert_eq!(raw::syscall(libc::SYS_sendmmsg, send), all);
    let receive = [to, receiving.as_mut_ptr() as c_long, all, 0, 0];
    assert_eq!(raw::syscall(libc::SYS_recvmmsg, receive), all);
    let wait = [0, 0, 0, 0, time.as_ptr() as c_long, set.as_ptr() as c_long];
    assert_eq!(raw::syscall(libc::SYS_pselect6, wait), 0);
    mark();
    let made = [
        ("getpgid", Made::failed(2, "ESRCH")),
        ("sendmmsg", Made::succeeded(1)),
        ("recvmmsg", Made::succeeded(1)),
        ("pselect6", Made::succeeded(1)),
    ];
    Statement::of(own_pid(), calls(made))
}

/// Makes `calls` calls that a seccomp filter has to refuse with EPERM.
pub(super) fn unseen(params: &Params) -> Statement {
    let times = params.number("calls");
    let mut timer = [0_u64; 4];
    let args = [libc::ITIMER_REAL.into(), timer.as_mut_ptr() as c_long];
    for _ in 0..times {
        assert_eq!(raw::syscall(libc::SYS_getitimer, args), -c_long::from(libc::EPERM));
    }
    Statement::of(own_pid(), calls([("getitimer", Made::denied(times))]))
}

/// Each of `threads` threads makes `calls` calls that fail, and numbers them: `lseek` of the invalid
/// descriptor -1 to 0, 1, 2 and so on.
pub(super) fn numbered(params: &Params) -> Statement {
    params.hold();
    let (threads, times) = (params.number("threads"), params.number("calls"));
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            thread::spawn(move || {
                let fails = |i: u64| {
                    let args = [-1, i.cast_signed(), 0];
                    raw::syscall(libc::SYS_lseek, args) == -c_long::from(libc::EBADF)
                };
                assert!((0..times).all(fails), "a call ended otherwise than planned");
                own_tid()
            })
        })
        .collect();
    let tids: Vec<_> = workers.into_iter().map(|worker| worker.join().expect("no panic")).collect();
    let made = || calls([("lseek", Made::failed(times, "EBADF"))]);
    // Each thread is stated like a process: its id is what a test looks for.
    Statement::of_all(tids.into_iter().map(|tid| Process::new(tid, made())).collect())
}

/// After each line of input, makes the numbered call above, and prints a line. So a test sees that
/// the process continues, and that its calls have the expected results.
pub(super) fn told() -> Statement {
    println!("{READY}");
    let (mut line, mut made) = (String::new(), 0);
    let mut input = std::io::stdin().lock();
    while input.read_line(&mut line).expect("an input") > 0 {
        let result = raw::syscall(libc::SYS_lseek, [-1, made, 0]);
        assert_eq!(result, -c_long::from(libc::EBADF));
        made += 1;
        println!("{made}");
        std::io::stdout().flush().expect("an output");
    }
    Statement::of(own_pid(), calls([("lseek", Made::failed(made.cast_unsigned(), "EBADF"))]))
}

/// Makes an i386 call from 64-bit code, and the call with the same number of the other table.
pub(super) fn both_tables() -> Statement {
    // `getppid` of the i386 table; 64 is `semget` of the other.
    assert!(raw::int80(64, [0; 3]) > 0);
    assert!(raw::syscall(libc::SYS_semget, [0, 0, 0]) < 0);
    // `close` of the i386 table; 6 is `lstat` of the other.
    assert_eq!(raw::int80(6, [-1, 0, 0]), -libc::EBADF);
    let mut made = calls([("semget", Made::failed(1, "EINVAL"))]);
    made.insert("i386/getppid".to_owned(), Made::succeeded(1));
    made.insert("i386/close".to_owned(), Made::failed(1, "EBADF"));
    Statement::of(own_pid(), made)
}
