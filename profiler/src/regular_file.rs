//! Reads a regular file of bounded size, and refuses everything else.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

/// The maximum size of a file, bytes.
const MAX_BYTES: u64 = 1 << 20;

/// Reads a regular file of at most [`MAX_BYTES`]. A FIFO could block forever, and a device could be
/// endless.
///
/// # Errors
/// If the file cannot be read, is not a regular file, is too large or is not UTF-8.
pub(crate) fn read(path: &Path) -> io::Result<String> {
    let file = open(path)?;
    let too_large = || invalid(format!("it is larger than {} MiB", MAX_BYTES >> 20));
    if file.metadata()?.len() > MAX_BYTES {
        return Err(too_large());
    }
    let mut text = String::new();
    // The file may grow, and files in /proc have a size of 0.
    file.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_BYTES { Err(too_large()) } else { Ok(text) }
}

/// Opens a regular file for reading, of any size.
///
/// # Errors
/// If the file cannot be opened, or is not a regular file.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    // Do not wait for the writer of a FIFO, and do not acquire a controlling terminal.
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    // Check the open file, because the path may name another file by now.
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(invalid("it is not a regular file".into())),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Instant};

    use super::*;

    #[test]
    fn only_regular_files_of_bounded_size_are_read() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let fault = |path: &Path| read(path).expect_err("refused").to_string();
        let started = Instant::now();

        fs::write(path("good"), "x = 1\n").expect("written");
        assert_eq!(read(&path("good")).expect("read"), "x = 1\n");

        let mode = nix::sys::stat::Mode::S_IRWXU;
        nix::unistd::mkfifo(&path("fifo"), mode).expect("a FIFO");
        assert_eq!(fault(&path("fifo")), "it is not a regular file");
        assert_eq!(fault(Path::new("/dev/zero")), "it is not a regular file");
        assert_eq!(fault(directory.path()), "it is not a regular file");
        std::os::unix::fs::symlink("/dev/zero", path("link")).expect("a link");
        assert_eq!(fault(&path("link")), "it is not a regular file");

        let most = MAX_BYTES as usize;
        fs::write(path("most"), vec![b'#'; most]).expect("written");
        assert_eq!(read(&path("most")).expect("read").len(), most);
        fs::write(path("more"), vec![b'#'; most + 1]).expect("written");
        assert_eq!(fault(&path("more")), "it is larger than 1 MiB");
        // A sparse file is large, but takes no space on the disk.
        let sparse = fs::File::create(path("sparse")).expect("a file");
        sparse.set_len(1 << 40).expect("a hole");
        assert_eq!(fault(&path("sparse")), "it is larger than 1 MiB");

        fs::write(path("bytes"), [0xff]).expect("written");
        assert!(fault(&path("bytes")).contains("UTF-8"));
        assert!(started.elapsed().as_secs() < 5, "something was waited for");
    }
}
