//! Figures as short text: three significant digits and a unit, at most seven
//! characters wide.

use std::time::Duration;

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::model::ThreadInFlight;

/// The text for an unknown figure.
pub const NONE: &str = "-";

/// A count: whole below 10000, then as `12.3k`.
pub fn count(n: u64) -> String {
    if n < 10_000 { n.to_string() } else { with_prefix(n as f64) }
}

/// Events a second: a decimal below ten, whole below 10000, then as [`count`].
pub fn rate(events: u64, seconds: f64) -> String {
    if events == 0 || seconds <= 0.0 {
        return "0".into();
    }
    let rate = events as f64 / seconds;
    match rate {
        r if r < 0.05 => "<0.1".into(),
        r if r < 9.95 => format!("{r:.1}"),
        r if r < 9_999.5 => format!("{r:.0}"),
        r => with_prefix(r),
    }
}

/// A duration in nanoseconds, as `812ns`, `12.3us`, `1.20ms`, `45.0s`, `12m30s`,
/// `3h05m`, `2d04h`.
pub fn time(ns: u64) -> String {
    // Limits are where three digits round up to the next unit.
    let value = ns as f64;
    match ns {
        0..1_000 => format!("{ns}ns"),
        1_000..999_500 => format!("{}us", three_digits(value / 1e3)),
        999_500..999_500_000 => format!("{}ms", three_digits(value / 1e6)),
        999_500_000..599_500_000_000 => format!("{}s", three_digits(value / 1e9)),
        _ => clock(Duration::from_nanos(ns)),
    }
}

/// A latency as [`time`], or [`NONE`] if no call was `timed`.
pub fn latency(ns: u64, timed: u64) -> String {
    if timed == 0 { NONE.into() } else { time(ns) }
}

/// Formats a duration in whole seconds: `45s`, `2m05s`, `3h05m`, `2d04h`, `150d`.
pub fn clock(duration: Duration) -> String {
    let s = duration.as_secs();
    match s {
        0..60 => format!("{s}s"),
        60..3_600 => format!("{}m{:02}s", s / 60, s % 60),
        3_600..86_400 => format!("{}h{:02}m", s / 3_600, s / 60 % 60),
        86_400..8_640_000 => format!("{}d{:02}h", s / 86_400, s / 3_600 % 24),
        _ => format!("{}d", s / 86_400),
    }
}

/// Formats an age: [`time`] below a minute, and [`clock`] from a minute on.
pub fn age(age: Duration) -> String {
    if age < Duration::from_secs(60) { time(age.as_nanos() as u64) } else { clock(age) }
}

/// The age of a call in flight: `>9.12s` if the call is at least that old.
pub fn age_of(thread: &ThreadInFlight) -> String {
    let sign = if thread.at_least { ">" } else { "" };
    format!("{sign}{}", age(thread.age))
}

/// A share of one as `12.3%`; `1920%` from a thousand percent on.
pub fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 99.95 { format!("{percent:.1}%") } else { format!("{percent:.0}%") }
}

/// Bytes as `18.2M`, in powers of 1024.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "K", "M", "G", "T"];
    let mut value = n as f64;
    let mut unit = 0;
    while value >= 999.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{n}B") } else { format!("{}{}", three_digits(value), UNITS[unit]) }
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

/// A count and what is counted, as `1 row`, `1,234 rows`.
pub fn counted(n: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(n), if n == 1 { "" } else { "s" })
}

fn with_prefix(value: f64) -> String {
    const PREFIXES: [(f64, char); 5] =
        [(1e3, 'k'), (1e6, 'M'), (1e9, 'G'), (1e12, 'T'), (1e15, 'P')];
    let (scale, prefix) = PREFIXES
        .into_iter()
        .find(|(scale, _)| value / scale < 999.5)
        .unwrap_or(PREFIXES[PREFIXES.len() - 1]);
    format!("{}{prefix}", three_digits(value / scale))
}

fn three_digits(value: f64) -> String {
    match value {
        v if v < 9.995 => format!("{v:.2}"),
        v if v < 99.95 => format!("{v:.1}"),
        v => format!("{v:.0}"),
    }
}

