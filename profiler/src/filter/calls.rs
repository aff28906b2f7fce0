//! Filters by syscall: a name, a number or a class.

use std::{collections::BTreeSet, fmt, str::FromStr};

use profiler_common::call::{ABIS, Abi, CallKey, OVERFLOW_SLOTS};

use crate::names::{
    classes,
    near::{self, or_perhaps},
    syscalls::{self, UNKNOWN},
};

/// One value of `--syscall`: `read`, `!read`, `i386:open`, `39`, `i386:5`, `%file`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallPattern {
    /// The text without `!`.
    name: String,
    /// Whether the pattern excludes its syscalls.
    except: bool,
    keys: Vec<CallKey>,
}

/// Why a text is not a pattern of syscalls.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// No ABI has a syscall with this name.
    #[error("no ABI has a syscall with this name{}", or_perhaps(near))]
    Name {
        /// Similar names.
        near: Vec<&'static str>,
    },
    /// There is no such class or category.
    #[error("there is no class or category of this name{}", or_perhaps(near))]
    Class {
        /// Similar names.
        near: Vec<String>,
    },
    /// No ABI has this name.
    #[error("there is no ABI {0:?}; expected x86_64, i386 or x32")]
    Abi(String),
    /// The number is greater than the last number of the ABI.
    #[error("syscall numbers of {abi} end at {last}; `unknown` matches all numbers without a name")]
    Number {
        /// The ABI.
        abi: Abi,
        /// The last number of the ABI.
        last: u32,
    },
    /// The patterns exclude every syscall.
    #[error("the filters exclude every syscall")]
    NoneLeft,
}

impl CallPattern {
    /// Turns the pattern into an exclusion.
    pub fn excluded(mut self) -> Self {
        self.except = true;
        self
    }

    /// Whether the pattern excludes its syscalls (`!read`).
    pub fn is_excluding(&self) -> bool {
        self.except
    }

    /// Whether the pattern matches this syscall.
    pub fn names(&self, key: CallKey) -> bool {
        self.keys.contains(&key)
    }

    /// Whether `calls` counts any syscall that the pattern matches.
    pub fn is_counted_by(&self, calls: &Calls) -> bool {
        self.keys.iter().any(|key| calls.counts[key.overflow_index() as usize])
    }
}

impl FromStr for CallPattern {
    type Err = CallError;

    fn from_str(text: &str) -> Result<Self, CallError> {
        let (except, name) = match text.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, text),
        };
        let (abi, call) = match name.split_once(':') {
            Some((abi, call)) => {
                let found = ABIS.into_iter().find(|known| known.name() == abi);
                (Some(found.ok_or_else(|| CallError::Abi(abi.to_owned()))?), call)
            }
            None => (None, name),
        };
        let keys = match (call.strip_prefix('%'), call.parse()) {
            (Some(class), _) => of_class(abi, class)?,
            (None, Ok(number)) => vec![numbered(abi.unwrap_or(Abi::X86_64), number)?],
            (None, Err(_)) => named(abi, call),
        };
        if keys.is_empty() {
            return Err(CallError::Name { near: near(call) });
        }
        Ok(Self { name: name.to_owned(), except, keys })
    }
}

impl fmt::Display for CallPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.except { "!" } else { "" };
        write!(f, "{sign}{}", self.name)
    }
}

fn numbered(abi: Abi, number: u32) -> Result<CallKey, CallError> {
    // The last number stands for all unknown numbers.
    let last = abi.limit() - 2;
    if number > last {
        return Err(CallError::Number { abi, last });
    }
    Ok(CallKey::of(abi, number))
}

/// The keys of all syscalls with this name.
fn named(abi: Option<Abi>, name: &str) -> Vec<CallKey> {
    keys()
        .filter(|key| abi.is_none_or(|abi| key.abi() == Some(abi)) && syscalls::name(*key) == name)
        .collect()
}

