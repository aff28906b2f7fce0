//! Profiles of Docker, Podman, containerd and the OCI runtime specification: JSON.
//!
//! Docker's own profiles have fields that the specification lacks (`archMap`, `includes`,
//! `excludes`, `name`). Both are read. Fields that the profiler does not know are kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::profile::{Action, Arch, Condition, Operator, Profile, ProfileError, Requirement, Rule};
use crate::names::near;

/// The most rules of a profile, and the most names in all rules. Docker's default profile has 40
/// rules with 500 names.
const MOST: usize = 10_000;

/// The errno of `SCMP_ACT_ERRNO` without `errnoRet` (`EPERM`, runc's default).
const DEFAULT_ERRNO: u16 = 1;

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct File {
    default_action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    default_errno_ret: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    architectures: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    arch_map: Option<Vec<ArchMap>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    syscalls: Vec<Entry>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    names: Vec<String>,
    /// The older notation: a rule for one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    action: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    errno_ret: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    args: Option<Vec<Argument>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    comment: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    includes: Option<Requirement>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    excludes: Option<Requirement>,
    #[serde(flatten)]
    unknown: Map<String, Value>,
}

#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Argument {
    index: u64,
    value: u64,
    #[serde(default, skip_serializing_if = "is_zero")]
    value_two: u64,
    op: String,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// Reads a profile.
///
/// # Errors
/// If the text is not JSON, lacks a field, or names an action, an operator, an architecture or a
/// syscall that does not exist. The error says where.
pub fn read(text: &str) -> Result<Profile, ProfileError> {
    let file: File = serde_json::from_str(text).map_err(|error| {
        ProfileError::new(format!("line {}, column {}", error.line(), error.column()), {
            let text = error.to_string();
            text.split(" at line ").next().unwrap_or_default().to_owned()
        })
    })?;
    let default = action("defaultAction", &file.default_action, file.default_errno_ret)?;
    let architectures = architectures(&file)?;
    let names = file.syscalls.iter().map(|entry| entry.names.len()).sum::<usize>();
    if file.syscalls.len() > MOST || names > MOST {
        return Err(ProfileError::new("syscalls", format!("more than {MOST} rules or names")));
    }
    let rules = file.syscalls.into_iter().enumerate();
    let rules = rules.map(|(at, entry)| rule(&format!("syscalls[{at}]"), entry));
    Ok(Profile {
        default,
        architectures,
        rules: rules.collect::<Result<_, _>>()?,
        unknown: file.unknown,
    })
}

/// The architectures. Without any, a profile applies to that of the host, and its 32-bit ABIs are
/// closed (libseccomp adds only the native one).
fn architectures(file: &File) -> Result<Vec<Arch>, ProfileError> {
    let mut all = Vec::new();
    let mut add = |place: String, name: &str| match Arch::ALL.iter().find(|arch| arch.oci() == name)
    {
        Some(&arch) => {
            if !all.contains(&arch) {
                all.push(arch);
            }
            Ok(())
        }
        // Other machines exist: PowerPC, s390, MIPS, RISC-V.
        None if name.starts_with("SCMP_ARCH_") => Ok(()),
        None => Err(ProfileError::new(
            place,
            format!("unknown architecture {name:?}: expected one such as SCMP_ARCH_X86_64"),
        )),
    };
    for (at, name) in file.architectures.iter().flatten().enumerate() {
        add(format!("architectures[{at}]"), name)?;
    }
    let native = Arch::X86_64.oci();
    for (at, map) in file.arch_map.iter().flatten().enumerate() {
        // Docker takes the entry of the host, with its sub-architectures.
        if map.architecture == native {
            add(format!("archMap[{at}].architecture"), &map.architecture)?;
            for (sub, name) in map.sub_architectures.iter().flatten().enumerate() {
                add(format!("archMap[{at}].subArchitectures[{sub}]"), name)?;
            }
        }
    }
    if all.is_empty() {
        all.push(Arch::X86_64);
    }
    Ok(all)
}

/// The names of actions.
const ACTIONS: [(&str, Action); 9] = [
    ("SCMP_ACT_ALLOW", Action::Allow),
    ("SCMP_ACT_LOG", Action::Log),
    ("SCMP_ACT_ERRNO", Action::Errno(DEFAULT_ERRNO)),
    ("SCMP_ACT_KILL_PROCESS", Action::KillProcess),
    ("SCMP_ACT_KILL_THREAD", Action::KillThread),
    ("SCMP_ACT_KILL", Action::KillThread),
    ("SCMP_ACT_TRAP", Action::Trap),
    ("SCMP_ACT_TRACE", Action::Trace),
    ("SCMP_ACT_NOTIFY", Action::Notify),
];

