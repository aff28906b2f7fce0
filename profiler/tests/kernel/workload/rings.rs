//! Operations of io_uring, with every way to submit them and every way in which they complete.

use std::{
    collections::BTreeMap,
    fs::File,
    io::Write as _,
    os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
};

use io_uring::{IoUring, Probe, cqueue, opcode, squeue, squeue::Flags, types::Fd};

use super::{Params, READY, Statement, fork, own_pid, reap, statement::Operations};

/// The operations so far, by opcode.
pub(super) struct Tally {
    operations: BTreeMap<Option<&'static str>, Operations>,
    /// Whether completions name their request (Linux 5.18). Older kernels report nothing for a
    /// request that is refused at once.
    names_requests: bool,
}

impl Tally {
    pub(super) fn new(names_requests: bool) -> Self {
        Self { operations: BTreeMap::new(), names_requests }
    }

    pub(super) fn of(&mut self, operation: &'static str) -> &mut Operations {
        self.of_any(Some(operation))
    }

    pub(super) fn of_any(&mut self, operation: Option<&'static str>) -> &mut Operations {
        let new = || Operations {
            pid: own_pid(),
            operation: operation.map(str::to_owned),
            ..Operations::default()
        };
        self.operations.entry(operation).or_insert_with(new)
    }

    pub(super) fn submitted(&mut self, operation: &'static str, count: u64) {
        self.of(operation).submitted += count;
    }

    /// Completions with this errno; 0 for success.
    pub(super) fn completed(&mut self, operation: &'static str, count: u64, errno: &str) {
        let made = self.of(operation);
        made.completed += count;
        if !errno.is_empty() {
            *made.errnos.entry(errno.to_owned()).or_default() += count;
        }
    }

    /// Counts requests that were submitted and completed.
    pub(super) fn made(&mut self, operation: &'static str, count: u64, errno: &str) {
        self.submitted(operation, count);
        self.completed(operation, count, errno);
    }

    /// Counts requests that were refused at once.
    fn refused(&mut self, operation: &'static str, count: u64, errno: &str) {
        if self.names_requests {
            return self.made(operation, count, errno);
        }
        self.unmatched(count);
        *self.of_any(None).errnos.entry(errno.to_owned()).or_default() += count;
    }

    /// Counts completions of an unknown opcode, since their submission was not seen.
    fn unmatched(&mut self, count: u64) {
        let made = self.of_any(None);
        made.completed += count;
        made.unmatched += count;
    }

    pub(super) fn into_statement(self) -> Statement {
        Statement { operations: self.operations.into_values().collect(), ..Statement::default() }
    }
}

/// A ring, and a generator of unique `user_data`.
pub(super) struct Ring {
    pub(super) ring: IoUring,
    next: u64,
}

impl Ring {
    pub(super) fn new(entries: u32) -> Self {
        Self::of(IoUring::new(entries).expect("a ring"))
    }

    pub(super) fn of(ring: IoUring) -> Self {
        Self { ring, next: 1 }
    }

    /// Adds an entry, and returns its `user_data`.
    pub(super) fn push(&mut self, entry: squeue::Entry) -> u64 {
        let user_data = self.next;
        self.next += 1;
        self.push_as(user_data, entry);
        user_data
    }

    /// Adds an entry with this `user_data`.
    pub(super) fn push_as(&mut self, user_data: u64, entry: squeue::Entry) {
        // SAFETY: the caller keeps buffers and descriptors until the completions have arrived.
        unsafe { self.ring.submission().push(&entry.user_data(user_data)) }.expect("room");
    }

    /// Submits, waits for so many completions, and returns the `user_data` and the result of each.
    fn wait(&mut self, completions: usize) -> Vec<(u64, i32)> {
        let found = self.wait_for_entries(completions);
        found.iter().map(|entry| (entry.user_data(), entry.result())).collect()
    }

    /// Submits, and waits for so many completions.
    pub(super) fn wait_for_entries(&mut self, completions: usize) -> Vec<cqueue::Entry> {
        let found = self.wait_for_at_least(completions);
        assert_eq!(found.len(), completions, "{found:?}");
        found
    }

    /// Submits, waits for so many completions, and returns all that have arrived.
    pub(super) fn wait_for_at_least(&mut self, completions: usize) -> Vec<cqueue::Entry> {
        self.ring.submit_and_wait(completions).expect("it submits");
        let mut found = Vec::new();
        while found.len() < completions {
            found.extend(self.ring.completion());
            if found.len() < completions {
                self.ring.submit_and_wait(1).expect("it waits");
            }
        }
        found
    }

