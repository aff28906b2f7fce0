//! Multishot requests of io_uring: one submission has several completions.
//!
//! All completions of a request but the last one have `IORING_CQE_F_MORE`, and name no request in
//! `io_uring_complete` (`io_fill_cqe_aux`, io_uring/io_uring.c). The last one lacks the flag, and
//! names the request.

use std::{
    io::Write as _,
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::Path,
};

use io_uring::{
    IoUring, Probe, cqueue, opcode, squeue,
    squeue::Flags,
    types::{Fd, TimeoutFlags, Timespec},
};

use super::{
    Params, Statement,
    rings::{Ring, Tally},
};

/// Size of a message.
const LENGTH: usize = 5;

/// Size of a provided buffer. `RECVMSG` puts a header of 16 bytes before the message
/// (`struct io_uring_recvmsg_out`).
const ROOM: usize = 64;

/// The multishot requests that the kernel supports, besides `ACCEPT`.
pub(super) struct Kernel {
    probe: Probe,
    has_bundles: bool,
}

impl Kernel {
    pub(super) fn new(ring: &IoUring) -> Self {
        let mut probe = Probe::new();
        ring.submitter().register_probe(&mut probe).expect("a list of opcodes");
        Self { probe, has_bundles: ring.params().is_feature_recvsend_bundle() }
    }

    pub(super) fn has(&self, opcode: u8) -> bool {
        self.probe.is_supported(opcode)
    }

    /// Whether it supports `RECV` and `RECVMSG`: Linux 6.0, like `SEND_ZC`.
    pub(super) fn receives(&self) -> bool {
        self.probe.is_supported(opcode::SendZc::CODE)
    }

    /// Whether it supports `READ_MULTISHOT`: Linux 6.7. `TIMEOUT` is older: Linux 6.4.
    fn reads(&self) -> bool {
        self.probe.is_supported(opcode::ReadMulti::CODE)
    }
}

/// Rings that deliver completions in different ways, as far as the kernel supports them.
fn rings() -> Vec<Ring> {
    let simple = IoUring::new(64).expect("a ring");
    let by_thread = IoUring::builder().setup_sqpoll(100).build(64).expect("a ring");
    // Linux 6.1: completions arrive only while the task waits for them.
    let deferred = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(64);
    [Some(simple), Some(by_thread), deferred.ok()].into_iter().flatten().map(Ring::of).collect()
}

pub(super) fn run(params: &Params) -> Statement {
    let count = params.number("count").max(2);
    let mut tally = Tally::new(true);
    params.hold();
    for mut ring in rings() {
        let kernel = Kernel::new(&ring.ring);
        accepts(&mut ring, &mut tally, count);
        if kernel.receives() {
            for operation in [Receive::Recv, Receive::Message] {
                receives(&mut ring, &mut tally, count, operation);
            }
        }
        if kernel.reads() {
            receives(&mut ring, &mut tally, count, Receive::Read);
            times_out(&mut ring, &mut tally, count);
        }
        if kernel.has_bundles {
            sends_a_bundle(&mut ring, &mut tally, count);
        }
    }
    tally.into_statement()
}

/// Asserts that this completion is not the last one of its request.
#[track_caller]
fn is_further(entry: &cqueue::Entry) {
    assert!(entry.result() >= 0 && cqueue::more(entry.flags()), "{entry:?}");
}

/// Asserts that this completion is the last one, and has this result.
#[track_caller]
fn is_last(entry: &cqueue::Entry, result: i32) {
    assert!(entry.result() == result && !cqueue::more(entry.flags()), "{entry:?}");
}

