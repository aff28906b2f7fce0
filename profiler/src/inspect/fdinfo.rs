//! Parses /proc/PID/fdinfo/FD (proc_pid_fdinfo(5)).

/// What /proc/PID/fdinfo says of an open file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FdInfo {
    /// Flags of open(2).
    pub flags: Option<u32>,
    /// Inode (Linux 5.14).
    pub inode: Option<u64>,
    /// The counter of an eventfd.
    pub eventfd_count: Option<u64>,
    /// Time until a timerfd expires, nanoseconds; 0 if it is not armed.
    pub timer_left_ns: Option<u64>,
    /// Interval of a timerfd, nanoseconds.
    pub timer_interval_ns: Option<u64>,
    /// The signals of a signalfd: signal N is bit N - 1.
    pub signals: Option<u64>,
    /// Number of watches of inotify.
    pub watches: usize,
    /// The first descriptors that are registered with an epoll instance: at most [`MOST_TARGETS`].
    pub targets: Vec<i32>,
    /// Number of descriptors that are registered with an epoll instance.
    pub target_count: usize,
    /// The process of a pidfd. -1 if it has ended, 0 if it is in another pid namespace.
    pub pid: Option<i64>,
}

/// Registered descriptors that are kept.
const MOST_TARGETS: usize = 4096;

impl FdInfo {
    /// Parses the text. Lines that are malformed or unknown are skipped.
    pub fn parse(text: &[u8]) -> Self {
        let mut info = Self::default();
        for line in text.split(|&byte| byte == b'\n') {
            let Ok(line) = str::from_utf8(line) else { continue };
            if line.starts_with("inotify wd:") || line.starts_with("fanotify ino:") {
                info.watches += 1;
                continue;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name {
                "flags" => info.flags = u32::from_str_radix(value, 8).ok(),
                "ino" => info.inode = value.parse().ok(),
                // The kernel prints it with `%16llx` (fs/eventfd.c).
                "eventfd-count" => info.eventfd_count = u64::from_str_radix(value, 16).ok(),
                "it_value" => info.timer_left_ns = time(value),
                "it_interval" => info.timer_interval_ns = time(value),
                "sigmask" => info.signals = u64::from_str_radix(value, 16).ok(),
                "Pid" => info.pid = value.parse().ok(),
                "tfd" => {
                    info.target_count += 1;
                    let fd = value.split_whitespace().next().and_then(|fd| fd.parse::<i32>().ok());
                    if info.targets.len() < MOST_TARGETS {
                        info.targets.extend(fd);
                    }
                }
                _ => {}
            }
        }
        info
    }

    /// Whether the file is open for reading.
    pub fn reads(&self) -> bool {
        self.flags.is_none_or(|flags| flags & 3 != 1)
    }

    /// Whether the file is open for writing.
    pub fn writes(&self) -> bool {
        self.flags.is_none_or(|flags| flags & 3 != 0)
    }
}

/// Parses a time such as `(1, 500000000)`, seconds and nanoseconds.
fn time(text: &str) -> Option<u64> {
    let (seconds, nanoseconds) = text.strip_prefix('(')?.strip_suffix(')')?.split_once(',')?;
    let seconds: u64 = seconds.trim().parse().ok()?;
    seconds.checked_mul(1_000_000_000)?.checked_add(nanoseconds.trim().parse().ok()?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_kind_of_file_has_its_fields() {
        let parse = |text: &str| FdInfo::parse(text.as_bytes());
        let info = parse("pos:\t0\nflags:\t0100001\nmnt_id:\t15\nino:\t42\n");
        assert_eq!((info.flags, info.inode), (Some(0o100_001), Some(42)));
        assert!(info.writes() && !info.reads());
        assert!(parse("flags:\t02\n").reads() && parse("flags:\t02\n").writes());
        assert_eq!(parse("eventfd-count:               1f\n").eventfd_count, Some(31));
        let timer = parse("clockid: 0\nticks: 0\nit_value: (1, 500)\nit_interval: (0, 7)\n");
        assert_eq!(timer.timer_left_ns, Some(1_000_000_500));
        assert_eq!(timer.timer_interval_ns, Some(7));
        assert_eq!(parse("sigmask:\t0000000000000006\n").signals, Some(6));
        assert_eq!(parse("inotify wd:2 ino:1\ninotify wd:1 ino:1\n").watches, 2);
        let epoll = parse("tfd:        5 events:       19 data:   5\ntfd: 9 events: 1\n");
        assert_eq!((epoll.targets, epoll.target_count), (vec![5, 9], 2));
        assert_eq!(parse("Pid:\t77\nNSpid:\t77\n").pid, Some(77));
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            FdInfo::parse(&bytes);
        }

        #[test]
        fn values_can_be_anything(name in "flags|ino|eventfd-count|it_value|sigmask|Pid|tfd", value in ".*") {
            FdInfo::parse(format!("{name}:\t{value}\n").as_bytes());
        }
    }
}
