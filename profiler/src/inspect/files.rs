//! Describes open files by the links in /proc/PID/fd and by /proc/PID/fdinfo, and finds the other
//! ends of pipes and sockets.

use std::{
    collections::{HashMap, HashSet},
    fs,
    os::unix::{ffi::OsStringExt as _, fs::FileTypeExt as _},
    path::{Path, PathBuf},
};

use super::{
    bounded::{self, Patience},
    fdinfo::FdInfo,
    holders::{self, Search},
    process::TIMED_OUT,
    sockets::{self, OtherEnd},
};
use crate::{
    decode,
    model::{FileKind, MOST_FILES, OpenFile, Peer, Unknown},
    text::Untrusted,
};

/// Bytes of a file in fdinfo that are read: an epoll instance has about 80 for each descriptor.
const MOST_INFO: u64 = 1 << 20;

/// The open files of a process.
pub(super) struct Files {
    proc: PathBuf,
    process: PathBuf,
    known: HashMap<i32, Known>,
}

/// What is known of an open file.
#[derive(Clone)]
struct Known {
    link: Vec<u8>,
    info: FdInfo,
    file: OpenFile,
}

impl Files {
    /// The open files of a process.
    pub(super) fn of(proc: &Path, pid: u32) -> Self {
        let process = proc.join(pid.to_string());
        Self { proc: proc.to_owned(), process, known: HashMap::new() }
    }

    /// Describes the open file of a descriptor.
    pub(super) fn get(&mut self, fd: i32, patience: &mut Patience) -> OpenFile {
        self.known(fd, patience).file.clone()
    }

    /// What fdinfo says of a descriptor.
    pub(super) fn info(&mut self, fd: i32, patience: &mut Patience) -> FdInfo {
        self.known(fd, patience).info.clone()
    }

    fn known(&mut self, fd: i32, patience: &mut Patience) -> &Known {
        if !self.known.contains_key(&fd) {
            let (process, proc) = (self.process.clone(), self.proc.clone());
            let found = patience.run(move || describe(&proc, &process, fd)).flatten();
            let unknown = || Known {
                link: Vec::new(),
                info: FdInfo::default(),
                file: OpenFile {
                    fd,
                    kind: FileKind::Unknown,
                    name: Untrusted::default(),
                    detail: Untrusted::default(),
                    peer: None,
                },
            };
            self.known.insert(fd, found.unwrap_or_else(unknown));
        }
        &self.known[&fd]
    }

    /// The name of a descriptor that [`Self::get`] has described, for a decoded call.
    pub(super) fn name(&self, fd: i32) -> Option<Vec<u8>> {
        let name = self.known.get(&fd)?.file.name.raw();
        (!name.is_empty()).then(|| name.as_bytes().to_vec())
    }

