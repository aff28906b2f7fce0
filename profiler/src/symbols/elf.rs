//! Reads ELF files: where code is, how to unwind it, and the names of functions.

use std::{
    cell::{Cell, OnceCell},
    collections::HashMap,
    fmt::Write as _,
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    rc::Rc,
    sync::Arc,
};

use framehop::{ExplicitModuleSectionInfo, Module};
use object::{Object as _, ObjectSection as _, ObjectSegment as _, ObjectSymbol as _, ReadCache};

use super::maps::Mapping;
use crate::{regular_file, text::Untrusted};

/// The largest file that is read, bytes.
const MOST_BYTES: u64 = 4 << 30;

/// Bytes that are read of a file each time, at most.
const MOST_READ: u64 = 512 << 20;

/// Bytes of unwind information of a file, at most.
const MOST_UNWIND: u64 = 64 << 20;

/// Files that stay open, at most.
const MOST_FILES: usize = 512;

/// Bytes of a build id, at most.
const MOST_BUILD_ID: usize = 64;

/// Sections of unwind information of all files, bytes, at most.
const MOST_UNWIND_OF_ALL: u64 = 1 << 30;

/// A loaded segment of a file.
#[derive(Clone, Copy, Debug)]
struct Segment {
    offset: u64,
    size: u64,
    address: u64,
}

/// An ELF file that a process maps.
pub(super) struct Binary {
    /// The path, as the process has it.
    pub(super) name: Untrusted,
    file: File,
    segments: Vec<Segment>,
    build_id: Option<String>,
    /// The unwind information, once a stack is unwound.
    unwind: OnceCell<Option<Unwind>>,
    is_unreadable: Cell<bool>,
}

/// The unwind information of a file.
#[derive(Clone)]
struct Unwind {
    eh_frame: Section,
    eh_frame_hdr: Option<Section>,
    text: Option<std::ops::Range<u64>>,
    got: Option<std::ops::Range<u64>>,
}

/// A section: its address, as the file states it, and its bytes.
#[derive(Clone)]
struct Section {
    address: u64,
    bytes: Arc<[u8]>,
}

impl Section {
    fn range(&self) -> std::ops::Range<u64> {
        self.address..self.address.saturating_add(self.bytes.len() as u64)
    }
}

/// A file of which a bounded number of bytes can be read.
struct Bounded<'a> {
    file: &'a File,
    left: u64,
}

impl Read for Bounded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.file.read(buffer)?;
        let exceeded = || io::Error::other("more bytes than are read of a file");
        self.left = self.left.checked_sub(read as u64).ok_or_else(exceeded)?;
        Ok(read)
    }
}

impl Seek for Bounded<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

/// A file: the major and minor number of its device, and its inode.
type FileId = ((u32, u32), u64);

/// The files that processes map.
#[derive(Default)]
pub(super) struct Binaries {
    known: HashMap<FileId, Option<Rc<Binary>>>,
    unwind_bytes: u64,
}

impl Binaries {
    /// The file of a mapping of process `pid`. `None` if it cannot be read.
    pub(super) fn get(&mut self, pid: u32, mapping: &Mapping) -> Option<Rc<Binary>> {
        if let Some(known) = self.known.get(&(mapping.device, mapping.inode)) {
            return known.clone();
        }
        if self.known.len() >= MOST_FILES {
            return None;
        }
        let opened = open(pid, mapping).and_then(|file| Binary::new(file, &mapping.path));
        let binary = opened.ok().map(Rc::new);
        self.known.insert((mapping.device, mapping.inode), binary.clone());
        binary
    }

    /// How many files could not be opened.
    pub(super) fn refused(&self) -> u64 {
        self.known.values().filter(|binary| binary.is_none()).count() as u64
    }

    /// The unwind information of a mapping, for the unwinder.
    pub(super) fn module(
        &mut self,
        binary: &Binary,
        mapping: &Mapping,
    ) -> Option<Module<Arc<[u8]>>> {
        let stated = binary.stated_address(mapping.offset)?;
        let unwind = binary.unwind.get_or_init(|| {
            let unwind = binary.read_unwind(MOST_UNWIND_OF_ALL.saturating_sub(self.unwind_bytes));
            self.unwind_bytes += unwind.as_ref().map_or(0, Unwind::size);
            unwind
        });
        let unwind = unwind.as_ref()?;
        let info = ExplicitModuleSectionInfo {
            text_svma: unwind.text.clone(),
            got_svma: unwind.got.clone(),
            eh_frame_svma: Some(unwind.eh_frame.range()),
            eh_frame: Some(unwind.eh_frame.bytes.clone()),
            eh_frame_hdr_svma: unwind.eh_frame_hdr.as_ref().map(Section::range),
            eh_frame_hdr: unwind.eh_frame_hdr.as_ref().map(|section| section.bytes.clone()),
            ..ExplicitModuleSectionInfo::default()
        };
        // Where address 0 of the file is. Wraps if the file states high addresses.
        let base = mapping.start.wrapping_sub(stated);
        Some(Module::new(String::new(), mapping.start..mapping.end, base, info))
    }
}

