//! Names the functions of stacks, and unwinds stacks from copies of their memory.
//!
//! What a process maps is read while the process lives, and the files stay open: so functions can be
//! named after it has ended. The names are looked up at the end, for all addresses of a file at once.
//!
//! Everything that is read belongs to somebody else, and may be malformed on purpose: sizes are
//! bounded, only regular files are opened, and no file is mapped into memory. A mapped file could be
//! truncated meanwhile, which would end the profiler by SIGBUS.

mod demangle;
mod elf;
mod image;
mod kernel;
mod maps;
mod perf_map;

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    rc::Rc,
};

use self::{
    elf::{Binaries, Binary},
    image::{Image, Place},
};
use crate::{model::stacks::Frame, text::Untrusted};

/// Programs of processes that are remembered, at most.
const MOST_IMAGES: usize = 8_192;

/// The module of code that a process generated.
const GENERATED: &str = "[generated]";

/// A process and the number of the program that it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ImageId {
    /// The process.
    pub pid: u32,
    /// The number of the program: 0, or that of the last exec.
    pub image: u32,
}

/// A stack that was unwound.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Unwound {
    /// Addresses of code, the innermost first.
    pub addresses: Vec<u64>,
    /// Whether the unwinding reached the outermost function.
    pub is_complete: bool,
}

/// What could not be read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Unread {
    /// Processes that had ended.
    pub ended: u64,
    /// Processes that this process may not look into.
    pub denied: u64,
    /// Processes for which there was no space.
    pub without_space: u64,
    /// Files that could not be read.
    pub files: u64,
    /// Whether the kernel hides its addresses.
    pub kernel: bool,
}

/// Knows the programs of processes.
#[derive(Default)]
pub struct Symbols {
    images: HashMap<ImageId, Image>,
    /// The last program of each process.
    current: HashMap<u32, u32>,
    binaries: Binaries,
    unread: Unread,
}

impl Symbols {
    /// Notes that a process runs another program.
    pub fn note_exec(&mut self, id: ImageId) {
        self.current.insert(id.pid, id.image);
    }

    /// Notes that a process was forked by `parent`, whose memory it shares until it writes to it.
    pub fn note_fork(&mut self, id: ImageId, parent: u32) {
        self.current.insert(id.pid, id.image);
        let parent = ImageId { pid: parent, image: id.image };
        let Some(parent) = self.images.get(&parent) else { return };
        let child = parent.of_child(id.pid);
        if self.images.len() < MOST_IMAGES {
            self.images.entry(id).or_insert(child);
        }
    }

    /// Reads what the process maps, if that was not read yet.
    pub fn see(&mut self, id: ImageId) {
        if self.images.get(&id).is_some_and(|image| !image.is_inherited()) {
            return;
        }
        if self.images.len() >= MOST_IMAGES && !self.images.contains_key(&id) {
            self.unread.without_space += 1;
            return;
        }
        let is_current = self.is_current(id);
        let image = self.images.entry(id).or_insert_with(|| Image::new(id.pid));
        if is_current {
            image.read(&mut self.binaries);
        } else {
            image.note_ended();
        }
    }

    /// Reads again what living processes map.
    pub fn refresh(&mut self) {
        let Self { images, current, binaries, .. } = self;
        for (id, image) in images {
            if current.get(&id.pid).is_none_or(|&last| last == id.image) {
                image.read(binaries);
            }
        }
    }

    /// Whether the process still runs this program, as far as is known.
    fn is_current(&self, id: ImageId) -> bool {
        self.current.get(&id.pid).is_none_or(|&last| last == id.image)
    }

    /// Unwinds a stack from its memory, which begins at `sp`. `None` if the process is not known.
    pub fn unwind(
        &mut self,
        id: ImageId,
        (ip, sp, bp): (u64, u64, u64),
        memory: &[u8],
    ) -> Option<Unwound> {
        self.see(id);
        let is_current = self.is_current(id);
        let image = self.images.get_mut(&id)?;
        let unwound = image.unwind((ip, sp, bp), memory);
        let knows_all = unwound.addresses.iter().all(|&address| image.knows(address));
        if knows_all || !is_current || !image.may_read_again() {
            return Some(unwound);
        }
        // A library that was loaded since.
        image.read(&mut self.binaries);
        Some(image.unwind((ip, sp, bp), memory))
    }

