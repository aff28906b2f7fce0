//! Parses durations in flags and in the configuration file: a number and a unit, such as `500ms`,
//! `1.5s` or `2m`. A bare number is seconds.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::text::Untrusted;

/// A duration of at least `MIN_MS` and at most `MAX_MS` milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bounded<const MIN_MS: u64, const MAX_MS: u64>(Duration);

/// The time between two drains or refreshes, from 10 ms to 1 h. Shorter intervals would use too
/// much of a CPU on a busy host. Longer intervals would keep the records of ended threads too long.
pub type Interval = Bounded<10, 3_600_000>;

/// The length of a run, from 10 ms to 8760 h (a year).
pub type RunTime = Bounded<10, 31_536_000_000>;

/// Units and their nanoseconds, the longest first.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// Digits after the point that matter: an hour has 3.6 × 10^12 nanoseconds.
const MAX_PLACES: usize = 13;

impl<const MIN_MS: u64, const MAX_MS: u64> Bounded<MIN_MS, MAX_MS> {
    /// The minimum.
    pub const MIN: Self = Self(Duration::from_millis(MIN_MS));
    /// The maximum.
    pub const MAX: Self = Self(Duration::from_millis(MAX_MS));

    /// Clamps `duration` to the bounds.
    pub fn clamped(duration: Duration) -> Self {
        Self(duration.clamp(Self::MIN.0, Self::MAX.0))
    }

    /// The duration.
    pub fn get(self) -> Duration {
        self.0
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> FromStr for Bounded<MIN_MS, MAX_MS> {
    type Err = InvalidDuration;

    fn from_str(text: &str) -> Result<Self, InvalidDuration> {
        let invalid = |expected| InvalidDuration { text: text.into(), expected };
        let nanos = parse_nanos(text).ok_or_else(|| invalid(Expected::Form))?;
        u64::try_from(nanos)
            .map(Duration::from_nanos)
            .ok()
            .filter(|duration| (Self::MIN.0..=Self::MAX.0).contains(duration))
            .map(Self)
            .ok_or_else(|| invalid(Expected::Range { min: Self::MIN.0, max: Self::MAX.0 }))
    }
}

/// Parses whole nanoseconds. `None` if the text has another form, or has a fraction of a
/// nanosecond.
pub(crate) fn exact_nanos(text: &str) -> Option<u64> {
    let (nanos, is_exact) = parse(text)?;
    u64::try_from(nanos).ok().filter(|_| is_exact)
}

/// Parses nanoseconds, rounded down. `None` if the text has another form.
pub(crate) fn parse_nanos(text: &str) -> Option<u128> {
    parse(text).map(|(nanos, _)| nanos)
}

/// Parses nanoseconds, rounded down, and whether the value is exact.
fn parse(text: &str) -> Option<(u128, bool)> {
    let digits_end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits_end);
    let unit_ns = match unit {
        "" => NANOS_PER_SECOND,
        unit => UNITS.iter().find_map(|&(name, ns)| (name == unit).then_some(ns))?,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    if whole.is_empty() || fraction.is_empty() || fraction.contains('.') {
        return None;
    }
    // The text has only digits, so a failure means that the number is too large.
    let whole = whole.parse().unwrap_or(u64::MAX);
    let places = fraction.trim_end_matches('0');
    let kept = &places[..places.len().min(MAX_PLACES)];
    let parts = 10_u128.pow(u32::try_from(kept.len()).ok()?);
    let unit_ns = u128::from(unit_ns);
    // The text has only digits, so a failure means that it is empty.
    let fraction_ns = kept.parse().unwrap_or(0_u128) * unit_ns;
    let is_exact = kept.len() == places.len() && fraction_ns.is_multiple_of(parts);
    Some((u128::from(whole) * unit_ns + fraction_ns / parts, is_exact))
}

impl<const MIN_MS: u64, const MAX_MS: u64> fmt::Display for Bounded<MIN_MS, MAX_MS> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write(self.0, f)
    }
}

/// Writes `duration` in the largest unit of which it is a whole number.
fn write(duration: Duration, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let nanos = duration.as_nanos();
    let fits = |&&(_, unit_ns): &&(&str, u64)| nanos.is_multiple_of(u128::from(unit_ns));
    let (name, unit_ns) = UNITS.iter().find(fits).unwrap_or(&("ns", 1));
    write!(f, "{}{name}", nanos / u128::from(*unit_ns))
}

