//! A program whose only syscall ends it. So its process made all other calls before its execve.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use anyhow::Result;

/// The load address. The entry point is after the two headers.
const BASE: u64 = 0x40_0000;
const HEADERS: u64 = 64 + 56;

/// `mov eax, 231 (exit_group); xor edi, edi; syscall`.
const CODE: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];

/// Writes the program into a directory.
pub(super) fn write(directory: &Path) -> Result<PathBuf> {
    let path = directory.join("only-ends");
    fs::write(&path, elf())?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(path)
}

/// An x86_64 executable with one segment and no library (elf(5)).
fn elf() -> Vec<u8> {
    let mut file = Vec::new();
    file.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    let half = |file: &mut Vec<u8>, value: u16| file.extend_from_slice(&value.to_le_bytes());
    let word = |file: &mut Vec<u8>, value: u32| file.extend_from_slice(&value.to_le_bytes());
    let long = |file: &mut Vec<u8>, value: u64| file.extend_from_slice(&value.to_le_bytes());
    half(&mut file, 2); // ET_EXEC
    half(&mut file, 62); // EM_X86_64
    word(&mut file, 1);
    long(&mut file, BASE + HEADERS); // e_entry
    long(&mut file, 64); // e_phoff
    long(&mut file, 0); // e_shoff
    word(&mut file, 0); // e_flags
    // Sizes and numbers of headers: one segment, no sections.
    [64, 56, 1, 64, 0, 0].into_iter().for_each(|value| half(&mut file, value));
    word(&mut file, 1); // PT_LOAD
    word(&mut file, 5); // readable, executable
    long(&mut file, 0); // p_offset
    long(&mut file, BASE); // p_vaddr
    long(&mut file, BASE); // p_paddr
    long(&mut file, HEADERS + CODE.len() as u64); // p_filesz
    long(&mut file, HEADERS + CODE.len() as u64); // p_memsz
    long(&mut file, 0x1000); // p_align
    file.extend_from_slice(&CODE);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_runs_and_ends() {
        let directory = tempfile::tempdir().expect("a directory");
        let program = write(directory.path()).expect("a file");
        let status = std::process::Command::new(program).status().expect("an executable");
        assert!(status.success(), "{status}");
    }
}
