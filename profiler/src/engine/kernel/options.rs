//! What a session loads, and how large its tables are.

use std::sync::Arc;

use profiler_common::limits::{
    CELLS_PER_EXTENT, DEFAULT_EXTENTS, DEFAULT_THREADS, MAX_EXTENTS, MAX_EXTENTS_SAMPLED,
    MAX_TARGETS, MAX_THREADS, MIN_EXTENTS, MIN_THREADS,
};

use super::{error::KernelError, object::When};
use crate::{
    filter::Filter,
    model::{Scope, Timed},
};

/// Extents per MiB.
const EXTENTS_PER_MIB: u32 = 1024 * 1024 / (CELLS_PER_EXTENT * 128);

/// The request of the flags to the kernel side. [`Options::new`] fills in the defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Which calls are timed.
    pub timed: Timed,
    /// Follow the time that calls spend off the CPU.
    pub off_cpu: bool,
    /// The maximum number of threads that have records at one time.
    pub max_threads: Option<u32>,
    /// Kernel memory for figures, MiB.
    pub max_memory_mib: Option<u32>,
    /// Also count the profiler's own calls.
    pub include_self: bool,
    /// Use the fallback even if the kernel has typed tracepoints and task storage.
    pub force_fallback: bool,
    /// Use arrays even if the kernel has arenas.
    pub force_arrays: bool,
}

/// What a session loads, and how large its tables are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Which processes are counted.
    pub scope: Scope,
    /// Which calls are timed.
    pub timed: Timed,
    /// Follow the time that timed calls spend off the CPU.
    pub off_cpu: bool,
    /// The filters of processes and syscalls.
    pub filter: Filter,
    /// The maximum number of threads that have records at one time, of one user or of all users.
    /// The reserve for further users is added
    pub max_threads: u32,
    /// Extents of 1 KiB in the pool of figures. One user can hold four fifths of them.
    pub max_extents: u32,
    /// Also count the profiler's own calls.
    pub include_self: bool,
    /// Use the fallback even if the kernel has typed tracepoints and task storage.
    pub force_fallback: bool,
    /// Use arrays even if the kernel has arenas.
    pub force_arrays: bool,
    /// Process id of the command that the profiler started and passes signals on to.
    pub command: Option<u32>,
    /// Read the users of processes so that they are exact with any filter, and look up their
    /// names.
    pub users: bool,
    /// Record the cgroups of calls, and the paths of cgroups.
    pub cgroups: bool,
    /// Let the kernel time the programs from their first run on, if this process has the privilege.
    pub time_programs: bool,
    /// Note the targets of calls that fail: which arguments of each call name its target, by
    /// [`overflow_index`](profiler_common::call::CallKey::overflow_index).
    pub targets: Option<Arc<[u32]>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scope: Scope::Host,
            timed: Timed::All,
            off_cpu: false,
            filter: Filter::default(),
            max_threads: DEFAULT_THREADS,
            max_extents: DEFAULT_EXTENTS,
            include_self: false,
            force_fallback: false,
            force_arrays: false,
            command: None,
            users: false,
            cgroups: false,
            time_programs: false,
            targets: None,
        }
    }
}

impl Options {
    /// Turns a request into options, and checks them against the limits.
    ///
    /// # Errors
    /// [`KernelError::Limit`] names the flag and its range.
    pub fn new(scope: Scope, args: &Request) -> Result<Self, KernelError> {
        let defaults = Self::default();
        if let Some(mib) = args.max_memory_mib {
            within("--max-memory", mib, 1, most_extents(args.timed) / EXTENTS_PER_MIB)?;
        }
        let options = Self {
            scope,
            timed: args.timed,
            off_cpu: args.off_cpu,
            filter: Filter::default(),
            max_threads: args.max_threads.unwrap_or(defaults.max_threads),
            max_extents: args
                .max_memory_mib
                .map_or(defaults.max_extents, |mib| mib.saturating_mul(EXTENTS_PER_MIB)),
            include_self: args.include_self,
            force_fallback: args.force_fallback,
            force_arrays: args.force_arrays,
            command: None,
            users: false,
            cgroups: false,
            time_programs: false,
            targets: None,
        };
        options.check()?;
        Ok(options)
    }

    /// Adds a filter.
    #[must_use]
    pub fn filtered(self, filter: Filter) -> Self {
        Self { filter, ..self }
    }

    /// Whether records have cgroups: rows are grouped by cgroup, or a filter has units, containers
    /// or pods.
    pub fn knows_cgroups(&self) -> bool {
        self.cgroups || !self.filter.places.is_empty()
    }

    /// Whether sampling is adaptive.
    pub(super) fn is_adaptive(&self) -> bool {
        matches!(self.timed, Timed::Adaptive(_))
    }

    /// Whether a query with these options requires what is loaded `when`.
    pub(super) fn needs(&self, when: When) -> bool {
        match when {
            When::Always => true,
            When::Cgroups => self.knows_cgroups(),
            When::CgroupMoves => self.knows_cgroups() || !self.filter.cgroups.is_empty(),
            When::Command => self.command.is_some(),
            When::OffCpu => self.off_cpu,
            // The kernel decides: see `Setup::needs`.
            When::Ring(_) | When::Capabilities => false,
            // The options of stacks decide.
            When::StackExits | When::KernelStacks => false,
        }
    }

    /// Checks that every size is within its limits.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        within("--max-threads", self.max_threads, MIN_THREADS, MAX_THREADS)?;
        within("number of extents", self.max_extents, MIN_EXTENTS, most_extents(self.timed))?;
        if let Scope::Processes(processes) = &self.scope {
            let count = u32::try_from(processes.len()).unwrap_or(u32::MAX);
            within("number of processes", count, 1, MAX_TARGETS)?;
        }
        Ok(())
    }
}

/// The maximum number of extents of a session.
fn most_extents(timed: Timed) -> u32 {
    if matches!(timed, Timed::Adaptive(_)) { MAX_EXTENTS_SAMPLED } else { MAX_EXTENTS }
}

/// Checks that a number is within its limits.
pub(super) fn within(
    what: &'static str,
    found: u32,
    least: u32,
    most: u32,
) -> Result<(), KernelError> {
    if (least..=most).contains(&found) {
        Ok(())
    } else {
        Err(KernelError::Limit { what, found, least, most })
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;

    #[test]
    fn flags_are_checked() {
        let args = Request { max_memory_mib: Some(64), ..Request::default() };
        let options = Options::new(Scope::Host, &args).expect("within limits");
        assert_eq!(options.max_extents, 65_536);
        for bad in [0, u32::MAX] {
            let args = Request { max_memory_mib: Some(bad), ..Request::default() };
            assert!(matches!(Options::new(Scope::Host, &args), Err(KernelError::Limit { .. })));
        }
        // Each cell has a sampler too.
        let timed = Timed::Adaptive(NonZeroU32::MIN);
        let args = Request { max_memory_mib: Some(2_048), timed, ..Request::default() };
        assert!(Options::new(Scope::Host, &args).is_ok());
        let args = Request { max_memory_mib: Some(2_049), ..args };
        assert!(matches!(Options::new(Scope::Host, &args), Err(KernelError::Limit { .. })));
        assert!(Options::new(Scope::Host, &Request { timed: Timed::All, ..args }).is_ok());
        let args = Request { max_threads: Some(0), ..Request::default() };
        assert!(matches!(Options::new(Scope::Host, &args), Err(KernelError::Limit { .. })));
        let none = Scope::Processes(Vec::new());
        assert!(Options::new(none, &Request::default()).is_err());
    }
}
