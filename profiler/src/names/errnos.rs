//! Names of errnos.

use std::{borrow::Cow, fmt, str::FromStr};

use profiler_common::limits::ERRNOS;

use super::near::{near, or_perhaps};

/// The name of `errno` in errno.h, such as `EAGAIN`, or its number.
pub fn name(errno: u16) -> Cow<'static, str> {
    match nix::errno::Errno::from_raw(i32::from(errno)) {
        nix::errno::Errno::UnknownErrno => Cow::Owned(errno.to_string()),
        known => Cow::Owned(format!("{known:?}")),
    }
}

/// Errnos with a second name in errno.h.
const ALIASES: [(&str, &str); 3] =
    [("EWOULDBLOCK", "EAGAIN"), ("EDEADLOCK", "EDEADLK"), ("ENOTSUP", "EOPNOTSUPP")];

/// An errno that the kernel side counts separately, as the user names it: `ENOENT` or `2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Errno(u16);

impl Errno {
    /// The errno of this number, if the kernel side counts it separately.
    pub fn from_number(number: u16) -> Option<Self> {
        (1..ERRNOS).contains(&usize::from(number)).then_some(Self(number))
    }

    /// The number.
    pub fn number(self) -> u16 {
        self.0
    }

    /// Whether errno.h has a name for the number.
    pub fn is_named(self) -> bool {
        name(self.0).starts_with('E')
    }

    /// Second names of the errno in errno.h.
    pub fn aliases(self) -> impl Iterator<Item = &'static str> {
        let name = name(self.0);
        ALIASES.iter().filter(move |(_, of)| *of == name).map(|(alias, _)| *alias)
    }

    /// The description, for example `No such file or directory`.
    pub fn meaning(self) -> &'static str {
        nix::errno::Errno::from_raw(i32::from(self.0)).desc()
    }

    /// Names of errnos that resemble `text`, the most similar first.
    pub fn near(text: &str) -> Vec<String> {
        match text.parse::<Self>() {
            Err(ErrnoError::Name { near }) => near,
            _ => Vec::new(),
        }
    }
}

/// Why a text names no errno.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ErrnoError {
    /// No errno has this name.
    #[error("no errno has this name{}", or_perhaps(near))]
    Name {
        /// Names that the user may mean.
        near: Vec<String>,
    },
    /// The number is not one of the errnos that are counted separately.
    #[error("errnos are numbered from 1 to {}", ERRNOS - 1)]
    Number,
}

impl FromStr for Errno {
    type Err = ErrnoError;

    /// Accepts a name in upper or lower case, or a number.
    fn from_str(text: &str) -> Result<Self, ErrnoError> {
        if let Ok(number) = text.parse::<u64>() {
            let number = u16::try_from(number).ok();
            return number.and_then(Self::from_number).ok_or(ErrnoError::Number);
        }
        let upper = text.to_uppercase();
        let alias = ALIASES.iter().find(|(alias, _)| *alias == upper);
        let wanted = alias.map_or(upper.as_str(), |&(_, name)| name);
        let named = || (1..ERRNOS as u16).map(|number| (number, name(number)));
        match named().find(|(_, name)| name == wanted) {
            Some((number, _)) => Ok(Self(number)),
            None => {
                let names = named().map(|(_, name)| name.into_owned());
                let names = names.filter(|name| name.starts_with('E'));
                Err(ErrnoError::Name { near: near(wanted, names) })
            }
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&name(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        assert_eq!(name(2), "ENOENT");
        assert_eq!(name(11), "EAGAIN");
        assert_eq!(name(38), "ENOSYS");
        assert_eq!(name(158), "158");
    }

    #[test]
    fn an_errno_is_a_name_or_a_number() {
        let number = |text: &str| text.parse::<Errno>().map(Errno::number);
        for (text, expected) in [
            ("ENOENT", 2),
            ("enoent", 2),
            ("2", 2),
            ("EWOULDBLOCK", 11),
            ("ENOTSUP", 95),
            ("EHWPOISON", 133),
            ("159", 159),
        ] {
            assert_eq!(number(text), Ok(expected), "{text}");
        }
        for text in ["0", "160", "4096", "65538"] {
            assert_eq!(number(text), Err(ErrnoError::Number), "{text}");
        }
        let error = |text: &str| number(text).expect_err(text).to_string();
        assert_eq!(error("ENOTENT"), "no errno has this name; perhaps ENOENT, ENONET, ENOTTY");
        assert_eq!(error("160"), "errnos are numbered from 1 to 159");
        for text in ["", "-2", "2,", "quux"] {
            assert!(matches!(number(text), Err(ErrnoError::Name { .. })), "{text}");
        }
    }

    #[test]
    fn an_errno_has_a_meaning() {
        let errno: Errno = "EAGAIN".parse().expect("an errno");
        assert!(errno.is_named());
        assert_eq!(errno.aliases().collect::<Vec<_>>(), ["EWOULDBLOCK"]);
        assert_eq!(errno.meaning(), "Try again");
        assert!(!Errno(158).is_named());
    }

    #[test]
    fn every_name_is_accepted() {
        for errno in 1..ERRNOS as u16 {
            assert_eq!(name(errno).parse::<Errno>().map(Errno::number), Ok(errno));
        }
    }
}
