//! Parses /proc/locks (proc_locks(5)).

/// A lock of a file, or a request that waits for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileLock {
    /// Number of the lock. A request has the number of the lock for which it waits.
    pub id: u64,
    /// Whether it is a request that waits.
    pub waits: bool,
    /// `FLOCK`, `POSIX`, `OFDLCK` and so on.
    pub kind: String,
    /// The process. `None` for locks of open file descriptions, which belong to no process.
    pub pid: Option<u32>,
    /// Inode of the file.
    pub inode: u64,
}

/// Locks that are parsed at most.
const MOST: usize = 65_536;

/// Parses the text. Lines that are malformed are skipped.
///
/// ```text
/// 1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF
/// 1: -> POSIX  ADVISORY  WRITE 3569 fd:00:2531452 0 EOF
/// ```
pub fn parse(text: &[u8]) -> Vec<FileLock> {
    let lines = text.split(|&byte| byte == b'\n');
    lines.filter_map(|line| parse_line(str::from_utf8(line).ok()?)).take(MOST).collect()
}

fn parse_line(line: &str) -> Option<FileLock> {
    let (id, rest) = line.split_once(':')?;
    let mut words = rest.split_whitespace().peekable();
    let waits = words.next_if_eq(&"->").is_some();
    let kind = words.next()?.to_owned();
    // ADVISORY or MANDATORY, and the mode.
    let pid = words.nth(2)?;
    let inode = words.next()?.rsplit_once(':')?.1.parse().ok()?;
    // The kernel prints -1 for locks without a process, and 0 for those of other pid namespaces.
    let pid = pid.parse().ok().filter(|&pid| pid != 0);
    Some(FileLock { id: id.trim().parse().ok()?, waits, kind, pid, inode })
}

/// The processes that hold the locks for which requests of `pid` wait. `inode` selects the file, if
/// it is known.
pub fn holders(locks: &[FileLock], pid: u32, inode: Option<u64>) -> Vec<u32> {
    let wanted = |lock: &&FileLock| {
        lock.waits && lock.pid == Some(pid) && inode.is_none_or(|inode| inode == lock.inode)
    };
    // The process of a request of an open file description is not printed.
    let mut ids: Vec<u64> = locks.iter().filter(wanted).map(|lock| lock.id).collect();
    if ids.is_empty()
        && let Some(inode) = inode
    {
        let of_file = |lock: &&FileLock| lock.waits && lock.pid.is_none() && lock.inode == inode;
        ids.extend(locks.iter().filter(of_file).map(|lock| lock.id));
    }
    let held = locks.iter().filter(|lock| !lock.waits && ids.contains(&lock.id));
    let mut pids: Vec<u32> = held.filter_map(|lock| lock.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    pids
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TEXT: &[u8] = b"1: POSIX  ADVISORY  WRITE 3568 fd:00:2531452 0 EOF\n\
        2: FLOCK  ADVISORY  WRITE 700 08:01:99 0 EOF\n\
        2: -> FLOCK  ADVISORY  READ 701 08:01:99 0 EOF\n\
        3: OFDLCK ADVISORY  WRITE -1 08:01:5 0 EOF\n\
        4: POSIX  ADVISORY  READ 0 08:01:6 128 128\n";

    #[test]
    fn a_request_leads_to_the_holder() {
        let locks = parse(TEXT);
        assert_eq!(locks.len(), 5);
        assert!(locks[2].waits && !locks[1].waits);
        assert_eq!((locks[0].kind.as_str(), locks[0].inode), ("POSIX", 2_531_452));
        assert_eq!((locks[3].pid, locks[4].pid), (None, None));
        assert_eq!(holders(&locks, 701, Some(99)), [700]);
        assert_eq!(holders(&locks, 701, None), [700]);
        assert!(holders(&locks, 701, Some(98)).is_empty());
        assert!(holders(&locks, 700, None).is_empty());
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..300), pid: u32) {
            let locks = parse(&bytes);
            holders(&locks, pid, None);
        }

        #[test]
        fn words_can_be_anything(words in prop::collection::vec("[0-9a-f:>-]{0,9}", 0..9)) {
            parse(words.join(" ").as_bytes());
        }
    }
}
