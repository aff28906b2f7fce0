//! Reads which signals were sent to the profiler and to the command that it started.
//!
//! A process cannot distinguish a `kill(2)` of itself from a `kill(2)` of its process group: both
//! are `SI_USER`. The tracepoint `signal_generate` reports each process to which a signal is sent.

use std::time::Duration;

use aya::{
    Ebpf,
    maps::{Array, MapData},
};
use profiler_common::{maps as names, signals, wire::SignalSent};

use super::{error::KernelError, maps};

/// The last signals of each number to the profiler and to the command.
pub struct SignalsSent(Array<MapData, SignalSent>);

impl SignalsSent {
    /// Takes the map out of the object that has it.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, KernelError> {
        Array::try_from(maps::take(ebpf, names::SIGNALS_SENT)?)
            .map(Self)
            .map_err(|e| KernelError::from_any("watch signals".into(), &e))
    }

    /// Whether the command also got the last signal of this number to the profiler.
    ///
    /// It did if the kernel sent the signal to both within `tolerance`. If a process sent the
    /// signal, the sender must be the same too. `None` if the map cannot be read.
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