    /// Finds what sockets are, and who has the other ends of pipes and sockets. Returns what could
    /// not be found.
    pub(super) fn find_peers(
        &mut self,
        fds: &HashSet<i32>,
        patience: &mut Patience,
    ) -> Vec<Unknown> {
        let mut unknown = Vec::new();
        let wanted: Vec<i32> =
            fds.iter().copied().filter(|fd| self.known.contains_key(fd)).collect();
        let inodes: HashSet<u64> = wanted.iter().filter_map(|fd| self.socket(*fd)).collect();
        let mut others = HashMap::new();
        if !inodes.is_empty() {
            let process = self.process.clone();
            let described =
                patience.run_for(sockets::LIMIT, move || sockets::describe(&process, &inodes));
            if described.is_none() {
                unknown.push(Unknown { what: "the other ends of sockets", why: TIMED_OUT.into() });
            }
            for &fd in &wanted {
                let inode = self.socket(fd);
                let found = described.as_ref().and_then(|all| all.get(&inode?));
                let (Some(found), Some(known)) = (found, self.known.get_mut(&fd)) else { continue };
                known.file.name = found.name.clone().into();
                known.file.detail = found.detail.clone().into();
                others.insert(fd, found.other);
            }
        }
        // The link of the other end of each file.
        let mut links: HashMap<i32, Vec<u8>> = HashMap::new();
        for fd in wanted {
            match (self.known[&fd].file.kind, others.get(&fd)) {
                (FileKind::Pipe, _) => {
                    links.insert(fd, self.known[&fd].link.clone());
                }
                (FileKind::Socket, Some(OtherEnd::Inode(inode))) => {
                    links.insert(fd, format!("socket:[{inode}]").into_bytes());
                }
                (FileKind::Socket, Some(&OtherEnd::None(why))) if !why.is_empty() => {
                    let peer = Peer { is_complete: true, elsewhere: Some(why), ..Peer::default() };
                    if let Some(known) = self.known.get_mut(&fd) {
                        known.file.peer = Some(peer);
                    }
                }
                _ => {}
            }
        }
        if links.is_empty() {
            return unknown;
        }
        let (proc, targets) = (self.proc.clone(), links.values().cloned().collect());
        let limit = holders::LIMIT + bounded::LIMIT;
        let search = patience.run_for(limit, move || holders::search(&proc, &targets));
        let search = search.unwrap_or_else(|| Search { timed_out: true, ..Search::default() });
        if search.timed_out {
            let why = format!("not all processes could be searched within {:?}", holders::LIMIT);
            unknown.push(Unknown { what: "some of the other ends of pipes and sockets", why });
        }
        if search.unreadable > 0 {
            let why = format!(
                "the open files of {} processes could not be read: requires root or CAP_SYS_PTRACE",
                search.unreadable
            );
            unknown.push(Unknown { what: "some of the other ends of pipes and sockets", why });
        }
        for (fd, link) in links {
            let peer = self.peer(fd, &link, &search);
            if let Some(known) = self.known.get_mut(&fd) {
                known.file.peer = Some(peer);
            }
        }
        unknown
    }

    /// The inode of a socket.
    fn socket(&self, fd: i32) -> Option<u64> {
        let link = str::from_utf8(&self.known.get(&fd)?.link).ok()?;
        link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
    }

    fn peer(&self, fd: i32, link: &[u8], search: &Search) -> Peer {
        let known = &self.known[&fd];
        let own: Option<u32> = self.process.file_name().and_then(|pid| pid.to_str()?.parse().ok());
        let is_pipe = known.file.kind == FileKind::Pipe;
        // Who reads waits for those who can write, and the other way round.
        let (reads, writes) = (known.info.reads(), known.info.writes());
        let found = search.by_link.get(link).map_or(&[][..], Vec::as_slice).iter();
        let mut holders: Vec<_> = found
            .filter(|found| {
                let is_same = Some(found.holder.process.pid) == own && found.holder.fd == fd;
                !is_pipe || !is_same && (reads && found.writes || writes && found.reads)
            })
            .map(|found| found.holder.clone())
            .collect();
        holders.sort();
        let count = holders.len();
        holders.truncate(MOST_FILES);
        let is_complete = !search.timed_out && search.unreadable == 0;
        Peer { holders, count, is_complete, elsewhere: None }
    }
}

/// Describes the open file of a descriptor. `None` if it is closed or cannot be read.
fn describe(proc: &Path, process: &Path, fd: i32) -> Option<Known> {
    let path = process.join(format!("fd/{fd}"));
    let link = fs::read_link(&path).ok()?.into_os_string().into_vec();
    let info = bounded::read(&process.join(format!("fdinfo/{fd}")), MOST_INFO).unwrap_or_default();
    let info = FdInfo::parse(&info);
    let kind = match &link[..] {
        link if link.starts_with(b"pipe:[") => FileKind::Pipe,
        link if link.starts_with(b"socket:[") => FileKind::Socket,
        b"anon_inode:[eventpoll]" => FileKind::Epoll,
        b"anon_inode:[eventfd]" => FileKind::Eventfd,
        b"anon_inode:[timerfd]" => FileKind::Timerfd,
        b"anon_inode:[signalfd]" => FileKind::Signalfd,
        b"anon_inode:inotify" | b"anon_inode:[fanotify]" => FileKind::Inotify,
        b"anon_inode:[pidfd]" => FileKind::Pidfd,
        link if link.starts_with(b"pidfd:[") => FileKind::Pidfd,
        link if link.starts_with(b"/") => of_path(&path),
        _ => FileKind::Other,
    };
    let file = OpenFile {
        fd,
        kind,
        name: Untrusted::from_bytes(&link),
        detail: detail(proc, kind, &info).into(),
        peer: None,
    };
    Some(Known { link, info, file })
}