/// Why a text is not a valid duration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidDuration {
    text: Untrusted,
    expected: Expected,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Expected {
    Form,
    Range { min: Duration, max: Duration },
}

impl InvalidDuration {
    /// The message. It names the flag or setting, if one is given.
    pub(crate) fn message(&self, of: Option<&str>) -> String {
        let of = of.map(|of| format!(" for {of}")).unwrap_or_default();
        format!("invalid duration `{}`{of}: expected {}", self.text, self.expected)
    }
}

impl fmt::Display for InvalidDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message(None))
    }
}

impl std::error::Error for InvalidDuration {}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Form => f.write_str("a number and a unit (ms, s, m, h), for example 500ms"),
            Self::Range { min, max } => {
                write(min, f)?;
                f.write_str(" to ")?;
                write(max, f)
            }
        }
    }
}

impl<const MIN_MS: u64, const MAX_MS: u64> Serialize for Bounded<MIN_MS, MAX_MS> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, const MIN_MS: u64, const MAX_MS: u64> Deserialize<'de> for Bounded<MIN_MS, MAX_MS> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor<const MIN_MS: u64, const MAX_MS: u64>;

impl<const MIN_MS: u64, const MAX_MS: u64> de::Visitor<'_> for Visitor<MIN_MS, MAX_MS> {
    type Value = Bounded<MIN_MS, MAX_MS>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a duration: {}", Expected::Form)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Self::Value, E> {
        self.visit_str(&seconds.to_string())
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Self::Value, E> {
        self.visit_str(&seconds.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations() {
        for (text, ns) in [
            ("10ms", 10_000_000),
            ("500ms", 500_000_000),
            ("10s", 10_000_000_000),
            ("1.5s", 1_500_000_000),
            ("1.50m", 90_000_000_000),
            ("0.0101s", 10_100_000),
            ("10000us", 10_000_000),
            ("1h", 3_600_000_000_000),
            ("0060m", 3_600_000_000_000),
            // A bare number is seconds.
            ("5", 5_000_000_000),
            ("0.25", 250_000_000),
            // Nanoseconds are whole.
            ("0.01000000000099999999999999s", 10_000_000),
        ] {
            let parsed = text.parse::<Interval>().expect(text);
            assert_eq!(parsed.get(), Duration::from_nanos(ns), "{text}");
        }
    }

    #[test]
    fn invalid_durations_say_what_is_expected() {
        let of = |text: &str| text.parse::<Interval>().expect_err(text).to_string();
        let form = [
            "",
            "s",
            ".5s",
            "5.s",
            "1.2.3s",
            "1 s",
            "5x",
            "5 parsecs",
            "5S",
            "-1s",
            "-",
            "+1s",
            "1e3s",
            "1_000ms",
            "\u{1b}[31m1s",
            "5\u{202e}s",
            "١s",
        ];
        let range = [
            "0",
            "0s",
            "0.0h",
            "1ns",
            "9.999999ms",
            "9ms",
            "3600001ms",
            "61m",
            "2h",
            "18446744073709551615s",
            "99999999999999999999999999999999999999999h",
        ];
        for text in form {
            let expected = "expected a number and a unit (ms, s, m, h), for example 500ms";
            let text = (text, Untrusted::from(text));
            assert_eq!(of(text.0), format!("invalid duration `{}`: {expected}", text.1));
        }
        for text in range {
            assert_eq!(of(text), format!("invalid duration `{text}`: expected 10ms to 1h"));
        }
        let year = "8761h".parse::<RunTime>().expect_err("too long").message(Some("--duration"));
        assert_eq!(year, "invalid duration `8761h` for --duration: expected 10ms to 8760h");
    }

    proptest! {
        #[test]
        fn a_duration_survives_being_written(ns in 10_000_000..=3_600_000_000_000_u64) {
            let interval = Interval::clamped(Duration::from_nanos(ns));
            prop_assert_eq!(interval.to_string().parse(), Ok(interval));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,12}|[0-9.]{0,50}(ns|us|ms|s|m|h)?") {
            if let Ok(interval) = text.parse::<Interval>() {
                prop_assert!((Interval::MIN..=Interval::MAX).contains(&interval));
            }
        }
    }
}
