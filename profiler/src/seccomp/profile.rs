//! A profile, as data: a default, and rules in order.

use std::fmt;

use profiler_common::call::Abi;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What the kernel does with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// Makes the call.
    Allow,
    /// Makes the call, and logs it (`SECCOMP_RET_LOG`).
    Log,
    /// Denies the call with this errno.
    Errno(u16),
    /// Ends the process.
    KillProcess,
    /// Ends the thread.
    KillThread,
    /// Sends SIGSYS.
    Trap,
    /// Asks a tracer.
    Trace,
    /// Asks a supervisor (`SECCOMP_RET_USER_NOTIF`).
    Notify,
}

impl Action {
    /// Whether the kernel makes the call.
    pub fn makes_the_call(self) -> bool {
        matches!(self, Self::Allow | Self::Log)
    }

    /// How strict the action is: if several filters apply, the kernel takes the strictest
    /// (seccomp(2)).
    pub fn strictness(self) -> u8 {
        match self {
            Self::KillProcess => 7,
            Self::KillThread => 6,
            Self::Trap => 5,
            Self::Errno(_) => 4,
            Self::Notify => 3,
            Self::Trace => 2,
            Self::Log => 1,
            Self::Allow => 0,
        }
    }
}

/// As people say it: `allowed`, `denied with EPERM`.
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allow => f.pad("allowed"),
            Self::Log => f.pad("allowed and logged"),
            Self::Errno(number) => {
                f.pad(&format!("denied with {}", crate::names::errnos::name(*number)))
            }
            Self::KillProcess => f.pad("kills the process"),
            Self::KillThread => f.pad("kills the thread"),
            Self::Trap => f.pad("sends SIGSYS"),
            Self::Trace => f.pad("asks a tracer"),
            Self::Notify => f.pad("asks a supervisor"),
        }
    }
}

/// An architecture that a profile names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Arch {
    /// `SCMP_ARCH_X86_64`.
    X86_64,
    /// `SCMP_ARCH_X86`: 32-bit programs.
    X86,
    /// `SCMP_ARCH_X32`.
    X32,
    /// `SCMP_ARCH_AARCH64`.
    Aarch64,
    /// `SCMP_ARCH_ARM`.
    Arm,
}

impl Arch {
    /// Every architecture that the profiler knows.
    pub const ALL: [Self; 5] = [Self::X86_64, Self::X86, Self::X32, Self::Aarch64, Self::Arm];

    /// The architecture of an ABI.
    pub fn of(abi: Abi) -> Self {
        match abi {
            Abi::X86_64 => Self::X86_64,
            Abi::I386 => Self::X86,
            Abi::X32 => Self::X32,
        }
    }

    /// The name in profiles of OCI and Docker.
    pub fn oci(self) -> &'static str {
        match self {
            Self::X86_64 => "SCMP_ARCH_X86_64",
            Self::X86 => "SCMP_ARCH_X86",
            Self::X32 => "SCMP_ARCH_X32",
            Self::Aarch64 => "SCMP_ARCH_AARCH64",
            Self::Arm => "SCMP_ARCH_ARM",
        }
    }

    /// The name in systemd's `SystemCallArchitectures=`.
    pub fn systemd(self) -> &'static str {
        match self {
            Self::X86_64 => "x86-64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }

    /// The name in `includes.arches` of Docker's profiles, which are Go's names.
    pub fn docker(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::X86 => "x86",
            Self::X32 => "x32",
            Self::Aarch64 => "arm64",
            Self::Arm => "arm",
        }
    }
}

/// How an argument is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// Equal.
    Equal,
    /// Not equal.
    NotEqual,
    /// Less.
    Less,
    /// Less or equal.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or equal.
    GreaterOrEqual,
    /// Equal after the mask in [`Condition::value`] was applied; compared with
    /// [`Condition::value_two`].
    MaskedEqual,
}

