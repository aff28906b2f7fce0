//! How complete an observation is, in sentences: the proof that comes with a generated profile.

use std::{collections::BTreeSet, time::Duration};

use super::observation::{Observation, Seen};

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

/// The sentences about what was watched, and what of it was missed.
pub fn coverage(observation: &Observation) -> Vec<Note> {
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
    let denied = "Denied while observed, so what follows them was not seen";
    notes.extend(listed(observation, denied, |seen| seen.denied > 0).map(Note::warning));
    notes
}

/// The sentences about an observation of which a profile is made.
pub fn notes(observation: &Observation) -> Vec<Note> {
    let watched = &observation.watched;
    let mut notes = coverage(observation);
    let mut note = |is_warning, title, wanted: &dyn Fn(&Seen) -> bool| {
        let text = listed(observation, title, wanted);
        notes.extend(text.map(|text| Note { is_warning, text }));
    };
    note(false, "Seen once", &|seen| seen.is_single());
    if watched.observations > 1 {
        note(false, "Seen in only one of the observations", &|seen| seen.observations == 1);
    }
    // At the start or the end: in the first or the last tenth of the time.
    let tenth = watched.time_ns / 10;
    let rest = watched.time_ns - tenth;
    // Calls are read every 100 ms, so a tenth of less time says nothing.
    if watched.observations == 1 && watched.time_ns >= LONG_ENOUGH_NS {
        note(false, "Seen only in the first tenth of the time", &|seen| seen.last_ns <= tenth);
        note(false, "Seen only in the last tenth of the time", &|seen| {
            seen.first_ns >= rest && seen.first_ns > tenth
        });
    }
    note(true, "Failed with ENOSYS each time, and are therefore not allowed", &|seen| {
        seen.enosys > 0 && seen.enosys == seen.calls
    });
    note(true, "Without a name, and therefore not allowed", &|seen| {
        crate::names::table::Table::get().named(&seen.syscall).is_none()
    });
    notes
}

/// A sentence that lists the calls that are wanted; `None` if there are none.
fn listed(
    observation: &Observation,
    title: &str,
    wanted: impl Fn(&Seen) -> bool,
) -> Option<String> {
    let wanted = observation.calls.iter().filter(|seen| wanted(seen));
    let names: BTreeSet<_> = wanted.map(name_with_abi).collect();
    (!names.is_empty()).then(|| format!("{title} ({}): {}.", names.len(), list(&names)))
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
