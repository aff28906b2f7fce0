//! Finds syscalls and errnos for `profiler syscalls`: by name, number, errno, pattern, class or
//! group.

use std::{collections::BTreeSet, str::FromStr};

use profiler_common::call::{ABIS, Abi, CallKey};

use super::{
    classes,
    errnos::Errno,
    near::{near, or_perhaps},
    syscalls,
    table::{Call, Table},
};

/// The result of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// The syscalls that were found, by name, each with its ABIs.
    calls: Vec<(&'static str, Vec<Abi>)>,
    /// The errno that the text names, if any.
    errno: Option<Errno>,
    /// Whether the text names an errno and no syscall.
    of_errno: bool,
}

/// Why a text finds nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FindError {
    /// No syscall or errno has this name.
    #[error("there is no syscall or errno of this name{}", or_perhaps(near))]
    Name {
        /// Names that the user may mean.
        near: Vec<String>,
    },
    /// There is no such class or category.
    #[error("there is no class or category of this name{}", or_perhaps(near))]
    Class {
        /// Names that the user may mean.
        near: Vec<String>,
    },
    /// systemd has no group of this name.
    #[error("systemd has no group of this name that includes a syscall of x86{}", or_perhaps(near))]
    Group {
        /// Names that the user may mean.
        near: Vec<String>,
    },
    /// No ABI has this name.
    #[error("there is no ABI {0:?}; expected x86_64, i386 or x32")]
    Abi(String),
    /// The ABI has no such syscall.
    #[error("{0} has no such syscall")]
    NotOn(Abi),
    /// No syscall has this number.
    #[error("no syscall has this number{}", of_abi(*.0))]
    Number(Option<Abi>),
    /// No errno has this number.
    #[error("no errno has this number; errnos are numbered from 1 to 133")]
    Errno,
    /// The pattern cannot be parsed, or matches nothing.
    #[error("no syscall matches this pattern")]
    Pattern,
}

fn of_abi(abi: Option<Abi>) -> String {
    abi.map(|abi| format!(" on {abi}")).unwrap_or_default()
}

impl Query {
    /// The syscalls that were found, by name, each with its ABIs.
    pub fn calls(&self) -> &[(&'static str, Vec<Abi>)] {
        &self.calls
    }

    /// The errno that the text names, if any. A number such as 2 names both a syscall and an errno.
    pub fn errno(&self) -> Option<Errno> {
        self.errno
    }

    /// Whether the text names an errno and no syscall. [`Self::calls`] are then the syscalls whose
    /// manual page documents the errno.
    pub fn is_of_errno(&self) -> bool {
        self.of_errno
    }

    /// Every syscall, on every ABI.
    pub fn all() -> Self {
        Self::of_calls(|_| true)
    }

    fn of_calls(wanted: impl Fn(&Call) -> bool) -> Self {
        let calls = Table::get().calls().iter().filter(|call| wanted(call));
        let calls = calls.map(|call| (call.name, call.abis.iter().map(|on| on.abi).collect()));
        Self { calls: calls.collect(), errno: None, of_errno: false }
    }

    fn of_errno(errno: Errno) -> Self {
        let table = Table::get();
        let documents = |name: &&'static str| name.parse() == Ok(errno);
        let calls = Self::of_calls(|call| table.errnos(call).iter().any(documents));
        Self { errno: Some(errno), of_errno: true, ..calls }
    }

    fn on(mut self, abi: Option<Abi>) -> Self {
        if let Some(abi) = abi {
            self.calls.iter_mut().for_each(|(_, abis)| abis.retain(|of| *of == abi));
            self.calls.retain(|(_, abis)| !abis.is_empty());
        }
        self
    }
}

impl FromStr for Query {
    type Err = FindError;

