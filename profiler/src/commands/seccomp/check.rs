//! `profiler seccomp check`: says what a profile would deny, without enforcing it.

use super::{files, watch};
use crate::{
    commands::{
        cli::{CheckArgs, Format},
        destination::Destination,
        error::Error,
        style,
    },
    model::{CallRow, Figures, Process, Snapshot},
    names::syscalls,
    present::{
        seccomp::{Denied, write_check, write_check_json},
        table::Style,
    },
    seccomp::{Arch, Container, Profile, Verdict, coverage},
    streams::Stream,
};

/// Runs `profiler seccomp check`. Returns the exit code of the command.
///
/// # Errors
/// If the profile cannot be used, or the profiler cannot watch or print.
pub(super) fn run(args: &CheckArgs) -> Result<u8, Error> {
    let profile = files::profile(&args.profile)?;
    let container = files::container(&args.cap);
    if args.watch.is_empty() {
        return Err(Error::Usage {
            problem: "nothing to watch",
            hint: "name a command, -p, --container, --unit, --pod, --cgroup or --comm; -a checks the \
                   whole host. For example: profiler seccomp check app.json -- ./app",
        });
    }
    let has_command = !args.watch.command.is_empty();
    let to = Destination::open(args.output.as_deref(), has_command)?;
    let outcome = watch::watch(&args.watch)?;
    let denied =
        denied(&profile, &container, &outcome.snapshot, |figures| figures.calls + figures.denied);
    let notes = coverage(&outcome.observation);
    let mut text = Vec::new();
    let written = match args.format {
        Format::Table => {
            let style = match &to {
                Destination::File(..) => Style::PLAIN,
                Destination::Stream(stream) => style::of(*stream),
            };
            write_check(&mut text, &denied, &notes, style)
        }
        Format::Json => write_check_json(&mut text, &denied, &notes),
    };
    Stream::Output.outcome(written)?;
    match (&to, String::from_utf8(text)) {
        (Destination::Stream(stream), Ok(text)) => stream.tell(&text)?,
        (Destination::File(path, _), Ok(text)) => {
            files::print(Some(path), &crate::streams::unstyled(&text))?;
        }
        (_, Err(_)) => {}
    }
    Ok(outcome.code)
}

/// The calls that a profile denies, the most frequent first. `count` says how many calls of these
/// figures are meant.
pub(super) fn denied(
    profile: &Profile,
    container: &Container,
    snapshot: &Snapshot,
    count: impl Fn(&Figures) -> u64,
) -> Vec<Denied> {
    let mut all = Vec::new();
    for row in &snapshot.processes {
        for call in row.calls.iter() {
            all.extend(of_call(profile, container, &row.process, call, count(&call.total)));
        }
    }
    all.sort_by(|a, b| b.calls.cmp(&a.calls).then_with(|| a.syscall.cmp(&b.syscall)));
    all
}

fn of_call(
    profile: &Profile,
    container: &Container,
    process: &Process,
    row: &CallRow,
    calls: u64,
) -> Option<Denied> {
    let abi = row.key.abi().filter(|_| calls > 0)?;
    let arch = Arch::of(abi);
    let name = syscalls::known(row.key);
    let verdict = match name {
        Some(name) => profile.judge(arch, name, container),
        None => Verdict::Always(profile.default),
    };
    let by_arguments = matches!(verdict, Verdict::ByArguments(_));
    let action = verdict.strictest();
    (!action.makes_the_call()).then(|| Denied {
        pid: process.tgid,
        comm: process.comm.clone(),
        abi: abi.name(),
        syscall: name.map_or_else(|| syscalls::name_in_abi(row.key), str::to_owned),
        calls,
        action: action.to_string(),
        by_arguments,
    })
}
