//! Numbers as people read them.

/// A count in at most five characters, as `999`, `12.3k`, `4.56M`.
pub fn count(n: u64) -> String {
    scaled(n as f64, &["", "k", "M", "G", "T", "P", "E"])
}

fn scaled(mut value: f64, suffixes: &[&str]) -> String {
    let mut at = 0;
    // Compared with what would be shown, so that 999.96 does not become 1000.
    while value >= 999.95 && at + 1 < suffixes.len() {
        value /= 1000.0;
        at += 1;
    }
    let suffix = suffixes[at];
    if at == 0 {
        format!("{value:.0}{suffix}")
    } else if value < 9.995 {
        format!("{value:.2}{suffix}")
    } else if value < 99.95 {
        format!("{value:.1}{suffix}")
    } else {
        format!("{value:.0}{suffix}")
    }
}

/// A time in three significant figures, as `85ns`, `1.25us`, `310ms`, `12.0s`, and
/// from a hundred seconds on in whole seconds. Plain ASCII: `us`, not `µs`.
pub fn nanoseconds(ns: u64) -> String {
    if ns < 1000 {
        return format!("{ns}ns");
    }
    let value = ns as f64;
    for (unit, scale) in [("us", 1e3), ("ms", 1e6), ("s", 1e9)] {
        let v = value / scale;
        if v < 999.5 || unit == "s" {
            return if v < 9.995 {
                format!("{v:.2}{unit}")
            } else if v < 99.95 {
                format!("{v:.1}{unit}")
            } else {
                format!("{v:.0}{unit}")
            };
        }
    }
    unreachable!("seconds take any value")
}

/// A whole number with thousands apart, as `12,345,678`.
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A share in percent with one decimal, `0.0` of nothing.
pub fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0.0".into();
    }
    format!("{:.1}", 100.0 * part as f64 / whole as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        for (n, text) in [
            (0, "0"),
            (999, "999"),
            (1000, "1.00k"),
            (12_345, "12.3k"),
            (123_456, "123k"),
            (999_960, "1.00M"),
            (4_560_000, "4.56M"),
        ] {
            assert_eq!(count(n), text);
        }
    }

    #[test]
    fn times() {
        for (ns, text) in [
            (0, "0ns"),
            (85, "85ns"),
            (999, "999ns"),
            (1_250, "1.25us"),
            (99_960, "100us"),
            (999_600, "1.00ms"),
            (310_000_000, "310ms"),
            (12_000_000_000, "12.0s"),
            (4_500_000_000_000, "4500s"),
        ] {
            assert_eq!(nanoseconds(ns), text);
        }
    }

    #[test]
    fn groups_and_shares() {
        assert_eq!(grouped(0), "0");
        assert_eq!(grouped(999), "999");
        assert_eq!(grouped(12_345_678), "12,345,678");
        assert_eq!(percent(1, 0), "0.0");
        assert_eq!(percent(1, 3), "33.3");
    }
}
