//! Parses the flag `--sample` and the setting `time_one_in`.

use std::{fmt, num::NonZeroU32};

use profiler_common::sampling::adaptive::{DEFAULT_LIMIT, MAX_LIMIT, MIN_LIMIT};
use serde::{Deserializer, Serializer, de};

use crate::model::Timed;

/// The word for adaptive sampling.
const AUTO: &str = "auto";

/// Parses the value of `--sample`.
pub(super) fn flag(text: &str) -> Result<Timed, String> {
    match text.parse() {
        Ok(calls) if calls >= 2 => Ok(NonZeroU32::new(calls).map_or(Timed::All, Timed::OneIn)),
        Ok(_) => Err(format!("expected a number from 2 to {}, or {AUTO}", u32::MAX)),
        Err(_) => adaptive(text).ok_or_else(|| {
            format!(
                "expected a number of calls, {AUTO}, or {AUTO}:N with N from {MIN_LIMIT} to {MAX_LIMIT}"
            )
        }),
    }
}

/// Parses `auto`, or `auto:N`.
fn adaptive(text: &str) -> Option<Timed> {
    let limit = match text.strip_prefix(AUTO)? {
        "" => DEFAULT_LIMIT,
        limit => limit.strip_prefix(':')?.parse().ok()?,
    };
    let limit = (MIN_LIMIT..=MAX_LIMIT).contains(&limit).then(|| NonZeroU32::new(limit))?;
    limit.map(Timed::Adaptive)
}

/// Serialises the setting `time_one_in`.
pub(super) fn serialize<S: Serializer>(timed: &Timed, serializer: S) -> Result<S::Ok, S::Error> {
    match timed {
        Timed::All => serializer.serialize_u32(1),
        Timed::OneIn(calls) => serializer.serialize_u32(calls.get()),
        Timed::Adaptive(limit) if limit.get() == DEFAULT_LIMIT => serializer.serialize_str(AUTO),
        Timed::Adaptive(limit) => serializer.collect_str(&format_args!("{AUTO}:{limit}")),
        Timed::None => serializer.serialize_u32(0),
    }
}

/// Deserialises the setting `time_one_in`.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timed, D::Error> {
    deserializer.deserialize_any(Setting)
}

struct Setting;

impl de::Visitor<'_> for Setting {
    type Value = Timed;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a whole number from 0 to {}, {AUTO:?}, or \"{AUTO}:N\" with N from {MIN_LIMIT} to \
             {MAX_LIMIT}",
            u32::MAX
        )
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Timed, E> {
        match u32::try_from(value).map(NonZeroU32::new) {
            Ok(None) => Ok(Timed::None),
            Ok(Some(NonZeroU32::MIN)) => Ok(Timed::All),
            Ok(Some(calls)) => Ok(Timed::OneIn(calls)),
            Err(_) => Err(E::invalid_value(de::Unexpected::Signed(value), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timed, E> {
        adaptive(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limited(limit: u32) -> Result<Timed, String> {
        Ok(Timed::Adaptive(NonZeroU32::new(limit).expect("a limit")))
    }

    #[test]
    fn a_flag_is_a_number_or_auto() {
        assert_eq!(flag("2"), Ok(Timed::OneIn(NonZeroU32::new(2).expect("a number"))));
        assert_eq!(flag("auto"), limited(10_000));
        assert_eq!(flag("auto:1000"), limited(1_000));
        assert_eq!(flag("auto:1000000"), limited(1_000_000));
        let wrong =
            ["", "0", "1", "-1", "auto:", "auto:0", "auto:999", "auto:1000001", "automatic"];
        for text in wrong {
            assert!(flag(text).is_err(), "{text}");
        }
    }
}
