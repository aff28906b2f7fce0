//! Finds the processes that have a pipe or a socket open, by the links in /proc/PID/fd.

use std::{
    collections::{HashMap, HashSet},
    fs,
    io::ErrorKind,
    os::unix::ffi::OsStringExt as _,
    path::Path,
    time::{Duration, Instant},
};

use super::{bounded, fdinfo::FdInfo};
use crate::{
    model::{Holder, ProcessName},
    text::Untrusted,
};

/// How long the search may take.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// Descriptors that are kept of one link.
const MOST_PER_LINK: usize = 1024;

/// A descriptor that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) holder: Holder,
    /// What the descriptor allows.
    pub(super) reads: bool,
    pub(super) writes: bool,
}

/// The result of a search.
#[derive(Clone, Debug, Default)]
pub(super) struct Search {
    /// The descriptors, by link.
    pub(super) by_link: HashMap<Vec<u8>, Vec<Found>>,
    /// Number of processes whose descriptors could not be read.
    pub(super) unreadable: usize,
    /// Whether the time was over before all processes were searched.
    pub(super) timed_out: bool,
}

/// Searches the descriptors of all processes for these links, such as `pipe:[123]`.
pub(super) fn search(proc: &Path, wanted: &HashSet<Vec<u8>>) -> Search {
    let mut search = Search::default();
    let deadline = Instant::now() + LIMIT;
    for process in fs::read_dir(proc).into_iter().flatten().flatten() {
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<u32>().ok())
        else {
            continue;
        };
        if Instant::now() >= deadline {
            search.timed_out = true;
            break;
        }
        let fds = match fs::read_dir(process.path().join("fd")) {
            Ok(fds) => fds,
            Err(error) => {
                search.unreadable += usize::from(error.kind() == ErrorKind::PermissionDenied);
                continue;
            }
        };
        for (at, fd) in fds.flatten().enumerate() {
            // A process can have a million descriptors.
            if at % 256 == 255 && Instant::now() >= deadline {
                search.timed_out = true;
                break;
            }
            let Ok(link) = fs::read_link(fd.path()) else { continue };
            let link = link.into_os_string().into_vec();
            if !wanted.contains(&link) {
                continue;
            }
            let Some(fd) = fd.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let found = search.by_link.entry(link).or_default();
            if found.len() < MOST_PER_LINK {
                found.push(describe(&process.path(), pid, fd));
            }
        }
    }
    search
}

fn describe(process: &Path, pid: u32, fd: i32) -> Found {
    let info = bounded::read(&process.join(format!("fdinfo/{fd}")), 4096).unwrap_or_default();
    let info = FdInfo::parse(&info);
    let process = name(process, pid);
    Found { holder: Holder { process, fd }, reads: info.reads(), writes: info.writes() }
}

/// The name of a process.
pub(super) fn name(process: &Path, pid: u32) -> ProcessName {
    let comm = bounded::read(&process.join("comm"), 64).unwrap_or_default();
    ProcessName { pid, comm: Untrusted::from_bytes(comm.trim_ascii_end()) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn both_ends_of_a_pipe_are_found() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let link = fs::read_link(format!("/proc/self/fd/{}", reader.as_raw_fd())).expect("a link");
        let link = link.into_os_string().into_vec();
        let search = search("/proc".as_ref(), &[link.clone()].into());
        let found = &search.by_link[&link];
        let own = std::process::id();
        let has = |fd: i32, reads, writes| {
            found.iter().any(|found| {
                (found.holder.process.pid, found.holder.fd) == (own, fd)
                    && (found.reads, found.writes) == (reads, writes)
            })
        };
        assert!(has(reader.as_raw_fd(), true, false), "{found:?}");
        assert!(has(writer.as_raw_fd(), false, true), "{found:?}");
        assert!(!search.timed_out);
    }
}
