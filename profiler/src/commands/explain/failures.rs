//! Counts failed calls by syscall, errno and path.

use std::collections::HashMap;

use profiler_common::call::CallKey;

use crate::{
    decode::{self, Decoded, Style, Value},
    model::{Call, FailedCalls, FailureLine},
    names::{classes, errnos, syscalls},
    text::Untrusted,
};

/// Different failures that are counted separately.
const MOST_KEPT: usize = 10_000;

/// FailedCalls that are listed.
const MOST_LISTED: usize = 50;

/// Bytes of a path that are kept.
pub(super) const PATH_BYTES: u32 = 1024;

/// The failed calls so far.
#[derive(Debug, Default)]
pub(super) struct Counter {
    counts: HashMap<(CallKey, u16, Untrusted), u64>,
    seen: u64,
    others: u64,
}

impl Counter {
    /// Adds a call, if it failed.
    pub(super) fn add(&mut self, call: &Call) {
        let result = call.left.map_or(0, |left| left.result);
        // Codes from 512 on say that the kernel restarts the call, which is no failure.
        let Some(errno) = u16::try_from(-result).ok().filter(|errno| (1..512).contains(errno))
        else {
            return;
        };
        self.seen += 1;
        let key = (call.key, errno, path_of(call));
        let has_room = self.counts.len() < MOST_KEPT;
        match self.counts.get_mut(&key) {
            Some(count) => *count += 1,
            None if has_room => {
                self.counts.insert(key, 1);
            }
            None => self.others += 1,
        }
    }

    /// The most frequent failures.
    pub(super) fn finish(self, dropped: u64) -> FailedCalls {
        let Self { counts, seen, mut others } = self;
        let mut rows: Vec<_> = counts.into_iter().collect();
        rows.sort_by(|(a_key, a), (b_key, b)| {
            b.cmp(a).then_with(|| {
                (a_key.0.overflow_index(), &a_key.1, &a_key.2).cmp(&(
                    b_key.0.overflow_index(),
                    &b_key.1,
                    &b_key.2,
                ))
            })
        });
        let rest = rows.split_off(rows.len().min(MOST_LISTED));
        others += rest.iter().map(|(_, count)| count).sum::<u64>();
        let row = |((key, errno, path), count)| FailureLine {
            syscall: syscalls::name_with_abi(key),
            errno: errnos::name(errno).into_owned(),
            path,
            count,
        };
        FailedCalls { seen, dropped, rows: rows.into_iter().map(row).collect(), others }
    }
}

/// The path of a call; the address of connect(2) or bind(2); or the open file of its descriptor.
/// Empty if the call has none of these, or if the memory could not be read.
fn path_of(call: &Call) -> Untrusted {
    let style = Style { string_limit: PATH_BYTES as usize, with_files: true, ..Style::default() };
    let decoded = decode::decode(call, &style);
    let takes_path = classes::classes(call.key).names().any(|name| name == "file");
    match (takes_path, &*decoded.name) {
        (true, _) => path(&decoded),
        (false, "connect" | "bind") => {
            let address = decoded.arguments.get(1).map(|argument| argument.value.to_string());
            address.unwrap_or_default().into()
        }
        _ => file(&decoded).map(Untrusted::from_bytes).unwrap_or_default(),
    }
}

/// The path, after the directory to which it is relative.
fn path(decoded: &Decoded) -> Untrusted {
    let text = decoded.arguments.iter().find_map(|argument| match &argument.value {
        Value::Text { bytes, .. } => Some(bytes),
        _ => None,
    });
    let Some(text) = text else { return Untrusted::default() };
    let directory = file(decoded).filter(|_| !text.starts_with(b"/"));
    match directory {
        Some(directory) => Untrusted::from_bytes(&[directory, b"/", text].concat()),
        None => Untrusted::from_bytes(text),
    }
}

/// The first open file.
fn file(decoded: &Decoded) -> Option<&[u8]> {
    decoded.arguments.iter().find_map(|argument| match &argument.value {
        Value::File { name: Some(name), .. } => Some(&name[..]),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use profiler_common::call::Abi;

    use super::*;
    use crate::model::{Copied, Left, Part};

    fn open(path: &str, result: i64) -> Call {
        let path = Copied::Bytes(path.as_bytes().to_vec());
        Call {
            key: CallKey::of(Abi::X86_64, 2),
            args: [0x1000, 0, 0, 0, 0, 0],
            entry_ns: Some(1),
            left: Some(Left { exit_ns: 2, result }),
            thread_ended_ns: None,
            is_denied: false,
            is_cut: false,
            parts: vec![Part { capture: 0, index: 0, copied: path, wanted: 2 }],
        }
    }

    #[test]
    fn failures_are_counted_by_path() {
        let mut counter = Counter::default();
        for (path, result, count) in
            [("/a", -2, 3), ("/b", -2, 5), ("/a", -13, 1), ("/a", 7, 9), ("/c", -512, 9)]
        {
            (0..count).for_each(|_| counter.add(&open(path, result)));
        }
        let failures = counter.finish(4);
        assert_eq!((failures.seen, failures.dropped, failures.others), (9, 4, 0));
        let rows: Vec<_> =
            failures.rows.iter().map(|r| (&*r.errno, r.path.raw(), r.count)).collect();
        assert_eq!(rows, [("ENOENT", "/b", 5), ("ENOENT", "/a", 3), ("EACCES", "/a", 1)]);
        assert_eq!(failures.rows[0].syscall, "open");
    }

    #[test]
    fn the_number_of_paths_is_bounded() {
        let mut counter = Counter::default();
        for at in 0..MOST_KEPT + 7 {
            counter.add(&open(&format!("/{at}"), -2));
        }
        let failures = counter.finish(0);
        assert_eq!((failures.rows.len(), failures.seen), (MOST_LISTED, MOST_KEPT as u64 + 7));
        assert_eq!(failures.others, failures.seen - MOST_LISTED as u64);
    }
}
