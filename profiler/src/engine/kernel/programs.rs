//! Finds the programs of an object, and loads them.

use aya::{Ebpf, programs::ProgramError};

use super::error::KernelError;

/// The program of this name.
pub(super) fn find<'a, T>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut T, KernelError>
where
    &'a mut T: TryFrom<&'a mut aya::programs::Program>,
{
    ebpf.program_mut(name)
        .and_then(|p| p.try_into().ok())
        .ok_or_else(|| KernelError::Object(format!("it has no program {name}")))
}

/// How often a load is tried while signals interrupt it: as often as libbpf tries
/// (`PROG_LOAD_ATTEMPTS`, tools/lib/bpf/bpf.c).
const LOAD_ATTEMPTS: usize = 5;

/// Repeats the load of a program while a signal, a debugger or the freezer of cgroups interrupts
/// the verifier, which then returns EAGAIN (`do_check`, kernel/bpf/verifier.c).
pub(super) fn load_despite_signals(
    mut load: impl FnMut() -> Result<(), ProgramError>,
) -> Result<(), ProgramError> {
    let mut loaded = load();
    for _ in 1..LOAD_ATTEMPTS {
        match &loaded {
            Err(ProgramError::LoadError { io_error, .. })
                if io_error.raw_os_error() == Some(libc::EAGAIN) => {}
            _ => break,
        }
        loaded = load();
    }
    loaded
}
