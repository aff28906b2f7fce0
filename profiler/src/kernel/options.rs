//! What to load, and how large.

use std::num::NonZeroU32;

use profiler_common::limits::{
    CELLS_PER_EXTENT, DEFAULT_EXTENTS, DEFAULT_THREADS, MAX_EXTENTS, MAX_TARGETS, MAX_THREADS,
    MIN_EXTENTS, MIN_THREADS, sampling,
};

use super::KernelError;
use crate::{cli::KernelArgs, filter::Filter};

/// Extents in a MiB.
const EXTENTS_PER_MIB: u32 = 1024 * 1024 / (CELLS_PER_EXTENT * 128);

/// Which processes count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// All of the host's.
    #[default]
    Host,
    /// These, by host process id, and the children that they start from now on.
    Processes(Vec<u32>),
}

/// Which calls are timed. All are counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Timed {
    /// All of them.
    #[default]
    All,
    /// One in so many on average, of every thread and system call alike; two or more.
    OneIn(NonZeroU32),
    /// None: counts and outcomes only.
    None,
}

impl Timed {
    /// One call in how many: 1 for all; `None` for none.
    pub fn one_in(self) -> Option<u32> {
        match self {
            Self::All => Some(1),
            Self::OneIn(calls) => Some(calls.get()),
            Self::None => None,
        }
    }

    /// As the programs have it.
    pub(super) fn threshold(self) -> u32 {
        match self {
            Self::All => sampling::ALL,
            Self::OneIn(calls) => sampling::one_in(calls.get()),
            Self::None => sampling::NONE,
        }
    }
}

/// What to load, and how large.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which processes count.
    pub scope: Scope,
    /// Which calls are timed.
    pub timed: Timed,
    /// Which of their calls, and of them themselves.
    pub filter: Filter,
    /// Threads that can be recorded apart at one time.
    pub max_threads: u32,
    /// Extents of 1 KiB in the pool of figures.
    pub max_extents: u32,
    /// Count the profiler's own calls too.
    pub include_self: bool,
    /// Use the fallback even where the kernel has what the main way needs.
    pub force_fallback: bool,
    /// Use arrays even where the kernel has arenas.
    pub force_arrays: bool,
    /// Process id of the command that the profiler started, if it passes signals on to one.
    pub command: Option<u32>,
    /// Have the kernel time the programs, from their first run on, if it may be asked to.
    pub time_programs: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scope: Scope::Host,
            timed: Timed::All,
            filter: Filter::default(),
            max_threads: DEFAULT_THREADS,
            max_extents: DEFAULT_EXTENTS,
            include_self: false,
            force_fallback: false,
            force_arrays: false,
            command: None,
            time_programs: false,
        }
    }
}

impl Options {
    /// Options out of flags, checked against the limits.
    ///
    /// # Errors
    /// [`KernelError::Limit`] names the flag and its range.
    pub fn new(scope: Scope, args: &KernelArgs) -> Result<Self, KernelError> {
        let defaults = Self::default();
        if let Some(mib) = args.max_memory {
            within("--max-memory", mib, 1, MAX_EXTENTS / EXTENTS_PER_MIB)?;
        }
        let options = Self {
            scope,
            timed: args.timed(),
            filter: Filter::default(),
            max_threads: args.max_threads.unwrap_or(defaults.max_threads),
            max_extents: args
                .max_memory
                .map_or(defaults.max_extents, |mib| mib.saturating_mul(EXTENTS_PER_MIB)),
            include_self: args.include_self,
            force_fallback: args.force_fallback,
            force_arrays: args.force_arrays,
            command: None,
            time_programs: false,
        };
        options.check()?;
        Ok(options)
    }

    /// The same, of what the filter lets count.
    #[must_use]
    pub fn filtered(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Whether every size is within its limits.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        within("--max-threads", self.max_threads, MIN_THREADS, MAX_THREADS)?;
        within("number of extents", self.max_extents, MIN_EXTENTS, MAX_EXTENTS)?;
        if let Scope::Processes(processes) = &self.scope {
            let count = u32::try_from(processes.len()).unwrap_or(u32::MAX);
            within("number of processes", count, 1, MAX_TARGETS)?;
        }
        Ok(())
    }
}

fn within(what: &'static str, found: u32, least: u32, most: u32) -> Result<(), KernelError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(KernelError::Limit { what, found, least, most })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_checked() {
        let args = KernelArgs { max_memory: Some(64), ..KernelArgs::default() };
        let options = Options::new(Scope::Host, &args).expect("within limits");
        assert_eq!(options.max_extents, 65_536);
        for bad in [0, u32::MAX] {
            let args = KernelArgs { max_memory: Some(bad), ..KernelArgs::default() };
            assert!(matches!(Options::new(Scope::Host, &args), Err(KernelError::Limit { .. })));
        }
        let args = KernelArgs { max_threads: Some(0), ..KernelArgs::default() };
        assert!(matches!(Options::new(Scope::Host, &args), Err(KernelError::Limit { .. })));
        let none = Scope::Processes(Vec::new());
        assert!(Options::new(none, &KernelArgs::default()).is_err());
    }
}
