//! Compiles a profile to filters of the kernel, by seccompiler.
//!
//! seccompiler's filters have two actions. So a profile becomes several filters: one that knows the
//! default action, and one for each further action. The kernel runs all of them, and takes the
//! strictest answer (seccomp(2)). A call for which a rule says something else than the default is
//! therefore allowed by the first filter, and one of the others decides.

use std::collections::{BTreeMap, BTreeSet};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

use super::{
    judge::Container,
    profile::{Action, Arch, Condition, Operator, Profile, Rule},
};
use crate::names::table::Table;
use profiler_common::call::Abi;

/// Why a profile cannot be compiled.
#[derive(Debug, thiserror::Error)]
pub enum CompileError {
    /// The profile asks a tracer or a supervisor.
    #[error("the rule for {0} asks a tracer or a supervisor, and there is none")]
    NoSupervisor(String),
    /// Rules for a call have conditions, and different actions.
    #[error(
        "the rules for {0} have conditions and several actions, of which the kernel's order is not defined"
    )]
    Mixed(String),
    /// The compiler refused the profile.
    #[error(transparent)]
    Compiler(#[from] seccompiler::BackendError),
}

/// The filters of a profile for 64-bit programs, in the order of installation. The kernel ends
/// processes that make calls of another ABI. Calls of x32 get the default action.
///
/// # Errors
/// [`CompileError`].
pub fn compile(profile: &Profile, container: &Container) -> Result<Vec<BpfProgram>, CompileError> {
    let mut by_action: Vec<(Action, BTreeMap<i64, Vec<SeccompRule>>)> = Vec::new();
    let mut first: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    for call in Table::get().calls() {
        let Some(on) = call.on(Abi::X86_64) else { continue };
        let (number, name) = (i64::from(on.number), call.name);
        let mut rules: Vec<&Rule> = profile.rules_for(Arch::X86_64, name, container).collect();
        // A rule without conditions covers all others.
        if let Some(rule) = rules.iter().find(|rule| rule.conditions.is_empty()) {
            rules = vec![rule];
        }
        let actions: BTreeSet<u8> = rules.iter().map(|rule| rule.action.strictness()).collect();
        if actions.len() > 1 {
            return Err(CompileError::Mixed(name.to_owned()));
        }
        let Some(action) = rules.first().map(|rule| rule.action) else { continue };
        if action == profile.default {
            continue;
        }
        if matches!(action, Action::Trace | Action::Notify) {
            return Err(CompileError::NoSupervisor(name.to_owned()));
        }
        let mut compiled = Vec::new();
        for rule in &rules {
            compiled.extend(conditions(rule)?);
        }
        if action != Action::Allow {
            match by_action.iter_mut().find(|(of, _)| *of == action) {
                Some((_, calls)) => drop(calls.insert(number, compiled.clone())),
                None => by_action.push((action, BTreeMap::from([(number, compiled.clone())]))),
            }
        }
        first.insert(number, compiled);
    }
    if matches!(profile.default, Action::Trace | Action::Notify) {
        return Err(CompileError::NoSupervisor("all other syscalls".to_owned()));
    }
    let mut filters = Vec::new();
    for (action, calls) in by_action {
        filters.push((calls, SeccompAction::Allow, native(action)));
    }
    if profile.default != Action::Allow {
        filters.push((first, native(profile.default), SeccompAction::Allow));
    }
    // The next filter is installed by seccomp(2), so the filter that denies it has to be the last.
    let denies_seccomp = |calls: &BTreeMap<i64, Vec<SeccompRule>>, on_match: &SeccompAction| {
        calls.contains_key(&libc::SYS_seccomp) != (*on_match == SeccompAction::Allow)
    };
    filters.sort_by_key(|(calls, _, on_match)| denies_seccomp(calls, on_match));
    let programs = filters.into_iter().map(|(calls, on_mismatch, on_match)| {
        let filter = SeccompFilter::new(calls, on_mismatch, on_match, TargetArch::x86_64)?;
        Ok(BpfProgram::try_from(filter)?)
    });
    programs.collect()
}

/// The conditions of a rule; none for a rule without conditions. runc makes a rule of each condition
/// if two of them are about the same argument.
fn conditions(rule: &Rule) -> Result<Vec<SeccompRule>, CompileError> {
    let compiled = rule.conditions.iter().map(condition).collect::<Result<Vec<_>, _>>()?;
    if compiled.is_empty() {
        return Ok(Vec::new());
    }
    if rule.has_one_condition_of() {
        let each = compiled.into_iter().map(|one| Ok(SeccompRule::new(vec![one])?));
        return each.collect();
    }
    Ok(vec![SeccompRule::new(compiled)?])
}

fn condition(condition: &Condition) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (operator, value) = match condition.operator {
        Operator::Equal => (SeccompCmpOp::Eq, condition.value),
        Operator::NotEqual => (SeccompCmpOp::Ne, condition.value),
        Operator::Less => (SeccompCmpOp::Lt, condition.value),
        Operator::LessOrEqual => (SeccompCmpOp::Le, condition.value),
        Operator::Greater => (SeccompCmpOp::Gt, condition.value),
        Operator::GreaterOrEqual => (SeccompCmpOp::Ge, condition.value),
        Operator::MaskedEqual => (SeccompCmpOp::MaskedEq(condition.value), condition.value_two),
    };
    SeccompCondition::new(condition.index, SeccompCmpArgLen::Qword, operator, value)
}

fn native(action: Action) -> SeccompAction {
    match action {
        Action::Allow => SeccompAction::Allow,
        Action::Log => SeccompAction::Log,
        Action::Errno(number) => SeccompAction::Errno(number.into()),
        Action::KillThread => SeccompAction::KillThread,
        Action::Trap => SeccompAction::Trap,
        Action::KillProcess | Action::Trace | Action::Notify => SeccompAction::KillProcess,
    }
}