fn action(place: &str, name: &str, errno: Option<u64>) -> Result<Action, ProfileError> {
    let Some(&(_, action)) = ACTIONS.iter().find(|(of, _)| *of == name) else {
        let all = ACTIONS.map(|(name, _)| name);
        return Err(ProfileError::new(
            place,
            format!("unknown action {name:?}: expected one of {}", all.join(", ")),
        ));
    };
    match (action, errno) {
        (Action::Errno(_), Some(number)) => {
            let valid = u16::try_from(number).ok().filter(|number| *number < 4096);
            valid.map(Action::Errno).ok_or_else(|| {
                ProfileError::new(place, format!("errno {number} is above 4095, the greatest"))
            })
        }
        _ => Ok(action),
    }
}

fn rule(place: &str, entry: Entry) -> Result<Rule, ProfileError> {
    let action = action(&format!("{place}.action"), &entry.action, entry.errno_ret)?;
    let mut names = entry.names;
    names.extend(entry.name);
    if names.is_empty() {
        return Err(ProfileError::new(place, "the rule names no syscall: expected `names`"));
    }
    let args = entry.args.unwrap_or_default().into_iter().enumerate();
    let conditions = args.map(|(at, arg)| condition(&format!("{place}.args[{at}]"), &arg));
    Ok(Rule {
        names,
        action,
        conditions: conditions.collect::<Result<_, _>>()?,
        includes: entry.includes.unwrap_or_default(),
        excludes: entry.excludes.unwrap_or_default(),
        comment: entry.comment,
        unknown: entry.unknown,
    })
}

fn condition(place: &str, arg: &Argument) -> Result<Condition, ProfileError> {
    let index = u8::try_from(arg.index).ok().filter(|index| *index < 6).ok_or_else(|| {
        ProfileError::new(
            format!("{place}.index"),
            format!("{}: a syscall has the arguments 0 to 5", arg.index),
        )
    })?;
    let operator = Operator::ALL.iter().find(|(_, name)| *name == arg.op);
    let Some(&(operator, _)) = operator else {
        let near = near::near(&arg.op, Operator::ALL.iter().map(|(_, name)| *name));
        return Err(ProfileError::new(
            format!("{place}.op"),
            format!("unknown operator {:?}{}", arg.op, near::or_perhaps(&near)),
        ));
    };
    Ok(Condition { index, operator, value: arg.value, value_two: arg.value_two })
}

/// The profile as JSON, with a newline at the end.
pub fn write(profile: &Profile) -> String {
    let (default_action, default_errno_ret) = written(profile.default);
    let architectures = profile.architectures.iter().map(|arch| arch.oci().to_owned());
    let entry = |rule: &Rule| {
        let (action, errno_ret) = written(rule.action);
        let args: Vec<_> = rule.conditions.iter().map(argument).collect();
        Entry {
            names: rule.names.clone(),
            name: None,
            action,
            errno_ret,
            args: (!args.is_empty()).then_some(args),
            comment: rule.comment.clone(),
            includes: (!rule.includes.is_empty()).then(|| rule.includes.clone()),
            excludes: (!rule.excludes.is_empty()).then(|| rule.excludes.clone()),
            unknown: rule.unknown.clone(),
        }
    };
    let file = File {
        default_action,
        default_errno_ret,
        architectures: Some(architectures.collect()),
        arch_map: None,
        syscalls: profile.rules.iter().map(entry).collect(),
        unknown: profile.unknown.clone(),
    };
    // Only maps with keys that are no strings cannot be written.
    let mut text = serde_json::to_string_pretty(&file).unwrap_or_default();
    text.push('\n');
    text
}

/// The name of an action, and its errno.
fn written(action: Action) -> (String, Option<u64>) {
    let errno = match action {
        Action::Errno(number) => Some(number.into()),
        _ => None,
    };
    (name(action).to_owned(), errno)
}

/// The name of an action.
pub(super) fn name(action: Action) -> &'static str {
    match action {
        Action::Errno(_) => "SCMP_ACT_ERRNO",
        other => ACTIONS.iter().find(|(_, of)| *of == other).map_or("", |&(name, _)| name),
    }
}

fn argument(condition: &Condition) -> Argument {
    Argument {
        index: condition.index.into(),
        value: condition.value,
        value_two: condition.value_two,
        op: condition.operator.oci().to_owned(),
    }
}
