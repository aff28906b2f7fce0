//! The kernel side, as seen from user space: the only place that knows aya.

mod object;

/// Which processes count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the host's.
    #[default]
    Host,
    /// These, by host process id, and the children that they start from now on.
    Processes(Vec<u32>),
}

/// What to load, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which processes count.
    pub scope: Scope,
    /// Threads that can be recorded apart at one time.
    pub max_threads: u32,
    /// Extents of 1 KiB in the pool of figures.
    pub max_extents: u32,
    /// Count the profiler's own calls too.
    pub include_self: bool,
    /// Use the fallback even where the kernel has what the main way needs.
    pub force_fallback: bool,
}

impl Options {
    /// Options out of flags, checked against the limits.
    pub fn new(scope: Scope, args: &crate::cli::KernelArgs) -> Result<Self, KernelError> {
        let _ = (scope, args);
        todo!()
    }
}

/// Why the kernel side did not come up.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {}

impl KernelError {
    /// What the user can do.
    pub fn hint(&self) -> Option<String> {
        None
    }
    /// Exit code.
    pub fn exit_code(&self) -> u8 {
        1
    }
}