impl Operator {
    /// Every operator, with its name in OCI profiles.
    pub const ALL: [(Self, &'static str); 7] = [
        (Self::Equal, "SCMP_CMP_EQ"),
        (Self::NotEqual, "SCMP_CMP_NE"),
        (Self::Less, "SCMP_CMP_LT"),
        (Self::LessOrEqual, "SCMP_CMP_LE"),
        (Self::Greater, "SCMP_CMP_GT"),
        (Self::GreaterOrEqual, "SCMP_CMP_GE"),
        (Self::MaskedEqual, "SCMP_CMP_MASKED_EQ"),
    ];

    /// The name in OCI profiles.
    pub fn oci(self) -> &'static str {
        Self::ALL.iter().find(|(of, _)| *of == self).map_or("", |&(_, name)| name)
    }
}

/// A condition on one argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Condition {
    /// Index of the argument, 0 to 5.
    pub index: u8,
    /// How it is compared.
    pub operator: Operator,
    /// The value, or the mask.
    pub value: u64,
    /// With [`Operator::MaskedEqual`]: the value.
    pub value_two: u64,
}

impl Condition {
    /// Whether these arguments meet the condition.
    pub fn is_met(&self, args: &[u64; 6]) -> bool {
        let Some(&arg) = args.get(usize::from(self.index)) else { return false };
        match self.operator {
            Operator::Equal => arg == self.value,
            Operator::NotEqual => arg != self.value,
            Operator::Less => arg < self.value,
            Operator::LessOrEqual => arg <= self.value,
            Operator::Greater => arg > self.value,
            Operator::GreaterOrEqual => arg >= self.value,
            Operator::MaskedEqual => arg & self.value == self.value_two,
        }
    }
}

/// What has to hold of the container for a rule to apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Requirement {
    /// Capabilities, all of them, such as `CAP_SYS_ADMIN`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub caps: Vec<String>,
    /// Architectures, one of them, by Go's names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arches: Vec<String>,
    /// The least version of the kernel, such as `4.8`.
    #[serde(default, rename = "minKernel", skip_serializing_if = "Option::is_none")]
    pub min_kernel: Option<String>,
    /// Fields that the profiler does not know.
    #[serde(flatten)]
    pub unknown: Map<String, Value>,
}

impl Requirement {
    /// Whether the rule always applies.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A rule: what happens with these syscalls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Names of syscalls.
    pub names: Vec<String>,
    /// What happens.
    pub action: Action,
    /// Conditions, all of which have to be met.
    pub conditions: Vec<Condition>,
    /// The rule applies only to containers like this.
    pub includes: Requirement,
    /// The rule does not apply to containers like this.
    pub excludes: Requirement,
    /// For people.
    pub comment: String,
    /// Fields that the profiler does not know.
    pub unknown: Map<String, Value>,
}

impl Rule {
    /// A rule without conditions.
    pub fn new(names: Vec<String>, action: Action) -> Self {
        Self {
            names,
            action,
            conditions: Vec::new(),
            includes: Requirement::default(),
            excludes: Requirement::default(),
            comment: String::new(),
            unknown: Map::new(),
        }
    }

    /// Whether one of the conditions suffices: two of them are about the same argument.
    pub(super) fn has_one_condition_of(&self) -> bool {
        let all = self.conditions.iter().enumerate();
        let mut before = all.map(|(at, one)| (one, &self.conditions[..at]));
        before.any(|(one, before)| before.iter().any(|other| other.index == one.index))
    }

    /// Whether the rule depends on the container.
    pub fn is_conditional_on_container(&self) -> bool {
        !self.includes.is_empty() || !self.excludes.is_empty()
    }
}

/// A profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// What happens with a call to which no rule applies.
    pub default: Action,
    /// The architectures whose calls the rules describe. Calls of all others are denied.
    pub architectures: Vec<Arch>,
    /// The rules.
    pub rules: Vec<Rule>,
    /// Fields that the profiler does not know.
    pub unknown: Map<String, Value>,
}

/// Why a profile cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {problem}")]
pub struct ProfileError {
    /// Where: a line and a column, or a field such as `syscalls[3].args[0].op`.
    pub place: String,
    /// What is wrong, and what was expected.
    pub problem: String,
}

impl ProfileError {
    /// An error at a place.
    pub(super) fn new(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }
}
