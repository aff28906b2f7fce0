//! Reads the names of functions that a process generated, from its `/tmp/perf-PID.map`.
//!
//! The process writes the file, so the file must belong to the user of the process or to root.

use std::{
    ffi::CString,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsRawFd as _, FromRawFd as _, OwnedFd},
        unix::fs::MetadataExt as _,
    },
};

/// Bytes of the file that are read, at most.
const MOST_BYTES: u64 = 256 << 20;

/// The names at these addresses, which ascend. `root` is the root directory of the process, `pid` its
/// id in its own namespace, and `user` its user.
pub(super) fn functions(
    root: &OwnedFd,
    pid: u32,
    user: u32,
    addresses: &[u64],
) -> Option<Vec<Option<Vec<u8>>>> {
    let file = open(root, pid).ok()?;
    let metadata = file.metadata().ok()?;
    let is_trusted = metadata.uid() == user || metadata.uid() == 0;
    if !metadata.is_file() || !is_trusted {
        return None;
    }
    let mut text = Vec::new();
    file.take(MOST_BYTES).read_to_end(&mut text).ok()?;
    Some(search(&text, addresses))
}

/// Opens the file below the root of the process. A symbolic link at its place is not followed.
fn open(root: &OwnedFd, pid: u32) -> io::Result<File> {
    let name = CString::new(format!("tmp/perf-{pid}.map"))?;
    let flags =
        libc::O_RDONLY | libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: an open descriptor and a string that ends with NUL.
    match unsafe { libc::openat(root.as_raw_fd(), name.as_ptr(), flags) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: a new descriptor that nobody else owns.
        fd => Ok(unsafe { File::from_raw_fd(fd) }),
    }
}

/// The names at these addresses, which ascend. If several lines have an address, the last one
/// applies: the process has used the memory again.
fn search(text: &[u8], addresses: &[u64]) -> Vec<Option<Vec<u8>>> {
    let mut names: Vec<Option<&[u8]>> = vec![None; addresses.len()];
    for line in text.split(|&byte| byte == b'\n') {
        let Some((start, size, name)) = entry(line) else { continue };
        let first = addresses.partition_point(|&address| address < start);
        let within = addresses[first..].iter().take_while(|&&address| address - start < size);
        let count = within.count();
        names[first..first + count].fill(Some(name));
    }
    names.into_iter().map(|name| name.map(<[u8]>::to_vec)).collect()
}

/// Parses a line: start and size as hexadecimal numbers, and a name.
fn entry(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let hex = |bytes: &[u8]| {
        let text = str::from_utf8(bytes).ok()?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    let mut fields = line.splitn(3, |&byte| byte == b' ');
    let (start, size) = (hex(fields.next()?)?, hex(fields.next()?)?);
    Some((start, size, fields.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_name_of_an_address_applies() {
        let text = b"1000 100 first\n0x1080 10 second one\nnonsense\n2000 0 empty\n3000 8 x";
        let names = search(text, &[0xfff, 0x1000, 0x1085, 0x1100, 0x2000, 0x3007]);
        let names: Vec<_> = names.iter().map(|name| name.as_deref()).collect();
        let expected: [Option<&[u8]>; 6] =
            [None, Some(b"first"), Some(b"second one"), None, None, Some(b"x")];
        assert_eq!(names, expected);
    }
}
