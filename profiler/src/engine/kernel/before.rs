//! Lists the calls that entered before the programs attached, by a task iterator.
//!
//! Where the kernel has no such thing, nothing is listed, and that is no failure.

use std::io::{self, Read as _};

use aya::{Btf, Ebpf, programs::Iter};

use super::{
    features::Features,
    load::{program, though_interrupted},
    memory,
};

const PROGRAM: &str = "calls_before";

/// `bpf_task_pt_regs`.
pub(super) const SINCE: (u32, u32) = (5, 15);

/// Room for the call of every task of the host.
pub(super) fn room(features: &Features) -> u32 {
    if !possible(features) {
        return 1;
    }
    memory::tasks()
}

fn possible(features: &Features) -> bool {
    features.version >= SINCE && features.layout.is_some_and(|layout| layout.sleep.is_some())
}

/// Loads the iterator; whether that could be done.
pub(super) fn load(ebpf: &mut Ebpf, features: &Features, btf: &Btf) -> bool {
    if !possible(features) {
        return false;
    }
    let loaded =
        program::<Iter>(ebpf, PROGRAM).map_err(|error| error.to_string()).and_then(|iterator| {
            let loaded = though_interrupted(|| iterator.load("task", btf));
            loaded.map_err(|error| error.to_string())
        });
    if let Err(error) = &loaded {
        tracing::info!("calls that entered before are not shown: {error}");
    }
    loaded.is_ok()
}

/// Has the iterator, which is loaded, visit every task; whether it did.
pub(super) fn list(ebpf: &mut Ebpf) -> bool {
    let listed = visit(ebpf);
    if let Err(error) = &listed {
        tracing::warn!("calls that entered before are not all shown: {error}");
    }
    listed.is_ok()
}

fn visit(ebpf: &mut Ebpf) -> io::Result<()> {
    let iterator = program::<Iter>(ebpf, PROGRAM).map_err(io::Error::other)?;
    let id = iterator.attach().map_err(io::Error::other)?;
    let link = iterator.take_link(id).map_err(io::Error::other)?;
    // It prints nothing: one read visits all, and is the end.
    link.into_file().map_err(io::Error::other)?.read_to_end(&mut Vec::new())?;
    Ok(())
}
