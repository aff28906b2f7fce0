//! Lets the objects of a session share maps.
//!
//! The loader creates the maps of each object, and writes their descriptors into the instructions.
//! Only the load of a program makes the kernel look these descriptors up. In between, this module
//! redirects the descriptor of a shared map to the map of another object. bpffs could share maps by
//! name too, but requires a mount, and names that no other instance uses.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use aya::Ebpf;

use super::{error::KernelError, maps};

/// Replaces the map `name` of `ebpf` by the map of the same name of `owner`. This must precede the
/// load of any program of `ebpf`.
pub(super) fn share(ebpf: &Ebpf, owner: &Ebpf, name: &str) -> Result<(), KernelError> {
    share_fd(ebpf, name, fd_of(owner, name)?)
}

/// Same as [`share`], with the map that `map` refers to.
pub(super) fn share_fd(ebpf: &Ebpf, name: &str, map: BorrowedFd<'_>) -> Result<(), KernelError> {
    replace(fd_of(ebpf, name)?, map)
        .map_err(|error| KernelError::from_io(format!("share the map {name}"), error))
}

fn fd_of<'a>(ebpf: &'a Ebpf, name: &str) -> Result<BorrowedFd<'a>, KernelError> {
    ebpf.map(name)
        .and_then(maps::fd)
        .ok_or_else(|| KernelError::Object(format!("it has no map {name} to share")))
}

/// Redirects the descriptor `old` to the map of `new`.
fn replace(old: BorrowedFd<'_>, new: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both are open descriptors. `old` stays open, and its owner still closes it once.
    match unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        fs::File,
        io::{Read as _, Write as _},
        os::fd::AsFd as _,
    };

    use super::*;

    #[test]
    fn a_descriptor_that_was_replaced_refers_to_the_other_file() {
        let mut ours = tempfile::tempfile().expect("a file");
        let mut theirs = File::open("/dev/null").expect("a file");
        ours.write_all(b"shared").expect("written");
        replace(theirs.as_fd(), ours.as_fd()).expect("replaced");
        drop(ours);
        std::io::Seek::rewind(&mut theirs).expect("a file that can be rewound");
        let mut text = String::new();
        theirs.read_to_string(&mut text).expect("readable");
        assert_eq!(text, "shared");
    }
}
