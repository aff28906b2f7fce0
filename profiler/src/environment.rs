//! Reads from the environment which characters and escape sequences the output can use. The
//! functions take a `variable` lookup, so that tests do not change the environment of the process.

use std::{borrow::Cow, env, ffi::OsString, iter};

use unicode_width::UnicodeWidthChar as _;

fn set(variable: impl Fn(&str) -> Option<OsString>) -> impl Fn(&str) -> Option<OsString> {
    // An empty variable counts as unset.
    move |name| variable(name).filter(|value| !value.is_empty())
}

/// Whether escape sequences can be used: `TERM` is set, and is not `dumb`.
pub(crate) fn takes_escapes(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    set(variable)("TERM").is_some_and(|term| term != "dumb")
}

/// Whether characters beyond ASCII can be used: the locale is UTF-8. Reads the variables in the
/// order of setlocale(3).
pub(crate) fn allows_unicode(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set(variable));
    locale.is_some_and(|locale| {
        let locale = locale.as_encoded_bytes().to_ascii_lowercase();
        let has = |name: &[u8]| locale.windows(name.len()).any(|part| part == name);
        has(b"utf-8") || has(b"utf8")
    })
}

/// Converts `text` to the characters that the locale can print.
pub(crate) fn in_locale(text: &str) -> Cow<'_, str> {
    if allows_unicode(|name| env::var_os(name)) { Cow::Borrowed(text) } else { ascii(text) }
}

/// Replaces each character beyond ASCII by as many question marks as it has columns.
fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            ascii.extend(iter::repeat_n('?', c.width().unwrap_or(1)));
        }
    }
    Cow::Owned(ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_is_set_decides() {
        let unicode = |variables: &[(&str, &str)]| {
            allows_unicode(|name| {
                variables.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value))
            })
        };
        assert!(unicode(&[("LANG", "en_US.UTF-8")]));
        assert!(unicode(&[("LC_CTYPE", "C.utf8"), ("LANG", "C")]));
        assert!(unicode(&[("LC_ALL", ""), ("LANG", "de_DE.utf8")]));
        assert!(!unicode(&[("LC_ALL", "C"), ("LANG", "en_US.UTF-8")]));
        assert!(!unicode(&[]));
    }

    #[test]
    fn what_is_not_ascii_keeps_its_columns() {
        assert_eq!(ascii("plain\n"), "plain\n");
        assert_eq!(ascii("caf\u{e9} cafe\u{301} \u{65e5}\u{672c} \u{fffd}|"), "caf? cafe ???? ?|");
    }
}
