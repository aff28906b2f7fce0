//! What the environment lets an output use. Of `variable`, so that tests need not touch
//! the process's own.

use std::ffi::OsString;

fn set(variable: impl Fn(&str) -> Option<OsString>) -> impl Fn(&str) -> Option<OsString> {
    // An empty variable counts as unset.
    move |name| variable(name).filter(|value| !value.is_empty())
}

/// Colours: <https://no-color.org>, any value that is not empty.
pub(crate) fn allows_colour(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    set(variable)("NO_COLOR").is_none()
}

/// Characters beyond ASCII: a locale of UTF-8, by the order in which setlocale(3) looks.
pub(crate) fn allows_unicode(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(set(variable));
    locale.is_some_and(|locale| {
        let locale = locale.to_string_lossy().to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}
