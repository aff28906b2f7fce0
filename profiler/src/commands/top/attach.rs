//! Attaches the programs, if possible with those that tell calls apart by cgroup.
//!
//! A key can ask for containers, pods, units or cgroups at any time, but all programs are attached at
//! the start. The programs for cgroups add nothing to a call, so they are attached without being
//! asked for. They must not cost figures: if the memory does not suffice for everything, they go.

use crate::{
    aggregate::KeepEnded,
    engine::kernel::{Fit, KernelError, MemoryLimit, Options, Profiler},
};

/// Attaches the programs. Unless cgroups are `required`, also returns why calls are not told apart by
/// cgroup, if they are not.
///
/// # Errors
/// If the kernel side does not start. If cgroups are required, also if they cannot be told apart.
pub(super) fn attach(
    options: &Options,
    keep: KeepEnded,
    required: bool,
) -> Result<(Profiler, Option<String>), KernelError> {
    let with_cgroups = Options { cgroups: true, ..options.clone() };
    if required {
        return Profiler::attach(&with_cgroups, keep).map(|profiler| (profiler, None));
    }
    let limit = MemoryLimit::tightest();
    let fit = |options: &Options| Fit::new(options, limit.as_ref());
    let why = match too_little_memory(fit(options), fit(&with_cgroups)) {
        Some(why) => why,
        None => match Profiler::attach(&with_cgroups, keep) {
            Ok(profiler) => return Ok((profiler, None)),
            Err(error) => explained(&error),
        },
    };
    // What prevents everything prevents this too, and its error says so.
    Profiler::attach(options, keep).map(|profiler| (profiler, Some(why)))
}

/// What the programs for cgroups would displace.
fn too_little_memory(
    without: Result<Fit, KernelError>,
    with: Result<Fit, KernelError>,
) -> Option<String> {
    const REMEDY: &str = "--by container attaches them nevertheless; or raise the limit \
                          (MemoryMax= of a unit, `resources.limits.memory` of a pod)";
    match (without.ok()?, with) {
        (_, Err(error)) => Some(explained(&error)),
        (without, Ok(with)) if without == with => None,
        (_, Ok(Fit { why: Some(why), .. })) => {
            Some(format!("their programs would take memory from other figures: {why}. {REMEDY}"))
        }
        (_, Ok(Fit { why: None, .. })) => {
            Some(format!("their programs would take memory from those for io_uring. {REMEDY}"))
        }
    }
}

/// An error with what the user can do.
fn explained(error: &KernelError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {}", hint.replace('\n', " ")),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit(max_threads: u32, has_room_for_rings: bool) -> Result<Fit, KernelError> {
        let why = (max_threads < 9).then(|| "room for fewer threads".to_owned());
        Ok(Fit { max_threads, max_extents: 9, why, has_room_for_rings })
    }

    #[test]
    fn cgroups_take_no_memory_from_figures() {
        assert_eq!(too_little_memory(fit(9, true), fit(9, true)), None);
        let why = too_little_memory(fit(9, true), fit(8, true)).unwrap();
        assert!(why.contains("room for fewer threads") && why.contains("--by container"), "{why}");
        let why = too_little_memory(fit(9, true), fit(9, false)).unwrap();
        assert!(why.contains("io_uring") && why.contains("MemoryMax="), "{why}");
        let too_small = || KernelError::Memory { of: "half".into(), least: 3, all: 4 };
        let why = too_little_memory(fit(9, true), Err(too_small())).unwrap();
        assert!(why.contains("at least 3 MiB"), "{why}");
        // Nothing fits, so the attach says so.
        assert_eq!(too_little_memory(Err(too_small()), Err(too_small())), None);
    }
}
