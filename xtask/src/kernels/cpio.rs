//! Writes an archive of the format that the kernel unpacks at boot, `newc` of cpio(5).

/// Regular file and directory, as in `st_mode`.
const FILE: u32 = 0o100_000;
const DIRECTORY: u32 = 0o040_000;

/// The name that ends an archive.
const END: &str = "TRAILER!!!";

/// An archive whose entries all belong to root.
#[derive(Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// A directory has to come before what is in it.
    pub(super) fn directory(&mut self, path: &str, permissions: u32) {
        self.entry(path, DIRECTORY | permissions, &[]);
    }

    pub(super) fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, content);
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry(END, 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        let name = path.trim_start_matches('/');
        // Each of its own: entries of one inode would be hard links.
        self.entries += 1;
        let links = 1;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        // inode, mode, uid, gid, links, mtime, size, device and its number twice over,
        // length of the name, and a checksum that this format leaves out.
        let fields = [self.entries, mode, 0, 0, links, 0, size, 0, 0, 0, 0, name_size, 0];
        self.bytes.extend_from_slice(b"070701");
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_a_header_a_name_and_a_content_each_padded() {
        let mut archive = Archive::default();
        archive.file("/bin/a", 0o755, b"hello");
        let bytes = archive.bytes;
        assert_eq!(&bytes[..22], b"07070100000001000081ed");
        assert_eq!(&bytes[54..62], b"00000005", "its size");
        assert_eq!(&bytes[94..102], b"00000006", "its name's, with the zero");
        assert_eq!(&bytes[110..], b"bin/a\0hello\0\0\0");
    }

    #[test]
    fn an_archive_ends_with_its_trailer() {
        let bytes = Archive::default().finish();
        assert!(bytes.windows(END.len()).any(|window| window == END.as_bytes()));
        assert_eq!(bytes.len() % 4, 0);
    }
}
