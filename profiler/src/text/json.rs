//! Writes JSON that is safe to print on a terminal: text is complete, and harmful characters are
//! escaped.
//!
//! RFC 8259 allows every character to be written as `\uXXXX`. This module escapes each character
//! that is not [harmless](crate::text::is_harmless), such as U+202E and U+2028. A parser returns
//! the original text. Only bytes that are not UTF-8 are lost, because JSON cannot represent them.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::{
    Serializer,
    ser::{CompactFormatter, Formatter},
};

use super::is_harmless;

/// Writes `value` without a newline.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value.serialize(&mut Serializer::with_formatter(out, Escaping(CompactFormatter)))?;
    Ok(())
}

/// A compact formatter that escapes more characters than JSON requires.
struct Escaping(CompactFormatter);

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        out: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut rest = fragment;
        while let Some(at) = rest.find(|c| !is_harmless(c)) {
            let (before, from) = rest.split_at(at);
            self.0.write_string_fragment(out, before)?;
            let mut following = from.chars();
            for unit in
                following.next().into_iter().flat_map(|c| c.encode_utf16(&mut [0; 2]).to_vec())
            {
                write!(out, "\\u{unit:04x}")?;
            }
            rest = following.as_str();
        }
        self.0.write_string_fragment(out, rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::text::Untrusted;

    fn written(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, &Untrusted::from(text)).expect("a vector takes everything");
        String::from_utf8(out).expect("UTF-8")
    }

    #[test]
    fn what_a_terminal_obeys_is_escaped() {
        assert_eq!(written("\u{1b}]0;t\u{7}\n"), r#""\u001b]0;t\u0007\n""#);
        assert_eq!(written("a\u{202e}b\u{2028}"), r#""a\u202eb\u2028""#);
        assert_eq!(written("\u{7f}\u{9b}\u{10ffff}"), r#""\u007f\u009b\udbff\udfff""#);
        assert_eq!(written("caf\u{e9} \"x\""), "\"caf\u{e9} \\\"x\\\"\"");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_nothing_is_harmful(text in any::<String>()) {
            let written = written(&text);
            prop_assert!(written.chars().all(is_harmless), "{}", written);
            prop_assert_eq!(serde_json::from_str::<String>(&written).expect("JSON"), text);
        }
    }
}
