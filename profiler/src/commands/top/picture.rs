//! Draws the pictures of the README, `profiler/docs/top-dark.svg` and `top-light.svg`, from the
//! buffer of the live view itself. The test fails if a committed picture differs from what the
//! live view draws now; `INSTA_UPDATE=always` writes the pictures.

use std::{env, fmt::Write as _, fs, path::Path, time::Duration};

use ratatui_core::{
    backend::TestBackend,
    buffer::{Buffer, Cell},
    style::{Color, Modifier},
    terminal::Terminal,
};

use super::{fixtures, render, state::App, style::Look};
use crate::model::SortKey;

/// Size of the terminal, in cells.
const SIZE: (u16, u16) = (100, 28);

/// Size of a cell, and the margin around the terminal, in pixels. In common monospace fonts, a
/// character is 0.6 of the font size wide.
const CELL: (f32, f32) = (8.4, 18.0);
const MARGIN: f32 = 12.0;
const FONT_SIZE: u8 = 14;
/// From the top of a cell to the baseline.
const BASELINE: f32 = 13.5;

const FONTS: &str =
    "ui-monospace, 'SFMono-Regular', 'DejaVu Sans Mono', Menlo, Consolas, monospace";

/// The colours of a picture.
struct Theme {
    file: &'static str,
    foreground: &'static str,
    background: &'static str,
    /// The foreground of dim text.
    dim: &'static str,
    colours: fn(Color) -> Option<&'static str>,
}

const DARK: Theme = Theme {
    file: "top-dark.svg",
    foreground: "#d1d7e0",
    background: "#0d1117",
    dim: "#8b949e",
    colours: |colour| {
        Some(match colour {
            Color::Cyan => "#56d4dd",
            Color::Green => "#6bc46d",
            Color::Yellow => "#daaa3f",
            Color::Red => "#b62324",
            Color::White => "#ffffff",
            _ => return None,
        })
    },
};

const LIGHT: Theme = Theme {
    file: "top-light.svg",
    foreground: "#1f2328",
    background: "#ffffff",
    dim: "#636c76",
    colours: |colour| {
        Some(match colour {
            Color::Cyan => "#0b6e7f",
            Color::Green => "#116329",
            Color::Yellow => "#7d4e00",
            Color::Red => "#cf222e",
            Color::White => "#ffffff",
            _ => return None,
        })
    },
};

/// How a cell looks: all that two neighbours must share to be one element.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Paint {
    foreground: &'static str,
    background: &'static str,
    modifiers: Modifier,
}

impl Theme {
    fn paint(&self, cell: &Cell) -> Paint {
        let named = |colour, default| match colour {
            Color::Reset => default,
            colour => (self.colours)(colour).unwrap_or_else(|| panic!("no colour for {colour}")),
        };
        let plain = if cell.modifier.contains(Modifier::DIM) { self.dim } else { self.foreground };
        let mut paint = Paint {
            foreground: named(cell.fg, plain),
            background: named(cell.bg, self.background),
            modifiers: cell.modifier & (Modifier::BOLD | Modifier::UNDERLINED),
        };
        if cell.modifier.contains(Modifier::REVERSED) {
            std::mem::swap(&mut paint.foreground, &mut paint.background);
        }
        paint
    }

