//! Writes the cells of a frame to the terminal, as escape sequences.
//!
//! ratatui-crossterm has a backend too. Its procedural macros, and those of crossterm's default
//! features, take a sixth of the time of a first build (`cargo build --timings`).

use std::io::{self, Write};

use crossterm::{
    cursor::{Hide, MoveTo, Show},
    queue,
    style::{self, Attribute, Colors, Print, SetAttribute, SetColors},
    terminal::{self, Clear},
};
use ratatui_core::{
    backend::{Backend, ClearType, WindowSize},
    buffer::Cell,
    layout::{Position, Size},
    style::{Color, Modifier},
};

/// A terminal behind a buffered writer.
pub(super) struct Escapes<W>(W);

impl<W: Write> Escapes<W> {
    /// A terminal that `out` writes to.
    pub(super) fn new(out: W) -> Self {
        Self(out)
    }
}

/// The attributes of a terminal for the modifiers of a cell.
const ATTRIBUTES: [(Modifier, Attribute); 9] = [
    (Modifier::BOLD, Attribute::Bold),
    (Modifier::DIM, Attribute::Dim),
    (Modifier::ITALIC, Attribute::Italic),
    (Modifier::UNDERLINED, Attribute::Underlined),
    (Modifier::SLOW_BLINK, Attribute::SlowBlink),
    (Modifier::RAPID_BLINK, Attribute::RapidBlink),
    (Modifier::REVERSED, Attribute::Reverse),
    (Modifier::HIDDEN, Attribute::Hidden),
    (Modifier::CROSSED_OUT, Attribute::CrossedOut),
];

/// The colour under the name that crossterm gives it.
fn colour(colour: Color) -> style::Color {
    match colour {
        Color::Reset => style::Color::Reset,
        Color::Black => style::Color::Black,
        Color::Red => style::Color::DarkRed,
        Color::Green => style::Color::DarkGreen,
        Color::Yellow => style::Color::DarkYellow,
        Color::Blue => style::Color::DarkBlue,
        Color::Magenta => style::Color::DarkMagenta,
        Color::Cyan => style::Color::DarkCyan,
        Color::Gray => style::Color::Grey,
        Color::DarkGray => style::Color::DarkGrey,
        Color::LightRed => style::Color::Red,
        Color::LightGreen => style::Color::Green,
        Color::LightYellow => style::Color::Yellow,
        Color::LightBlue => style::Color::Blue,
        Color::LightMagenta => style::Color::Magenta,
        Color::LightCyan => style::Color::Cyan,
        Color::White => style::Color::White,
        Color::Indexed(index) => style::Color::AnsiValue(index),
        Color::Rgb(r, g, b) => style::Color::Rgb { r, g, b },
    }
}

impl<W: Write> Backend for Escapes<W> {
    type Error = io::Error;

    fn draw<'a, I>(&mut self, cells: I) -> io::Result<()>
    where
        I: Iterator<Item = (u16, u16, &'a Cell)>,
    {
        let style_of = |cell: &Cell| (cell.fg, cell.bg, cell.modifier);
        let mut current = style_of(&Cell::EMPTY);
        let mut cursor = None;
        for (x, y, cell) in cells {
            // After a wide character the cursor is further on, and so is the next cell.
            if cursor != Some((x, y)) {
                queue!(self.0, MoveTo(x, y))?;
            }
            cursor = Some((x + 1, y));
            if style_of(cell) != current {
                current = style_of(cell);
                // Resets the colours too.
                queue!(self.0, SetAttribute(Attribute::Reset))?;
                for (modifier, attribute) in ATTRIBUTES {
                    if cell.modifier.contains(modifier) {
                        queue!(self.0, SetAttribute(attribute))?;
                    }
                }
                if (cell.fg, cell.bg) != (Color::Reset, Color::Reset) {
                    queue!(self.0, SetColors(Colors::new(colour(cell.fg), colour(cell.bg))))?;
                }
            }
            queue!(self.0, Print(cell.symbol()))?;
        }
        queue!(self.0, SetAttribute(Attribute::Reset))
    }

    fn hide_cursor(&mut self) -> io::Result<()> {
        queue!(self.0, Hide)?;
        self.0.flush()
    }

    fn show_cursor(&mut self) -> io::Result<()> {
        queue!(self.0, Show)?;
        self.0.flush()
    }

    /// Always an error. The answer of a terminal would arrive among the keys.
    fn get_cursor_position(&mut self) -> io::Result<Position> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> io::Result<()> {
        let Position { x, y } = position.into();
        queue!(self.0, MoveTo(x, y))?;
        self.0.flush()
    }

    fn clear(&mut self) -> io::Result<()> {
        self.clear_region(ClearType::All)
    }

    fn clear_region(&mut self, region: ClearType) -> io::Result<()> {
        let region = match region {
            ClearType::All => terminal::ClearType::All,
            ClearType::AfterCursor => terminal::ClearType::FromCursorDown,
            ClearType::BeforeCursor => terminal::ClearType::FromCursorUp,
            ClearType::CurrentLine => terminal::ClearType::CurrentLine,
            ClearType::UntilNewLine => terminal::ClearType::UntilNewLine,
        };
        queue!(self.0, Clear(region))?;
        self.0.flush()
    }

    fn size(&self) -> io::Result<Size> {
        let (width, height) = terminal::size()?;
        Ok(Size { width, height })
    }

    fn window_size(&mut self) -> io::Result<WindowSize> {
        Ok(WindowSize { columns_rows: self.size()?, pixels: Size::ZERO })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests {
    use ratatui_core::style::Style;

    use super::*;

    fn cell(symbol: &str, style: Style) -> Cell {
        let mut cell = Cell::EMPTY;
        cell.set_symbol(symbol).set_style(style);
        cell
    }

    fn drawn(cells: &[(u16, u16, Cell)]) -> String {
        let mut terminal = Escapes::new(Vec::new());
        terminal.draw(cells.iter().map(|(x, y, cell)| (*x, *y, cell))).unwrap();
        String::from_utf8(terminal.0).unwrap()
    }

    #[test]
    fn the_cursor_moves_only_where_cells_are_left_out() {
        let plain = |symbol| cell(symbol, Style::new());
        let cells =
            [(2, 0, plain("a")), (3, 0, plain("\u{65e5}")), (5, 0, plain("b")), (0, 1, plain("c"))];
        assert_eq!(drawn(&cells), "\x1b[1;3Ha\u{65e5}\x1b[1;6Hb\x1b[2;1Hc\x1b[0m");
    }

    #[test]
    fn a_style_replaces_the_one_before() {
        let bold = Style::new().add_modifier(Modifier::BOLD | Modifier::REVERSED);
        let cells =
            [(0, 0, cell("a", bold)), (1, 0, cell("b", bold)), (2, 0, cell("c", Style::new()))];
        assert_eq!(drawn(&cells), "\x1b[1;1H\x1b[0m\x1b[1m\x1b[7mab\x1b[0mc\x1b[0m");
    }

    #[test]
    fn colours_are_those_of_the_cell() {
        style::force_color_output(true);
        let alarm = Style::new().fg(Color::White).bg(Color::Red);
        let text = drawn(&[(0, 0, cell("a", alarm)), (1, 0, cell("b", Style::new()))]);
        // White and dark red of the palette of 256 colours.
        assert_eq!(text, "\x1b[1;1H\x1b[0m\x1b[38;5;15;48;5;1ma\x1b[0mb\x1b[0m");
    }
}
