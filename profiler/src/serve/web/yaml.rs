//! Reads YAML into a tree in which each value has its line.
//!
//! Errors have a place and never the text of the file, because the file contains secrets.

use std::{borrow::Cow, collections::HashMap};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span};

/// Maximum number of values in a file. Aliases count as often as they occur, so that the tree of a
/// short file cannot fill the memory.
const MAX_NODES: usize = 10_000;
/// Maximum number of bytes of text in a file, including aliases: twice the size of the largest
/// file.
const MAX_BYTES: usize = 2 << 20;
/// Maximum nesting. A web configuration file needs four levels.
const MAX_DEPTH: usize = 16;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mistake {
    /// Line number from 1.
    pub(super) line: usize,
    /// What is wrong, without any value from the file.
    pub(super) what: Cow<'static, str>,
}

impl Mistake {
    /// A mistake at `line`.
    pub(super) fn new(line: usize, what: impl Into<Cow<'static, str>>) -> Self {
        Self { line, what: what.into() }
    }
}

/// A value and its line.
#[derive(Clone)]
pub(super) struct Node {
    /// Line number from 1.
    pub(super) line: usize,
    value: Value,
}

#[derive(Clone)]
enum Value {
    /// `plain` is whether the text has no quotes, so that it can be a number, a boolean or null.
    Scalar {
        text: String,
        plain: bool,
    },
    List(Vec<Node>),
    Map(Map),
}

/// The keys of a map in the order of the file, each with its line.
#[derive(Clone, Default)]
pub(super) struct Map(Vec<(String, Node)>);

impl Map {
    /// Takes the keys and values.
    pub(super) fn into_entries(self) -> Vec<(String, Node)> {
        self.0
    }
}

impl Node {
    fn is_null(&self) -> bool {
        let Value::Scalar { text, plain: true } = &self.value else { return false };
        matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// Returns the value, or `None` if it is null.
    pub(super) fn given(self) -> Option<Self> {
        if self.is_null() { None } else { Some(self) }
    }

    /// Returns the map.
    pub(super) fn into_map(self) -> Result<Map, Mistake> {
        match self.value {
            Value::Map(map) => Ok(map),
            _ => Err(Mistake::new(self.line, "expected keys with values")),
        }
    }

    /// Returns the list.
    pub(super) fn into_list(self) -> Result<Vec<Self>, Mistake> {
        match self.value {
            Value::List(list) => Ok(list),
            _ => Err(Mistake::new(self.line, "expected a list")),
        }
    }

    /// Returns the text. Numbers and booleans are texts too, as written in the file.
    pub(super) fn into_text(self) -> Result<String, Mistake> {
        match self.value {
            Value::Scalar { text, .. } => Ok(text),
            _ => Err(Mistake::new(self.line, "expected a string")),
        }
    }

    /// Returns the boolean, in any of the spellings of YAML 1.1, which exporter-toolkit accepts.
    pub(super) fn as_bool(&self) -> Result<bool, Mistake> {
        let text = match &self.value {
            Value::Scalar { text, plain: true } => text.as_str(),
            _ => "",
        };
        match text {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
                Ok(true)
            }
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n"
            | "N" => Ok(false),
            _ => Err(Mistake::new(self.line, "expected true or false")),
        }
    }

    /// Returns the whole number.
    pub(super) fn as_int(&self) -> Option<i64> {
        match &self.value {
            Value::Scalar { text, plain: true } => text.parse().ok(),
            _ => None,
        }
    }
}

/// Reads the one document in `text`. An empty file is an empty map.
pub(super) fn read(text: &str) -> Result<Map, Mistake> {
    let mut builder = Builder {
        parser: Parser::new_from_str(text),
        anchors: HashMap::new(),
        total: Size::default(),
    };
    let mut document = None;
    while let Some((event, at)) = builder.next()? {
        match event {
            Event::DocumentStart(_) if document.is_some() => {
                return Err(Mistake::new(at.line(), "expected one YAML document"));
            }
            Event::DocumentStart(_) | Event::Nothing => {}
            Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => {}
            event => document = Some(builder.node(event, at, 0)?),
        }
    }
    document.and_then(Node::given).map_or_else(|| Ok(Map::default()), Node::into_map)
}

struct Builder<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    total: Size,
}

