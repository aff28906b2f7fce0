//! A program that a process runs: what it maps, and how to unwind its stacks.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read as _},
    os::{
        fd::OwnedFd,
        unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    },
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use framehop::{
    Unwinder as _,
    x86_64::{CacheX86_64, UnwindRegsX86_64, UnwinderX86_64},
};

use super::{
    Unwound,
    elf::{Binaries, Binary},
    maps::{self, Mapping},
    perf_map,
};
use crate::text::Untrusted;

/// Frames of a stack, at most.
const MOST_FRAMES: usize = 512;

/// How long mappings are not read again.
const REST: Duration = Duration::from_millis(50);

/// How often mappings are read without a rest: a program loads its libraries when it starts.
const READS_AT_START: u32 = 8;

/// What is mapped.
#[derive(Clone)]
enum Content {
    File(Option<Rc<Binary>>, Untrusted),
    /// What the kernel names, such as `[vdso]`.
    Named(Untrusted),
    /// Code that the process generated.
    Generated,
}

/// Where an address is.
pub(super) enum Place {
    /// In a file.
    File {
        /// The file.
        binary: Rc<Binary>,
        /// The offset in the file.
        offset: u64,
        /// The address that the file states.
        address: Option<u64>,
    },
    /// In a file that cannot be read, or in what the kernel names.
    Named(Untrusted),
    /// In code that the process generated.
    Generated,
    /// Nothing is known to be there.
    Unknown,
}

/// Why nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    /// Of the process that forked this one.
    Inherited,
    Read,
    Ended,
    Denied,
}

/// A program that a process runs.
pub(super) struct Image {
    pid: u32,
    comm: Option<Untrusted>,
    mappings: BTreeMap<u64, (Mapping, Content)>,
    unwinder: UnwinderX86_64<Arc<[u8]>>,
    cache: CacheX86_64,
    state: State,
    reads: u32,
    last_read: Option<Instant>,
    /// For code that the process generated.
    generated: Option<Rc<Generator>>,
}

/// The process as it sees itself.
struct Generator {
    root: OwnedFd,
    pid: u32,
    user: u32,
}

impl Image {
    pub(super) fn new(pid: u32) -> Self {
        Self {
            pid,
            comm: None,
            mappings: BTreeMap::new(),
            unwinder: UnwinderX86_64::new(),
            cache: CacheX86_64::new(),
            state: State::New,
            reads: 0,
            last_read: None,
            generated: None,
        }
    }

    /// The image of a process that this one forked.
    pub(super) fn of_child(&self, pid: u32) -> Self {
        Self {
            pid,
            comm: self.comm.clone(),
            mappings: self.mappings.clone(),
            unwinder: self.unwinder.clone(),
            cache: CacheX86_64::new(),
            state: State::Inherited,
            reads: 0,
            last_read: None,
            generated: self.generated.clone(),
        }
    }

    /// Whether only the mappings of the parent are known.
    pub(super) fn is_inherited(&self) -> bool {
        self.state == State::Inherited
    }

    /// Whether the mappings are known.
    pub(super) fn is_known(&self) -> bool {
        self.state == State::Read
    }

    /// Whether the process ended before anything was known.
    pub(super) fn has_ended_unread(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether this process may not read what the other one maps.
    pub(super) fn is_denied(&self) -> bool {
        self.state == State::Denied
    }

    /// Notes that the process ended, or runs another program.
    pub(super) fn note_ended(&mut self) {
        match self.state {
            State::New => self.state = State::Ended,
            State::Inherited => self.state = State::Read,
            State::Read | State::Ended | State::Denied => {}
        }
    }

    /// The name of the process.
    pub(super) fn comm(&self) -> Option<&Untrusted> {
        self.comm.as_ref()
    }

    /// Whether the mappings should be read again.
    pub(super) fn may_read_again(&self) -> bool {
        self.reads < READS_AT_START || self.last_read.is_none_or(|at| at.elapsed() > REST)
    }

    /// Reads what the process maps. What it no longer maps stays known.
    pub(super) fn read(&mut self, binaries: &mut Binaries) {
        self.reads += 1;
        self.last_read = Some(Instant::now());
        let mappings = match maps::read(self.pid) {
            Ok(mappings) => mappings,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if matches!(self.state, State::New | State::Inherited) {
                    self.state = State::Denied;
                }
                return;
            }
            Err(_) => return self.note_ended(),
        };
        self.state = State::Read;
        if let Some(comm) = comm(self.pid) {
            self.comm = Some(comm);
        }
        for mapping in mappings {
            let known = self.mappings.get(&mapping.start);
            if known.is_some_and(|(known, _)| *known == mapping) {
                continue;
            }
            self.add(mapping, binaries);
        }
    }

