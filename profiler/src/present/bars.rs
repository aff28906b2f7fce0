//! Bars made of characters: sparklines in a cell, and the bars of a chart.

/// Parts of a character that a bar can fill.
pub const PARTS: usize = 8;

const UNICODE: [char; PARTS + 1] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; PARTS + 1] = [' ', '.', ':', '-', '=', '+', '*', '%', '#'];

/// A character filled from nothing up to all [`PARTS`].
pub const fn levels(unicode: bool) -> &'static [char; PARTS + 1] {
    if unicode { &UNICODE } else { &ASCII }
}

/// Height of the bar for `count`, in parts of a line, if the bar for `most` is `lines` high. A
/// count that is not zero has a bar: a lone outlier is what one looks for.
pub fn height(count: u64, most: u64, lines: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let full = (lines * PARTS) as f64;
    ((count as f64 / most.max(1) as f64 * full).round() as usize).clamp(1, lines * PARTS)
}

/// A bar of one character for each count.
pub fn sparkline(counts: &[u64], unicode: bool) -> String {
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.iter().map(|&count| levels(unicode)[height(count, most, 1)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rare_outlier_is_seen() {
        assert_eq!(height(1, 1_000_000, 10), 1);
        assert_eq!(height(1_000_000, 1_000_000, 10), 80);
        assert_eq!(height(0, 1_000_000, 10), 0);
        assert_eq!(sparkline(&[0, 1, 1_000], true), " ▁█");
    }

    #[test]
    fn nothing_has_no_bars() {
        assert_eq!(sparkline(&[0, 0], false), "  ");
        assert_eq!(sparkline(&[], false), "");
    }

    #[test]
    fn every_part_has_its_character() {
        let counts: Vec<u64> = (0..=8).collect();
        assert_eq!(sparkline(&counts, true), " ▁▂▃▄▅▆▇█");
        assert_eq!(sparkline(&counts, false), " .:-=+*%#");
    }
}