impl Unwind {
    fn size(&self) -> u64 {
        let header = self.eh_frame_hdr.as_ref().map_or(0, |section| section.bytes.len());
        (self.eh_frame.bytes.len() + header) as u64
    }
}

/// Opens the file of a mapping. `/proc/PID/map_files` leads to the very file, and requires
/// CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN. Otherwise, the path below the root of the process must
/// lead to a file with the same inode.
fn open(pid: u32, mapping: &Mapping) -> io::Result<File> {
    use std::os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _};
    let exact = format!("/proc/{pid}/map_files/{:x}-{:x}", mapping.start, mapping.end);
    if let Ok(file) = regular_file::open(Path::new(&exact)) {
        return Ok(file);
    }
    let mut path = PathBuf::from(format!("/proc/{pid}/root"));
    let below = std::ffi::OsStr::from_bytes(mapping.path.strip_prefix(b"/").unwrap_or_default());
    path.push(below);
    let file = regular_file::open(&path)?;
    if file.metadata()?.ino() != mapping.inode {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(file)
}

impl Binary {
    fn new(file: File, path: &[u8]) -> io::Result<Self> {
        if file.metadata()?.len() > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let parsed = {
            let cache = ReadCache::new(Bounded { file: &file, left: MOST_READ });
            object::File::parse(&cache).ok().map(|elf| {
                let segments = elf.segments().map(|segment| {
                    let (offset, size) = segment.file_range();
                    Segment { offset, size, address: segment.address() }
                });
                let build_id = elf.build_id().ok().flatten().map(hex);
                (segments.take(64).collect(), build_id)
            })
        };
        let (segments, build_id) = parsed.unwrap_or_default();
        Ok(Self {
            name: Untrusted::from_bytes(path),
            file,
            segments,
            build_id,
            unwind: OnceCell::new(),
            is_unreadable: Cell::new(false),
        })
    }

    /// The build id, in hexadecimal digits.
    pub(super) fn build_id(&self) -> Option<&str> {
        self.build_id.as_deref()
    }

    /// Whether a look-up of names failed.
    pub(super) fn is_unreadable(&self) -> bool {
        self.is_unreadable.get()
    }

    /// The address that the file states for this offset.
    pub(super) fn stated_address(&self, offset: u64) -> Option<u64> {
        let within = |segment: &&Segment| {
            // A mapping begins at a page, and a segment need not.
            let first = segment.offset & !0xfff;
            offset >= first && offset < segment.offset.saturating_add(segment.size)
        };
        let segment = self.segments.iter().filter(within).max_by_key(|segment| segment.offset)?;
        Some(segment.address.wrapping_add(offset).wrapping_sub(segment.offset))
    }

    /// Reads the unwind information, at most so many bytes.
    fn read_unwind(&self, most: u64) -> Option<Unwind> {
        let cache = ReadCache::new(Bounded { file: &self.file, left: MOST_READ });
        let elf = object::File::parse(&cache).ok()?;
        let mut left = most.min(MOST_UNWIND);
        let mut section = |name: &str| {
            let section = elf.section_by_name(name)?;
            left = left.checked_sub(section.size())?;
            Some(Section { address: section.address(), bytes: section.data().ok()?.into() })
        };
        let eh_frame = section(".eh_frame")?;
        let eh_frame_hdr = section(".eh_frame_hdr");
        let range = |name: &str| {
            let section = elf.section_by_name(name)?;
            Some(section.address()..section.address().saturating_add(section.size()))
        };
        Some(Unwind { eh_frame, eh_frame_hdr, text: range(".text"), got: range(".got") })
    }

    /// The names of the functions at these stated addresses, which ascend.
    pub(super) fn functions(&self, addresses: &[u64]) -> Vec<Option<Vec<u8>>> {
        let mut search = Search::new(addresses);
        let has_own = search.look_into(&self.file);
        if !search.is_done()
            && has_own != Some(Table::Full)
            && let Some(file) = self.build_id.as_deref().and_then(debug_file)
        {
            search.look_into(&file);
        }
        if has_own.is_none() {
            self.is_unreadable.set(true);
        }
        search.names()
    }
}