/// `text` in at most `width` columns of the terminal. If it is cut off, `ellipsis` is at its end.
pub fn fit(text: &str, width: usize, ellipsis: char) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut used = ellipsis.width().unwrap_or(1);
    if used > width {
        return String::new();
    }
    let mut kept = String::new();
    for c in text.chars() {
        used += c.width().unwrap_or(0);
        if used > width {
            break;
        }
        kept.push(c);
    }
    kept.push(ellipsis);
    kept
}

/// `text` padded with spaces to `width` columns of the terminal.
pub fn pad(text: &str, width: usize, to_the_right: bool) -> String {
    let space = " ".repeat(width.saturating_sub(text.width()));
    if to_the_right { space + text } else { text.to_owned() + &space }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn counts() {
        let shown = [0, 9_999, 10_000, 12_345, 999_499, 999_500, 1_234_567, u64::MAX].map(count);
        assert_eq!(shown, ["0", "9999", "10.0k", "12.3k", "999k", "1.00M", "1.23M", "18447P"]);
    }

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
    }

    #[test]
    fn nouns_have_a_plural() {
        assert_eq!([0, 1, 1_234].map(|n| counted(n, "row")), ["0 rows", "1 row", "1,234 rows"]);
    }

    #[test]
    fn rates() {
        assert_eq!(rate(0, 1.0), "0");
        assert_eq!(rate(5, 0.0), "0");
        assert_eq!(rate(1, 60.0), "<0.1");
        assert_eq!(rate(5, 2.0), "2.5");
        assert_eq!(rate(996, 100.0), "10");
        assert_eq!(rate(812, 1.0), "812");
        assert_eq!(rate(25_000, 2.0), "12.5k");
    }

    #[test]
    fn times_change_unit_where_they_round_up_to_it() {
        let shown = [0, 999, 1_000, 12_345, 999_499, 999_500, 1_200_000].map(time);
        assert_eq!(shown, ["0ns", "999ns", "1.00us", "12.3us", "999us", "1.00ms", "1.20ms"]);
        let shown = [999_500_000, 45_000_000_000, 599_400_000_000, 750_000_000_000].map(time);
        assert_eq!(shown, ["1.00s", "45.0s", "599s", "12m30s"]);
    }

    #[test]
    fn a_latency_that_nobody_measured_is_not_zero() {
        assert_eq!(latency(0, 0), "-");
        assert_eq!(latency(0, 1), "0ns");
    }

    #[test]
    fn clocks() {
        let shown = [5, 65, 11_100, 187_200, 12_960_000].map(|s| clock(Duration::from_secs(s)));
        assert_eq!(shown, ["5s", "1m05s", "3h05m", "2d04h", "150d"]);
    }

    #[test]
    fn ages() {
        let shown = [12, 999, 1_200, 59_940, 60_000, 572_000, 90_000_000];
        let shown = shown.map(|ms| age(Duration::from_millis(ms)));
        assert_eq!(shown, ["12.0ms", "999ms", "1.20s", "59.9s", "1m00s", "9m32s", "1d01h"]);
    }

    #[test]
    fn shares_and_bytes() {
        assert_eq!([0.0123, 0.9994, 0.9996, 19.2].map(percent), ["1.2%", "99.9%", "100%", "1920%"]);
        assert_eq!(
            [512, 2048, 19_084_083, 5 << 30].map(bytes),
            ["512B", "2.00K", "18.2M", "5.00G"]
        );
    }

    #[test]
    fn text_is_cut_by_the_columns_it_takes() {
        assert_eq!(fit("nginx", 5, '…'), "nginx");
        assert_eq!(fit("postgres", 5, '…'), "post…");
        assert_eq!(fit("日本語", 5, '~'), "日本~");
        assert_eq!(fit("日本語", 4, '~'), "日~");
        assert_eq!(fit("x", 0, '~'), "");
        assert_eq!(pad("日本", 6, false), "日本  ");
        assert_eq!(pad("12", 4, true), "  12");
    }

    proptest! {
        #[test]
        fn a_time_keeps_within_seven_characters(octave in 0_u32..63, fraction in 0.0_f64..1.0) {
            let ns = ((1_u64 << octave) as f64 * (1.0 + fraction)) as u64;
            prop_assert!(time(ns).len() <= 7, "{}", time(ns));
        }

        #[test]
        fn fitted_text_fits(text in "\\PC{0,20}", width in 0_usize..12) {
            prop_assert!(fit(&text, width, '~').width() <= width.max(text.width().min(width)));
        }
    }
}
