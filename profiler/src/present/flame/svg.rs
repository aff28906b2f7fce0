//! A flame graph: a self-contained picture, in which each function is as wide as its share.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{self, Write},
};

use super::{labels, summary};
use crate::{
    model::stacks::{StackProfile, Weight},
    present::units,
};

/// The width of the picture.
const WIDTH: f64 = 1200.0;

/// The distance to each side.
const MARGIN: f64 = 10.0;

/// The height of a function.
const ROW: usize = 17;

/// The width of a letter.
const LETTER: f64 = 7.0;

/// Narrower functions are not drawn.
const LEAST_WIDTH: f64 = 0.3;

/// Functions above each other, at most.
const MOST_DEPTH: usize = 512;

/// A function and what it calls.
#[derive(Default)]
struct Node {
    weight: u64,
    callees: BTreeMap<String, Node>,
}

impl Node {
    fn depth(&self) -> usize {
        1 + self.callees.values().map(Node::depth).max().unwrap_or(0)
    }
}

/// Writes the picture.
///
/// # Errors
/// The error of `out`.
pub fn write(out: &mut impl Write, profile: &StackProfile) -> io::Result<()> {
    let mut root = Node::default();
    for row in &profile.rows {
        root.weight += row.weight;
        let mut node = &mut root;
        for label in labels(row).into_iter().take(MOST_DEPTH) {
            node = node.callees.entry(label).or_default();
            node.weight += row.weight;
        }
    }
    let notes = summary(profile);
    let notes: Vec<_> = notes.lines().collect();
    let graph_height = ROW * root.depth();
    let top = ROW * 2;
    let height = top + graph_height + ROW * (notes.len() + 1);
    write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"monospace\" font-size=\"12\">\n\
         <style>g:hover rect {{ stroke: black }} text {{ pointer-events: none }}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"{}\" y=\"{ROW}\" text-anchor=\"middle\" font-size=\"15\">Callers of syscalls</text>\n",
        WIDTH / 2.0,
    )?;
    let picture = Picture { profile, bottom: top + graph_height };
    let mut text = String::new();
    picture.draw(&mut text, "all", &root, 0, MARGIN);
    out.write_all(text.as_bytes())?;
    for (at, note) in notes.iter().enumerate() {
        let y = picture.bottom + ROW * (at + 1) + 4;
        writeln!(out, "<text x=\"{MARGIN}\" y=\"{y}\" fill=\"#444\">{}</text>", escaped(note))?;
    }
    writeln!(out, "</svg>")
}

/// Where functions are drawn.
struct Picture<'a> {
    profile: &'a StackProfile,
    /// The lower edge of the outermost functions.
    bottom: usize,
}

impl Picture<'_> {
    /// Draws a function and what it calls above it. `x` is its left edge.
    fn draw(&self, out: &mut String, name: &str, node: &Node, depth: usize, x: f64) {
        let total = self.profile.total.max(1) as f64;
        let share = node.weight as f64 / total;
        let width = share * (WIDTH - 2.0 * MARGIN);
        if width < LEAST_WIDTH {
            return;
        }
        let y = self.bottom - ROW * (depth + 1);
        let sum = match self.profile.weight {
            Weight::Time => units::time(node.weight),
            Weight::Calls => format!("{} calls", node.weight),
            Weight::Errors => format!("{} failed calls", node.weight),
        };
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            out,
            "<g><title>{}: {:.2} %, {sum}</title><rect x=\"{x:.2}\" y=\"{y}\" width=\"{:.2}\" \
             height=\"{}\" fill=\"{}\" rx=\"2\"/>{}</g>",
            escaped(name),
            100.0 * share,
            width.max(LEAST_WIDTH),
            ROW - 1,
            colour(name),
            shown(name, x, y, width),
        );
        let mut x = x;
        for (name, callee) in &node.callees {
            self.draw(out, name, callee, depth + 1, x);
            x += callee.weight as f64 / total * (WIDTH - 2.0 * MARGIN);
        }
    }
}

/// As much of the name as there is space for.
fn shown(name: &str, x: f64, y: usize, width: f64) -> String {
    let space = ((width - 6.0) / LETTER).max(0.0) as usize;
    if space < 3 {
        return String::new();
    }
    let text = match name.chars().count() {
        letters if letters <= space => name.to_owned(),
        _ => name.chars().take(space - 2).chain("..".chars()).collect(),
    };
    format!("<text x=\"{:.2}\" y=\"{}\">{}</text>", x + 3.0, y + ROW - 5, escaped(&text))
}

/// The colour of a function: always the same, so that pictures can be compared.
fn colour(name: &str) -> String {
    let hash = name
        .bytes()
        .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    let (hue, light) = (hash % 40, 60 + hash / 64 % 15);
    let hue = match name {
        _ if name.starts_with('[') => 205 + hue / 2,
        _ if name.ends_with("_[k]") => 100 + hue / 2,
        _ => 10 + hue,
    };
    format!("hsl({hue},80%,{light}%)")
}

/// Escapes what has a meaning in XML. The text has no control characters.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{super::testing::profile, *};

    #[test]
    fn the_picture_has_each_function_and_its_share() {
        let mut out = Vec::new();
        write(&mut out, &profile()).expect("written");
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.starts_with("<svg ") && text.ends_with("</svg>\n"));
        assert!(text.contains("<title>a::&lt;[u8; 4]&gt;: 70.00 %, 700 calls</title>"), "{text}");
        assert!(text.contains("<title>all: 100.00 %, 1000 calls</title>"));
        assert!(!text.contains("<script") && !text.contains("href"));
        assert_eq!(text.matches("<g>").count(), text.matches("</g>").count());
    }

    #[test]
    fn names_cannot_end_an_element() {
        assert_eq!(escaped("a<b>&\"c"), "a&lt;b&gt;&amp;&quot;c");
    }
}
