//! Demangles the names of functions, within bounds.

use std::fmt::{self, Write as _};

use crate::text::Untrusted;

/// Bytes of a name, mangled or not, at most.
const MOST_BYTES: usize = 4096;

/// Text of bounded length.
#[derive(Default)]
struct Bounded(String);

impl fmt::Write for Bounded {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if self.0.len() + text.len() > MOST_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

/// The name of a function as its source has it.
pub(super) fn name(mangled: &[u8]) -> Untrusted {
    let mangled = &mangled[..mangled.len().min(MOST_BYTES)];
    // A version, as in `memcpy@@GLIBC_2.14`.
    let end = mangled.iter().position(|&byte| byte == b'@').unwrap_or(mangled.len());
    let plain = || Untrusted::from_bytes(mangled);
    let Ok(text) = str::from_utf8(&mangled[..end.max(1).min(mangled.len())]) else {
        return plain();
    };
    let mut out = Bounded::default();
    if let Ok(name) = rustc_demangle::try_demangle(text) {
        return match write!(out, "{name:#}") {
            Ok(()) => out.0.into(),
            Err(_) => plain(),
        };
    }
    if !text.starts_with("_Z") {
        return text.into();
    }
    let options = cpp_demangle::DemangleOptions::new().no_params();
    let symbol = cpp_demangle::Symbol::new(text);
    match symbol.map(|symbol| symbol.structured_demangle(&mut out, &options)) {
        Ok(Ok(())) => out.0.into(),
        _ => plain(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_demangled() {
        let text = |name_of: &str| name(name_of.as_bytes()).to_string();
        assert_eq!(text("main"), "main");
        assert_eq!(
            text("_ZN4core3fmt5Write9write_fmt17h0123456789abcdefE"),
            "core::fmt::Write::write_fmt"
        );
        assert_eq!(text("_RNvC6_123foo3bar"), "123foo::bar");
        assert_eq!(text("_ZN3foo3barEi"), "foo::bar");
        assert_eq!(text("memcpy@@GLIBC_2.14"), "memcpy");
        assert_eq!(text("_Znonsense"), "_Znonsense");
        assert_eq!(text(""), "");
    }

    #[test]
    fn a_long_name_stays_bounded() {
        let long = "a".repeat(10 * MOST_BYTES);
        assert_eq!(name(long.as_bytes()).raw().len(), MOST_BYTES);
        assert!(name(format!("_Z{}", "N1a".repeat(5000)).as_bytes()).raw().len() <= MOST_BYTES);
    }
}
