//! Reads facts about a BPF map or program from `/proc/self/fdinfo` (bpf_map_show_fdinfo and
//! bpf_prog_show_fdinfo, kernel/bpf/syscall.c).

use std::{
    fs::File,
    os::{fd::RawFd, unix::fs::FileExt as _},
};

/// An open `/proc/self/fdinfo` file.
///
/// It is opened once. Before Linux 5.14, only root may open such a file of a process that is not
/// dumpable, and the daemon becomes not dumpable (`proc_fdinfo_inode_operations`, fs/proc/fd.c).
pub(super) struct FdInfo(Option<File>);

impl FdInfo {
    /// Opens the file of a descriptor. If that fails, [`Self::read`] returns `None`.
    pub(super) fn open(fd: RawFd) -> Self {
        Self(File::open(format!("/proc/self/fdinfo/{fd}")).ok())
    }

    /// Reads the current text.
    pub(super) fn read(&self) -> Option<String> {
        // Large enough to read the text at once, because every drain reads it.
        let mut text = vec![0; 2048];
        let mut length = 0;
        // A read at offset 0 makes the kernel generate the text again (seq_read_iter,
        // fs/seq_file.c).
        while let read @ 1.. = self.0.as_ref()?.read_at(&mut text[length..], length as u64).ok()? {
            length += read;
        }
        text.truncate(length);
        String::from_utf8(text).ok()
    }

    /// Reads the number behind `key:`.
    pub(super) fn read_number(&self, key: &str) -> Option<u64> {
        number(&self.read()?, key)
    }
}

/// The number behind `key:` in a text that [`FdInfo::read`] returned.
pub(super) fn number(text: &str, key: &str) -> Option<u64> {
    let (_, value) = text.lines().filter_map(|l| l.split_once(':')).find(|(k, _)| *k == key)?;
    value.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_whole_key() {
        let text = "run_time_ns:\t12\nrun_cnt:\t3\nname:\tx\n";
        assert_eq!(number(text, "run_cnt"), Some(3));
        assert_eq!(number(text, "run"), None);
        assert_eq!(number(text, "name"), None);
    }
}
