//! Parses `/proc/PID/maps`.

use std::{
    fs::File,
    io::{self, Read as _},
};

/// Bytes of the file, at most.
const MOST_BYTES: u64 = 32 << 20;

/// Executable mappings of a process, at most.
const MOST_MAPPINGS: usize = 16_384;

/// An executable mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mapping {
    /// The first address.
    pub(super) start: u64,
    /// The first address behind it.
    pub(super) end: u64,
    /// The offset of the first address in the file.
    pub(super) offset: u64,
    /// The device of the file, as the line has it.
    pub(super) device: (u32, u32),
    /// The inode of the file; 0 if there is none.
    pub(super) inode: u64,
    /// The path of the file, or what the kernel calls the mapping.
    pub(super) path: Vec<u8>,
}

/// The executable mappings of a process.
pub(super) fn read(pid: u32) -> io::Result<Vec<Mapping>> {
    let mut bytes = Vec::new();
    File::open(format!("/proc/{pid}/maps"))?.take(MOST_BYTES).read_to_end(&mut bytes)?;
    // Without a memory of its own, such as a zombie.
    if bytes.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(parse(&bytes))
}

fn parse(bytes: &[u8]) -> Vec<Mapping> {
    bytes.split(|&byte| byte == b'\n').filter_map(mapping).take(MOST_MAPPINGS).collect()
}

/// Parses a line. `None` if it is malformed or the mapping is not executable.
fn mapping(line: &[u8]) -> Option<Mapping> {
    let mut rest = line;
    let mut field = || {
        let start = rest.iter().position(|&byte| byte != b' ')?;
        let end = rest[start..].iter().position(|&byte| byte == b' ');
        let end = end.map_or(rest.len(), |end| start + end);
        let (field, after) = (&rest[start..end], &rest[end..]);
        rest = after;
        str::from_utf8(field).ok()
    };
    let (start, end) = field()?.split_once('-')?;
    let is_executable = field()?.as_bytes().get(2) == Some(&b'x');
    let offset = field()?;
    let (major, minor) = field()?.split_once(':')?;
    let inode = field()?.parse().ok()?;
    let path = rest.iter().position(|&byte| byte != b' ').map_or(&[][..], |at| &rest[at..]);
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let hex32 = |text: &str| u32::from_str_radix(text, 16).ok();
    let (start, end) = (hex(start)?, hex(end)?);
    let device = (hex32(major)?, hex32(minor)?);
    let offset = hex(offset)?;
    (is_executable && start < end).then(|| Mapping {
        start,
        end,
        offset,
        device,
        inode,
        path: path.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executable_mappings_are_parsed() {
        let text = b"55d0-55d1 r--p 00000000 fd:01 12 /bin/a\n\
            55d1-55e0 r-xp 00001000 fd:01 12                   /bin/a b (deleted)\n\
            7f00-7f01 rwxp 00000000 00:00 0 \n\
            7ffe-7fff r-xp 00000000 00:00 0                          [vdso]\n\
            nonsense\n9-8 r-xp 0 0:0 0\n";
        let found = parse(text);
        let summary: Vec<_> =
            found.iter().map(|m| (m.start, m.offset, m.inode, m.path.as_slice())).collect();
        let expected: [(u64, u64, u64, &[u8]); 3] = [
            (0x55d1, 0x1000, 12, b"/bin/a b (deleted)"),
            (0x7f00, 0, 0, b""),
            (0x7ffe, 0, 0, b"[vdso]"),
        ];
        assert_eq!(summary, expected);
        assert_eq!(found[0].device, (0xfd, 1));
    }

    #[test]
    fn the_own_maps_have_this_function() {
        let here = the_own_maps_have_this_function as fn() as usize as u64;
        let maps = read(std::process::id()).expect("readable");
        assert!(maps.iter().any(|mapping| (mapping.start..mapping.end).contains(&here)));
    }
}