    fn from_str(text: &str) -> Result<Self, FindError> {
        let (abi, name) = match text.split_once(':') {
            Some(("errno", number)) => return errno(number),
            Some((abi, name)) => {
                let found = ABIS.into_iter().find(|known| known.name() == abi);
                (Some(found.ok_or_else(|| FindError::Abi(abi.to_owned()))?), name)
            }
            None => (None, text),
        };
        let found = if let Some(class) = name.strip_prefix('%') {
            of_class(class)?
        } else if name.starts_with('@') {
            of_group(name)?
        } else if let Some(negative) = name.strip_prefix('-') {
            // A call that fails returns the negative errno.
            return errno(negative);
        } else if let Some(number) = number(name) {
            return of_number(abi, number);
        } else if name.contains(['*', '?', '[']) {
            of_pattern(name)?
        } else {
            of_name(name)?
        };
        let found = found.on(abi);
        match abi {
            Some(abi) if found.calls.is_empty() => Err(FindError::NotOn(abi)),
            _ => Ok(found),
        }
    }
}

/// Parses a decimal number, or a hexadecimal number after `0x`. Removes `__X32_SYSCALL_BIT`.
fn number(text: &str) -> Option<u32> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    Some(number)
}

fn errno(text: &str) -> Result<Query, FindError> {
    let errno: Errno = text.parse().map_err(|_| FindError::Errno)?;
    if errno.is_named() { Ok(Query::of_errno(errno)) } else { Err(FindError::Errno) }
}

