//! Trials for the kernel tests: a session with two objects that share a map, and an engine that misses
//! the ends of threads.

use std::time::Duration;

use profiler_common::maps as names;

use super::{
    attached::Attached,
    error::KernelError,
    object::{self, ObjectName, ObjectSpec},
    options::Options,
    profiler::Profiler,
    session::Session,
};

/// The program of the second object.
const PROGRAM: &str = "signal_sent";

/// A session whose second object watches signals, into the map of the first object.
pub struct Pair(Session);

impl Pair {
    /// Attaches both objects, and detaches the program of the first object that watches signals.
    ///
    /// # Errors
    /// See [`KernelError`]; nothing stays attached.
    pub fn attach(options: &Options) -> Result<Self, KernelError> {
        // Only built for tests, so a leak is acceptable.
        let second: &ObjectSpec = Box::leak(Box::new(second_object()));
        let mut session = Session::attach_with(options, &[second])?;
        let first = session.objects_mut().next();
        let watchers = first.into_iter().flat_map(|object| &mut object.programs);
        watchers.filter(|program| program.spec.name == PROGRAM).for_each(Attached::detach);
        Ok(Self(session))
    }

    /// Whether the map of the first object has a signal of this number to the command.
    pub fn has_signal(&self, signal: i32) -> Option<bool> {
        self.0.signals_sent()?.command_got(signal, true, Duration::ZERO)
    }

    /// The names of all programs, in the order in which they attached.
    pub fn programs(&self) -> Vec<&'static str> {
        self.0.program_misses().into_iter().map(|(name, _)| name).collect()
    }
}

/// Makes the engine miss all ends of threads from now on, as if the kernel skipped the program.
pub fn miss_ends(profiler: &mut Profiler) {
    profiler.detach_program("process_exit");
}

/// An object that watches signals and has no map of its own for them.
fn second_object() -> ObjectSpec {
    let fallback = object::find(ObjectName::Fallback);
    let programs: Vec<_> =
        fallback.programs.iter().filter(|program| program.name == PROGRAM).copied().collect();
    let mut maps = fallback.maps.to_vec();
    for map in &mut maps {
        let is_shared = map.name == names::SIGNALS_SENT;
        map.size = if is_shared { object::Size::Shared } else { object::Size::Compiled };
    }
    let mut second = *fallback;
    second.programs = Box::leak(programs.into_boxed_slice());
    second.maps = Box::leak(maps.into_boxed_slice());
    second
}
