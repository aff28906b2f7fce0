//! Which stacks are taken, and how many.

use profiler_common::stacks::{WEIGHT_CALLS, WEIGHT_ERRORS, WEIGHT_TIME};

use crate::{
    engine::kernel::{
        error::KernelError,
        options::{Options, within},
    },
    model::stacks::Weight,
};

/// Which stacks are taken, and how many.
#[derive(Clone, Debug)]
pub struct StackOptions {
    /// The scope and the filters. The other options are of no importance.
    pub options: Options,
    /// What the sums are of.
    pub weight: Weight,
    /// Only calls that took at least so many nanoseconds; all calls if it is 0.
    pub slower_ns: u64,
    /// Take the stack of every call.
    pub every: bool,
    /// Also take the stack in the kernel where a call waits.
    pub kernel: bool,
    /// Copy the memory of stacks, so that they can be unwound without frame pointers.
    pub copies: bool,
    /// Stacks per second and CPU, about. With `every`: copies.
    pub rate: u32,
    /// How many different stacks there is space for.
    pub max_stacks: u32,
}

impl Default for StackOptions {
    fn default() -> Self {
        Self {
            options: Options::default(),
            weight: Weight::Calls,
            slower_ns: 0,
            every: false,
            kernel: false,
            copies: true,
            rate: 1_000,
            max_stacks: 16_384,
        }
    }
}

impl StackOptions {
    /// Whether calls are chosen when they leave.
    pub(super) fn needs_exits(&self) -> bool {
        self.weight != Weight::Calls || self.slower_ns > 0 || self.kernel
    }

    /// The setting of the weight.
    pub(super) fn weight_setting(&self) -> u32 {
        match self.weight {
            Weight::Calls => WEIGHT_CALLS,
            Weight::Time => WEIGHT_TIME,
            Weight::Errors => WEIGHT_ERRORS,
        }
    }

    /// Checks the limits.
    pub(super) fn check(&self) -> Result<(), KernelError> {
        self.options.check()?;
        within("rate of stacks", self.rate, 1, 100_000)?;
        within("number of stacks", self.max_stacks, 64, 1 << 20)
    }
}
