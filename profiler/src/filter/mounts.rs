//! The mounts of this mount namespace, as `/proc/self/mountinfo` lists them.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _, path::PathBuf};

/// The file that [`mounts`] parses.
pub(crate) const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A mount.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mount<'a> {
    root: &'a [u8],
    point: &'a [u8],
    /// The type of the file system.
    pub(crate) kind: &'a [u8],
    options: &'a [u8],
}

impl Mount<'_> {
    /// The directory of the file system that is mounted.
    pub(crate) fn root(&self) -> PathBuf {
        unescaped(self.root)
    }

    /// Where it is mounted.
    pub(crate) fn point(&self) -> PathBuf {
        unescaped(self.point)
    }

    /// Whether the file system has an option with this name.
    pub(crate) fn has_option(&self, name: &[u8]) -> bool {
        self.options.split(|&byte| byte == b',').any(|option| option == name)
    }
}

/// Parses the text of [`MOUNTINFO`]: `36 35 98:0 /root /mount/point options - type source options`
/// (show_mountinfo, fs/proc_namespace.c). Skips lines of any other form.
pub(crate) fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    text.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ').skip(3);
        let (root, point) = (fields.next()?, fields.next()?);
        let mut fields = fields.skip_while(|&field| field != b"-").skip(1);
        let (kind, options) = (fields.next()?, fields.nth(1)?);
        Some(Mount { root, point, kind, options })
    })
}

/// A path of mountinfo, in which blanks and backslashes are `\` and three octal digits
/// (mangle_path, fs/seq_file.c).
fn unescaped(text: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let [first, tail @ ..] = rest {
        let octal = tail.get(..3).and_then(|digits| std::str::from_utf8(digits).ok());
        match octal.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) if *first == b'\\' => {
                bytes.push(byte);
                rest = &tail[3..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    PathBuf::from(OsString::from_vec(bytes))
}
