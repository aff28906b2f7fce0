//! Makes a profile of an observation.

use std::collections::BTreeSet;

use profiler_common::call::CallKey;

use super::{
    observation::Observation,
    profile::{Action, Arch, Profile, Rule},
    relatives,
};
use crate::{
    filter::CallPattern,
    names::table::{Call, Table},
};

/// `EPERM` and `ENOSYS`.
const EPERM: u16 = 1;
const ENOSYS: u16 = 38;

/// What a profile does with calls that were not seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Denial {
    /// `ENOSYS` for calls that a C library may probe, so that it falls back to an older call.
    /// `EPERM` for all calls that are older than that.
    #[default]
    Errno,
    /// Makes and logs them: nothing breaks, and nothing is enforced.
    Log,
    /// Ends the process.
    Kill,
}

/// What the user chose.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// What happens with calls that were not seen.
    pub denial: Denial,
    /// Calls to allow in addition, with the reason: those of a container runtime.
    pub base: Vec<(&'static str, &'static str)>,
    /// Calls whose close relatives are allowed too.
    pub widen: Vec<CallPattern>,
}

/// The oldest kernel on which glibc runs, since 2.26 (`arch_minimum_kernel`, sysdeps/unix/sysv/linux/
/// configure.ac). It never tries whether a call exists that this kernel has.
const GLIBC_MINIMUM: (u32, u32) = (3, 2);

/// Calls that any process may need at any time: to run a program, to end, to return from a signal
/// handler, and to continue a call that was interrupted. systemd allows them too
/// (`SystemCallFilter=`, systemd.exec(5)).
const NEEDED: [&str; 6] =
    ["execve", "exit", "exit_group", "restart_syscall", "rt_sigreturn", "sigreturn"];

/// Makes a profile that allows what was seen.
pub fn generate(observation: &Observation, choices: &Choices) -> Profile {
    let mut architectures: Vec<_> = observation.abis().into_iter().map(Arch::of).collect();
    if architectures.is_empty() {
        architectures.push(Arch::X86_64);
    }
    let seen: BTreeSet<&str> = observation
        .calls
        .iter()
        // A call that the kernel lacks is not needed. Allowing it would allow it on a newer kernel.
        .filter(|seen| seen.calls > seen.enosys || seen.denied > 0)
        .map(|seen| seen.syscall.as_str())
        .filter(|name| Table::get().named(name).is_some())
        .collect();
    let mut rules = Vec::new();
    let mut allow = |names: Vec<String>, comment: &str| {
        if !names.is_empty() {
            let comment = comment.to_owned();
            rules.push(Rule { comment, ..Rule::new(names, Action::Allow) });
        }
    };
    allow(seen.iter().map(|name| (*name).to_owned()).collect(), "Seen.");
    let mut allowed = seen.clone();
    let needed = NEEDED.into_iter().filter(|name| !seen.contains(name));
    let needed = needed.filter(|name| is_on_any(name, &architectures));
    allow(
        needed.map(str::to_owned).collect(),
        "Not seen. Every process may need them, to end or to return from a signal handler.",
    );
    allowed.extend(NEEDED);
    let mut reasons: Vec<&str> = choices.base.iter().map(|(_, reason)| *reason).collect();
    reasons.dedup();
    for reason in reasons {
        let names =
            choices.base.iter().filter(|(name, of)| *of == reason && !allowed.contains(name));
        let names: Vec<_> = names.map(|(name, _)| (*name).to_owned()).collect();
        allowed.extend(choices.base.iter().filter(|(_, of)| *of == reason).map(|(name, _)| *name));
        allow(names, reason);
    }
    let wide: BTreeSet<&str> = seen
        .iter()
        .filter(|name| {
            let call = Table::get().named(name);
            call.is_some_and(|call| choices.widen.iter().any(|of| names(of, call)))
        })
        .flat_map(|name| relatives::of(name))
        .filter(|name| !allowed.contains(name))
        .collect();
    allow(
        wide.iter().map(|name| (*name).to_owned()).collect(),
        "Not seen. Close relatives of calls that were seen.",
    );
    allowed.extend(wide);
    let default = match choices.denial {
        Denial::Errno => Action::Errno(ENOSYS),
        Denial::Log => Action::Log,
        Denial::Kill => Action::KillProcess,
    };
    if choices.denial == Denial::Errno {
        let old = Table::get().calls().iter().filter(|call| {
            !allowed.contains(call.name)
                && call.since.is_some_and(is_as_old_as_glibc_needs)
                && architectures.iter().any(|arch| has(call, *arch))
        });
        let names: Vec<_> = old.map(|call| call.name.to_owned()).collect();
        if !names.is_empty() {
            let comment = "Not seen, and denied: no C library tries whether they exist.".to_owned();
            rules.push(Rule { comment, ..Rule::new(names, Action::Errno(EPERM)) });
        }
    }
    Profile { default, architectures, rules, unknown: serde_json::Map::new() }
}

/// Whether a pattern names a call, on any ABI.
fn names(pattern: &CallPattern, call: &Call) -> bool {
    call.abis.iter().any(|on| pattern.names(CallKey::of(on.abi, on.number)))
}

fn is_on_any(name: &str, architectures: &[Arch]) -> bool {
    let call = Table::get().named(name);
    call.is_some_and(|call| architectures.iter().any(|arch| has(call, *arch)))
}

fn has(call: &Call, arch: Arch) -> bool {
    call.abis.iter().any(|on| Arch::of(on.abi) == arch && on.arguments.is_some())
}

/// Whether every kernel on which glibc runs has a call of this version.
fn is_as_old_as_glibc_needs(since: &str) -> bool {
    let mut parts = since.split('.').map_while(|part| part.parse::<u32>().ok());
    match (parts.next(), parts.next()) {
        (Some(major), minor) => (major, minor.unwrap_or(0)) <= GLIBC_MINIMUM,
        _ => false,
    }
}
