//! Stacks of calls: who calls a syscall, with which share, and how well that is known.

use profiler_common::call::CallKey;

use crate::text::Untrusted;

/// What the sums are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// Calls.
    Calls,
    /// Latency, nanoseconds.
    Time,
    /// Calls that failed.
    Errors,
}

/// How a stack was obtained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// From a copy of its memory, by the unwind information of the program.
    Unwound,
    /// By frame pointers, in the kernel.
    FramePointers,
    /// There is none in user space.
    KernelOnly,
    /// The table of stacks had no space for it, or no call was chosen yet.
    Lost,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 4] = [Self::Unwound, Self::FramePointers, Self::KernelOnly, Self::Lost];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unwound => "unwound",
            Self::FramePointers => "frame_pointers",
            Self::KernelOnly => "kernel_only",
            Self::Lost => "lost",
        }
    }
}

/// A function of a stack.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frame {
    /// The name of the function, demangled. `None` if it is not known.
    pub function: Option<Untrusted>,
    /// The file that has the function.
    pub module: Option<Untrusted>,
    /// The offset of the instruction in the file; its address if there is no file.
    pub offset: u64,
    /// The build id of the file, in hexadecimal digits.
    pub build_id: Option<String>,
    /// Whether the function is in the kernel.
    pub is_kernel: bool,
}

/// The calls with one stack.
#[derive(Clone, Debug, PartialEq)]
pub struct StackRow {
    /// The process; 0 if it is not known.
    pub pid: u32,
    /// The name of the process.
    pub comm: Untrusted,
    /// The syscall.
    pub call: CallKey,
    /// The functions in user space, the outermost first.
    pub user: Vec<Frame>,
    /// The functions in the kernel in which the call waited last, the outermost first.
    pub kernel: Vec<Frame>,
    /// The sum.
    pub weight: u64,
    /// How many stacks were taken.
    pub stacks: u64,
    /// The variance of `weight` due to sampling.
    pub variance: f64,
    /// How the stack was obtained.
    pub method: Method,
    /// Whether the outermost functions are missing.
    pub is_truncated: bool,
}

/// What all calls of a syscall add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallTotal {
    /// The sum of the weights.
    pub weight: u64,
    /// How many calls there were that add to the sum.
    pub calls: u64,
}

/// How stacks were chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// The stack of every call was taken.
    Every,
    /// About so many stacks per second and CPU.
    Rate(u32),
}

/// All stacks of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct StackProfile {
    /// What the sums are of.
    pub weight: Weight,
    /// How stacks were chosen.
    pub sampling: Sampling,
    /// The duration of the run, nanoseconds.
    pub duration_ns: u64,
    /// The rows, the greatest weight first. Their weights add up to `total`.
    pub rows: Vec<StackRow>,
    /// The sum of all calls, exact.
    pub total: u64,
    /// How many calls add to the sum.
    pub calls: u64,
    /// What could not be read, one sentence each.
    pub remarks: Vec<String>,
}

impl StackProfile {
    /// The standard error of the share of the rows for which `is_part` returns true, as a part of 1.
    ///
    /// Each row's weight is a sum of random weights with a known variance. A weight that is added to
    /// the part is taken from the rest, since the total is exact.
    pub fn standard_error(&self, is_part: impl Fn(&StackRow) -> bool) -> f64 {
        if self.total == 0 {
            return 0.0;
        }
        let (mut part, mut inside, mut outside) = (0_u64, 0.0, 0.0);
        for row in &self.rows {
            if is_part(row) {
                part += row.weight;
                inside += row.variance;
            } else {
                outside += row.variance;
            }
        }
        let total = self.total as f64;
        let share = part as f64 / total;
        ((1.0 - share).powi(2) * inside + share.powi(2) * outside).sqrt() / total
    }

    /// The standard error of the share of the greatest row.
    pub fn greatest_standard_error(&self) -> f64 {
        let Some(greatest) = self.rows.first() else { return 0.0 };
        self.standard_error(|row| std::ptr::eq(row, greatest))
    }

    /// The share of the rows for which `is_part` returns true, as a part of 1.
    pub fn share(&self, is_part: impl Fn(&StackRow) -> bool) -> f64 {
        let part: u64 = self.rows.iter().filter(|row| is_part(row)).map(|row| row.weight).sum();
        if self.total == 0 { 0.0 } else { part as f64 / self.total as f64 }
    }

    /// How many stacks were taken.
    pub fn stacks(&self) -> u64 {
        self.rows.iter().map(|row| row.stacks).sum()
    }
}

impl StackRow {
    /// Whether the stack has a function in user space whose name is not known.
    pub fn is_unsymbolised(&self) -> bool {
        self.user.iter().any(|frame| frame.function.is_none())
    }
}

/// Splits `whole` in proportion to `parts`. The results add up to `whole`.
pub fn split(whole: u64, parts: &[u64]) -> Vec<u64> {
    let total: u128 = parts.iter().map(|&part| u128::from(part)).sum();
    if total == 0 {
        return vec![0; parts.len()];
    }
    let mut before: u128 = 0;
    let mut given: u128 = 0;
    let piece = |&part: &u64| {
        before += u128::from(part);
        // Rounding the running sum keeps the sum of the pieces exact.
        let up_to = u128::from(whole) * before / total;
        let piece = up_to - given;
        given = up_to;
        u64::try_from(piece).unwrap_or(u64::MAX)
    };
    parts.iter().map(piece).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(weight: u64, variance: f64) -> StackRow {
        StackRow {
            pid: 1,
            comm: "a".into(),
            call: CallKey::new(0, false),
            user: Vec::new(),
            kernel: Vec::new(),
            weight,
            stacks: 1,
            variance,
            method: Method::FramePointers,
            is_truncated: false,
        }
    }

    fn profile(rows: Vec<StackRow>) -> StackProfile {
        StackProfile {
            weight: Weight::Calls,
            sampling: Sampling::Rate(1),
            duration_ns: 1,
            total: rows.iter().map(|row| row.weight).sum(),
            calls: 1,
            rows,
            remarks: Vec::new(),
        }
    }

    #[test]
    fn pieces_add_up_to_the_whole() {
        assert_eq!(split(10, &[1, 1, 1]), [3, 3, 4]);
        assert_eq!(split(u64::MAX, &[u64::MAX, 0]), [u64::MAX, 0]);
        assert_eq!(split(7, &[0, 0]), [0, 0]);
        assert_eq!(split(1_000_001, &[3, 5, 9]).iter().sum::<u64>(), 1_000_001);
    }

    /// With constant weights, it is the standard error of a share of independent draws.
    #[test]
    fn the_error_of_a_share_is_that_of_draws() {
        // 100 draws of weight 10: 30 in the first row.
        let profile = profile(vec![row(300, 30.0 * 100.0), row(700, 70.0 * 100.0)]);
        let error = profile.standard_error(|row| row.weight == 300);
        let expected = (0.3_f64 * 0.7 / 100.0).sqrt();
        assert!((error - expected).abs() < 1e-9, "{error} {expected}");
        assert_eq!(profile.standard_error(|_| true), 0.0);
    }

    #[test]
    fn exact_rows_have_no_error() {
        let profile = profile(vec![row(3, 0.0), row(7, 0.0)]);
        assert_eq!(profile.greatest_standard_error(), 0.0);
        assert!((profile.share(|row| row.weight == 3) - 0.3).abs() < 1e-12);
    }
}
