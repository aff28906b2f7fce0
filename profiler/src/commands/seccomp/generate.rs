//! `profiler seccomp generate`: makes a profile of what was seen.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fmt::Write as _,
    path::{Path, PathBuf},
};

use super::{files, watch};
use crate::{
    commands::{
        cli::{Deny, GenerateArgs, ProfileFormat, Runtime},
        error::Error,
    },
    seccomp::{self, Choices, Denial, Note, Observation, runtime},
    streams::Stream,
};

/// Runs `profiler seccomp generate`. Returns the exit code of the command.
///
/// # Errors
/// If the profiler cannot watch or print.
pub(super) fn run(args: &GenerateArgs) -> Result<u8, Error> {
    let (observation, code) = observe(args)?;
    let choices = Choices {
        denial: match args.deny {
            Deny::Errno => Denial::Errno,
            Deny::Log => Denial::Log,
            Deny::Kill => Denial::Kill,
        },
        base: match args.runtime {
            None => Vec::new(),
            Some(Runtime::Runc) => runtime::runc(false),
            Some(Runtime::RuncNoNewPrivs) => runtime::runc(true),
        },
        widen: args.widen.clone(),
    };
    let profile = seccomp::generate(&observation, &choices);
    let notes = seccomp::notes(&observation);
    let has_file = args.output.as_deref().is_some_and(|path| path != Path::new("-"));
    let text = match args.format {
        ProfileFormat::Oci => seccomp::write_oci(&profile),
        ProfileFormat::Kubernetes => seccomp::write_kubernetes(&profile, &args.name, &notes),
        ProfileFormat::Systemd => seccomp::write_systemd(&profile, &notes),
        ProfileFormat::SystemdDeny => {
            let seen: BTreeSet<_> =
                observation.calls.iter().map(|seen| seen.syscall.as_str()).collect();
            seccomp::write_systemd_deny_list(&seen, &notes)
        }
        ProfileFormat::Observation => files::observation_text(&observation),
    };
    files::print(args.output.as_deref(), &text)?;
    if has_file && args.format != ProfileFormat::Observation {
        let beside = beside(args.output.as_deref().unwrap_or(Path::new("-")));
        files::print(Some(&beside), &files::observation_text(&observation))?;
    }
    Stream::Error.tell(&told(&notes))?;
    Ok(code)
}

/// Reads observations, or watches.
fn observe(args: &GenerateArgs) -> Result<(Observation, u8), Error> {
    if !args.from.is_empty() {
        if !args.watch.is_empty() {
            return Err(Error::Usage {
                problem: "--from reads observations, so there is nothing to watch",
                hint: "omit -a, -p, the filters and the command, or omit --from",
            });
        }
        let all = args.from.iter().map(|path| files::observation(path));
        return Ok((Observation::merge(&all.collect::<Result<Vec<_>, _>>()?), 0));
    }
    if args.watch.is_empty() {
        return Err(Error::Usage {
            problem: "nothing to watch",
            hint: "name a command, -p, --container, --unit, --pod, --cgroup or --comm; -a makes a \
                   profile of the whole host. For example: profiler seccomp generate -o app.json \
                   -- ./app",
        });
    }
    let outcome = watch::watch(&args.watch)?;
    Ok((outcome.observation, outcome.code))
}

/// The file of the observation beside that of the profile.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(".observation.json");
    PathBuf::from(name)
}

/// The notes, for the terminal.
fn told(notes: &[Note]) -> String {
    let mut text = String::new();
    for note in notes {
        let label = if note.is_warning { "warning: " } else { "" };
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "profiler: {label}{}", note.text);
    }
    text
}
