//! What a profile does with a call.

use super::profile::{Action, Arch, Profile, ProfileError, Rule};
use crate::names::{near, table::Table};

/// What a profile does with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This, whatever the arguments are.
    Always(Action),
    /// It depends on the arguments: the actions that are possible, the default last.
    ByArguments(Vec<Action>),
}

impl Verdict {
    /// The strictest action that is possible.
    pub fn strictest(&self) -> Action {
        match self {
            Self::Always(action) => *action,
            Self::ByArguments(actions) => {
                let strictest = actions.iter().copied().max_by_key(|action| action.strictness());
                strictest.unwrap_or(Action::KillProcess)
            }
        }
    }
}

/// The container to which a profile applies, for rules that depend on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Container {
    /// Its capabilities, such as `CAP_SYS_ADMIN`.
    pub caps: Vec<String>,
}

impl Profile {
    /// What the profile does with a call of this name, whatever its arguments are.
    pub fn judge(&self, arch: Arch, name: &str, container: &Container) -> Verdict {
        if !self.architectures.contains(&arch) {
            return Verdict::Always(self.closed());
        }
        let mut actions = Vec::new();
        for rule in self.rules_for(arch, name, container) {
            // A rule without conditions covers all others (libseccomp, `_db_rule_add`, src/db.c).
            if rule.conditions.is_empty() {
                return Verdict::Always(rule.action);
            }
            actions.push(rule.action);
        }
        if actions.is_empty() {
            return Verdict::Always(self.default);
        }
        actions.push(self.default);
        actions.dedup();
        match actions[..] {
            [action] => Verdict::Always(action),
            _ => Verdict::ByArguments(actions),
        }
    }

    /// What the profile does with a call with these arguments.
    pub fn judge_call(
        &self,
        arch: Arch,
        name: &str,
        args: &[u64; 6],
        container: &Container,
    ) -> Action {
        if !self.architectures.contains(&arch) {
            return self.closed();
        }
        let rules: Vec<_> = self.rules_for(arch, name, container).collect();
        if let Some(rule) = rules.iter().find(|rule| rule.conditions.is_empty()) {
            return rule.action;
        }
        let met = rules.iter().find(|rule| is_met(rule, args));
        met.map_or(self.default, |rule| rule.action)
    }

    /// What happens with calls of an architecture that the profile does not name. libseccomp's
    /// default is to end the thread (`SCMP_FLTATR_ACT_BADARCH`, seccomp_attr_set(3)); runc sets the
    /// default action of the profile.
    fn closed(&self) -> Action {
        match self.default {
            action if action.makes_the_call() => Action::KillThread,
            action => action,
        }
    }

    /// The rules that apply to a call in a container, in order.
    pub(super) fn rules_for(
        &self,
        arch: Arch,
        name: &str,
        container: &Container,
    ) -> impl Iterator<Item = &Rule> {
        let rules = self.rules.iter().filter(move |rule| rule.names.iter().any(|of| of == name));
        rules.filter(move |rule| applies(rule, arch, container))
    }

    /// Names of syscalls that no table knows, and rules that contradict each other. The first is an
    /// error only if the name is close to that of a call, since the names of other architectures are
    /// not known here.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<Vec<ProfileError>, ProfileError> {
        let mut unknown = Vec::new();
        for (at, rule) in self.rules.iter().enumerate() {
            for (index, name) in rule.names.iter().enumerate() {
                if Table::get().named(name).is_some() || is_of_another_machine(rule, name) {
                    continue;
                }
                let all = Table::get().calls().iter().map(|call| call.name);
                let near = near::near(name, all);
                unknown.push(ProfileError::new(
                    format!("syscalls[{at}].names[{index}]"),
                    format!("there is no syscall {name:?} on x86{}", near::or_perhaps(&near)),
                ));
            }
            for (later, other) in self.rules.iter().enumerate().skip(at + 1) {
                if let Some(name) = contradiction(rule, other) {
                    return Err(ProfileError::new(
                        format!("syscalls[{at}] and syscalls[{later}]"),
                        format!(
                            "{name} is {} by one rule, and {} by the other, with the same conditions",
                            rule.action, other.action
                        ),
                    ));
                }
            }
        }
        Ok(unknown)
    }
}

/// Whether a rule names calls of machines that are not x86.
fn is_of_another_machine(rule: &Rule, name: &str) -> bool {
    let arches = &rule.includes.arches;
    let is_for_x86 = arches.is_empty() || arches.iter().any(|arch| is_x86(arch));
    !is_for_x86 || syscalls_of_others().contains(&name)
}

fn is_x86(arch: &str) -> bool {
    matches!(arch, "amd64" | "x86" | "x32")
}

/// Calls that only other machines have, and that profiles name in rules for all machines.
fn syscalls_of_others() -> &'static [&'static str] {
    &[
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "get_tls",
        "memory_ordering",
        "pciconfig_iobase",
        "pciconfig_read",
        "pciconfig_write",
        "riscv_flush_icache",
        "riscv_hwprobe",
        "rtas",
        "s390_pci_mmio_read",
        "s390_pci_mmio_write",
        "s390_runtime_instr",
        "set_tls",
        "spu_create",
        "spu_run",
        "subpage_prot",
        "switch_endian",
        "swapcontext",
        "sync_file_range2",
        "sync_file_range2_arm",
        "sys_debug_setcontext",
        "usr26",
        "usr32",
        "utrap_install",
    ]
}

/// A call for which two rules say different things of the same calls.
fn contradiction<'a>(one: &'a Rule, other: &Rule) -> Option<&'a str> {
    let is_same = one.action != other.action
        && one.conditions == other.conditions
        && one.includes == other.includes
        && one.excludes == other.excludes;
    let both = |name: &&String| other.names.contains(name);
    is_same.then(|| one.names.iter().find(both).map(String::as_str)).flatten()
}

/// Whether a rule applies to a container (`setupSeccomp`, daemon/seccomp_linux.go of moby).
fn applies(rule: &Rule, arch: Arch, container: &Container) -> bool {
    let has = |cap: &String| container.caps.contains(cap);
    let is_arch = |name: &String| name == arch.docker() || name == "amd64" && is_x86(arch.docker());
    let (includes, excludes) = (&rule.includes, &rule.excludes);
    (includes.arches.is_empty() || includes.arches.iter().any(is_arch))
        && includes.caps.iter().all(has)
        && !excludes.arches.iter().any(is_arch)
        && !excludes.caps.iter().any(has)
}

/// Whether the arguments meet the conditions of a rule. runc makes a rule of each condition if two
/// of them are about the same argument, as libseccomp allows one for each (`matchCall`,
/// libcontainer/seccomp/seccomp_linux.go): then one of them suffices.
fn is_met(rule: &Rule, args: &[u64; 6]) -> bool {
    let conditions = &rule.conditions;
    if rule.has_one_condition_of() {
        conditions.iter().any(|condition| condition.is_met(args))
    } else {
        conditions.iter().all(|condition| condition.is_met(args))
    }
}
