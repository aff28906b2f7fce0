//! Reads the Linux man-pages: which page describes a call, which errnos the page documents, and
//! which kernel version introduced the call.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, ensure};

use crate::{syscalls::facts, workspace::output};

const SECTION: &str = "/usr/share/man/man2";

/// Reads section 2 of the installed man-pages.
pub(super) fn read() -> Result<Vec<(&'static str, String)>> {
    let list = page(&Path::new(SECTION).join("syscalls.2.gz"))?;
    let title = list
        .lines()
        .find(|line| line.starts_with(".TH "))
        .context("the manual page has no title")?;
    let edition = title.split('"').rfind(|part| part.starts_with("Linux man-pages"));
    let edition = edition.context("the title has no version of man-pages")?;
    let names: BTreeSet<_> = facts::numbers()?.into_iter().map(|number| number.name).collect();

    let mut pages = format!("# {edition}\n");
    let mut described = BTreeMap::new();
    for name in &names {
        if let Some(path) = find(name) {
            let stem = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let stem = stem.trim_end_matches(".gz").trim_end_matches(".2").to_owned();
            pages += &format!("{name}: {stem}\n");
            described.insert(stem, path);
        }
    }
    let mut errnos = format!("# {edition}\n");
    for (name, path) in described {
        let documented = documented_errnos(&page(&path)?);
        if !documented.is_empty() {
            let documented: Vec<_> = documented.into_iter().collect();
            errnos += &format!("{name}: {}\n", documented.join(" "));
        }
    }
    let mut since = format!("# syscalls(2) of {edition}\n");
    for (name, version) in versions(&list) {
        if names.contains(&name) {
            since += &format!("{name}: {version}\n");
        }
    }
    Ok(vec![("man", pages), ("errnos", errnos), ("since", since)])
}

/// Finds the page that describes a call, and follows links. Variants of a call for other widths of
/// a type share a page, even if there is no link with the name of the variant.
fn find(name: &str) -> Option<PathBuf> {
    let plain = name.strip_suffix("_time64").or_else(|| name.strip_suffix("64"));
    [Some(name), plain].into_iter().flatten().find_map(|name| {
        let mut path = Path::new(SECTION).join(format!("{name}.2.gz"));
        // This page lists calls that Linux never had. It does not describe them.
        path = path.canonicalize().ok()?;
        (path.file_name()? != "unimplemented.2.gz").then_some(path)
    })
}

fn page(path: &Path) -> Result<String> {
    ensure!(path.exists(), "there is no page {}: install manpages-dev", path.display());
    Ok(output(Command::new("zcat").arg(path))?)
}

/// Returns the errnos that the section ERRORS explains.
fn documented_errnos(page: &str) -> BTreeSet<String> {
    let mut errnos = BTreeSet::new();
    let mut in_section = false;
    let mut is_term = false;
    for line in page.lines() {
        if let Some(section) = line.strip_prefix(".SH ") {
            in_section = section.trim_matches('"') == "ERRORS";
        }
        if in_section && is_term && line.starts_with(".B") {
            let words = line.split(|c: char| !c.is_ascii_alphanumeric());
            errnos.extend(words.filter(|word| is_errno(word)).map(str::to_owned));
        }
        is_term = line.starts_with(".TP") || (is_term && line.starts_with(".\\\""));
    }
    errnos
}

/// Whether a word is an errno that a process can get. A process never gets a code that asks for a
/// restart.
fn is_errno(word: &str) -> bool {
    word.len() > 2
        && !["ERESTARTNOINTR", "ERESTARTSYS"].contains(&word)
        && word.starts_with('E')
        && word.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// Reads names and first versions from the table in syscalls(2). A second version may follow: that
/// of an older series to which the call was backported.
fn versions(page: &str) -> BTreeMap<String, String> {
    let rows = page.lines().filter_map(|line| line.strip_prefix("\\fB"));
    let mut versions = BTreeMap::new();
    for row in rows {
        let mut columns = row.split('\t');
        let name = columns.next().and_then(|cell| cell.strip_suffix("\\fP(2)"));
        let version = columns.next().and_then(|cell| cell.split(';').next()).map(str::trim);
        let is_version = |v: &&str| v.starts_with(|c: char| c.is_ascii_digit());
        if let (Some(name), Some(version)) = (name, version.filter(is_version)) {
            versions.insert(name.to_owned(), version.to_owned());
        }
    }
    versions
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errnos_are_terms_of_their_section() {
        let page = ".SH ERRORS\n.TP\n.BR EAGAIN \" or \" EWOULDBLOCK\nSee\n.B EPERM\n\
                    .TP\n.\\\" a comment\n.B E2BIG\n.SH NOTES\n.TP\n.B ENOENT\n";
        let found: Vec<_> = documented_errnos(page).into_iter().collect();
        assert_eq!(found, ["E2BIG", "EAGAIN", "EWOULDBLOCK"]);
    }

    #[test]
    fn versions_are_in_the_second_column() {
        let page = "\\fBSystem call\\fP\t\\fBKernel\\fP\t\\fBNotes\\fP\n\
                    \\fBepoll_ctl\\fP(2)\t2.6; 2.4.18\n\\fBsocket\\fP(2)\t2.0\tT{\n\
                    \\fBoldthing\\fP(2)\t???\tPowerPC\n";
        let found: Vec<_> = versions(page).into_iter().collect();
        let pair = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(found, [pair("epoll_ctl", "2.6"), pair("socket", "2.0")]);
    }
}