    /// Whether the mappings of the process are known, so that an address outside of them is not code.
    pub fn is_known(&self, id: ImageId) -> bool {
        self.images.get(&id).is_some_and(Image::is_known)
    }

    /// The name of the process, as it was when the process was first seen.
    pub fn comm(&self, id: ImageId) -> Option<&Untrusted> {
        self.images.get(&id)?.comm()
    }

    /// Names the functions at these addresses of each process.
    pub fn name(
        &mut self,
        wanted: &BTreeMap<ImageId, BTreeSet<u64>>,
    ) -> HashMap<(ImageId, u64), Frame> {
        let mut frames = HashMap::new();
        // The addresses of each file, by where the file says they are.
        let mut of_files: HashMap<*const Binary, (Rc<Binary>, BTreeSet<u64>)> = HashMap::new();
        let mut places: Vec<(ImageId, u64, Rc<Binary>, u64)> = Vec::new();
        for (&id, addresses) in wanted {
            let Some(image) = self.images.get(&id) else {
                let unknown = |&address: &u64| ((id, address), unknown(address));
                frames.extend(addresses.iter().map(unknown));
                continue;
            };
            let mut of_jit = Vec::new();
            for &address in addresses {
                match image.place(address) {
                    Place::File { binary, offset, address: stated } => {
                        let frame = Frame {
                            module: Some(binary.name.clone()),
                            offset,
                            build_id: binary.build_id().map(str::to_owned),
                            ..Frame::default()
                        };
                        frames.insert((id, address), frame);
                        if let Some(stated) = stated {
                            let entry = of_files.entry(Rc::as_ptr(&binary));
                            entry
                                .or_insert_with(|| (binary.clone(), BTreeSet::new()))
                                .1
                                .insert(stated);
                            places.push((id, address, binary, stated));
                        }
                    }
                    Place::Named(module) => {
                        let module = Some(module);
                        frames.insert((id, address), Frame { module, ..unknown(address) });
                    }
                    Place::Generated => of_jit.push(address),
                    Place::Unknown => {
                        frames.insert((id, address), unknown(address));
                    }
                }
            }
            let names = image.generated_names(&of_jit);
            for (&address, function) in of_jit.iter().zip(names) {
                let function = function.map(|name| demangle::name(&name));
                let module = Some(GENERATED.into());
                frames.insert((id, address), Frame { function, module, ..unknown(address) });
            }
        }
        let mut names: HashMap<(*const Binary, u64), Untrusted> = HashMap::new();
        for (at, (binary, stated)) in of_files {
            let stated: Vec<u64> = stated.into_iter().collect();
            let found = binary.functions(&stated);
            self.unread.files += u64::from(binary.is_unreadable());
            for (address, name) in stated.into_iter().zip(found) {
                if let Some(name) = name {
                    names.insert((at, address), demangle::name(&name));
                }
            }
        }
        for (id, address, binary, stated) in places {
            if let Some(frame) = frames.get_mut(&(id, address)) {
                frame.function = names.get(&(Rc::as_ptr(&binary), stated)).cloned();
            }
        }
        frames
    }

    /// Names the functions of the kernel at these addresses.
    pub fn name_kernel(&mut self, wanted: &BTreeSet<u64>) -> HashMap<u64, Frame> {
        let wanted: Vec<u64> = wanted.iter().copied().collect();
        if wanted.is_empty() {
            return HashMap::new();
        }
        let names = kernel::functions(&wanted).unwrap_or_else(|| {
            self.unread.kernel = true;
            vec![None; wanted.len()]
        });
        let frame = |(offset, name): (u64, Option<String>)| {
            let function = name.map(Untrusted::from);
            (offset, Frame { function, offset, is_kernel: true, ..Frame::default() })
        };
        wanted.into_iter().zip(names).map(frame).collect()
    }

    /// What could not be read.
    pub fn unread(&self) -> Unread {
        let mut unread = self.unread;
        for image in self.images.values() {
            unread.ended += u64::from(image.has_ended_unread());
            unread.denied += u64::from(image.is_denied());
        }
        unread.files += self.binaries.refused();
        unread
    }
}

/// A function of which nothing is known but its address.
fn unknown(address: u64) -> Frame {
    Frame { offset: address, ..Frame::default() }
}
