//! Which arguments of a call name its target: paths, a socket address or a descriptor.

use std::sync::Arc;

use profiler_common::{
    call::{CallKey, OVERFLOW_SLOTS},
    failing::plan::{ADDRESS, BITS, DIRECTORY, DIRECTORY_2, FD, LENGTH, PATH, PATH_2},
};

use super::signature::{self, Count, Direction, Of, Scalar};

/// The plans of all calls, by [`CallKey::overflow_index`].
pub fn plans() -> Arc<[u32]> {
    (0..OVERFLOW_SLOTS).map(|index| CallKey::from_overflow_index(index).map_or(0, plan)).collect()
}

/// The arguments of a call that name its target, as [`profiler_common::failing::plan`] says.
fn plan(key: CallKey) -> u32 {
    let Some((abi, signature)) = key.abi().zip(signature::of(key)) else { return 0 };
    let mut plan = 0;
    let mut set = |which: u32, register: usize| {
        // The kernel side has six arguments.
        let register = u32::try_from(register).unwrap_or(u32::MAX);
        if register < 6 {
            plan |= (register + 1) << (which * BITS);
        }
    };
    let mut register = 0;
    let (mut paths, mut directory, mut descriptor) = (0, None, None);
    for kind in &signature.kinds {
        match (&kind.of, kind.direction) {
            (Of::Path, Direction::In) if paths < 2 => {
                let (path, of) = [(PATH, DIRECTORY), (PATH_2, DIRECTORY_2)][paths];
                set(path, register);
                if let Some(directory) = directory.take() {
                    set(of, directory);
                }
                paths += 1;
            }
            (Of::Scalar(Scalar::DirFd), _) => directory = Some(register),
            (Of::Scalar(Scalar::Fd), _) => {
                descriptor.get_or_insert(register);
            }
            (&Of::SocketAddress(Count::Argument(length)), Direction::In) => {
                set(ADDRESS, register);
                set(LENGTH, length.into());
            }
            _ => {}
        }
        register += kind.of.registers(abi);
    }
    if let Some(descriptor) = descriptor {
        set(FD, descriptor);
    }
    plan
}

#[cfg(test)]
mod tests {
    use profiler_common::{call::Abi, failing::plan::argument};

    use super::*;
    use crate::names::table::Table;

    fn of(abi: Abi, name: &str) -> [u32; 7] {
        let call = Table::get().named(name).expect("a call");
        let plan = plan(CallKey::of(abi, call.on(abi).expect("on this ABI").number));
        std::array::from_fn(|which| argument(plan, which as u32))
    }

    #[test]
    fn a_plan_names_the_target() {
        assert_eq!(of(Abi::X86_64, "open"), [1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(of(Abi::X86_64, "openat"), [2, 1, 0, 0, 0, 0, 0]);
        assert_eq!(of(Abi::X86_64, "renameat2"), [2, 1, 4, 3, 0, 0, 0]);
        assert_eq!(of(Abi::X86_64, "symlinkat"), [1, 0, 3, 2, 0, 0, 0]);
        assert_eq!(of(Abi::X86_64, "connect"), [0, 0, 0, 0, 2, 3, 1]);
        assert_eq!(of(Abi::X86_64, "sendto"), [0, 0, 0, 0, 5, 6, 1]);
        assert_eq!(of(Abi::X86_64, "read"), [0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(of(Abi::X86_64, "kill"), [0; 7]);
        assert_eq!(of(Abi::I386, "openat"), [2, 1, 0, 0, 0, 0, 0]);
    }

    /// Each call of strace's class `%file` has a path.
    #[test]
    fn plans_cover_the_calls_with_paths() {
        let plans = plans();
        assert_eq!(plans.len(), OVERFLOW_SLOTS as usize);
        let with_path = plans.iter().filter(|&&plan| argument(plan, PATH) != 0).count();
        assert!(with_path > 200, "{with_path}");
    }
}
