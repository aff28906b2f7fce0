//! Untrusted text: names of processes and cgroups, paths, arguments, excerpts of files. The name of
//! a process can contain escape sequences, which a terminal would execute.
//!
//! [`Untrusted`] is the only type for such text. Printing it makes it harmless: U+FFFD replaces
//! each character that a terminal may execute, or that hides or reorders its neighbours. JSON has
//! the complete text, with such characters escaped ([`json`]).

pub mod json;

use std::{borrow::Cow, ffi::OsStr, fmt, path::Path};

use serde::{Deserialize, Serialize, Serializer};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory as _};

/// The replacement of a harmful character.
const REPLACEMENT: char = '\u{fffd}';

/// Text that was chosen by somebody else, for example the name of a process.
///
/// The type has neither `Deref` nor `AsRef<str>`, so that it cannot be printed unchanged. `Display`
/// and `Debug` make the text harmless.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(transparent)]
pub struct Untrusted(String);

impl Untrusted {
    /// Converts bytes. U+FFFD replaces bytes that are not UTF-8.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        Self(String::from_utf8_lossy(bytes).into_owned())
    }

    /// Converts the name of a process as the kernel stores it: padded with NULs.
    pub fn from_comm(bytes: &[u8]) -> Self {
        let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
        Self::from_bytes(&bytes[..end])
    }

    /// The original text. Never print it on a terminal, in a log or in a message.
    pub fn raw(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&harmless(&self.0))
    }
}