/// The keys of all syscalls in a class or category. Numbers without a name are in no class.
fn of_class(abi: Option<Abi>, name: &str) -> Result<Vec<CallKey>, CallError> {
    let Some(contains) = classes::contains(name) else {
        return Err(CallError::Class { near: classes::near(name) });
    };
    let keys = keys().filter(|key| abi.is_none_or(|abi| key.abi() == Some(abi)));
    Ok(keys.filter(|key| contains(*key)).collect())
}

fn keys() -> impl Iterator<Item = CallKey> {
    (0..OVERFLOW_SLOTS).filter_map(CallKey::from_overflow_index)
}

/// Names that resemble this one, the most similar first.
fn near(name: &str) -> Vec<&'static str> {
    let names: BTreeSet<_> = keys().map(syscalls::name).filter(|&name| name != UNKNOWN).collect();
    near::near(&name.to_lowercase(), names)
}

/// The syscalls that are counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Calls {
    /// The values of `--syscall`, without exclusions. If empty, all syscalls are counted, except
    /// [`Self::except`].
    pub only: Vec<String>,
    /// The values that exclude syscalls.
    pub except: Vec<String>,
    /// Whether each syscall is counted, by overflow index.
    counts: Vec<bool>,
}

impl Calls {
    /// Combines the patterns. `None` if there are no patterns.
    ///
    /// # Errors
    /// [`CallError::NoneLeft`] if the patterns exclude every syscall.
    pub fn new(patterns: &[CallPattern]) -> Result<Option<Self>, CallError> {
        if patterns.is_empty() {
            return Ok(None);
        }
        let (except, only): (Vec<_>, Vec<_>) = patterns.iter().partition(|p| p.except);
        let mut counts = vec![only.is_empty(); OVERFLOW_SLOTS as usize];
        for (patterns, count) in [(&only, true), (&except, false)] {
            for key in patterns.iter().flat_map(|pattern| &pattern.keys) {
                counts[key.overflow_index() as usize] = count;
            }
        }
        if !counts.contains(&true) {
            return Err(CallError::NoneLeft);
        }
        let names = |patterns: &[&CallPattern]| patterns.iter().map(|p| p.name.clone()).collect();
        Ok(Some(Self { only: names(&only), except: names(&except), counts }))
    }

    /// Whether each call counts, by overflow index.
    pub fn counts(&self) -> &[bool] {
        &self.counts
    }
}