    /// Makes `count` operations that all have this result.
    fn make(&mut self, count: u64, result: i32, entry: impl Fn() -> squeue::Entry) {
        for _ in 0..count {
            self.push(entry());
        }
        let found = self.wait(count as usize);
        assert!(found.iter().all(|&(_, r)| r == result), "{found:?}");
    }
}

fn nop() -> squeue::Entry {
    opcode::Nop::new().build()
}

fn event() -> OwnedFd {
    // SAFETY: creates a descriptor, which is owned from here on.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
        assert!(fd >= 0, "an event");
        OwnedFd::from_raw_fd(fd)
    }
}

fn trigger(event: &OwnedFd) {
    let mut file = File::from(event.try_clone().expect("a descriptor"));
    file.write_all(&1_u64.to_ne_bytes()).expect("an event");
}

fn poll(event: &OwnedFd, multi: bool) -> squeue::Entry {
    opcode::PollAdd::new(Fd(event.as_raw_fd()), libc::POLLIN as u32).multi(multi).build()
}

/// With `hold=1`, the rings exist, with a request in flight in one of them, before the release.
/// With `stay=1`, a request is in flight at the end, and the workload waits for the end of its
/// input again.
pub(super) fn run(params: &Params) -> Statement {
    let count = params.number("count").max(1);
    let mut ring = Ring::new(64);
    let mut probe = Probe::new();
    ring.ring.submitter().register_probe(&mut probe).expect("a list of opcodes");
    // Linux 5.18 introduced both `MSG_RING` and completions that name their request.
    let names_requests = probe.is_supported(opcode::MsgRingData::CODE);
    let mut tally = Tally::new(names_requests);
    let before = event();
    if params.has("hold") {
        ring.push(poll(&before, false));
        ring.ring.submit().expect("it submits");
        if params.has("stay") {
            println!("{READY}");
            std::io::stdin().read_line(&mut String::new()).expect("an input");
        } else {
            params.hold();
        }
        trigger(&before);
        ring.wait(1);
        if names_requests {
            tally.completed("POLL_ADD", 1, "");
            tally.of("POLL_ADD").unmatched += 1;
        } else {
            tally.unmatched(1);
        }
    }
    for _ in 0..count {
        simple(&mut ring, &mut tally);
    }
    linked(&mut ring, &mut tally);
    cancelled(&mut ring, &mut tally);
    refused(&mut ring, &mut tally);
    several(&mut ring, &mut tally);
    by_kernel_thread(&mut tally);
    if names_requests {
        silent(&mut ring, &mut tally);
        messages(&mut ring, &mut tally);
        overflowing(&mut tally);
    }
    if params.has("stay") {
        let event = event();
        ring.push(poll(&event, false));
        ring.ring.submit().expect("it submits");
        tally.submitted("POLL_ADD", 1);
        tally.of("POLL_ADD").in_flight += 1;
        println!("{}", serde_json::to_string(&tally.into_statement()).expect("plain data"));
        std::io::stdin().read_line(&mut String::new()).expect("an input");
        return Statement::default();
    }
    drop(ring);
    tally.into_statement()
}

/// Requests that complete within the submission, and requests that a worker completes.
fn simple(ring: &mut Ring, tally: &mut Tally) {
    ring.make(20, 0, nop);
    tally.made("NOP", 20, "");
    ring.make(5, 0, || nop().flags(Flags::ASYNC));
    tally.made("NOP", 5, "");
    let file = tempfile::tempfile().expect("a file");
    let mut buffer = [7_u8; 16];
    let fd = Fd(file.as_raw_fd());
    ring.make(6, 16, || opcode::Write::new(fd, buffer.as_ptr(), 16).build());
    tally.made("WRITE", 6, "");
    let address = buffer.as_mut_ptr();
    ring.make(4, 16, || opcode::Read::new(fd, address, 16).build());
    ring.make(3, 16, || opcode::Read::new(fd, address, 16).build().flags(Flags::ASYNC));
    tally.made("READ", 7, "");
    ring.make(9, -libc::EBADF, || opcode::Read::new(Fd(-1), address, 16).build());
    tally.refused("READ", 9, "EBADF");
}

/// A chain of three, whose first request fails, so that the others are cancelled. Then a chain that
/// succeeds.
fn linked(ring: &mut Ring, tally: &mut Tally) {
    let mut byte = 0_u8;
    ring.push(opcode::Read::new(Fd(-1), &raw mut byte, 1).build().flags(Flags::IO_LINK));
    ring.push(nop().flags(Flags::IO_LINK));
    ring.push(nop());
    ring.wait(3);
    // Every kernel reports the submission of a request in a chain.
    tally.made("READ", 1, "EBADF");
    tally.made("NOP", 2, "ECANCELED");
    ring.push(nop().flags(Flags::IO_LINK));
    ring.push(nop());
    ring.wait(2);
    tally.made("NOP", 2, "");
}

