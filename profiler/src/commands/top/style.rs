//! The capabilities of the terminal: colours if [`Stream::allows_colour`] says so, and drawing
//! characters if the locale is UTF-8.

use ratatui_core::style::{Color, Modifier, Style};

use crate::{environment, streams::Stream};

/// The meaning of a piece of text. [`Look::style`] gives its style.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum Tone {
    /// Plain.
    #[default]
    Normal,
    /// Less important.
    Dim,
    /// A title or a key to press.
    Strong,
    /// The heading of a table.
    Heading,
    /// The column sorted by.
    Sorted,
    /// The open tab, or the marker of a percentile.
    Accent,
    /// A warning.
    Warning,
    /// An alarm.
    Alarm,
}

/// Which means of display the terminal has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Look {
    /// Colours.
    pub(super) colour: bool,
    /// Characters beyond ASCII.
    pub(super) unicode: bool,
}

impl Look {
    /// The capabilities that the environment describes.
    pub(super) fn from_environment() -> Self {
        Self {
            colour: Stream::Output.allows_colour(),
            unicode: environment::allows_unicode(|name| std::env::var_os(name)),
        }
    }

    /// The style of `tone`. Without colours, an alarm is still reversed and bold.
    pub(super) fn style(self, tone: Tone) -> Style {
        let plain = Style::new();
        let coloured = |colour| if self.colour { plain.fg(colour) } else { plain };
        match tone {
            Tone::Normal => plain,
            Tone::Dim => plain.add_modifier(Modifier::DIM),
            Tone::Strong => plain.add_modifier(Modifier::BOLD),
            Tone::Heading => coloured(Color::Cyan),
            Tone::Sorted => {
                coloured(Color::Cyan).add_modifier(Modifier::BOLD | Modifier::UNDERLINED)
            }
            Tone::Accent => coloured(Color::Green).add_modifier(Modifier::BOLD),
            Tone::Warning => coloured(Color::Yellow).add_modifier(Modifier::BOLD),
            Tone::Alarm if self.colour => {
                plain.fg(Color::White).bg(Color::Red).add_modifier(Modifier::BOLD)
            }
            Tone::Alarm => plain.add_modifier(Modifier::BOLD | Modifier::REVERSED),
        }
    }

    /// The style of the marked row.
    pub(super) fn selected(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }

    /// Marks text that was cut off.
    pub(super) fn ellipsis(self) -> char {
        if self.unicode { '…' } else { '~' }
    }

    /// The sign of a descending or ascending sort.
    pub(super) fn arrow(self, descending: bool) -> char {
        match (self.unicode, descending) {
            (true, true) => '▼',
            (true, false) => '▲',
            (false, true) => 'v',
            (false, false) => '^',
        }
    }

    /// The characters of the line between a chart and its scales: vertical, corner, horizontal,
    /// tick.
    pub(super) fn axes(self) -> [char; 4] {
        if self.unicode { ['│', '└', '─', '┬'] } else { ['|', '+', '-', '+'] }
    }

    /// Points at a bar in the chart above.
    pub(super) fn pointer(self) -> char {
        if self.unicode { '▲' } else { '^' }
    }

    /// Separates the titles of a path.
    pub(super) fn onward(self) -> &'static str {
        if self.unicode { " › " } else { " > " }
    }

    /// `text`, with replacements for characters that the terminal cannot show.
    pub(super) fn printable(self, text: &str) -> String {
        if self.unicode {
            text.to_owned()
        } else {
            text.chars().map(|c| if c.is_ascii() { c } else { '?' }).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::present::bars;

    #[test]
    fn without_colours_no_tone_has_one() {
        use Tone::*;
        let plain = Look { colour: false, unicode: true };
        for tone in [Normal, Dim, Strong, Heading, Sorted, Accent, Warning, Alarm] {
            let style = plain.style(tone);
            assert_eq!((style.fg, style.bg), (None, None), "{tone:?}");
        }
        assert!(plain.style(Alarm).add_modifier.contains(Modifier::REVERSED));
    }

    #[test]
    fn ascii_replaces_what_it_cannot_show() {
        let ascii = Look { colour: true, unicode: false };
        assert_eq!(ascii.printable("caf\u{e9}"), "caf?");
        let drawn = bars::levels(ascii.unicode).iter().copied().chain(ascii.axes());
        assert!(drawn.chain([ascii.ellipsis(), ascii.pointer()]).all(|c| c.is_ascii()));
    }
}