    fn add(&mut self, mapping: Mapping, binaries: &mut Binaries) {
        // What was there before is gone.
        let overlaps = |(&start, (old, _)): (&u64, &(Mapping, Content))| {
            (old.end > mapping.start).then_some(start)
        };
        let old: Vec<u64> = self.mappings.range(..mapping.end).filter_map(overlaps).collect();
        for start in old {
            self.mappings.remove(&start);
            self.unwinder.remove_module(start);
        }
        let content = match (mapping.inode, mapping.path.first()) {
            // A file in memory has an inode too, and a JIT compiler may use one.
            (1.., Some(b'/')) if !mapping.path.starts_with(b"/memfd:") => {
                let binary = binaries.get(self.pid, &mapping);
                if let Some(binary) = &binary
                    && let Some(module) = binaries.module(binary, &mapping)
                {
                    self.unwinder.add_module(module);
                    self.cache = CacheX86_64::new();
                }
                Content::File(binary, Untrusted::from_bytes(&mapping.path))
            }
            (0, Some(b'[')) if !mapping.path.starts_with(b"[anon") && mapping.path != b"[heap]" => {
                Content::Named(Untrusted::from_bytes(&mapping.path))
            }
            _ => {
                if self.generated.is_none() {
                    self.generated = generator(self.pid).ok().map(Rc::new);
                }
                Content::Generated
            }
        };
        self.mappings.insert(mapping.start, (mapping, content));
    }

    /// Whether something is known to be at an address.
    pub(super) fn knows(&self, address: u64) -> bool {
        self.find(address).is_some()
    }

    fn find(&self, address: u64) -> Option<&(Mapping, Content)> {
        let (_, found) = self.mappings.range(..=address).next_back()?;
        (address < found.0.end).then_some(found)
    }

    /// Where an address is.
    pub(super) fn place(&self, address: u64) -> Place {
        let Some((mapping, content)) = self.find(address) else { return Place::Unknown };
        match content {
            Content::File(Some(binary), _) => {
                let offset = address - mapping.start + mapping.offset;
                let address = binary.stated_address(offset);
                Place::File { binary: binary.clone(), offset, address }
            }
            Content::File(None, name) | Content::Named(name) => Place::Named(name.clone()),
            Content::Generated => Place::Generated,
        }
    }

    /// The names of generated functions at these addresses, which ascend.
    pub(super) fn generated_names(&self, addresses: &[u64]) -> Vec<Option<Vec<u8>>> {
        let nothing = || vec![None; addresses.len()];
        if addresses.is_empty() {
            return Vec::new();
        }
        let Some(process) = &self.generated else { return nothing() };
        let names = perf_map::functions(&process.root, process.pid, process.user, addresses);
        names.unwrap_or_else(nothing)
    }

    /// Unwinds a stack from its memory, which begins at `sp`.
    pub(super) fn unwind(&mut self, (ip, sp, bp): (u64, u64, u64), memory: &[u8]) -> Unwound {
        let mut read_stack = |address: u64| {
            let at = usize::try_from(address.checked_sub(sp).ok_or(())?).map_err(|_| ())?;
            let bytes = memory.get(at..).and_then(|rest| rest.first_chunk()).ok_or(())?;
            Ok(u64::from_ne_bytes(*bytes))
        };
        let registers = UnwindRegsX86_64::new(ip, sp, bp);
        let mut frames = self.unwinder.iter_frames(ip, registers, &mut self.cache, &mut read_stack);
        let mut addresses = Vec::new();
        let is_complete = loop {
            match frames.next() {
                Ok(Some(frame)) => addresses.push(frame.address_for_lookup()),
                Ok(None) => break true,
                Err(_) => break false,
            }
            if addresses.len() >= MOST_FRAMES {
                break false;
            }
        };
        Unwound { addresses, is_complete }
    }
}

/// The name of a process.
fn comm(pid: u32) -> Option<Untrusted> {
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/{pid}/comm")).ok()?;
    file.take(64).read_to_end(&mut bytes).ok()?;
    Some(Untrusted::from_bytes(bytes.strip_suffix(b"\n").unwrap_or(&bytes)))
}

/// The root directory, the own id and the user of a process.
fn generator(pid: u32) -> io::Result<Generator> {
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let mut options = File::options();
    options.read(true).custom_flags(flags);
    let root = options.open(format!("/proc/{pid}/root"))?.into();
    let user = std::fs::metadata(format!("/proc/{pid}"))?.uid();
    let mut status = String::new();
    File::open(format!("/proc/{pid}/status"))?.take(64 << 10).read_to_string(&mut status)?;
    let ids = status.lines().find_map(|line| line.strip_prefix("NStgid:"));
    let own = ids.and_then(|ids| ids.split_ascii_whitespace().last()?.parse().ok());
    Ok(Generator { root, pid: own.unwrap_or(pid), user })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known() {
        let mut image = Image::new(std::process::id());
        image.read(&mut Binaries::default());
        assert!(image.knows(this_process_is_known as fn() as usize as u64));
        assert!(!image.knows(8));
        assert!(image.comm().is_some());
        assert!(matches!(image.place(8), Place::Unknown));
        let child = image.of_child(1);
        assert!(child.is_inherited());
    }

    #[test]
    fn a_process_that_has_ended_is_noticed() {
        let mut image = Image::new(u32::MAX >> 1);
        image.read(&mut Binaries::default());
        assert!(image.has_ended_unread());
    }

    #[test]
    fn memory_that_is_no_stack_ends_the_unwinding() {
        let mut image = Image::new(std::process::id());
        image.read(&mut Binaries::default());
        let here = memory_that_is_no_stack_ends_the_unwinding as fn() as usize as u64;
        let unwound = image.unwind((here, 0x1000, 0x1000), &[0xff; 64]);
        assert!(!unwound.addresses.is_empty() && unwound.addresses.len() <= MOST_FRAMES);
        assert_eq!(image.unwind((8, 0, u64::MAX), &[]).addresses, [8]);
    }
}
