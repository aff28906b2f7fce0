//! The result of a call.

use std::{borrow::Cow, fmt};

use super::{Value, errors};

/// The result of a call. `Display` prints what strace prints after `= `.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The call returned a value.
    Returned {
        /// The number in the register.
        number: i64,
        /// The value, in the notation that fits.
        value: Value,
        /// What else the call said: `in [3]`, `flags O_RDWR`.
        note: Option<String>,
    },
    /// The call failed with an errno.
    Failed {
        /// The errno.
        errno: u16,
        /// What else the call said.
        note: Option<String>,
    },
    /// A signal interrupted the call, which left with this restart code.
    Restarts {
        /// The code, such as 512 for `ERESTARTSYS`.
        code: u16,
    },
    /// There is no result: the call does not return.
    Nothing,
}

impl Outcome {
    /// The outcome of a result in the register, in decimal.
    pub(super) fn of(result: i64) -> Self {
        match result {
            -4095..=-1 => {
                let errno = u16::try_from(-result).unwrap_or(0);
                match errors::restart(errno) {
                    Some(_) => Self::Restarts { code: errno },
                    None => Self::Failed { errno, note: None },
                }
            }
            _ => Self::Returned { number: result, value: Value::Signed(result), note: None },
        }
    }

    /// The number in the register.
    pub fn number(&self) -> Option<i64> {
        match self {
            Self::Returned { number, .. } => Some(*number),
            Self::Failed { errno: code, .. } | Self::Restarts { code } => Some(-i64::from(*code)),
            Self::Nothing => None,
        }
    }

    /// The name of the error, or its number if it has no name.
    pub fn errno(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Failed { errno, .. } => {
                Some(errors::name(*errno).unwrap_or_else(|| errno.to_string().into()))
            }
            Self::Restarts { code } => errors::restart(*code).map(|(name, _)| name.into()),
            Self::Returned { .. } | Self::Nothing => None,
        }
    }

    /// What else the call said.
    pub fn note(&self) -> Option<&str> {
        match self {
            Self::Returned { note, .. } | Self::Failed { note, .. } => note.as_deref(),
            Self::Restarts { .. } | Self::Nothing => None,
        }
    }

    /// Whether the call failed.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::Restarts { .. })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Returned { value, .. } => write!(f, "{value}")?,
            Self::Failed { errno, .. } => match errors::name(*errno) {
                Some(name) => write!(f, "-1 {name} ({})", errors::text(*errno))?,
                None => write!(f, "-1 (errno {errno})")?,
            },
            Self::Restarts { code } => match errors::restart(*code) {
                Some((name, text)) => write!(f, "? {name} ({text})")?,
                None => f.write_str("?")?,
            },
            Self::Nothing => f.write_str("?")?,
        }
        self.note().map_or(Ok(()), |note| write!(f, " ({note})"))
    }
}
