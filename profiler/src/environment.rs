//! What the environment lets an output use. Of `variable`, so that tests need not touch
//! the process's own.

use std::ffi::OsString;

fn set(variable: impl Fn(&str) -> Option<OsString>) -> impl Fn(&str) -> Option<OsString> {
    // An empty variable counts as unset.
    move |name| variable(name).filter(|value| !value.is_empty())
}

/// Colours: unless <https://no-color.org>, any value that is not empty, or a terminal that
/// takes no escape sequences.
pub(crate) fn allows_colour(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    set(&variable)("NO_COLOR").is_none() && takes_escapes(variable)
}

/// Escape sequences: the terminal's type is known, and is not `dumb`.
pub(crate) fn takes_escapes(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    set(variable)("TERM").is_some_and(|term| term != "dumb")
}

/// Characters beyond ASCII: a locale of UTF-8, by the order in which setlocale(3) looks.
pub(crate) fn allows_unicode(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set(variable));
    locale.is_some_and(|locale| {
        let locale = locale.as_encoded_bytes().to_ascii_lowercase();
        let has = |name: &[u8]| locale.windows(name.len()).any(|part| part == name);
        has(b"utf-8") || has(b"utf8")
    })
}
