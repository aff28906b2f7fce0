//! Reads the memory of a process.

use std::{fs::File, io::ErrorKind, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use profiler_common::trace::Plan;

use super::{bounded::Patience, calls};
use crate::model::Part;

/// The memory of a process.
pub(super) struct Memory<'a> {
    patience: &'a mut Patience,
    file: Option<Arc<File>>,
    is_denied: bool,
}

impl<'a> Memory<'a> {
    /// Opens the memory of a process. If the kernel refuses, every read fails.
    pub(super) fn of(proc: &Path, pid: u32, patience: &'a mut Patience) -> Self {
        let path = proc.join(pid.to_string()).join("mem");
        let file = patience.run(move || File::open(path));
        let is_denied =
            matches!(&file, Some(Err(error)) if error.kind() == ErrorKind::PermissionDenied);
        Self { patience, file: file.and_then(Result::ok).map(Arc::new), is_denied }
    }

    /// Whether the kernel refuses to read it, because a privilege is missing.
    pub(super) fn is_denied(&self) -> bool {
        self.is_denied
    }

    /// Runs other reads with the same patience.
    pub(super) fn patience(&mut self) -> &mut Patience {
        self.patience
    }

    /// Reads `length` bytes at `address`. `None` if not all of them can be read.
    pub(super) fn read(&mut self, address: u64, length: usize) -> Option<Vec<u8>> {
        // A file of memory has no negative offsets.
        if address == 0 || i64::try_from(address).is_err() {
            return None;
        }
        let file = Arc::clone(self.file.as_ref()?);
        self.patience.run(move || {
            let mut bytes = vec![0; length];
            file.read_exact_at(&mut bytes, address).ok().map(|()| bytes)
        })?
    }

    /// Reads a number of 32 bits.
    pub(super) fn read_u32(&mut self, address: u64) -> Option<u32> {
        let bytes = self.read(address, 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    }

    /// Copies what the plan of a call has at its entry.
    pub(super) fn copy(&mut self, plan: Plan, args: [u64; 6], string_limit: u32) -> Vec<Part> {
        let Some(file) = self.file.as_ref().map(Arc::clone) else { return Vec::new() };
        let copy = move || calls::copy(&file, &plan, &args, string_limit);
        self.patience.run(copy).unwrap_or_default()
    }
}