/// Accepts connections: one after the other, several at once, and by a worker. These requests end
/// by a cancellation. One more request fails at once.
fn accepts(ring: &mut Ring, tally: &mut Tally, count: u64) {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("socket");
    let listener = UnixListener::bind(&path).expect("a socket");
    let accept = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
    let accepting = ring.push(accept.clone());
    ring.ring.submit().expect("it submits");
    for _ in 0..count {
        accepted(ring, &path, 1);
    }
    accepted(ring, &path, count);
    tally.of("ACCEPT").posted += 2 * count;
    cancel_accept(ring, tally, accepting);
    for flags in [Flags::empty(), Flags::ASYNC] {
        let accepting = ring.push(accept.clone().flags(flags));
        // Some connections are made before the submission, and some after it.
        accepted(ring, &path, count);
        accepted(ring, &path, 1);
        tally.of("ACCEPT").posted += count + 1;
        cancel_accept(ring, tally, accepting);
    }
    // This socket does not listen, so `accept` fails.
    let (connected, _other) = UnixStream::pair().expect("sockets");
    ring.push(opcode::AcceptMulti::new(Fd(connected.as_raw_fd())).build());
    is_last(&ring.wait_for_entries(1)[0], -libc::EINVAL);
    tally.made("ACCEPT", 1, "EINVAL");
}

/// Cancels an accept.
fn cancel_accept(ring: &mut Ring, tally: &mut Tally, accepting: u64) {
    let cancel = ring.push(opcode::AsyncCancel::new(accepting).build());
    for entry in ring.wait_for_entries(2) {
        is_last(&entry, if entry.user_data() == cancel { 0 } else { -libc::ECANCELED });
    }
    tally.made("ACCEPT", 1, "ECANCELED");
    tally.made("ASYNC_CANCEL", 1, "");
}

/// Makes connections, and waits until they are accepted.
fn accepted(ring: &mut Ring, path: &Path, count: u64) {
    let connections: Vec<UnixStream> =
        (0..count).map(|_| UnixStream::connect(path).expect("a connection")).collect();
    for entry in ring.wait_for_entries(count as usize) {
        is_further(&entry);
        // SAFETY: the result is the accepted descriptor, which is owned from here on.
        drop(unsafe { OwnedFd::from_raw_fd(entry.result()) });
    }
    drop(connections);
}

/// Provides these buffers to the ring, as a group.
pub(super) fn provide(ring: &mut Ring, tally: &mut Tally, buffers: &mut [[u8; ROOM]], group: u16) {
    let count = u16::try_from(buffers.len()).expect("few buffers");
    let address = buffers.as_mut_ptr().cast();
    ring.push(opcode::ProvideBuffers::new(address, ROOM as i32, count, group, 0).build());
    is_last(&ring.wait_for_entries(1)[0], 0);
    tally.made("PROVIDE_BUFFERS", 1, "");
}

/// Buffers. They must outlive the requests that use them.
pub(super) fn buffers(count: u64) -> Vec<[u8; ROOM]> {
    vec![[0; ROOM]; count as usize]
}

/// The operation that receives messages.
#[derive(Clone, Copy, Debug)]
enum Receive {
    Recv,
    Message,
    Read,
}

impl Receive {
    fn name(self) -> &'static str {
        match self {
            Self::Recv => "RECV",
            Self::Message => "RECVMSG",
            Self::Read => "READ_MULTISHOT",
        }
    }

    fn entry(self, fd: RawFd, header: &libc::msghdr, group: u16) -> squeue::Entry {
        match self {
            Self::Recv => receive(fd, group),
            Self::Message => opcode::RecvMsgMulti::new(Fd(fd), header, group).build(),
            Self::Read => opcode::ReadMulti::new(Fd(fd), 0, group).offset(u64::MAX).build(),
        }
    }
}

/// A multishot `RECV` into the buffers of the group.
pub(super) fn receive(fd: RawFd, group: u16) -> squeue::Entry {
    opcode::RecvMulti::new(Fd(fd), group).build()
}

/// Two sockets that preserve message boundaries and signal the end of input.
pub(super) fn pair() -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    // SAFETY: writes two descriptors, which are owned from here on.
    unsafe {
        let made = libc::socketpair(libc::AF_UNIX, libc::SOCK_SEQPACKET, 0, fds.as_mut_ptr());
        assert_eq!(made, 0, "sockets");
        (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1]))
    }
}

