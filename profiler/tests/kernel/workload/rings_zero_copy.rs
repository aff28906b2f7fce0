//! Zero-copy sends of io_uring: `SEND_ZC` and `SENDMSG_ZC`.
//!
//! A send has two completions with its `user_data`. The first one belongs to the request, and has
//! the result and `IORING_CQE_F_MORE`. The second one has `IORING_CQE_F_NOTIF`, and means that the
//! buffer is free. It belongs to another request, whose submission nothing reports
//! (`io_alloc_notif`, io_uring/notif.c). A send that fails has both too, if the kernel had created
//! that request (`io_sendrecv_fail`, io_uring/net.c).

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::fd::{AsRawFd as _, RawFd},
    thread,
};

use io_uring::{IoUring, cqueue, opcode, squeue, types::Fd};

use super::{
    Params, Statement,
    rings::{Ring, Tally},
    rings_multishot::{Kernel, buffers, pair, provide, receive},
};

/// `IORING_SEND_ZC_REPORT_USAGE` (include/uapi/linux/io_uring.h, Linux 6.2).
const REPORT_USAGE: u16 = 1 << 3;

const LENGTH: usize = 4096;

/// The two ends of a connection. A thread reads the second one until the first one is closed.
fn connection() -> (TcpStream, thread::JoinHandle<u64>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a socket");
    let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("it connects");
    let (mut far, _) = listener.accept().expect("a connection");
    let reader = thread::spawn(move || {
        let mut buffer = [0; LENGTH];
        let mut all = 0;
        while let Ok(read @ 1..) = far.read(&mut buffer) {
            all += read as u64;
        }
        all
    });
    (near, reader)
}

pub(super) fn run(params: &Params) -> Statement {
    let count = params.number("count").max(1);
    let mut tally = Tally::new(true);
    let buffer = vec![7_u8; LENGTH];
    let simple = IoUring::new(64).expect("a ring");
    let by_thread = IoUring::builder().setup_sqpoll(100).build(64).expect("a ring");
    for ring in [simple, by_thread] {
        let mut ring = Ring::of(ring);
        let (near, reader) = connection();
        let fd = near.as_raw_fd();
        for _ in 0..count {
            sends(&mut ring, &mut tally, "SEND_ZC", LENGTH as i32, || send(fd, &buffer, 0));
        }
        // Each request has the same `user_data`: their addresses distinguish them.
        with_the_same_data(&mut ring, &mut tally, fd, &buffer);
        messages(&mut ring, &mut tally, fd, &buffer);
        fails(&mut ring, &mut tally, &buffer);
        drop(near);
        assert!(reader.join().expect("no panic") > 0);
    }
    overflowing(&mut tally, &buffer);
    tally.into_statement()
}

fn send(fd: RawFd, buffer: &[u8], flags: u16) -> squeue::Entry {
    let length = u32::try_from(buffer.len()).expect("a short buffer");
    opcode::SendZc::new(Fd(fd), buffer.as_ptr(), length).zc_flags(flags).build()
}

/// Whether a completion is the notification that the buffer is free.
fn is_notification(entry: &cqueue::Entry) -> bool {
    cqueue::notif(entry.flags()) && !cqueue::more(entry.flags())
}

/// Sends once, and expects this result.
fn sends(
    ring: &mut Ring,
    tally: &mut Tally,
    operation: &'static str,
    result: i32,
    entry: impl Fn() -> squeue::Entry,
) {
    let user_data = ring.push(entry());
    let entries = ring.wait_for_entries(2);
    has_both(&entries, user_data, result);
    tally.made(operation, 1, errno(result));
    tally.of(operation).posted += 1;
}

/// Asserts the two completions of a send.
#[track_caller]
fn has_both(entries: &[cqueue::Entry], user_data: u64, result: i32) {
    let [first, second] = entries else { panic!("{entries:?}") };
    assert!(entries.iter().all(|entry| entry.user_data() == user_data), "{entries:?}");
    assert!(first.result() == result && cqueue::more(first.flags()), "{first:?}");
    assert!(!cqueue::notif(first.flags()) && is_notification(second), "{entries:?}");
}

fn errno(result: i32) -> &'static str {
    match -result {
        libc::EBADF => "EBADF",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        _ => {
            assert!(result > 0, "{result}");
            ""
        }
    }
}

