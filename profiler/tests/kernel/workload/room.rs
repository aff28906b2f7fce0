//! Processes that fill a small pool of counters in a known order.

use std::{io::Read as _, io::Write as _};

use libc::c_long;

use super::{
    Made, Params, Process, Statement, own_pid, raw,
    raw::CloneArgs,
    reap,
    statement::{add, calls},
};

/// Calls that succeed, and whose numbers are in one page of the profiler's table.
const OF_ONE_PAGE: [(&str, c_long); 9] = [
    ("times", libc::SYS_times),
    ("getuid", libc::SYS_getuid),
    ("getgid", libc::SYS_getgid),
    ("geteuid", libc::SYS_geteuid),
    ("getegid", libc::SYS_getegid),
    ("getppid", libc::SYS_getppid),
    ("getpgrp", libc::SYS_getpgrp),
    ("getpgid", libc::SYS_getpgid),
    ("getsid", libc::SYS_getsid),
];

/// Starts `processes` children, all alive at the end. Each makes each call of [`OF_ONE_PAGE`] once,
/// and no other call before.
///
/// A child first takes a cell for a page, and then alternately one for a slot and one for its
/// latencies. An extent has eight cells, so its last one is for a slot. When no further extent is
/// free, the latencies of that slot find no room. Each child takes three extents, and does not fill
/// the third one. `first` other children, which take one extent each, run first, so that the last
/// free extent is one that a child fills.
pub(super) fn one_of_each(params: &Params) -> Statement {
    let args = CloneArgs::fork();
    let (go, told) = std::io::pipe().expect("a pipe");
    let (done, tell) = std::io::pipe().expect("a pipe");
    let first = params.number("first");
    let count = params.number("processes");
    let children: Vec<_> = (0..first + count)
        .map(|i| {
            let kinds = if i < first { &OF_ONE_PAGE[..1] } else { &OF_ONE_PAGE };
            let pid = raw::clone3(&args, || {
                for &(_, number) in kinds {
                    raw::syscall(number, [0; 1]);
                }
                let heard = (&tell).write_all(&[0]).and_then(|()| (&go).read_exact(&mut [0]));
                raw::end(heard.is_err().into())
            });
            // The children run one after the other.
            (&done).read_exact(&mut [0]).expect("a child");
            u32::try_from(pid).expect("a child")
        })
        .collect();
    (&told).write_all(&vec![0; children.len()]).expect("children");
    children.iter().for_each(|&pid| reap(pid));
    let mut made = calls([(OF_ONE_PAGE[0].0, Made::succeeded(first))]);
    OF_ONE_PAGE.iter().for_each(|(name, _)| add(&mut made, name, &Made::succeeded(count)));
    Statement::of_all(vec![Process::new(own_pid(), made)])
}