fn of_number(abi: Option<Abi>, number: u32) -> Result<Query, FindError> {
    let mut calls: Vec<(&'static str, Vec<Abi>)> = Vec::new();
    for of in ABIS.into_iter().filter(|of| abi.is_none_or(|abi| abi == *of)) {
        let known = (number < of.limit()).then(|| syscalls::known(CallKey::of(of, number)));
        let Some(name) = known.flatten() else { continue };
        match calls.iter_mut().find(|(known, _)| *known == name) {
            Some((_, abis)) => abis.push(of),
            None => calls.push((name, vec![of])),
        }
    }
    // x32 shares most numbers with x86_64. The kernel refuses the others.
    let table = Table::get();
    for (name, abis) in &mut calls {
        let on = |abi: Abi| table.named(name).and_then(|call| call.on(abi));
        abis.retain(|abi| on(*abi).is_some_and(|on| on.number == number));
    }
    calls.retain(|(_, abis)| !abis.is_empty());
    let errno = number.to_string().parse().ok().filter(|errno: &Errno| errno.is_named());
    let errno = errno.filter(|_| abi.is_none());
    if calls.is_empty() && errno.is_none() {
        return Err(FindError::Number(abi));
    }
    Ok(Query { calls, errno, of_errno: false })
}

fn of_class(name: &str) -> Result<Query, FindError> {
    let Some(contains) = classes::contains(name) else {
        return Err(FindError::Class { near: classes::near(name) });
    };
    Ok(Query::of_calls(|call| call.abis.iter().any(|on| contains(CallKey::of(on.abi, on.number)))))
}

fn of_group(name: &str) -> Result<Query, FindError> {
    let found = Query::of_calls(|call| call.systemd.contains(&name));
    if found.calls.is_empty() {
        let groups: BTreeSet<_> =
            Table::get().calls().iter().flat_map(|call| &call.systemd).copied().collect();
        let near = near(name, groups).into_iter().map(str::to_owned).collect();
        return Err(FindError::Group { near });
    }
    Ok(found)
}

fn of_pattern(text: &str) -> Result<Query, FindError> {
    let pattern = glob::Pattern::new(&text.to_lowercase()).map_err(|_| FindError::Pattern)?;
    let found = Query::of_calls(|call| pattern.matches(call.name));
    if found.calls.is_empty() { Err(FindError::Pattern) } else { Ok(found) }
}

fn of_name(text: &str) -> Result<Query, FindError> {
    let name = text.to_lowercase();
    let found = Query::of_calls(|call| call.name == name);
    if !found.calls.is_empty() {
        return Ok(found);
    }
    match text.parse::<Errno>() {
        Ok(errno) => Ok(Query::of_errno(errno)),
        Err(_) => {
            let calls = Table::get().calls().iter().map(|call| call.name);
            let mut near: Vec<String> = near(&name, calls).into_iter().map(str::to_owned).collect();
            if near.is_empty() {
                near = Errno::near(text);
            }
            Err(FindError::Name { near })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Query {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    fn names(text: &str) -> Vec<&'static str> {
        found(text).calls.iter().map(|(name, _)| *name).collect()
    }

    #[test]
    fn a_call_is_found_by_name_and_number() {
        use Abi::{I386, X32, X86_64};
        assert_eq!(found("openat").calls, [("openat", vec![X86_64, I386, X32])]);
        assert_eq!(found("OpenAt").calls, [("openat", vec![X86_64, I386, X32])]);
        assert_eq!(found("i386:openat").calls, [("openat", vec![I386])]);
        assert_eq!(
            found("257").calls,
            [("openat", vec![X86_64, X32]), ("remap_file_pages", vec![I386])]
        );
        assert_eq!(found("0x101").calls, found("257").calls);
        assert_eq!(found("x86_64:257").calls, [("openat", vec![X86_64])]);
        // 13 is not rt_sigaction on x32, and 512 is.
        assert_eq!(found("13").calls, [("rt_sigaction", vec![X86_64]), ("time", vec![I386])]);
        assert_eq!(found("512").calls, [("rt_sigaction", vec![X32])]);
    }

    #[test]
    fn calls_are_found_by_class_group_and_pattern() {
        assert!(names("%network").contains(&"sendto"));
        assert_eq!(names("%net"), names("%network"));
        assert!(names("%device-management").contains(&"ioctl"));
        assert!(names("@system-service").contains(&"read"));
        assert_eq!(
            names("open*"),
            ["open", "open_by_handle_at", "open_tree", "open_tree_attr", "openat", "openat2"]
        );
        assert_eq!(names("i386:w*4"), ["wait4"]);
        assert_eq!(Query::all().calls.len(), Table::get().calls().len());
    }

    #[test]
    fn an_errno_finds_the_calls_that_document_it() {
        let number = |text: &str| found(text).errno().map(Errno::number);
        for (text, expected) in [("ENOENT", 2), ("enoent", 2), ("errno:2", 2), ("-2", 2)] {
            assert_eq!(number(text), Some(expected), "{text}");
            assert!(found(text).is_of_errno() && names(text).contains(&"openat"), "{text}");
        }
        // A number names a syscall first.
        assert_eq!((number("2"), found("2").is_of_errno()), (Some(2), false));
        assert!(names("2").contains(&"open"));
        assert_eq!(number("EWOULDBLOCK"), Some(11));
        assert_eq!(number("i386:2"), None);
    }

    #[test]
    fn what_is_not_found_may_be_meant_to_be_something_else() {
        let error = |text: &str| text.parse::<Query>().expect_err(text).to_string();
        assert_eq!(
            error("opnat"),
            "there is no syscall or errno of this name; perhaps openat, openat2, open"
        );
        assert_eq!(
            error("ENOTENT"),
            "there is no syscall or errno of this name; perhaps ENOENT, ENONET, ENOTTY"
        );
        assert_eq!(
            error("%netwrok"),
            "there is no class or category of this name; perhaps %network, %net"
        );
        assert_eq!(
            error("@filesystem"),
            "systemd has no group of this name that includes a syscall of x86; \
             perhaps @file-system"
        );
        assert_eq!(error("arm:5"), "there is no ABI \"arm\"; expected x86_64, i386 or x32");
        assert_eq!(error("9999"), "no syscall has this number");
        assert_eq!(error("x32:13"), "no syscall has this number on x32");
        assert_eq!(
            error("errno:134"),
            "no errno has this number; errnos are numbered from 1 to 133"
        );
        assert_eq!(error("x86_64:waitpid"), "x86_64 has no such syscall");
        for text in ["zz*", "["] {
            assert_eq!(error(text), "no syscall matches this pattern", "{text}");
        }
        assert_eq!(error(""), "there is no syscall or errno of this name");
    }
}
