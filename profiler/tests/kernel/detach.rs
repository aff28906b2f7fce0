//! A run leaves nothing in the kernel, regardless of how it ends.
//!
//! The tests look up exactly the kernel objects of the run, by id. So other users of BPF on this
//! host do not matter.

use std::collections::BTreeMap;

use crate::run::{Mode, Running, Stat, kernel_ids, wait_until};

/// Commands of bpf(2) that open an object by its id (include/uapi/linux/bpf.h).
const BY_ID: [(&str, libc::c_long); 3] = [("prog_id", 13), ("map_id", 14), ("link_id", 30)];

/// The kernel objects of a running profiler, by kind.
pub(crate) fn objects(running: &Running) -> BTreeMap<&'static str, Vec<u32>> {
    let ids = BY_ID.map(|(kind, _)| (kind, kernel_ids(running.pid(), kind)));
    for (kind, ids) in &ids {
        assert!(!ids.is_empty(), "a running profiler has a {kind}");
    }
    ids.into()
}

/// Whether the kernel still has an object.
fn exists(kind: &str, id: u32) -> bool {
    let (_, command) = BY_ID.into_iter().find(|(k, _)| *k == kind).expect("a kind");
    // `struct { __u32 id; __u32 next_id; __u32 open_flags; }` of `union bpf_attr`.
    let attributes = [id, 0, 0];
    let size = size_of_val(&attributes);
    // SAFETY: the kernel reads these bytes, and opens a descriptor.
    let opened = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), size) };
    let error = std::io::Error::last_os_error();
    if let Ok(descriptor @ 0..) = i32::try_from(opened) {
        // SAFETY: our own descriptor, which was just opened.
        unsafe { libc::close(descriptor) };
        return true;
    }
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT), "{kind} {id}: {error}");
    false
}

/// Checks that the kernel frees these objects, which it does a little later.
#[track_caller]
pub(crate) fn assert_gone(objects: &BTreeMap<&'static str, Vec<u32>>) {
    for (kind, ids) in objects {
        for &id in ids {
            wait_until("what a run left is freed", || !exists(kind, id));
        }
    }
}

pub(crate) fn after_an_interrupt(mode: Mode) {
    let running = Stat::new(mode).args(["--all"]).start().attached();
    let objects = objects(&running);
    assert!(objects.iter().all(|(kind, ids)| ids.iter().all(|&id| exists(kind, id))));
    running.interrupt();
    assert_gone(&objects);
}

pub(crate) fn after_a_kill(mode: Mode) {
    let running = Stat::new(mode).args(["--all"]).start().attached();
    let objects = objects(&running);
    running.signal(libc::SIGKILL);
    assert_eq!(running.end().code(), None);
    assert_gone(&objects);
}