fn cancelled(ring: &mut Ring, tally: &mut Tally) {
    let event = event();
    let polled = ring.push(poll(&event, false));
    ring.ring.submit().expect("it submits");
    ring.push(opcode::AsyncCancel::new(polled).build());
    ring.wait(2);
    tally.made("POLL_ADD", 1, "ECANCELED");
    tally.made("ASYNC_CANCEL", 1, "");
    ring.make(2, -libc::ENOENT, || opcode::AsyncCancel::new(u64::MAX).build());
    tally.made("ASYNC_CANCEL", 2, "ENOENT");
}

/// Requests that the kernel refuses at once: `FSYNC` with an unknown flag.
fn refused(ring: &mut Ring, tally: &mut Tally) {
    let file = tempfile::tempfile().expect("a file");
    let flags = io_uring::types::FsyncFlags::from_bits_retain(0x80);
    ring.make(3, -libc::EINVAL, || opcode::Fsync::new(Fd(file.as_raw_fd())).flags(flags).build());
    tally.refused("FSYNC", 3, "EINVAL");
}

/// A request with several completions, which ends by a cancellation.
fn several(ring: &mut Ring, tally: &mut Tally) {
    const TIMES: u64 = 4;
    let event = event();
    let polled = ring.push(poll(&event, true));
    ring.ring.submit().expect("it submits");
    for _ in 0..TIMES {
        trigger(&event);
        ring.wait(1);
    }
    tally.of("POLL_ADD").posted += TIMES;
    ring.push(opcode::AsyncCancel::new(polled).build());
    ring.wait(2);
    tally.made("POLL_ADD", 1, "ECANCELED");
    tally.made("ASYNC_CANCEL", 1, "");
}

/// Requests that a kernel thread submits.
fn by_kernel_thread(tally: &mut Tally) {
    let ring = IoUring::builder().setup_sqpoll(100).build(32).expect("a ring");
    let mut ring = Ring::of(ring);
    ring.make(30, 0, nop);
    tally.made("NOP", 30, "");
}

/// Requests that ask for no completion, one of which fails and has one.
fn silent(ring: &mut Ring, tally: &mut Tally) {
    for _ in 0..8 {
        ring.push(nop().flags(Flags::SKIP_SUCCESS));
    }
    ring.make(1, 0, nop);
    tally.submitted("NOP", 8);
    tally.of("NOP").silent += 8;
    tally.made("NOP", 1, "");
    let mut byte = 0_u8;
    let failing = opcode::Read::new(Fd(-1), &raw mut byte, 1).build().flags(Flags::SKIP_SUCCESS);
    ring.make(1, -libc::EBADF, || failing.clone());
    tally.made("READ", 1, "EBADF");
    tally.of("READ").silent += 1;
}

fn messages(ring: &mut Ring, tally: &mut Tally) {
    let mut target = Ring::new(8);
    let fd = Fd(target.ring.as_raw_fd());
    for _ in 0..3 {
        ring.make(1, 0, || opcode::MsgRingData::new(fd, 5, 99, None).build());
        target.wait(1);
    }
    tally.made("MSG_RING", 3, "");
    tally.of_any(None).posted += 3;
}

/// More completions than fit into the queue while nobody reads them.
fn overflowing(tally: &mut Tally) {
    let ring = IoUring::builder().setup_cqsize(4).build(4).expect("a ring");
    let mut ring = Ring::of(ring);
    for _ in 0..3 {
        for _ in 0..2 {
            ring.push(nop());
        }
        ring.ring.submit().expect("it submits");
    }
    let found = ring.wait(6);
    assert_eq!(found.len(), 6);
    tally.submitted("NOP", 6);
    tally.completed("NOP", 4, "");
    tally.of_any(None).overflowed += 2;
    // Two requests ended, but no completion names them.
    tally.of("NOP").in_flight += 2;
}

/// Starts children that each have a ring, and make different numbers of operations.
pub(super) fn children(params: &Params) -> Statement {
    params.hold();
    let child = |nr: u64| {
        let pid = fork(|| {
            let mut ring = Ring::new(32);
            ring.make(nr, 0, nop);
            let mut polling =
                Ring::of(IoUring::builder().setup_sqpoll(100).build(32).expect("a ring"));
            polling.make(nr, 0, nop);
            true
        });
        reap(pid);
        Operations {
            pid,
            operation: Some("NOP".into()),
            submitted: 2 * nr,
            completed: 2 * nr,
            ..Operations::default()
        }
    };
    Statement {
        operations: (1..=params.number("children")).map(child).collect(),
        ..Statement::default()
    }
}
