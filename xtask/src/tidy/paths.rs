//! Parses the paths in Rust code, which show what a module uses.

/// The code of a text without its lines of comments.
pub(super) fn without_comments(text: &str) -> String {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

/// All paths that begin with `crate` or `super`, with lists in braces expanded.
pub(super) fn paths(code: &str) -> Vec<Vec<&str>> {
    let mut found = Vec::new();
    for word in ["crate::", "super::"] {
        for (at, _) in code.match_indices(word) {
            let before = code[..at].chars().next_back();
            if !before.is_some_and(|c| c.is_alphanumeric() || "_$:".contains(c)) {
                expand(&[], &code[at..], &mut found);
            }
        }
    }
    found
}

/// Adds the paths at the beginning of `rest`, each after `prefix`.
fn expand<'a>(prefix: &[&'a str], rest: &'a str, found: &mut Vec<Vec<&'a str>>) {
    let mut path = prefix.to_vec();
    let mut rest = rest.trim_start();
    loop {
        if let Some(list) = rest.strip_prefix('{') {
            return items(list).into_iter().for_each(|item| expand(&path, item, found));
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        if end > 0 {
            path.push(&rest[..end]);
        }
        match rest[end..].strip_prefix("::") {
            Some(more) if end > 0 => rest = more,
            _ => return found.push(path),
        }
    }
}

/// The items of a list, up to the brace that closes it.
fn items(list: &str) -> Vec<&str> {
    let mut items = Vec::new();
    let (mut depth, mut start) = (0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                items.push(list[start..at].trim_start());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    items.retain(|item| !item.is_empty());
    items
}
