//! Filters by the name of a process.

use std::{fmt, str::FromStr};

use profiler_common::limits::COMM_LEN;
use serde::Serialize;

use crate::text::Untrusted;

/// The name of a process, which is that of its first thread: `/proc/PID/comm`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Comm(Untrusted);

/// Why a text cannot be the name of a process.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommError {
    /// The text is empty.
    #[error("expected the name of a process, for example nginx")]
    Empty,
    /// The name is longer than the names that the kernel stores.
    #[error("the name of a process has at most {} bytes; write {kept:?}", COMM_LEN - 1)]
    TooLong {
        /// The part that the kernel stores.
        kept: Untrusted,
    },
    /// The name has control characters, which are never printed.
    #[error("names with control characters are not supported")]
    Control,
}

impl Comm {
    /// The name.
    pub fn as_str(&self) -> &str {
        self.0.raw()
    }

    /// The name as the kernel stores it: padded with NULs.
    pub fn padded(&self) -> [u8; COMM_LEN] {
        let mut name = [0; COMM_LEN];
        name[..self.0.raw().len()].copy_from_slice(self.0.raw().as_bytes());
        name
    }
}

impl FromStr for Comm {
    type Err = CommError;

    fn from_str(text: &str) -> Result<Self, CommError> {
        if text.is_empty() {
            return Err(CommError::Empty);
        }
        if text.contains(char::is_control) {
            return Err(CommError::Control);
        }
        if text.len() >= COMM_LEN {
            let kept = text.floor_char_boundary(COMM_LEN - 1);
            return Err(CommError::TooLong { kept: text[..kept].into() });
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Comm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_what_the_kernel_keeps() {
        let name: Comm = "fifteen bytes!!".parse().expect("a name");
        assert_eq!(&name.padded(), b"fifteen bytes!!\0");
        let error = "sixteen bytes!!!".parse::<Comm>().expect_err("too long").to_string();
        assert_eq!(error, "the name of a process has at most 15 bytes; write \"sixteen bytes!!\"");
        assert_eq!("".parse::<Comm>(), Err(CommError::Empty));
        assert_eq!("a\0b".parse::<Comm>(), Err(CommError::Control));
        // The limit is within a letter of two bytes.
        let umlauts = "fourteen bytesä".parse::<Comm>().expect_err("sixteen bytes");
        assert_eq!(umlauts, CommError::TooLong { kept: "fourteen bytes".into() });
    }
}
