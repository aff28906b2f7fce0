//! The kernel function `bpf_rdonly_cast`: patches its ids into the object with an arena and into that of
//! a trace.

use object::{Object as _, ObjectSection as _, SectionKind, read::elf::ElfFile64};
use profiler_common::settings::placeholder;

use super::{btf::Types, error::KernelError};

/// Size of an instruction, bytes (include/uapi/linux/bpf.h).
const INSTRUCTION: usize = 8;
/// Opcode of a call.
const CALL: u8 = 0x85;
/// Opcodes that move an immediate to a register.
const MOVES: [u8; 2] = [0xb7, 0xb4];
/// `r0 = r1`.
const MOVE_R1_TO_R0: [u8; INSTRUCTION] = [0xbf, 0x10, 0, 0, 0, 0, 0, 0];
/// `BPF_PSEUDO_KFUNC_CALL` as source register.
const KFUNC: u8 = 2 << 4;

/// The ids of `bpf_rdonly_cast` and of the type to cast to, in the kernel's BTF.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cast {
    function: u32,
    target: u32,
}

impl Cast {
    /// The kernel function to cast by.
    pub(super) const FUNCTION: &'static str = "bpf_rdonly_cast";

    /// A cast by the function of this id, to a structure that begins with integers.
    pub(super) fn new(function: u32, types: &Types<'_>) -> Option<Self> {
        Some(Self { function, target: types.structure_id("timespec64")? })
    }

    /// Replaces the calls of the function by moves, for a kernel that lacks the function. Programs
    /// that may run without it do not reach the calls, but the kernel looks up every function.
    pub(super) fn remove(bytes: &mut [u8]) -> Result<(), KernelError> {
        let ranges = code(bytes)
            .ok_or_else(|| KernelError::Object("the object with casts is no ELF file".into()))?;
        for range in ranges {
            let Some(section) = bytes.get_mut(range) else { continue };
            for instruction in section.chunks_exact_mut(INSTRUCTION) {
                let is_cast = instruction[4..] == placeholder::RDONLY_CAST.to_le_bytes();
                if instruction[0] == CALL && is_cast {
                    instruction.copy_from_slice(&MOVE_R1_TO_R0);
                }
            }
        }
        Ok(())
    }

    /// Replaces the placeholders of [`patch`] in an object by the ids. aya does not know kernel
    /// functions.
    pub(super) fn patch(self, bytes: &mut [u8]) -> Result<(), KernelError> {
        let ranges = code(bytes)
            .ok_or_else(|| KernelError::Object("the object with an arena is no ELF file".into()))?;
        let mut patched = 0;
        for range in ranges {
            let Some(section) = bytes.get_mut(range) else { continue };
            for instruction in section.chunks_exact_mut(INSTRUCTION) {
                let (head, immediate) = instruction.split_at_mut(4);
                let is = |number: i32| *immediate == number.to_le_bytes();
                if head[0] == CALL && is(placeholder::RDONLY_CAST) {
                    head[1] = KFUNC;
                    immediate.copy_from_slice(&self.function.to_le_bytes());
                    patched += 1;
                } else if MOVES.contains(&head[0]) && is(placeholder::RDONLY_CAST_TYPE) {
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

/// The byte ranges of the instructions in a file.
fn code(bytes: &[u8]) -> Option<Vec<std::ops::Range<usize>>> {
    let file: ElfFile64<'_> = ElfFile64::parse(bytes).ok()?;
    let sections = file.sections().filter(|section| section.kind() == SectionKind::Text);
    let ranges = sections.filter_map(|section| section.file_range());
    Some(ranges.map(|(at, len)| at as usize..(at + len) as usize).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernel::object::{self, ObjectName};

    #[test]
    fn every_cast_of_the_object_is_patched_and_nothing_else() {
        let object = object::find(ObjectName::Arena).bytes();
        let mut patched = object.to_vec();
        Cast { function: 0x0102_0304, target: 0x0506_0708 }.patch(&mut patched).expect("an object");
        let count = |bytes: &[u8], number: i32| {
            bytes.chunks_exact(INSTRUCTION).filter(|i| i[4..] == number.to_le_bytes()).count()
        };
        let casts = count(&object, placeholder::RDONLY_CAST);
        assert!(casts > 0);
        assert_eq!(count(&object, placeholder::RDONLY_CAST_TYPE), casts);
        assert_eq!(count(&patched, placeholder::RDONLY_CAST), 0);
        assert_eq!(count(&patched, placeholder::RDONLY_CAST_TYPE), 0);
        let differing = object.iter().zip(&patched).filter(|(old, new)| old != new).count();
        // Four bytes of each number, and the source register of each call.
        assert_eq!(differing, casts * 9);
    }

    #[test]
    fn every_cast_can_be_removed() {
        let object = object::find(ObjectName::Trace).bytes();
        let mut removed = object.to_vec();
        Cast::remove(&mut removed).expect("an object");
        let count = |bytes: &[u8]| {
            let number = placeholder::RDONLY_CAST.to_le_bytes();
            bytes.chunks_exact(INSTRUCTION).filter(|i| i[4..] == number).count()
        };
        assert!(count(&object) > 0);
        assert_eq!(count(&removed), 0);
    }

    #[test]
    fn an_object_without_a_cast_is_refused() {
        let mut object = object::find(ObjectName::Fallback).bytes().to_vec();
        assert!(Cast { function: 1, target: 2 }.patch(&mut object).is_err());
        assert!(Cast { function: 1, target: 2 }.patch(&mut [0; 64]).is_err());
    }
}