impl<'a> Builder<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, Marker)>, Mistake> {
        // Not the parser's own message: it can contain the name of an anchor.
        let failed = |error: ScanError| Mistake::new(error.marker().line(), "invalid YAML");
        let event = self.parser.next_event().transpose().map_err(failed)?;
        Ok(event.map(|(event, span): (_, Span)| (event, span.start)))
    }

    fn node(&mut self, event: Event<'a>, at: Marker, depth: usize) -> Result<Node, Mistake> {
        let line = at.line();
        self.count(Size { nodes: 1, bytes: text_of(&event).map_or(0, str::len) }, line)?;
        if depth > MAX_DEPTH {
            return Err(Mistake::new(line, "the nesting is too deep"));
        }
        let (value, anchor) = match event {
            Event::Alias(id) => return self.alias(id, line),
            Event::Scalar(text, style, anchor, tag) => {
                let plain = style == ScalarStyle::Plain && tag.is_none();
                (Value::Scalar { text: text.into_owned(), plain }, anchor)
            }
            Event::SequenceStart(anchor, _) => (Value::List(self.list(depth)?), anchor),
            Event::MappingStart(anchor, _) => (Value::Map(self.map(depth)?), anchor),
            _ => return Err(Mistake::new(line, "invalid YAML")),
        };
        let node = Node { line, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Mistake> {
        let mut list = Vec::new();
        while let Some((event, at)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            list.push(self.node(event, at, depth + 1)?);
        }
        Ok(list)
    }

    fn map(&mut self, depth: usize) -> Result<Map, Mistake> {
        let mut map = Vec::new();
        while let Some((event, at)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, at, depth + 1)?.into_text()?;
            if map.iter().any(|(other, _)| *other == key) {
                return Err(Mistake::new(at.line(), "the key is repeated"));
            }
            let Some((event, at)) = self.next()? else { break };
            map.push((key, self.node(event, at, depth + 1)?));
        }
        Ok(Map(map))
    }

    fn alias(&mut self, id: usize, line: usize) -> Result<Node, Mistake> {
        // An anchor around its own alias is not in the table yet.
        let node = self.anchors.get(&id);
        let node = node.ok_or_else(|| Mistake::new(line, "the alias has no anchor"))?;
        // Counted before the copy is made.
        self.count(Size::of(node), line)?;
        Ok(self.anchors[&id].clone())
    }

    fn count(&mut self, more: Size, line: usize) -> Result<(), Mistake> {
        self.total.add(more);
        if self.total.nodes > MAX_NODES {
            return Err(Mistake::new(line, "the file has too many values"));
        }
        if self.total.bytes > MAX_BYTES {
            return Err(Mistake::new(line, "the values of the file are too long"));
        }
        Ok(())
    }
}

fn text_of<'a>(event: &'a Event<'_>) -> Option<&'a str> {
    match event {
        Event::Scalar(text, ..) => Some(text),
        _ => None,
    }
}

/// The size of a tree.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    nodes: usize,
    /// Bytes of keys and texts.
    bytes: usize,
}

impl Size {
    fn of(node: &Node) -> Self {
        let mut size = Self { nodes: 1, bytes: 0 };
        match &node.value {
            Value::Scalar { text, .. } => size.bytes = text.len(),
            Value::List(list) => list.iter().for_each(|node| size.add(Self::of(node))),
            Value::Map(Map(map)) => {
                for (key, node) in map {
                    size.add(Self { nodes: 1, bytes: key.len() });
                    size.add(Self::of(node));
                }
            }
        }
        size
    }

    fn add(&mut self, more: Self) {
        self.nodes += more.nodes;
        self.bytes += more.bytes;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(text: &str) -> String {
        read(text)
            .err()
            .map_or_else(String::new, |mistake| format!("{}: {}", mistake.line, mistake.what))
    }

    #[test]
    fn a_mistake_has_its_line_and_no_text_of_the_file() {
        assert_eq!(what("a: 1\nb: [secret\n"), "3: invalid YAML");
        assert_eq!(what("a: 1\nb: *secret\n"), "2: invalid YAML");
        assert_eq!(what("a: 1\na: 2\n"), "2: the key is repeated");
        assert_eq!(what("a: 1\n---\nb: 2\n"), "2: expected one YAML document");
        assert_eq!(what("secret"), "1: expected keys with values");
        assert_eq!(what(""), "");
        assert_eq!(what("# nothing\n"), "");
        assert_eq!(what("---\n"), "");
    }

    #[test]
    fn a_short_file_cannot_become_a_large_tree() {
        use std::fmt::Write as _;
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..9 {
            let one = format!("*a{}", level - 1);
            writeln!(bomb, "a{level}: &a{level} [{}]", [one.as_str(); 8].join(",")).expect("room");
        }
        assert!(what(&bomb).ends_with("the file has too many values"), "{}", what(&bomb));
        let long = format!("a: &a {}\nb: [{}]\n", "x".repeat(500_000), ["*a"; 100].join(","));
        assert_eq!(what(&long), "2: the values of the file are too long");
        assert!(!what(&"[".repeat(5_000)).is_empty());
        assert!(what(&format!("{}1", "a: {".repeat(64))).contains("too deep"));
    }

    #[test]
    fn booleans_have_the_spellings_of_yaml_1_1() {
        let value = |text: &str| {
            let map = read(&format!("a: {text}\n")).expect("YAML").into_entries();
            map[0].1.as_bool().ok()
        };
        assert_eq!(value("on"), Some(true));
        assert_eq!(value("No"), Some(false));
        assert_eq!(value("\"true\""), None);
        assert_eq!(value("1"), None);
    }
}