impl fmt::Debug for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` of a string does not escape every invisible letter.
        f.write_str(&harmless(&format!("{:?}", self.0)))
    }
}

/// Serialises the complete text. The serialiser escapes it by the rules of its format.
impl Serialize for Untrusted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<&str> for Untrusted {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl From<String> for Untrusted {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl From<&OsStr> for Untrusted {
    fn from(text: &OsStr) -> Self {
        Self::from_bytes(text.as_encoded_bytes())
    }
}

impl From<&Path> for Untrusted {
    fn from(path: &Path) -> Self {
        path.as_os_str().into()
    }
}

/// Converts a path for messages.
pub fn path(path: &(impl AsRef<Path> + ?Sized)) -> Untrusted {
    path.as_ref().into()
}

/// Replaces every harmful character, including line breaks.
pub fn harmless(text: &str) -> Cow<'_, str> {
    replaced(text, is_harmless)
}

/// Replaces every harmful character except line breaks.
pub fn harmless_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c == '\n' || is_harmless(c))
}

fn replaced(text: &str, keeps: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.chars().all(&keeps) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if keeps(c) { c } else { REPLACEMENT }).collect())
}

/// Replaces every harmful character of a log line, except the colour sequences (SGR) that the
/// format of the log adds.
pub fn harmless_log(line: &str) -> Cow<'_, str> {
    if line.chars().all(|c| c == '\n' || is_harmless(c)) {
        return Cow::Borrowed(line);
    }
    let mut harmless = String::with_capacity(line.len());
    let mut rest = line;
    while let Some((before, after)) = rest.split_once(COLOUR) {
        harmless += &harmless_lines(before);
        let digits = after.find(|c: char| !matches!(c, '0'..='9' | ';')).unwrap_or(after.len());
        let is_colour = after[digits..].starts_with('m');
        harmless += if is_colour { COLOUR } else { "\u{fffd}[" };
        let (colour, others) = after.split_at(if is_colour { digits + 1 } else { 0 });
        harmless += colour;
        rest = others;
    }
    harmless += &harmless_lines(rest);
    Cow::Owned(harmless)
}

/// The beginning of a colour sequence, which ends with `m`.
const COLOUR: &str = "\u{1b}[";

/// Escapes every harmful character in the strings of a TOML document. If the document may have
/// literal strings, which allow no escapes, replaces the characters instead.
pub fn escaped_toml(document: &str) -> String {
    if document.contains('\'') {
        return harmless_lines(document).into_owned();
    }
    let mut escaped = String::with_capacity(document.len());
    for c in document.chars() {
        match u32::from(c) {
            _ if c == '\n' || is_harmless(c) => escaped.push(c),
            code @ ..=0xffff => escaped += &format!("\\u{code:04x}"),
            code => escaped += &format!("\\U{code:08x}"),
        }
    }
    escaped
}

/// Whether a character can be printed: it has a glyph of its own, or combines with one, and has no
/// other effect. Characters without a glyph in Unicode (private use, unassigned) are not harmless.
pub fn is_harmless(c: char) -> bool {
    use GeneralCategory::{
        Control, Format, LineSeparator, ParagraphSeparator, PrivateUse, Surrogate, Unassigned,
    };
    if c.is_ascii() {
        return matches!(c, ' '..='~');
    }
    let harmful = matches!(
        c.general_category(),
        Control | Format | LineSeparator | ParagraphSeparator | PrivateUse | Surrogate | Unassigned
    );
    !harmful && !is_invisible(c)
}

/// The letters and marks among `Default_Ignorable_Code_Point` (Unicode 17,
/// DerivedCoreProperties.txt), which a terminal does not show: fillers, variation selectors, and
/// the grapheme joiner.
fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{34f}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{ffa0}'
            | '\u{e0100}'..='\u{e01ef}'
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_not_printed() {
        for (raw, printed) in [
            ("nginx", "nginx"),
            (
                "caf\u{e9} \u{4e2d}\u{6587} \u{1f980} a\u{301}",
                "caf\u{e9} \u{4e2d}\u{6587} \u{1f980} a\u{301}",
            ),
            ("\u{1b}]0;title\u{7}", "\u{fffd}]0;title\u{fffd}"),
            ("a\nb\tc\rd\u{7f}", "a\u{fffd}b\u{fffd}c\u{fffd}d\u{fffd}"),
            ("\u{9b}31m", "\u{fffd}31m"),
            ("a\u{202e}b\u{2066}c\u{200b}d", "a\u{fffd}b\u{fffd}c\u{fffd}d"),
            ("a\u{2028}b\u{2029}c", "a\u{fffd}b\u{fffd}c"),
            ("\u{e000}\u{10ffff}\u{e0041}\u{3164}", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ] {
            assert_eq!(Untrusted::from(raw).to_string(), printed, "{raw:?}");
            assert_eq!(Untrusted::from(raw).raw(), raw);
        }
        assert_eq!(Untrusted::from_bytes(b"a\xff\xfeb").to_string(), "a\u{fffd}\u{fffd}b");
        assert_eq!(path("/tmp/\u{1b}c").to_string(), "/tmp/\u{fffd}c");
    }

    #[test]
    fn a_name_ends_at_its_first_nul() {
        assert_eq!(Untrusted::from_comm(b"nginx\0\0x").to_string(), "nginx");
        assert_eq!(Untrusted::from_comm(b"sixteen-bytes-xx").to_string(), "sixteen-bytes-xx");
    }

    #[test]
    fn a_width_is_kept() {
        assert_eq!(format!("{:>4}|", Untrusted::from("\u{1b}a")), "  \u{fffd}a|");
    }

    #[test]
    fn lines_stay_lines() {
        assert_eq!(harmless_lines("a\nb\u{1b}c\r\n"), "a\nb\u{fffd}c\u{fffd}\n");
    }

    #[test]
    fn a_log_keeps_its_colours() {
        let line = "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;31mERROR\u{1b}[0m a\u{1b}]0;t\u{7}\u{1b}[2J\u{202e}\n";
        assert_eq!(
            harmless_log(line),
            "\u{1b}[2m12:00\u{1b}[0m \u{1b}[1;31mERROR\u{1b}[0m a\u{fffd}]0;t\u{fffd}\u{fffd}[2J\u{fffd}\n"
        );
    }

    #[test]
    fn a_toml_document_is_escaped() {
        let document = "a = \"\u{202e}\u{e0041}\"\n";
        assert_eq!(escaped_toml(document), "a = \"\\u202e\\U000e0041\"\n");
        assert_eq!(escaped_toml("a = '\u{202e}'\n"), "a = '\u{fffd}'\n");
    }

    proptest! {
        #[test]
        fn nothing_harmful_is_printed(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            for untrusted in [Untrusted::from(text), Untrusted::from_bytes(&bytes)] {
                prop_assert!(untrusted.to_string().chars().all(is_harmless));
                let debug = format!("{untrusted:?}");
                let logged = harmless_log(untrusted.raw()).replace(COLOUR, "");
                prop_assert!(logged.chars().all(|c| c == '\n' || is_harmless(c)), "{}", debug);
                prop_assert!(debug.chars().all(is_harmless), "{}", debug);
            }
        }
    }

    /// Checks without the table of categories: bidirectional controls and other format characters,
    /// line separators, private use, and noncharacters.
    #[test]
    fn well_known_characters_are_harmful() {
        let controls = (char::MIN..=char::MAX).filter(|c| c.is_control());
        let formats = "\u{ad}\u{600}\u{61c}\u{6dd}\u{70f}\u{180e}\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\
            \u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2060}\u{2061}\u{2064}\u{2066}\u{2067}\u{2068}\
            \u{2069}\u{206a}\u{206f}\u{feff}\u{fff9}\u{110bd}\u{1bca0}\u{1d173}\u{e0001}\u{e0020}\u{e007f}";
        let others =
            "\u{2028}\u{2029}\u{e000}\u{f8ff}\u{f0000}\u{10fffd}\u{fdd0}\u{ffff}\u{10ffff}\u{378}";
        for c in controls.chain(formats.chars()).chain(others.chars()) {
            assert!(!is_harmless(c), "{c:?}");
        }
    }
}