/// Makes a send and then a multishot receive with the same `user_data`. After the notification, it
/// belongs to the receive alone.
fn with_the_same_data(ring: &mut Ring, tally: &mut Tally, fd: RawFd, buffer: &[u8]) {
    const DATA: u64 = u64::MAX - 7;
    const MESSAGES: u64 = 3;
    for _ in 0..2 {
        ring.push_as(DATA, send(fd, buffer, 0));
        has_both(&ring.wait_for_entries(2), DATA, LENGTH as i32);
        tally.made("SEND_ZC", 1, "");
        tally.of("SEND_ZC").posted += 1;
    }
    let (near, far) = pair();
    let mut room = buffers(MESSAGES + 1);
    provide(ring, tally, &mut room, 1);
    ring.push_as(DATA, receive(near.as_raw_fd(), 1));
    ring.ring.submit().expect("it submits");
    let mut far = std::fs::File::from(far);
    for _ in 0..MESSAGES {
        far.write_all(b"hello").expect("it is sent");
        assert!(cqueue::more(ring.wait_for_entries(1)[0].flags()));
    }
    drop(far);
    assert!(!cqueue::more(ring.wait_for_entries(1)[0].flags()));
    tally.made("RECV", 1, "");
    tally.of("RECV").posted += MESSAGES;
    ring.push(opcode::RemoveBuffers::new(1, 1).build());
    ring.wait_for_entries(1);
    tally.made("REMOVE_BUFFERS", 1, "");
}

/// `SENDMSG_ZC`, from Linux 6.1 on.
fn messages(ring: &mut Ring, tally: &mut Tally, fd: RawFd, buffer: &[u8]) {
    if !Kernel::new(&ring.ring).has(opcode::SendMsgZc::CODE) {
        return;
    }
    let mut part = libc::iovec { iov_base: buffer.as_ptr().cast_mut().cast(), iov_len: LENGTH };
    // SAFETY: an empty header is valid.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    let entry = || opcode::SendMsgZc::new(Fd(fd), &raw const header).build();
    sends(ring, tally, "SENDMSG_ZC", LENGTH as i32, entry);
}

/// Sends that fail: to a bad descriptor, and to a socket that does not support zero copy.
fn fails(ring: &mut Ring, tally: &mut Tally, buffer: &[u8]) {
    sends(ring, tally, "SEND_ZC", -libc::EBADF, || send(-1, buffer, 0));
    let (near, _far) = pair();
    let fd = near.as_raw_fd();
    sends(ring, tally, "SEND_ZC", -libc::EOPNOTSUPP, || send(fd, buffer, 0));
}

/// Notifications that find the completion queue full. Some report, by a negative result that is not
/// an errno, that the data was copied after all.
fn overflowing(tally: &mut Tally, buffer: &[u8]) {
    let ring = IoUring::builder().setup_cqsize(2).build(2).expect("a ring");
    let mut ring = Ring::of(ring);
    let (near, reader) = connection();
    let fd = near.as_raw_fd();
    // Linux 6.2.
    let reports = Kernel::new(&ring.ring).has(opcode::ReadMulti::CODE);
    let flags = if reports { REPORT_USAGE } else { 0 };
    ring.push(send(fd, buffer, flags));
    for entry in ring.wait_for_entries(2) {
        let is_copied = reports && cqueue::notif(entry.flags());
        assert_eq!(entry.result() == i32::MIN, is_copied, "{entry:?}");
    }
    tally.made("SEND_ZC", 1, "");
    tally.of("SEND_ZC").posted += 1;
    // The queue is full after these.
    for _ in 0..2 {
        ring.push(opcode::Nop::new().build());
    }
    ring.ring.submit().expect("it submits");
    tally.made("NOP", 2, "");
    ring.push(send(fd, buffer, flags));
    ring.ring.submit().expect("it submits");
    let entries = ring.wait_for_entries(4);
    assert_eq!(entries.iter().filter(|entry| is_notification(entry)).count(), 1, "{entries:?}");
    tally.submitted("SEND_ZC", 1);
    // Both belong to the send. No completion reports that the request ended.
    tally.of("SEND_ZC").overflowed += 2;
    tally.of("SEND_ZC").in_flight += 1;
    drop(near);
    reader.join().expect("no panic");
}
