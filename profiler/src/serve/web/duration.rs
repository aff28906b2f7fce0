//! Durations as Go writes them: `1s`, `1h15m30.918s`, `-1.5h`.

/// Reads a duration in nanoseconds, as Go's `time.ParseDuration` does.
///
/// Returns `None` if the text is not a duration, or does not fit.
pub(super) fn parse(text: &str) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        if !number.bytes().any(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let nanoseconds = match unit {
            "ns" => 1.0,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * nanoseconds;
        rest = after;
    }
    /// Above this, not every whole number of nanoseconds is an `i64`.
    const MAX: f64 = 9.2e18;
    (total < MAX).then_some((sign * total) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_in_go() {
        for (text, nanoseconds) in [
            ("0", Some(0)),
            ("1s", Some(1_000_000_000)),
            ("1h15m30.5s", Some(4_530_500_000_000)),
            ("-1.5h", Some(-5_400_000_000_000)),
            (".5ms", Some(500_000)),
            ("1\u{b5}s", Some(1_000)),
            ("", None),
            ("1", None),
            ("s", None),
            (".s", None),
            ("1.2.3s", None),
            ("1d", None),
            ("1 s", None),
            ("9999999999h", None),
        ] {
            assert_eq!(parse(text), nanoseconds, "{text:?}");
        }
    }
}
