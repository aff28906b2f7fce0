//! Puts indexes onto the free stacks by a program that the kernel runs for the user side.

use aya::{
    Ebpf,
    maps::Map,
    programs::{RawTracePoint, RawTracePointRunOptions, TestRun as _},
};
use profiler_common::{fill, maps as names};

use crate::engine::kernel::{
    error::KernelError,
    loader, maps,
    object::{self, ObjectName},
    programs, sharing,
};

const PROGRAM: &str = "fill";

/// The loaded program.
pub(super) struct Filler(Ebpf);

impl Filler {
    /// Loads the program for these stacks. `None` if the kernel refuses it: syscalls can fill the
    /// stacks too.
    pub(super) fn load_for(free_records: &Map, free_extents: &Map) -> Option<Self> {
        Self::load(free_records, free_extents)
            .inspect_err(|error| tracing::debug!("the free stacks are filled by syscalls: {error}"))
            .ok()
    }

    fn load(free_records: &Map, free_extents: &Map) -> Result<Self, KernelError> {
        let failed = |error: &(dyn std::error::Error + 'static)| {
            KernelError::from_any(format!("load {PROGRAM}"), error)
        };
        let bytes = object::find(ObjectName::Fill).bytes();
        let mut ebpf = loader::without_types().load(&bytes).map_err(|error| failed(&error))?;
        let stacks = [(names::FREE_RECORDS, free_records), (names::FREE_EXTENTS, free_extents)];
        for (name, stack) in stacks {
            let fd = maps::fd(stack);
            let fd = fd.ok_or_else(|| KernelError::Object(format!("{name} has no descriptor")))?;
            sharing::share_fd(&ebpf, name, fd)?;
        }
        let program = programs::find::<RawTracePoint>(&mut ebpf, PROGRAM)?;
        programs::load_despite_signals(|| program.load()).map_err(|error| failed(&error))?;
        Ok(Self(ebpf))
    }

    /// Pushes the `count` indexes below `end` onto `stack` (see [`fill`]), the greatest first.
    /// Returns how many were pushed: fewer if the kernel refuses to run the program.
    pub(super) fn push(&mut self, stack: u64, end: u32, count: u32) -> u32 {
        let Ok(program) = programs::find::<RawTracePoint>(&mut self.0, PROGRAM) else { return 0 };
        let mut pushed = 0;
        while pushed < count {
            let mut options = RawTracePointRunOptions::new();
            let now = (count - pushed).min(fill::BATCH);
            options.args[..3].copy_from_slice(&[stack, (end - pushed).into(), now.into()]);
            let Ok(answer) = program.test_run(options) else { break };
            pushed += answer.return_value.min(now);
            // The stack is full, which cannot happen, or the program did not run at all.
            if answer.return_value != now {
                break;
            }
        }
        pushed
    }
}
