//! What a thread waits for, in words.

use super::process_name;
use crate::{
    model::{Child, Evidence, FileKind, Futex, FutexOwner, Holder, OpenFile, Peer, Wait},
    present::units,
};

/// Holders of the other end that are printed.
const MOST_HOLDERS: usize = 6;

/// The lines about a wait.
pub(super) fn texts(wait: &Wait) -> Vec<String> {
    match wait {
        Wait::File { file } => vec![format!("on {}", open_file(file))],
        Wait::Files { epoll, files, count } => {
            let mut texts = vec![match epoll {
                Some(epoll) => format!(
                    "waits for one of {} of {}",
                    units::counted(*count as u64, "descriptor"),
                    descriptor(epoll)
                ),
                None => format!("on {}:", units::counted(*count as u64, "descriptor")),
            }];
            texts.extend(files.iter().map(|file| format!("  {}", open_file(file))));
            if *count > files.len() {
                texts.push(format!("  and {} more", units::grouped((count - files.len()) as u64)));
            }
            texts
        }
        Wait::Futex(futex) => futex_texts(futex),
        Wait::FileLock { file, lock, holders } => {
            let of = file.as_ref().map(|file| format!(" of {}", descriptor(file)));
            let held = match &holders[..] {
                [] => ", whose holder is not known".to_owned(),
                all => {
                    let names: Vec<_> = all.iter().map(process_name).collect();
                    format!(", which {} holds", names.join(", "))
                }
            };
            vec![format!("waits for the {lock} lock{}{held}", of.unwrap_or_default())]
        }
        Wait::Children { children, count, is_vfork } => child_texts(children, *count, *is_vfork),
        Wait::Time => vec!["waits for a time".into()],
        Wait::Signal { signals: None } => vec!["waits for any signal".into()],
        Wait::Signal { signals: Some(signals) } => {
            vec![format!("waits for a signal: {}", signals.join(" "))]
        }
        Wait::Continue => vec!["stopped by a signal; SIGCONT continues it".into()],
        Wait::Tracer { tracer: Some(tracer) } => {
            vec![format!("stopped by its tracer, {}", process_name(tracer))]
        }
        Wait::Tracer { tracer: None } => vec!["stopped by its tracer".into()],
        Wait::Parent { parent } => {
            vec![format!("waits for its parent, {}, to read its exit status", process_name(parent))]
        }
    }
}

/// Who can end the wait, for the verdict. `None` if nobody is known.
pub(super) fn culprit(wait: &Wait) -> Option<String> {
    match wait {
        Wait::File { file } => culprit_of_file(file),
        Wait::Files { files, count: 1, .. } => files.first().and_then(culprit_of_file),
        Wait::Futex(Futex { owner: Some(owner), .. }) => Some(match owner.evidence {
            Evidence::Join => format!("It waits for the end of {}.", owner_name(owner)),
            Evidence::Futex => format!("The lock is held by {}{}.", owner_name(owner), does(owner)),
            Evidence::LikeMutex => {
                format!("The lock is probably held by {}{}.", owner_name(owner), does(owner))
            }
        }),
        Wait::FileLock { holders, .. } if !holders.is_empty() => {
            let names: Vec<_> = holders.iter().map(process_name).collect();
            Some(format!("The lock is held by process {}.", names.join(", ")))
        }
        Wait::Children { children, count, .. } => match (&children[..], count) {
            ([child], 1) => Some(format!("It waits for its child {}.", child_name(child))),
            ([], _) => None,
            (_, count) => Some(format!("It waits for one of {count} children.")),
        },
        _ => None,
    }
}

fn culprit_of_file(file: &OpenFile) -> Option<String> {
    let peer = file.peer.as_ref()?;
    let kind = if file.kind == FileKind::Pipe { "pipe" } else { "socket" };
    match (&peer.holders[..], peer.elsewhere) {
        (_, Some(why)) => Some(format!("The other end of the {kind} is {why}.")),
        ([], None) if peer.is_complete => {
            Some(format!("No process has the other end of the {kind} open."))
        }
        ([], None) => None,
        ([one], None) => {
            let name = process_name(&one.process);
            Some(format!("Process {name} has the other end of the {kind}."))
        }
        (several, None) => {
            let mut names: Vec<_> = several.iter().map(|h| process_name(&h.process)).collect();
            names.dedup();
            names.truncate(MOST_HOLDERS);
            let noun = if names.len() == 1 { "Process" } else { "Processes" };
            let verb = if names.len() == 1 { "has" } else { "have" };
            Some(format!("{noun} {} {verb} the other end of the {kind}.", names.join(", ")))
        }
    }
}

