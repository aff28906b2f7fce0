//! Decodes keys from the bytes that a terminal sends.
//!
//! This module replaces crossterm's reader for four reasons. One cannot wait for that reader and
//! for other files together. It loses keys that arrive together with a new size. It blocks if a
//! sequence arrives in two parts. It reads a terminal that has hung up forever.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// Longer than the sequence of any key.
const LONGEST: usize = 32;

/// Bytes that are not decoded yet.
#[derive(Default)]
pub(super) struct Keys {
    bytes: Vec<u8>,
}

impl Keys {
    /// Adds bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next complete key. Skips unknown sequences.
    pub(super) fn next(&mut self) -> Option<KeyEvent> {
        loop {
            let (key, length) = match decode(&self.bytes) {
                Decoded::Key(key, length) => (Some(key), length),
                Decoded::Nothing(length) => (None, length),
                Decoded::Incomplete if self.bytes.len() < LONGEST => return None,
                Decoded::Incomplete => (None, self.bytes.len()),
            };
            self.bytes.drain(..length);
            if key.is_some() {
                return key;
            }
        }
    }
}

/// The first key or sequence of some bytes, and its length.
enum Decoded {
    Key(KeyEvent, usize),
    Nothing(usize),
    Incomplete,
}

impl Decoded {
    fn of(code: Option<KeyCode>, length: usize) -> Self {
        match code {
            Some(code) => Self::Key(KeyEvent::new(code, KeyModifiers::NONE), length),
            None => Self::Nothing(length),
        }
    }
}

fn decode(bytes: &[u8]) -> Decoded {
    match *bytes {
        [] => Decoded::Incomplete,
        [0x1b, b'[', ..] => control_sequence(bytes),
        // Sent by terminals in application mode.
        [0x1b, b'O'] => Decoded::Incomplete,
        [0x1b, b'O', last, ..] => Decoded::of(letter(last), 3),
        // Esc alone, or Esc right before another key.
        [0x1b, ..] => Decoded::of(Some(KeyCode::Esc), 1),
        [b'\r' | b'\n', ..] => Decoded::of(Some(KeyCode::Enter), 1),
        [b'\t', ..] => Decoded::of(Some(KeyCode::Tab), 1),
        [0x7f | 0x08, ..] => Decoded::of(Some(KeyCode::Backspace), 1),
        [control @ 0x01..=0x1a, ..] => {
            let letter = KeyCode::Char(char::from(control - 1 + b'a'));
            Decoded::Key(KeyEvent::new(letter, KeyModifiers::CONTROL), 1)
        }
        [first, ..] => character(bytes, first),
    }
}

/// Decodes a control sequence: `ESC [`, parameters and intermediates, a last byte (ECMA-48, 5.4).
fn control_sequence(bytes: &[u8]) -> Decoded {
    let Some(at) = bytes[2..].iter().position(|byte| !(0x20..=0x3f).contains(byte)) else {
        return Decoded::Incomplete;
    };
    let length = 2 + at + 1;
    let parameters = &bytes[2..2 + at];
    match bytes[2 + at] {
        // Function keys of the Linux console: a second bracket and a letter.
        b'[' if at == 0 => match bytes.get(3) {
            None => Decoded::Incomplete,
            Some(b'A') => Decoded::of(Some(KeyCode::F(1)), 4),
            Some(_) => Decoded::Nothing(4),
        },
        b'~' => {
            let number = parameters.split(|&byte| byte == b';').next();
            let code = match number {
                Some(b"1" | b"7") => Some(KeyCode::Home),
                Some(b"4" | b"8") => Some(KeyCode::End),
                Some(b"5") => Some(KeyCode::PageUp),
                Some(b"6") => Some(KeyCode::PageDown),
                Some(b"11") => Some(KeyCode::F(1)),
                _ => None,
            };
            Decoded::of(code, length)
        }
        last => Decoded::of(letter(last), length),
    }
}

/// Keys that the last byte of their sequence identifies.
fn letter(last: u8) -> Option<KeyCode> {
    Some(match last {
        b'A' => KeyCode::Up,
        b'B' => KeyCode::Down,
        b'C' => KeyCode::Right,
        b'D' => KeyCode::Left,
        b'H' => KeyCode::Home,
        b'F' => KeyCode::End,
        b'M' => KeyCode::Enter,
        b'P' => KeyCode::F(1),
        b'Z' => KeyCode::BackTab,
        _ => return None,
    })
}

