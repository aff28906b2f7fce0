//! Rings whose completions are polled for (`IORING_SETUP_IOPOLL`).
//!
//! The block device decides whether a read or write of a file can be polled for. If it has no queue
//! for polling, the kernel refuses the block request with `EOPNOTSUPP` (`submit_bio_noacct`,
//! block/blk-core.c), unless the file system made the request without polling, as ext4 does for a
//! write that extends the file. A file system without `iopoll`, such as tmpfs, refuses the
//! operation with the same errno (`io_rw_init_file`, io_uring/rw.c). Therefore the workload counts
//! the completions that it finds in its queue.

use std::{
    fs::{File, OpenOptions},
    os::{fd::AsRawFd as _, unix::fs::OpenOptionsExt as _},
    path::Path,
};

use io_uring::{IoUring, opcode, squeue, types::Fd};

use super::{
    Params, Statement,
    rings::{Ring, Tally},
};

/// The size of a block, and its alignment in memory.
const LENGTH: usize = 4096;

#[repr(align(4096))]
struct Block([u8; LENGTH]);

pub(super) fn run(params: &Params) -> Statement {
    let count = params.number("count").max(1);
    let mut tally = Tally::new(true);
    let files = [std::env::temp_dir().as_path(), Path::new("/dev/shm")].map(direct);
    for file in files.into_iter().flatten() {
        let simple = IoUring::builder().setup_iopoll().build(16).expect("a ring");
        let by_thread = IoUring::builder().setup_iopoll().setup_sqpoll(100).build(16);
        for ring in [simple, by_thread.expect("a ring")] {
            polls(&mut Ring::of(ring), &mut tally, &file, count);
        }
    }
    tally.into_statement()
}

/// A file that is read and written without the page cache, if the file system supports that.
fn direct(directory: &Path) -> Option<File> {
    let file = tempfile::NamedTempFile::new_in(directory).ok()?;
    let mut options = OpenOptions::new();
    options.read(true).write(true).custom_flags(libc::O_DIRECT).open(file.path()).ok()
}

fn polls(ring: &mut Ring, tally: &mut Tally, file: &File, count: u64) {
    let mut block = Box::new(Block([7; LENGTH]));
    let fd = Fd(file.as_raw_fd());
    let address = block.0.as_mut_ptr();
    let length = LENGTH as u32;
    for at in 0..count {
        let offset = at * LENGTH as u64;
        let write = opcode::Write::new(fd, address, length).offset(offset).build();
        polled(ring, tally, "WRITE", write);
        let read = opcode::Read::new(fd, address, length).offset(offset).build();
        polled(ring, tally, "READ", read);
    }
    // Requests that are refused at submission: a bad descriptor, and an operation that cannot be
    // polled for.
    polled(ring, tally, "READ", opcode::Read::new(Fd(-1), address, length).build());
    polled(ring, tally, "FSYNC", opcode::Fsync::new(fd).build());
}

/// Makes an operation, and counts its completion.
fn polled(ring: &mut Ring, tally: &mut Tally, operation: &'static str, entry: squeue::Entry) {
    ring.push(entry);
    let errno = match ring.wait_for_entries(1)[0].result() {
        0.. => "",
        result => match -result {
            libc::EBADF => "EBADF",
            libc::EINVAL => "EINVAL",
            libc::EOPNOTSUPP => "EOPNOTSUPP",
            other => panic!("{operation}: {}", std::io::Error::from_raw_os_error(other)),
        },
    };
    tally.made(operation, 1, errno);
}
