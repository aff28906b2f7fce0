//! Which signals reached the profiler and the command that it started, as the kernel saw them
//! sent.
//!
//! `kill(2)` of a process and of its group look the same to the process (`SI_USER`), and
//! `signalfd(2)` tells no more. The tracepoint `signal_generate` names each process that a
//! signal is sent to.

use std::time::Duration;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use profiler_common::{limits::globals, maps, signals, wire::SignalSent};

use super::{
    KernelError, Options,
    load::take_map,
    programs::{ProgramSpec, SIGNAL_SENT},
};

/// The program that is needed beside all others, if there is a command.
pub(super) fn program(options: &Options) -> Option<ProgramSpec> {
    options.command.map(|_| SIGNAL_SENT)
}

/// What the program has to know before it is loaded.
pub(super) fn settings(options: &Options) -> Vec<(&'static str, u32)> {
    options.command.map_or_else(Vec::new, |command| {
        vec![(globals::PROFILER_TGID, std::process::id()), (globals::COMMAND_TGID, command)]
    })
}

/// See the module.
pub struct SignalsSent(Array<MapData, SignalSent>);

impl SignalsSent {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Array::try_from(take_map(ebpf, maps::SIGNALS_SENT)?)
            .map(Self)
            .map_err(|e| KernelError::from_any("watch signals".into(), &e))
    }

    /// Whether the command got the signal that was last sent to the profiler: the kernel sent
    /// it to both within `tolerance`, for the same sender if a process sent it. `None` if
    /// that cannot be read.
    pub fn command_got(&self, signal: i32, by_kernel: bool, tolerance: Duration) -> Option<bool> {
        let signal = u32::try_from(signal).ok()?;
        let profiler = self.0.get(&(signals::TO_PROFILER + signal), 0).ok()?;
        let command = self.0.get(&(signals::TO_COMMAND + signal), 0).ok()?;
        let apart = Duration::from_nanos(profiler.ns.abs_diff(command.ns));
        let after = command.ns >= profiler.ns;
        let same_sender = by_kernel || profiler.sender == command.sender;
        Some(command.ns != 0 && (after || apart <= tolerance) && same_sender)
    }
}
