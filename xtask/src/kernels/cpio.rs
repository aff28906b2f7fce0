//! Writes an archive in the format of an initramfs: `newc` of cpio(5).

use std::io::{self, Write as _};

use cpio::newc::{self, Builder, ModeFileType};

/// An archive in which root owns all entries.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory. A directory must come before its contents.
    pub(super) fn directory(&mut self, path: &str, permissions: u32) -> io::Result<()> {
        self.entry(path, ModeFileType::Directory, permissions, &[])
    }

    /// Adds a file.
    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) -> io::Result<()> {
        self.entry(path, ModeFileType::Regular, permissions, content)
    }

    /// The archive with its trailer.
    pub(super) fn finish(self) -> io::Result<Vec<u8>> {
        newc::trailer(self.bytes)
    }

    fn entry(
        &mut self,
        path: &str,
        file_type: ModeFileType,
        permissions: u32,
        content: &[u8],
    ) -> io::Result<()> {
        // Each entry has a unique inode number. Entries with the same inode number would be hard
        // links.
        self.entries += 1;
        let size = u32::try_from(content.len()).map_err(io::Error::other)?;
        let mut entry = Builder::new(path.trim_start_matches('/'))
            .ino(self.entries)
            .mode(permissions)
            .set_mode_file_type(file_type)
            .nlink(1)
            .write(&mut self.bytes, size);
        entry.write_all(content)?;
        entry.finish().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_a_content_each_padded() {
        let mut archive = Archive::default();
        archive.file("/bin/a", 0o755, b"hello").expect("a vector");
        let bytes = archive.bytes;
        assert_eq!(&bytes[..22], b"07070100000001000081ed");
        assert_eq!(&bytes[54..62], b"00000005", "its size");
        assert_eq!(&bytes[94..102], b"00000006", "its name's, with the zero");
        assert_eq!(&bytes[110..], b"bin/a\0hello\0\0\0");
    }

    #[test]
    fn a_directory_is_one() {
        let mut archive = Archive::default();
        archive.directory("/bin", 0o755).expect("a vector");
        assert_eq!(&archive.bytes[..22], b"07070100000001000041ed");
    }

    #[test]
    fn an_archive_ends_with_its_trailer() {
        const END: &[u8] = b"TRAILER!!!";
        let bytes = Archive::default().finish().expect("a vector");
        assert!(bytes.windows(END.len()).any(|window| window == END));
        assert_eq!(bytes.len() % 4, 0);
    }
}
