//! The arena (Linux 6.9): one piece of memory, of the kernel side and ours, in which records,
//! cells and hints are. A page of it exists once somebody has touched it.
//!
//! Without an arena, records and cells are in mmapable arrays. Each look-up there puts a key on the
//! stack, compares it with a bound and tests the result, seven times per call.
//!
//! The user side touches a page before it hands out what is in it (`MapTables::fill`), and releases the
//! page again, so that only the pages that it reads count as its memory. If a kernel refuses the arena,
//! the profiler uses the arrays.

use std::{io, sync::Arc};

use aya::Ebpf;
use object::{Object as _, ObjectSection as _, SectionKind, read::elf::ElfFile64};
use profiler_common::{arena, limits::patch, maps, share};

use super::{KernelError, Options, btf::Types, load::map_fd, mapping::Memory};

/// Size of a page on x86.
pub(super) const PAGE: u64 = 4096;

/// Bytes of an instruction, and the parts of it (include/uapi/linux/bpf.h).
const INSTRUCTION: usize = 8;
const CALL: u8 = 0x85;
const MOVES: [u8; 2] = [0xb7, 0xb4];
/// `BPF_PSEUDO_KFUNC_CALL` as source register.
const KFUNC: u8 = 2 << 4;

/// `bpf_rdonly_cast` and what to cast to, by their ids in the kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cast {
    function: u32,
    target: u32,
}

impl Cast {
    /// What a kernel has that has arenas, and the function to cast by.
    pub(super) const FUNCTIONS: [&'static str; 2] = ["bpf_arena_alloc_pages", "bpf_rdonly_cast"];

    /// By this function, to a structure that begins with integers.
    pub(super) fn new(function: u32, types: &Types<'_>) -> Option<Self> {
        Some(Self { function, target: types.structure_id("timespec64")? })
    }

    /// Puts the ids where the object has the numbers of [`patch`] in their place: aya knows
    /// no kernel functions.
    pub(super) fn patch(self, bytes: &mut [u8]) -> Result<(), KernelError> {
        let ranges = code(bytes)
            .ok_or_else(|| KernelError::Object("the object with an arena is no ELF file".into()))?;
        let mut patched = 0;
        for range in ranges {
            let Some(section) = bytes.get_mut(range) else { continue };
            for instruction in section.chunks_exact_mut(INSTRUCTION) {
                let (head, immediate) = instruction.split_at_mut(4);
                let is = |number: i32| *immediate == number.to_le_bytes();
                if head[0] == CALL && is(patch::RDONLY_CAST) {
                    head[1] = KFUNC;
                    immediate.copy_from_slice(&self.function.to_le_bytes());
                    patched += 1;
                } else if MOVES.contains(&head[0]) && is(patch::RDONLY_CAST_TYPE) {
                    immediate.copy_from_slice(&self.target.to_le_bytes());
                }
            }
        }
        if patched == 0 {
            return Err(KernelError::Object("it has no call to bpf_rdonly_cast".into()));
        }
        Ok(())
    }
}

/// Where the instructions are in the file.
fn code(bytes: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).ok()?;
    let sections = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let ranges = sections.filter_map(|section| section.file_range());
    Some(ranges.map(|(at, len)| at as usize..(at + len) as usize).collect())
}

fn len(options: &Options) -> u64 {
    arena::len(options.max_extents, share::with_reserve(options.max_threads))
}

/// Pages that the arena needs to have room for.
pub(super) fn pages(options: &Options) -> u32 {
    (len(options) / PAGE) as u32
}

/// Maps the arena, and gives the hints their pages. Before any program that uses it is
/// loaded: with its address the kernel's side of it is known.
pub(super) fn map(ebpf: &Ebpf, options: &Options) -> Result<Arc<Memory>, KernelError> {
    let fd = ebpf
        .map(maps::ARENA)
        .and_then(map_fd)
        .ok_or_else(|| KernelError::Object(format!("it has no map {}", maps::ARENA)))?;
    let len = len(options) as usize;
    let refused = |source| KernelError::Refused { what: "map the arena".into(), source };
    let memory = Memory::aligned_to_4_gib(fd, len).map_err(refused)?;
    memory.populate(0..arena::CELLS as usize).map_err(refused)?;
    Ok(Arc::new(memory))
}

/// A hint for where to map it: the lower half of the address has to be zero, so that offsets
/// in the arena are the lower halves of addresses. Nothing else is likely to be there.
pub(super) fn addresses() -> impl Iterator<Item = usize> {
    (1..=16).map(|turn| turn << 40)
}

/// That the kernel gave another address than asked for.
pub(super) fn no_address() -> io::Error {
    io::Error::new(io::ErrorKind::AddrNotAvailable, "no free address at a multiple of 4 GiB")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cast_of_the_object_is_patched_and_nothing_else() {
        let object = crate::engine::kernel::object::arena();
        let mut patched = object.to_vec();
        Cast { function: 0x0102_0304, target: 0x0506_0708 }.patch(&mut patched).expect("an object");
        let count = |bytes: &[u8], number: i32| {
            bytes.chunks_exact(INSTRUCTION).filter(|i| i[4..] == number.to_le_bytes()).count()
        };
        let casts = count(&object, patch::RDONLY_CAST);
        assert!(casts > 0);
        assert_eq!(count(&object, patch::RDONLY_CAST_TYPE), casts);
        assert_eq!(count(&patched, patch::RDONLY_CAST), 0);
        assert_eq!(count(&patched, patch::RDONLY_CAST_TYPE), 0);
        let differing = object.iter().zip(&patched).filter(|(old, new)| old != new).count();
        // Four bytes of each number, and the source register of each call.
        assert_eq!(differing, casts * 9);
    }

    #[test]
    fn an_object_without_a_cast_is_refused() {
        let mut object = crate::engine::kernel::object::tid().to_vec();
        assert!(Cast { function: 1, target: 2 }.patch(&mut object).is_err());
        assert!(Cast { function: 1, target: 2 }.patch(&mut [0; 64]).is_err());
    }
}