/// Receives messages into provided buffers. One request ends at the end of input, and one when the
/// buffers run out.
fn receives(ring: &mut Ring, tally: &mut Tally, count: u64, operation: Receive) {
    // SAFETY: an empty header is valid.
    let header: libc::msghdr = unsafe { std::mem::zeroed() };
    let mut buffers = buffers(count + 1);
    for (group, runs_out) in [(1, false), (2, true)] {
        let (near, far) = pair();
        let (input, mut far) = match operation {
            Receive::Read => {
                let (input, output) = std::io::pipe().expect("a pipe");
                (OwnedFd::from(input), std::fs::File::from(OwnedFd::from(output)))
            }
            _ => (near, std::fs::File::from(far)),
        };
        // The last receive finds the end of input, and takes a buffer too.
        let provided = if runs_out { count } else { count + 1 };
        provide(ring, tally, &mut buffers[..provided as usize], group);
        ring.push(operation.entry(input.as_raw_fd(), &header, group));
        ring.ring.submit().expect("it submits");
        let mut entries = Vec::new();
        for sent in 1..=count as usize {
            far.write_all(&[1; LENGTH]).expect("it is sent");
            while entries.len() < sent {
                entries.extend(ring.wait_for_at_least(1));
            }
        }
        tally.submitted(operation.name(), 1);
        tally.of(operation.name()).posted += count;
        let without_buffer = entries.split_off(count as usize);
        for entry in &entries {
            is_further(entry);
            assert!(cqueue::buffer_select(entry.flags()).is_some(), "{entry:?}");
        }
        if runs_out {
            // The kernel reports it at once, or at the next message.
            far.write_all(&[1; LENGTH]).expect("it is sent");
            let last = match &*without_buffer {
                [] => ring.wait_for_entries(1),
                _ => without_buffer,
            };
            is_last(&last[0], -libc::ENOBUFS);
            tally.completed(operation.name(), 1, "ENOBUFS");
            continue;
        }
        assert!(without_buffer.is_empty(), "{without_buffer:?}");
        drop(far);
        let last = &ring.wait_for_entries(1)[0];
        assert!(!cqueue::more(last.flags()), "{last:?}");
        tally.completed(operation.name(), 1, "");
        ring.push(opcode::RemoveBuffers::new(1, group).build());
        ring.wait_for_entries(1);
        tally.made("REMOVE_BUFFERS", 1, "");
    }
}

/// A timeout that expires several times. Each completion has `ETIME`, and only the last one
/// completes the request (`io_timeout_complete`, io_uring/timeout.c).
fn times_out(ring: &mut Ring, tally: &mut Tally, count: u64) {
    let time = Timespec::new().nsec(1_000_000);
    let times = u32::try_from(count).expect("a few times");
    let flags = TimeoutFlags::MULTISHOT;
    ring.push(opcode::Timeout::new(&raw const time).count(times).flags(flags).build());
    let entries = ring.wait_for_entries(count as usize);
    let (last, further) = entries.split_last().expect("several");
    is_last(last, -libc::ETIME);
    let expires =
        |entry: &cqueue::Entry| entry.result() == -libc::ETIME && cqueue::more(entry.flags());
    assert!(further.iter().all(expires), "{further:?}");
    tally.made("TIMEOUT", 1, "ETIME");
    tally.of("TIMEOUT").posted += count - 1;
}

/// Sends all buffers of a group: the request has one completion for each (`io_send_finish`,
/// io_uring/net.c).
fn sends_a_bundle(ring: &mut Ring, tally: &mut Tally, count: u64) {
    let (near, _far) = pair();
    let mut buffers = buffers(count);
    provide(ring, tally, &mut buffers, 3);
    ring.push(opcode::SendBundle::new(Fd(near.as_raw_fd()), 3).build());
    let entries = ring.wait_for_entries(count as usize);
    let (last, further) = entries.split_last().expect("several");
    is_last(last, ROOM as i32);
    further.iter().for_each(is_further);
    tally.made("SEND", 1, "");
    tally.of("SEND").posted += count - 1;
}
