//! Processes that use up the room of a small pool in a known order.

use std::{io::Read as _, io::Write as _};

use libc::c_long;

use super::{
    Made, Params, Process, Statement, own_pid, raw,
    raw::CloneArgs,
    reap,
    statement::{add, calls},
};

/// Calls that succeed, and whose numbers share a page of the profiler's table.
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

/// `processes` children, all alive at the end, of which each makes each of
/// [`OF_ONE_PAGE`] once, before any other call. So each takes a cell for a page and then
/// by turns one for a slot and one for its latencies: of eight cells, an extent, the last
/// is one for a slot, and when no further extent is there its latencies find no room. But
/// a child takes three, and the last of them is not filled so: `first` other children,
/// which take one each, have another one be the last that there is.
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
            // One after another.
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