impl fmt::Display for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.only.join(" or "))?;
        if !self.except.is_empty() {
            let space = if self.only.is_empty() { "" } else { " " };
            write!(f, "{space}not {}", self.except.join(" or "))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> CallPattern {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn keys_of(text: &str) -> Vec<(Abi, u32)> {
        let keys = pattern(text).keys;
        keys.iter().map(|key| (key.abi().expect("an ABI"), key.nr())).collect()
    }

    #[test]
    fn a_name_is_that_of_every_abi_that_has_it() {
        use Abi::{I386, X32, X86_64};
        assert_eq!(keys_of("read"), [(X86_64, 0), (I386, 3), (X32, 0)]);
        assert_eq!(keys_of("i386:open"), [(I386, 5)]);
        assert_eq!(keys_of("waitpid"), [(I386, 7)]);
        // x32 has a number of its own for some, and then not that of x86_64.
        let ioctl = keys_of("ioctl");
        assert!(ioctl.contains(&(X86_64, 16)) && ioctl.contains(&(X32, 514)), "{ioctl:?}");
    }

    #[test]
    fn numbers_are_those_of_x86_64_unless_said() {
        assert_eq!(keys_of("39"), [(Abi::X86_64, 39)]);
        assert_eq!(keys_of("!i386:5"), [(Abi::I386, 5)]);
        assert_eq!(keys_of("510"), [(Abi::X86_64, 510)]);
        let error = |text: &str| text.parse::<CallPattern>().expect_err(text).to_string();
        assert_eq!(
            error("511"),
            "syscall numbers of x86_64 end at 510; `unknown` matches all numbers without a name"
        );
        assert_eq!(error("arm:5"), "there is no ABI \"arm\"; expected x86_64, i386 or x32");
    }

    #[test]
    fn a_class_is_its_syscalls_of_every_abi() {
        use Abi::{I386, X32, X86_64};
        let file = keys_of("%file");
        assert!([(X86_64, 257), (I386, 295), (X32, 257)].iter().all(|key| file.contains(key)));
        assert!(!file.contains(&(X86_64, 0)) && !file.contains(&(X86_64, 400)));
        assert_eq!(keys_of("%net"), keys_of("%network"));
        let native = keys_of("x86_64:%protection");
        assert!(native.contains(&(X86_64, 317)) && native.iter().all(|(abi, _)| *abi == X86_64));
        assert_eq!(pattern("!i386:%file").to_string(), "!i386:%file");
    }

    #[test]
    fn classes_add_up_and_are_taken_away() {
        let of = |texts: &[&str]| {
            let patterns: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
            Calls::new(&patterns).expect("calls").expect("a filter")
        };
        let counts = |calls: &Calls, nr| {
            calls.counts()[CallKey::of(Abi::X86_64, nr).overflow_index() as usize]
        };
        // openat is in both, read in %desc only, stat in %file only.
        let both = of(&["%file", "%desc"]);
        assert!([257, 0, 4].iter().all(|&nr| counts(&both, nr)) && !counts(&both, 202));
        let without = of(&["%desc", "!%file"]);
        assert!(counts(&without, 0) && !counts(&without, 257));
        assert_eq!(without.to_string(), "%desc not %file");
        let rest = of(&["!%network"]);
        assert!(counts(&rest, 202) && !counts(&rest, 41));
        // Numbers without a name are in no class.
        assert!(counts(&rest, 400) && !counts(&both, 400));
    }

    #[test]
    fn unknown_is_every_number_that_no_table_has() {
        let keys = pattern("unknown").keys;
        for abi in ABIS {
            assert!(keys.contains(&CallKey::unknown(abi)), "{abi}");
        }
        assert!(keys.contains(&CallKey::of(Abi::X86_64, 400)));
        assert!(keys.iter().all(|&key| syscalls::known(key).is_none()));
    }

    #[test]
    fn what_is_no_call_may_be_meant_to_be_one() {
        let error = |text: &str| text.parse::<CallPattern>().expect_err(text).to_string();
        assert_eq!(
            error("opnat"),
            "no ABI has a syscall with this name; perhaps openat, openat2, open"
        );
        assert_eq!(
            error("FSYNC"),
            "no ABI has a syscall with this name; perhaps fsync, sync, msync"
        );
        assert_eq!(error("i386:quux"), "no ABI has a syscall with this name");
        assert_eq!(error(""), "no ABI has a syscall with this name");
        assert_eq!(
            error("%netwrok"),
            "there is no class or category of this name; perhaps %network, %net"
        );
        assert_eq!(error("!%quux"), "there is no class or category of this name");
        assert_eq!(error("%"), "there is no class or category of this name");
    }

    #[test]
    fn what_is_excluded_is_taken_from_what_is_named() {
        let of = |texts: &[&str]| {
            let patterns: Vec<_> = texts.iter().map(|text| pattern(text)).collect();
            Calls::new(&patterns)
        };
        let counts = |calls: &Calls, nr| {
            calls.counts()[CallKey::of(Abi::X86_64, nr).overflow_index() as usize]
        };
        assert_eq!(of(&[]), Ok(None));
        let two = of(&["read", "write"]).expect("calls").expect("a filter");
        assert!(counts(&two, 0) && counts(&two, 1) && !counts(&two, 2));
        assert_eq!(two.to_string(), "read or write");
        let rest = of(&["!read"]).expect("calls").expect("a filter");
        assert!(!counts(&rest, 0) && counts(&rest, 1));
        assert_eq!(rest.to_string(), "not read");
        let native = of(&["read", "!i386:read"]).expect("calls").expect("a filter");
        assert!(counts(&native, 0));
        assert!(!native.counts()[CallKey::of(Abi::I386, 3).overflow_index() as usize]);
        assert_eq!(native.to_string(), "read not i386:read");
        assert_eq!(of(&["read", "!read"]), Err(CallError::NoneLeft));
    }
}
