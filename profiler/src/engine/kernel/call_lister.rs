//! Lists the calls that entered before the attach, by a task iterator.
//!
//! If the kernel cannot list them, the list is empty. This is not an error.

use std::io::{self, Read as _};

use aya::{Btf, Ebpf, programs::Iter};
use profiler_common::settings::FieldGroup;

use super::{features::Features, host_tasks, programs, settings::TASK_REGS_SINCE};

/// The capacity of the list: one call for each task of the host.
pub(super) fn capacity(features: &Features) -> u32 {
    if is_possible(features) { host_tasks::count() } else { 1 }
}

fn is_possible(features: &Features) -> bool {
    features.version >= TASK_REGS_SINCE && features.layout.has(FieldGroup::Sleep)
}

/// Loads the iterator `name`. Returns whether it was loaded.
pub(super) fn load(ebpf: &mut Ebpf, name: &str, features: &Features, btf: &Btf) -> bool {
    if !is_possible(features) {
        return false;
    }
    let loaded = programs::find::<Iter>(ebpf, name).map_err(|error| error.to_string()).and_then(
        |iterator| {
            let loaded = programs::load_despite_signals(|| iterator.load("task", btf));
            loaded.map_err(|error| error.to_string())
        },
    );
    if let Err(error) = &loaded {
        tracing::info!("cannot list the calls that entered before the attach: {error}");
    }
    loaded.is_ok()
}

/// Runs the iterator `name`, which is loaded, over every task. Returns whether it visited all.
pub(super) fn run(ebpf: &mut Ebpf, name: &str) -> bool {
    let visited = visit_tasks(ebpf, name);
    if let Err(error) = &visited {
        tracing::warn!("cannot list all calls that entered before the attach: {error}");
    }
    visited.is_ok()
}

fn visit_tasks(ebpf: &mut Ebpf, name: &str) -> io::Result<()> {
    let iterator = programs::find::<Iter>(ebpf, name).map_err(io::Error::other)?;
    let id = iterator.attach().map_err(io::Error::other)?;
    let link = iterator.take_link(id).map_err(io::Error::other)?;
    // The program prints nothing: one read visits all tasks and returns the end of the file.
    link.into_file().map_err(io::Error::other)?.read_to_end(&mut Vec::new())?;
    Ok(())
}