/// The separate file with the symbols, where packages install it.
fn debug_file(build_id: &str) -> Option<File> {
    let (first, rest) = build_id.split_at_checked(2)?;
    regular_file::open(Path::new(&format!("/usr/lib/debug/.build-id/{first}/{rest}.debug"))).ok()
}

/// Which symbols a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Table {
    /// All.
    Full,
    /// Those that it exports, or none.
    Exported,
}

/// A search for the functions at addresses.
struct Search<'a> {
    addresses: &'a [u64],
    /// For each address: the start of the function, whether the function is known to have the
    /// address, and its name.
    found: Vec<(u64, bool, Option<Vec<u8>>)>,
}

/// Bytes of a name, at most.
const MOST_NAME: usize = 16 << 10;

impl<'a> Search<'a> {
    fn new(addresses: &'a [u64]) -> Self {
        Self { addresses, found: vec![(0, false, None); addresses.len()] }
    }

    fn is_done(&self) -> bool {
        self.found.iter().all(|(_, is_sure, _)| *is_sure)
    }

    /// Looks at the symbols of a file. `None` if it cannot be read.
    fn look_into(&mut self, file: &File) -> Option<Table> {
        let cache = ReadCache::new(Bounded { file, left: MOST_READ });
        let elf = object::File::parse(&cache).ok()?;
        let mut table = Table::Exported;
        let symbols = elf.symbols().inspect(|_| table = Table::Full);
        for symbol in symbols.chain(elf.dynamic_symbols()) {
            if symbol.kind() == object::SymbolKind::Text && symbol.is_definition() {
                let name = || symbol.name_bytes().ok();
                self.add(symbol.address(), symbol.size(), name);
            }
        }
        Some(table)
    }

    /// Adds a function. A function without a size has everything up to the next function.
    fn add<'n>(&mut self, start: u64, size: u64, name: impl Fn() -> Option<&'n [u8]>) {
        let first = self.addresses.partition_point(|&address| address < start);
        for (at, &address) in self.addresses.iter().enumerate().skip(first) {
            let is_sure = size > 0;
            if is_sure && address - start >= size {
                break;
            }
            let (known, is_known, known_name) = &mut self.found[at];
            let is_better = match (is_sure, *is_known) {
                (true, true) => start > *known,
                (true, false) => true,
                (false, true) => false,
                (false, false) => known_name.is_none() || start > *known,
            };
            if !is_better {
                if !is_sure {
                    break;
                }
                continue;
            }
            let Some(name) = name().filter(|name| !name.is_empty() && name.len() < MOST_NAME)
            else {
                return;
            };
            (*known, *is_known) = (start, is_sure);
            *known_name = Some(name.to_vec());
        }
    }

    fn names(self) -> Vec<Option<Vec<u8>>> {
        self.found.into_iter().map(|(_, _, name)| name).collect()
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes.iter().take(MOST_BUILD_ID) {
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(search: Search<'_>) -> Vec<String> {
        let text = |name: Option<Vec<u8>>| String::from_utf8(name.unwrap_or_default());
        search.names().into_iter().map(|name| text(name).expect("UTF-8")).collect()
    }

    #[test]
    fn functions_with_a_size_win() {
        let addresses = [5, 10, 15, 20, 30];
        let mut search = Search::new(&addresses);
        search.add(8, 0, || Some(b"label"));
        search.add(10, 6, || Some(b"sized"));
        search.add(12, 0, || Some(b"within"));
        search.add(18, 0, || Some(b"later"));
        assert_eq!(names(search), ["", "sized", "sized", "later", "later"]);
    }

    #[test]
    fn the_own_function_is_found() {
        let pid = std::process::id();
        let here = the_own_function_is_found as fn() as usize as u64;
        let maps = super::super::maps::read(pid).expect("readable");
        let mapping = maps.iter().find(|m| (m.start..m.end).contains(&here)).expect("a mapping");
        let mut binaries = Binaries::default();
        let binary = binaries.get(pid, mapping).expect("readable");
        let stated = binary.stated_address(here - mapping.start + mapping.offset).expect("stated");
        let name = binary.functions(&[stated]).remove(0).expect("a name");
        let name = super::super::demangle::name(&name).to_string();
        assert!(name.contains("the_own_function_is_found"), "{name}");
        assert!(binaries.module(&binary, mapping).is_some());
    }

    #[test]
    fn a_file_that_is_no_elf_has_no_names() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(100_000).expect("a hole");
        let binary = Binary::new(file, b"/x").expect("opened");
        assert_eq!(binary.functions(&[1, 2]), [None, None]);
        assert!(binary.is_unreadable() && binary.stated_address(0).is_none());
    }
}