/// `5</var/lib/x>`.
fn descriptor(file: &OpenFile) -> String {
    match file.name.raw() {
        "" => file.fd.to_string(),
        _ => format!("{}<{}>", file.fd, file.name),
    }
}

/// The descriptor, its state and its other end.
fn open_file(file: &OpenFile) -> String {
    let mut text = format!("{} {}", kind(file.kind), descriptor(file));
    if !file.detail.raw().is_empty() {
        text += &format!(", {}", file.detail);
    }
    if let Some(peer) = &file.peer {
        text += &format!("; {}", peer_text(peer));
    }
    text
}

fn kind(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Device => "device",
        FileKind::Pipe => "pipe",
        FileKind::Socket => "socket",
        FileKind::Epoll => "epoll",
        FileKind::Eventfd => "eventfd",
        FileKind::Timerfd => "timerfd",
        FileKind::Signalfd => "signalfd",
        FileKind::Inotify => "inotify",
        FileKind::Pidfd => "pidfd",
        FileKind::Other => "open file",
        FileKind::Unknown => "descriptor",
    }
}

fn peer_text(peer: &Peer) -> String {
    let Peer { holders, count, is_complete, elsewhere } = peer;
    if let Some(elsewhere) = elsewhere {
        return format!("the other end is {elsewhere}");
    }
    let unless = if *is_complete { "" } else { " (not all processes could be searched)" };
    if holders.is_empty() {
        return format!("no process was found that has the other end open{unless}");
    }
    let name =
        |holder: &Holder| format!("{} as descriptor {}", process_name(&holder.process), holder.fd);
    let mut names: Vec<_> = holders.iter().take(MOST_HOLDERS).map(name).collect();
    if *count > names.len() {
        names.push(format!("{} more", count - names.len()));
    }
    format!("the other end: {}{unless}", names.join(", "))
}

fn futex_texts(futex: &Futex) -> Vec<String> {
    let Futex { address, value, expected, is_private, owner } = futex;
    let scope = if *is_private { "private" } else { "shared" };
    let value = match (value, expected) {
        (Some(value), Some(expected)) if value != expected => {
            format!("value {value}, which was {expected} when it began to wait")
        }
        (Some(value), _) => format!("value {value}"),
        (None, _) => "a value that could not be read".to_owned(),
    };
    let mut texts = vec![format!("waits for the {scope} futex at {address:#x}, with {value}")];
    if let Some(owner) = owner {
        let name = owner_name(owner);
        texts.push(match owner.evidence {
            Evidence::Join => format!("waits for the end of {name}{}", does(owner)),
            Evidence::Futex => format!("the lock is held by {name}{}", does(owner)),
            Evidence::LikeMutex => format!(
                "the lock is probably held by {name}{}: the memory looks like a mutex of glibc",
                does(owner)
            ),
        });
    }
    texts
}

fn owner_name(owner: &FutexOwner) -> String {
    match owner.comm.raw() {
        "" => format!("thread {} of another process", owner.tid),
        _ => format!("thread {} ({})", owner.tid, owner.comm),
    }
}

/// What the owner of a lock does.
fn does(owner: &FutexOwner) -> String {
    match &owner.doing {
        Some(doing) if doing.raw().ends_with(')') => format!(", which is in {doing}"),
        Some(doing) if doing.raw().contains(' ') => format!(", which {doing}"),
        Some(doing) => format!(", which is {doing}").replace("is runs", "runs"),
        None => String::new(),
    }
}

fn child_texts(children: &[Child], count: usize, is_vfork: bool) -> Vec<String> {
    let what = if is_vfork {
        "waits until its child has executed a program or ended"
    } else {
        "waits for a child"
    };
    let mut names: Vec<_> = children.iter().map(child_name).collect();
    if count > names.len() {
        names.push(format!("{} more", count - names.len()));
    }
    vec![match names.is_empty() {
        true => format!("{what}; no child was found"),
        false => format!("{what}: {}", names.join(", ")),
    }]
}

fn child_name(child: &Child) -> String {
    format!("{}, {}", process_name(&child.process), child.state.title())
}
