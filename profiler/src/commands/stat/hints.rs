//! The hints that `stat` prints on standard error.

use std::{fs, io::IsTerminal as _, os::fd::AsFd as _};

use nix::sys::stat::{SFlag, fstat};

use crate::{
    commands::cli::{Format, StatArgs},
    filter::Comm,
    model::Snapshot,
    streams::Stream,
    text::Untrusted,
};

/// Properties of the standard streams.
#[derive(Clone, Copy)]
struct Streams {
    output_is_pipe: bool,
    error_is_terminal: bool,
}

impl Streams {
    fn of_this_process() -> Self {
        let kind =
            fstat(Stream::Output.as_fd()).map(|stat| SFlag::from_bits_truncate(stat.st_mode));
        Self {
            output_is_pipe: kind.is_ok_and(|kind| kind & SFlag::S_IFMT == SFlag::S_IFIFO),
            error_is_terminal: Stream::Error.as_fd().is_terminal(),
        }
    }
}

/// Prints a hint for a person at a terminal when counting has begun.
pub(super) fn at_start(args: &StatArgs) {
    if let Some(hint) = start_hint(args, Streams::of_this_process()) {
        tell(hint);
    }
}

/// Prints a hint. Ignores errors, because a hint is not essential.
fn tell(hint: &str) {
    let _ = Stream::Error.tell(&format!("profiler: {hint}\n"));
}

/// The hint at the start. `None` unless standard error is a terminal, because a program that reads
/// standard error expects only the report there.
fn start_hint(args: &StatArgs, streams: Streams) -> Option<&'static str> {
    let Streams { output_is_pipe, error_is_terminal } = streams;
    if !error_is_terminal {
        return None;
    }
    if !args.command.is_empty() {
        let json_is_here = args.format == Format::Json && args.output.is_none();
        return (json_is_here && output_is_pipe).then_some(
            "the JSON goes to standard error, because the command writes to standard output; \
             -o FILE writes it to a file",
        );
    }
    let is_piped = output_is_pipe && args.output.is_none();
    match (args.duration, args.pid.is_empty()) {
        _ if is_piped => None,
        (Some(_), _) => None,
        (None, true) => Some("counting syscalls; Ctrl-C stops and prints the report"),
        (None, false) => Some(
            "counting syscalls until the processes have ended; \
             Ctrl-C stops earlier and prints the report",
        ),
    }
}

/// Prints which names of `--comm` no process had.
pub(super) fn at_end(args: &StatArgs, comms: &[Comm], snapshot: &Snapshot) {
    // With a command, the report goes to standard error.
    if args.format == Format::Json && args.output.is_none() && !args.command.is_empty() {
        return;
    }
    let unseen = unseen(comms, snapshot, &running());
    if !unseen.is_empty() {
        let names: Vec<_> = unseen.iter().map(ToString::to_string).collect();
        tell(&format!(
            "no process named {} was seen; --comm matches the whole name, as in /proc/PID/comm",
            names.join(" or ")
        ));
    }
}

/// Names of `wanted` that neither a process in `snapshot` nor one in `running` has.
fn unseen<'a>(wanted: &'a [Comm], snapshot: &Snapshot, running: &[Untrusted]) -> Vec<&'a Comm> {
    let seen: Vec<&str> = snapshot.processes.iter().map(|p| p.process.comm.raw()).collect();
    let is_wanted = |name: &&str| wanted.iter().any(|comm| comm.as_str() == *name);
    // A process that was renamed is listed by its last name. Its earlier names are unknown.
    if !seen.iter().all(is_wanted) {
        return Vec::new();
    }
    let has = |name: &Comm| {
        seen.contains(&name.as_str()) || running.iter().any(|r| r.raw() == name.as_str())
    };
    wanted.iter().filter(|name| !has(name)).collect()
}

/// Names of running processes.
fn running() -> Vec<Untrusted> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let comm = |entry: fs::DirEntry| {
        let name = fs::read(entry.path().join("comm")).ok()?;
        Some(Untrusted::from_bytes(name.strip_suffix(b"\n").unwrap_or(&name)))
    };
    entries.filter_map(Result::ok).filter_map(comm).collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::{
        commands::cli::{Cli, Command},
        model::{Process, ProcessRow},
    };

    const TERMINAL: Streams = Streams { output_is_pipe: false, error_is_terminal: true };
    const PIPED: Streams = Streams { output_is_pipe: true, error_is_terminal: true };

    fn hint(args: &str, streams: Streams) -> Option<&'static str> {
        let words = ["profiler", "stat"].into_iter().chain(args.split_whitespace());
        let Command::Stat(args) = Cli::try_parse_from(words).expect("flags").command else {
            panic!("another command");
        };
        start_hint(&args, streams)
    }

    #[test]
    fn who_waits_at_a_terminal_is_told_how_to_end() {
        for args in ["", "-a", "-a -i 1s", "-p 1"] {
            assert!(hint(args, TERMINAL).is_some_and(|hint| hint.contains("Ctrl-C")), "{args}");
            assert_eq!(hint(args, Streams { error_is_terminal: false, ..TERMINAL }), None);
            assert_eq!(hint(args, PIPED), None, "{args}");
        }
        for args in ["-d 5", "-a -d 5s", "-p 1 -d 1m", "-- ls"] {
            assert_eq!(hint(args, TERMINAL), None, "{args}");
        }
    }

    #[test]
    fn json_in_a_pipe_beside_a_command_is_elsewhere() {
        assert!(hint("-f json -- ls", PIPED).is_some_and(|hint| hint.contains("-o FILE")));
        for args in ["-f json -o out -- ls", "-f json -o - -- ls", "-- ls"] {
            assert_eq!(hint(args, PIPED), None, "{args}");
        }
        assert_eq!(hint("-f json -- ls", TERMINAL), None);
        let both = Streams { error_is_terminal: false, ..PIPED };
        assert_eq!(hint("-f json -- ls", both), None);
    }

    fn snapshot(comms: &[&str]) -> Snapshot {
        let process = |comm: &&str| ProcessRow::new(Process::new(7, 0, *comm), Vec::new());
        Snapshot { processes: comms.iter().map(process).collect(), ..Snapshot::default() }
    }

    #[test]
    fn names_that_no_process_had_are_told() {
        let wanted = ["nginx", "nosuch"].map(|name| name.parse().expect("a name"));
        let names = |comms: &[&str], running: &[&str]| {
            let running: Vec<_> = running.iter().map(|&name| name.into()).collect();
            let unseen = unseen(&wanted, &snapshot(comms), &running);
            unseen.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(names(&[], &["bash"]), ["nginx", "nosuch"]);
        assert_eq!(names(&["nginx"], &[]), ["nosuch"]);
        assert_eq!(names(&[], &["nosuch"]), ["nginx"]);
        // Its earlier name may have been nosuch.
        assert!(names(&["nginx", "renamed"], &[]).is_empty());
        assert!(unseen(&[], &snapshot(&["a"]), &[]).is_empty());
    }
}