    /// `buffer` as an SVG document.
    fn draw(&self, buffer: &Buffer, title: &str) -> String {
        let (columns, rows) = (buffer.area.width, buffer.area.height);
        let width = f32::from(columns) * CELL.0 + 2.0 * MARGIN;
        let height = f32::from(rows) * CELL.1 + 2.0 * MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" role=\"img\" font-family=\"{FONTS}\" \
             font-size=\"{FONT_SIZE}\">\n<title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"{}\"/>\n",
            escape(title),
            self.background,
        );
        for row in 0..rows {
            let mut column = 0;
            while column < columns {
                let paint = self.paint(&buffer[(column, row)]);
                let same = |&x: &u16| self.paint(&buffer[(x, row)]) == paint;
                let end = (column..columns).find(|x| !same(x)).unwrap_or(columns);
                let text: String = (column..end).map(|x| buffer[(x, row)].symbol()).collect();
                self.run(&mut svg, paint, (column, row), &text);
                column = end;
            }
        }
        svg + "</svg>\n"
    }

    /// Adds `text`, whose cells look the same and begin at `at`.
    fn run(&self, svg: &mut String, paint: Paint, at: (u16, u16), text: &str) {
        let (x, y) = (MARGIN + f32::from(at.0) * CELL.0, MARGIN + f32::from(at.1) * CELL.1);
        let width = |text: &str| unicode_width::UnicodeWidthStr::width(text) as f32 * CELL.0;
        if paint.background != self.background {
            let (width, height, fill) = (width(text), CELL.1, paint.background);
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
                 fill=\"{fill}\"/>"
            );
        }
        // Each word or column starts in its own cell, whatever the font's width.
        let mut rest = text;
        let mut column = 0;
        while let Some(start) = rest.find(|c: char| c != ' ') {
            let (blank, from) = rest.split_at(start);
            let (word, after) = from.split_at(from.find("  ").unwrap_or(from.len()));
            column += blank.len();
            let word = word.trim_end();
            let (x, y) = (x + column as f32 * CELL.0, y + BASELINE);
            let length = width(word);
            let bold = paint.modifiers.contains(Modifier::BOLD);
            let underlined = paint.modifiers.contains(Modifier::UNDERLINED);
            let _ = writeln!(
                svg,
                "<text xml:space=\"preserve\" x=\"{x:.1}\" y=\"{y:.1}\" \
                 textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{}\"{}{}>{}\
                 </text>",
                paint.foreground,
                if bold { " font-weight=\"bold\"" } else { "" },
                if underlined { " text-decoration=\"underline\"" } else { "" },
                escape(word),
            );
            column += unicode_width::UnicodeWidthStr::width(&from[..from.len() - after.len()]);
            rest = after;
        }
    }
}

/// `text` as XML has it.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&apos;",
            c => escaped.push(c),
        }
    }
    escaped
}

/// The live view of the host in the picture.
fn screen() -> Buffer {
    let mut app = App::new(Duration::from_secs(1), SortKey::Total, "");
    app.update(fixtures::pictured_host());
    let mut terminal = Terminal::new(TestBackend::new(SIZE.0, SIZE.1)).unwrap();
    let look = Look { colour: true, unicode: true };
    terminal.draw(|frame| render::draw(frame, &mut app, look)).unwrap();
    terminal.backend().buffer().clone()
}

#[test]
fn the_pictures_of_the_readme_are_what_the_live_view_draws() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let update = env::var_os("INSTA_UPDATE").is_some_and(|value| value == "always");
    let buffer = screen();
    for theme in [DARK, LIGHT] {
        let drawn = theme.draw(&buffer, "profiler top: processes by their time in syscalls");
        let path = directory.join(theme.file);
        if update {
            fs::write(&path, &drawn).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == drawn,
            "profiler/docs/{} is out of date: run this test with INSTA_UPDATE=always",
            theme.file
        );
    }
}

#[test]
fn a_picture_has_each_text_in_its_cell_and_escapes_it() {
    let mut buffer = Buffer::with_lines(["a<b  &\"c'", "\u{2581}x       "]);
    buffer[(5, 0)].modifier = Modifier::REVERSED | Modifier::BOLD;
    buffer[(0, 1)].fg = Color::Cyan;
    let svg = DARK.draw(&buffer, "a & b");
    assert!(svg.contains("<title>a &amp; b</title>"), "{svg}");
    assert!(svg.contains(">a&lt;b</text>"), "{svg}");
    // The sixth cell: reversed, so it has a background of its own.
    assert!(
        svg.contains(
            "<rect x=\"54.0\" y=\"12.0\" width=\"8.4\" height=\"18.0\" fill=\"#d1d7e0\"/>"
        )
    );
    assert!(svg.contains("fill=\"#0d1117\" font-weight=\"bold\">&amp;</text>"), "{svg}");
    assert!(svg.contains("x=\"62.4\"") && svg.contains(">&quot;c&apos;</text>"), "{svg}");
    assert!(svg.contains("fill=\"#56d4dd\">\u{2581}</text>"), "{svg}");
    assert_eq!(svg.matches("<text").count(), svg.matches("</text>").count());
}