/// Decodes a character in UTF-8.
fn character(bytes: &[u8], first: u8) -> Decoded {
    let length = match first {
        0x00..=0x7f => 1,
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return Decoded::Nothing(1),
    };
    let Some(bytes) = bytes.get(..length) else { return Decoded::Incomplete };
    match str::from_utf8(bytes).ok().and_then(|text| text.chars().next()) {
        Some(c) if !c.is_control() => Decoded::of(Some(KeyCode::Char(c)), length),
        Some(_) => Decoded::Nothing(length),
        None => Decoded::Nothing(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn codes(keys: &mut Keys) -> Vec<KeyCode> {
        std::iter::from_fn(|| keys.next()).map(|key| key.code).collect()
    }

    fn decoded(bytes: &[u8]) -> Vec<KeyCode> {
        let mut keys = Keys::default();
        keys.feed(bytes);
        codes(&mut keys)
    }

    #[test]
    fn characters_and_controls() {
        use KeyCode::*;
        assert_eq!(decoded(b"q?\r\t\x7f"), [Char('q'), Char('?'), Enter, Tab, Backspace]);
        assert_eq!(decoded("\u{e9}\u{65e5}".as_bytes()), [Char('\u{e9}'), Char('\u{65e5}')]);
        let mut keys = Keys::default();
        keys.feed(b"\x03\x1a");
        let control = |c| KeyEvent::new(Char(c), KeyModifiers::CONTROL);
        assert_eq!((keys.next(), keys.next()), (Some(control('c')), Some(control('z'))));
    }

    #[test]
    fn sequences_of_the_usual_terminals() {
        use KeyCode::*;
        assert_eq!(decoded(b"\x1b[A\x1b[B\x1bOC\x1bOD\x1b[Z"), [Up, Down, Right, Left, BackTab]);
        assert_eq!(
            decoded(b"\x1b[H\x1b[1~\x1b[7~\x1b[F\x1b[4~\x1b[8~"),
            [Home, Home, Home, End, End, End]
        );
        assert_eq!(decoded(b"\x1b[5~\x1b[6~\x1b[6;5~"), [PageUp, PageDown, PageDown]);
        assert_eq!(decoded(b"\x1bOP\x1b[11~\x1b[[A"), [F(1), F(1), F(1)]);
        assert_eq!(decoded(b"\x1b[1;5B"), [Down]);
    }

    #[test]
    fn esc_is_a_key_when_nothing_it_begins_follows() {
        use KeyCode::*;
        assert_eq!(decoded(b"\x1b"), [Esc]);
        assert_eq!(decoded(b"\x1b\x1bq"), [Esc, Esc, Char('q')]);
    }

    #[test]
    fn what_comes_in_parts_is_one_key() {
        let mut keys = Keys::default();
        for (part, expected) in
            [(&b"\x1b["[..], vec![]), (b"6", vec![]), (b"~\xc3", vec![KeyCode::PageDown])]
        {
            keys.feed(part);
            assert_eq!(codes(&mut keys), expected, "after {part:?}");
        }
        keys.feed(b"\xa9");
        assert_eq!(codes(&mut keys), [KeyCode::Char('\u{e9}')]);
    }

    #[test]
    fn what_is_unknown_is_passed_over() {
        assert_eq!(decoded(b"\x1b[200~\x1b[?1;2cx"), [KeyCode::Char('x')]);
        assert_eq!(decoded(b"\xff\x80\x00x"), [KeyCode::Char('x')]);
        let endless = [b"\x1b[".as_slice(), &[b'1'; 100], b"~x"].concat();
        assert_eq!(decoded(&endless).last(), Some(&KeyCode::Char('x')));
    }

    proptest! {
        #[test]
        fn nothing_stops_the_decoder(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let mut keys = Keys::default();
            keys.feed(&bytes);
            codes(&mut keys);
            // Ends whatever sequence is open, then is a key of its own.
            keys.feed(&[b'~'; 2 * LONGEST]);
            codes(&mut keys);
            keys.feed(b"q");
            prop_assert_eq!(codes(&mut keys), [KeyCode::Char('q')]);
        }
    }
}
