//! Gives up the privileges that attaching needed and running does not.

use std::{fs, io};

use caps::{CapSet, Capability, CapsHashSet};

use crate::error::Error;

/// Gives up every capability that draining does not need, for good, and returns
/// what is kept: nothing, or on kernels before 5.19 the right to use `bpf(2)`.
///
/// What is attached stays attached, and open descriptors of maps stay usable: the
/// kernel checked at their creation. But before 5.19 `__sys_bpf` (kernel/bpf/syscall.c)
/// begins with "not capable and `kernel.unprivileged_bpf_disabled`: EPERM", whatever
/// the command, so there even a push to a queue whose descriptor we hold needs
/// `CAP_BPF`. From 5.19 on (c8644cd0efe7) only creating maps and loading programs
/// does. Which of the two this kernel is, it is asked; a version would not tell what
/// a distribution has backported.
pub fn drop_unneeded() -> Result<CapsHashSet, Error> {
    // Capabilities are a thread's: one that runs already would keep its own.
    let threads = fs::read_dir("/proc/self/task")
        .map_err(|source| Error::Io {
            context: "cannot list own threads in /proc/self/task (is /proc mounted?)",
            source,
        })?
        .count();
    if threads != 1 {
        return Err(Error::Privilege(format!("{threads} threads run where one was expected")));
    }
    drop_all().map_err(|error| Error::Privilege(error.to_string()))
}

fn drop_all() -> Result<CapsHashSet, Box<dyn std::error::Error>> {
    // What an exec can bring back goes first, while the right to take it away is
    // still there. Without that right (as in the systemd unit, whose bounding set
    // is small from the start) no_new_privs alone has to do, and does.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP)? {
        for capability in caps::read(None, CapSet::Bounding)? {
            caps::drop(None, CapSet::Bounding, capability)?;
        }
    }
    caps::clear(None, CapSet::Ambient)?;
    caps::clear(None, CapSet::Inheritable)?;
    nix::sys::prctl::set_no_new_privs()?;

    let permitted = caps::read(None, CapSet::Permitted)?;
    caps::clear(None, CapSet::Effective)?;
    let kept = if bpf_is_refused() { bpf_right(&permitted) } else { CapsHashSet::new() };
    caps::set(None, CapSet::Permitted, &kept)?;
    caps::set(None, CapSet::Effective, &kept)?;
    Ok(kept)
}

/// The least of `permitted` that makes the kernel's `bpf_capable()` true.
fn bpf_right(permitted: &CapsHashSet) -> CapsHashSet {
    [Capability::CAP_BPF, Capability::CAP_SYS_ADMIN]
        .into_iter()
        .find(|capability| permitted.contains(capability))
        .into_iter()
        .collect()
}

/// Whether the kernel refuses to update a map before it has even looked at which.
fn bpf_is_refused() -> bool {
    /// The part of `union bpf_attr` for commands on elements (include/uapi/linux/bpf.h).
    #[repr(C)]
    struct Element {
        map_fd: u32,
        padding: u32,
        key: u64,
        value: u64,
        flags: u64,
    }
    const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
    let no_map = Element { map_fd: u32::MAX, padding: 0, key: 0, value: 0, flags: 0 };
    // SAFETY: the kernel reads `size_of::<Element>()` bytes of a live `Element`, and
    // follows neither pointer, as -1 is no descriptor.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, BPF_MAP_UPDATE_ELEM, &raw const no_map, size_of::<Element>())
    };
    // Past the check for privilege it is EBADF.
    result == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EPERM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_narrower_right_is_kept() {
        let of =
            |capabilities: &[Capability]| capabilities.iter().copied().collect::<CapsHashSet>();
        let both = of(&[Capability::CAP_SYS_ADMIN, Capability::CAP_BPF, Capability::CAP_CHOWN]);
        assert_eq!(bpf_right(&both), of(&[Capability::CAP_BPF]));
        assert_eq!(bpf_right(&of(&[Capability::CAP_SYS_ADMIN])), of(&[Capability::CAP_SYS_ADMIN]));
        assert_eq!(bpf_right(&of(&[Capability::CAP_CHOWN])), of(&[]));
    }

    /// Needs no root: every set can always be made smaller. On a thread of its own,
    /// since the test runner's others are none of this test's business.
    #[test]
    fn nothing_is_left_that_draining_does_not_need() {
        std::thread::spawn(|| {
            let kept = drop_all().expect("dropping is always allowed");
            for set in [CapSet::Effective, CapSet::Permitted] {
                assert_eq!(caps::read(None, set).expect("readable"), kept);
            }
            for set in [CapSet::Inheritable, CapSet::Ambient] {
                assert!(caps::read(None, set).expect("readable").is_empty());
            }
            assert!(nix::sys::prctl::get_no_new_privs().expect("readable"));
            assert!(kept.len() <= 1);
        })
        .join()
        .expect("the thread ended well");
    }
}