/// The kind of a file that has a path. May wait for the file system.
fn of_path(path: &Path) -> FileKind {
    let Ok(metadata) = fs::metadata(path) else { return FileKind::File };
    let kind = metadata.file_type();
    if kind.is_fifo() {
        FileKind::Pipe
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_char_device() || kind.is_block_device() {
        FileKind::Device
    } else {
        FileKind::File
    }
}

/// The state of an open file, for people.
fn detail(proc: &Path, kind: FileKind, info: &FdInfo) -> String {
    let text = match kind {
        FileKind::Eventfd => info.eventfd_count.map(|count| format!("counter {count}")),
        FileKind::Timerfd => match (info.timer_left_ns, info.timer_interval_ns) {
            (Some(0), _) => Some("not armed".to_owned()),
            (Some(left), Some(0) | None) => Some(format!("expires in {}", seconds(left))),
            (Some(left), Some(interval)) => {
                Some(format!("expires in {}, then every {}", seconds(left), seconds(interval)))
            }
            _ => None,
        },
        FileKind::Signalfd => info.signals.map(|set| signals(set).join(" ")),
        FileKind::Inotify => Some(format!("{} watches", info.watches)),
        FileKind::Epoll => Some(format!("{} descriptors", info.target_count)),
        FileKind::Pidfd => match info.pid {
            Some(-1) => Some("its process has ended".to_owned()),
            Some(pid @ 1..) => u32::try_from(pid).ok().map(|pid| {
                let name = holders::name(&proc.join(pid.to_string()), pid);
                format!("process {pid} ({})", name.comm.raw())
            }),
            _ => None,
        },
        _ => None,
    };
    text.unwrap_or_default()
}

/// Seconds with milliseconds.
fn seconds(ns: u64) -> String {
    format!("{}.{:03} s", ns / 1_000_000_000, ns % 1_000_000_000 / 1_000_000)
}

/// The names of the signals in a set: signal N is bit N - 1.
pub(super) fn signals(set: u64) -> Vec<String> {
    let members = (1..=64).filter(|number| set >> (number - 1) & 1 == 1);
    members.map(|number| decode::signal_name(number).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::os::{fd::AsRawFd as _, unix::net::UnixStream};

    use super::*;

    #[test]
    fn the_other_ends_of_own_files_are_found() {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let (one, other) = UnixStream::pair().expect("a pair");
        let own = std::process::id();
        let (mut files, mut patience) = (Files::of("/proc".as_ref(), own), Patience::default());
        let fds = [reader.as_raw_fd(), one.as_raw_fd()];
        for fd in fds {
            files.get(fd, &mut patience);
        }
        let unknown = files.find_peers(&fds.into(), &mut patience);
        assert!(unknown.iter().all(|unknown| unknown.why.contains("requires root")), "{unknown:?}");
        for (fd, expected) in [(fds[0], writer.as_raw_fd()), (fds[1], other.as_raw_fd())] {
            let file = files.get(fd, &mut patience);
            let peer = file.peer.expect("a peer");
            let found = peer
                .holders
                .iter()
                .any(|holder| (holder.process.pid, holder.fd) == (own, expected));
            assert!(found, "{peer:?}");
            assert!(peer.holders.iter().all(|holder| holder.fd != fd), "{peer:?}");
        }
        let name = files.name(fds[1]).expect("a name");
        assert!(name.starts_with(b"UNIX-STREAM:["), "{name:?}");
        assert_eq!(files.get(-1, &mut patience).kind, FileKind::Unknown);
    }

    #[test]
    fn signals_have_names() {
        assert_eq!(signals(0b100_0000_0000_0010), ["SIGINT", "SIGTERM"]);
        assert_eq!(seconds(1_234_567_890), "1.234 s");
    }
}
