//! Candidates for shell completion: values of flags that are neither files nor fixed lists.
//!
//! The candidates come from the tables of the binary and, for units, containers and pods, from the
//! cgroups of the host. Completing requires neither the kernel side nor privilege. Without
//! privilege, a container can have its id instead of its name.

use std::ffi::OsStr;

use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::top_by;
use crate::{
    engine::kernel::existing_cgroups,
    filter::{PlaceKind, names_in},
    model::Dimension,
    names::{
        classes::{self, Category},
        errnos::Errno,
        syscalls::UNKNOWN,
        table::Table,
    },
};

/// A candidate and its description.
type Candidate = (String, String);

/// Completes a text with the `candidates` that begin with it. `separate` splits a text into the
/// part that stays and the part that is completed.
fn completer(
    candidates: fn() -> Vec<Candidate>,
    separate: fn(&str) -> (&str, &str),
) -> ArgValueCompleter {
    ArgValueCompleter::new(move |current: &OsStr| {
        let Some(current) = current.to_str() else { return Vec::new() };
        let (before, rest) = separate(current);
        let matching = candidates().into_iter().filter(|(value, _)| value.starts_with(rest));
        let candidate = |(value, help): Candidate| {
            CompletionCandidate::new(format!("{before}{value}")).help(Some(help.into()))
        };
        matching.map(candidate).collect()
    })
}

fn whole(current: &str) -> (&str, &str) {
    ("", current)
}

/// Patterns of syscalls, for `--syscall`. A `!` before a pattern stays.
pub(super) fn patterns() -> ArgValueCompleter {
    let candidates = || {
        let unknown = (UNKNOWN.to_owned(), "numbers without a name".to_owned());
        syscalls().chain(classes()).chain([unknown]).collect()
    };
    completer(candidates, |current| current.split_at(usize::from(current.starts_with('!'))))
}

/// Arguments of `profiler syscalls`.
pub(super) fn queries() -> ArgValueCompleter {
    let candidates = || syscalls().chain(classes()).chain(groups()).chain(errno_names()).collect();
    completer(candidates, whole)
}

/// Names of errnos.
pub(super) fn errnos() -> ArgValueCompleter {
    completer(|| errno_names().collect(), whole)
}

/// Dimensions of `--by`, separated by commas.
pub(super) fn dimensions() -> ArgValueCompleter {
    completer(|| Dimension::ALL.into_iter().map(dimension).collect(), last_of_list)
}

/// Dimensions of `top --by`, separated by commas.
pub(super) fn of_top() -> ArgValueCompleter {
    completer(|| top_by::DIMENSIONS.into_iter().map(dimension).collect(), last_of_list)
}

fn dimension(dimension: Dimension) -> Candidate {
    (dimension.name().to_owned(), format!("a row for each {}", dimension.name()))
}

/// Running systemd units, for `--unit`.
pub(super) fn units() -> ArgValueCompleter {
    completer(|| running(PlaceKind::Unit), last_of_list)
}

/// Running containers, for `--container`.
pub(super) fn containers() -> ArgValueCompleter {
    completer(|| running(PlaceKind::Container), last_of_list)
}

/// Running pods, for `--pod`.
pub(super) fn pods() -> ArgValueCompleter {
    completer(|| running(PlaceKind::Pod), last_of_list)
}

fn running(kind: PlaceKind) -> Vec<Candidate> {
    // A shell would split or interpret other characters.
    let is_plain = |text: &str| text.chars().all(|c| c.is_ascii_graphic() && c != ',');
    let mut names = names_in(kind, &existing_cgroups());
    names.retain(|(name, _)| is_plain(name));
    names
}

fn last_of_list(current: &str) -> (&str, &str) {
    current.split_at(current.rfind(',').map_or(0, |at| at + 1))
}

fn syscalls() -> impl Iterator<Item = Candidate> {
    let calls = Table::get().calls().iter();
    calls.map(|call| (call.name.to_owned(), call.category.name().to_owned()))
}

fn classes() -> impl Iterator<Item = Candidate> {
    classes::names().map(|name| {
        let kind = if Category::named(name).is_some() { "category" } else { "class of strace" };
        (format!("%{name}"), kind.to_owned())
    })
}

/// The groups of systemd that have a syscall.
fn groups() -> impl Iterator<Item = Candidate> {
    let mut groups: Vec<&str> =
        Table::get().calls().iter().flat_map(|call| call.systemd.iter().copied()).collect();
    groups.sort_unstable();
    groups.dedup();
    groups.into_iter().map(|group| {
        let group = group.strip_prefix('@').unwrap_or(group);
        (format!("@{group}"), "group of systemd".to_owned())
    })
}

fn errno_names() -> impl Iterator<Item = Candidate> {
    let known = (1..=u16::MAX).map_while(Errno::from_number).filter(|errno| errno.is_named());
    known.map(|errno| (errno.to_string(), errno.meaning().to_owned()))
}
