//! How complete an observation is, in sentences: the proof that comes with a generated profile.

use std::{collections::BTreeSet, time::Duration};

use super::{
    observation::{Observation, Seen},
    profile::Profile,
};

/// Calls that are listed in a sentence, at most.
const LISTED: usize = 200;

/// Time from which on calls of the start and of the end are told apart, nanoseconds.
const LONG_ENOUGH_NS: u64 = 3_000_000_000;

/// A sentence about an observation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Whether the profile may be incomplete for this reason.
    pub is_warning: bool,
    /// The sentence.
    pub text: String,
}

impl Note {
    fn fact(text: impl Into<String>) -> Self {
        Self { is_warning: false, text: text.into() }
    }

    fn warning(text: impl Into<String>) -> Self {
        Self { is_warning: true, text: text.into() }
    }
}

/// The sentences about an observation.
pub fn notes(observation: &Observation) -> Vec<Note> {
    let watched = &observation.watched;
    let mut notes = vec![Note::fact(format!(
        "Observed {} from {} for {}: {} of {}, by {}.",
        watched.what,
        watched.began,
        time(watched.time_ns),
        counted(watched.calls, "call", "calls"),
        counted(observation.calls.len() as u64, "syscall", "syscalls"),
        counted(watched.processes, "process", "processes"),
    ))];
    if watched.observations > 1 {
        notes.push(Note::fact(format!("{} observations were merged.", watched.observations)));
    }
    notes.push(if watched.is_complete() {
        Note::fact("No call was lost.")
    } else {
        Note::warning(format!(
            "{} calls were lost, and up to {} more may be: the profile can lack a syscall. Observe \
             again.",
            watched.lost, watched.unseen_at_most
        ))
    });
    if watched.ran_before {
        notes.push(Note::warning(
            "The processes ran before the observation began: syscalls that only their start makes \
             are missing.",
        ));
    }
    if watched.ran_after {
        notes.push(Note::warning(
            "The processes still ran when the observation ended: syscalls that only their end makes \
             are missing.",
        ));
    }
    let mut listed = |is_warning, title: &str, wanted: &dyn Fn(&Seen) -> bool| {
        let names: BTreeSet<_> =
            observation.calls.iter().filter(|seen| wanted(seen)).map(name_with_abi).collect();
        if !names.is_empty() {
            let text = format!("{title} ({}): {}.", names.len(), list(&names));
            notes.push(Note { is_warning, text });
        }
    };
    let total = watched.observations;
    listed(false, "Seen once", &|seen| seen.is_single());
    if total > 1 {
        listed(false, "Seen in only one of the observations", &|seen| seen.observations == 1);
    }
    // At the start or the end: in the first or the last tenth of the time.
    let tenth = watched.time_ns / 10;
    let rest = watched.time_ns - tenth;
    // Calls are read every 100 ms, so a tenth of less time says nothing.
    if watched.observations == 1 && watched.time_ns >= LONG_ENOUGH_NS {
        listed(false, "Seen only in the first tenth of the time", &|seen| seen.last_ns <= tenth);
        listed(false, "Seen only in the last tenth of the time", &|seen| {
            seen.first_ns >= rest && seen.first_ns > tenth
        });
    }
    listed(true, "Denied while observed, so what follows them was not seen", &|seen| {
        seen.denied > 0
    });
    listed(true, "Failed with ENOSYS each time, and are therefore not allowed", &|seen| {
        seen.enosys > 0 && seen.enosys == seen.calls
    });
    listed(true, "Without a name, and therefore not allowed", &|seen| {
        crate::names::table::Table::get().named(&seen.syscall).is_none()
    });
    notes
}

/// What a profile allows that was not seen, in sentences.
pub fn notes_of_profile(profile: &Profile) -> Vec<Note> {
    let rules = profile.rules.iter().filter(|rule| rule.action.makes_the_call());
    let rules = rules.map(|rule| {
        let comment = rule.comment.trim_end_matches('.');
        Note::fact(format!("{comment} ({}): {}.", rule.names.len(), rule.names.join(", ")))
    });
    rules.collect()
}

fn counted(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn name_with_abi(seen: &Seen) -> String {
    match seen.abi.as_str() {
        "x86_64" => seen.syscall.clone(),
        abi => format!("{abi}:{}", seen.syscall),
    }
}

fn list(names: &BTreeSet<String>) -> String {
    let shown: Vec<_> = names.iter().take(LISTED).map(String::as_str).collect();
    let more = names.len() - shown.len();
    match more {
        0 => shown.join(", "),
        _ => format!("{}, and {more} more", shown.join(", ")),
    }
}

fn time(ns: u64) -> String {
    format!("{:.1?}", Duration::from_nanos(ns))
}
