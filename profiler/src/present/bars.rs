//! Bars made of characters: sparklines in a cell, and the bars of a chart.

/// Number of heights of a bar within one character.
pub const PARTS: usize = 8;

const UNICODE: [char; PARTS + 1] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const ASCII: [char; PARTS + 1] = [' ', '.', ':', '-', '=', '+', '*', '%', '#'];

/// Characters from empty to full, in [`PARTS`] steps.
pub const fn levels(unicode: bool) -> &'static [char; PARTS + 1] {
    if unicode { &UNICODE } else { &ASCII }
}

/// Height of the bar for `count`, in parts of a line, if the bar for `most` is `lines` high. A
/// count that is not zero always has a visible bar, so that single outliers can be seen.
pub fn height(count: u64, most: u64, lines: usize) -> usize {
    if count == 0 {
        return 0;
    }
    let full = (lines * PARTS) as f64;
    ((count as f64 / most.max(1) as f64 * full).round() as usize).clamp(1, lines * PARTS)
}

/// Draws one character for each count.
pub fn sparkline(counts: &[u64], unicode: bool) -> String {
    let most = counts.iter().copied().max().unwrap_or(0);
    counts.iter().map(|&count| levels(unicode)[height(count, most, 1)]).collect()
}

/// The characters of the parts of a stacked bar.
pub const STACK_UNICODE: [char; 3] = ['█', '▓', '░'];
/// The characters of the parts of a stacked bar, in ASCII.
pub const STACK_ASCII: [char; 3] = ['#', '=', '.'];

/// A stacked bar of `width` characters, with parts in proportion. Rounds by the largest remainder.
pub fn stacked(parts: [u64; 3], width: usize, unicode: bool) -> String {
    let total: u128 = parts.iter().map(|&part| u128::from(part)).sum();
    if total == 0 {
        return String::new();
    }
    let scaled = parts.map(|part| u128::from(part) * width as u128);
    let mut cells = scaled.map(|part| (part / total) as usize);
    let mut order = [0, 1, 2];
    order.sort_by_key(|&part| std::cmp::Reverse(scaled[part] % total));
    let left = width - cells.iter().sum::<usize>();
    order.iter().take(left).for_each(|&part| cells[part] += 1);
    let characters = if unicode { STACK_UNICODE } else { STACK_ASCII };
    let parts = characters.into_iter().zip(cells);
    parts.flat_map(|(character, cells)| std::iter::repeat_n(character, cells)).collect()
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
    fn a_stacked_bar_has_its_width_and_its_parts() {
        assert_eq!(stacked([1, 1, 2], 8, false), "##==....");
        assert_eq!(stacked([1, 1, 1], 10, false), "####===...");
        assert_eq!(stacked([0, 0, u64::MAX], 4, true), "░░░░");
        assert_eq!(stacked([u64::MAX, u64::MAX, 0], 4, true), "██▓▓");
        assert_eq!(stacked([0; 3], 4, true), "");
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
