//! The `profiler` command.

#![deny(clippy::print_stderr, clippy::print_stdout)]

use std::{borrow::Cow, ffi::OsString, fmt::Write as _, process::ExitCode};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};
use profiler::{
    commands::{
        cli::{Cli, Command},
        completions, daemon, doctor,
        error::Error,
        explain, flame, metrics, seccomp, stat, syscalls, top, trace,
    },
    streams::Stream,
    text::{Untrusted, harmless, harmless_lines},
};

fn main() -> ExitCode {
    let outcome =
        completions::answer(std::env::args_os()).unwrap_or_else(|| match Cli::try_parse() {
            Ok(cli) => run(&cli.command),
            Err(error) => answer_usage(error),
        });
    ExitCode::from(outcome.unwrap_or_else(|error| {
        report(&error);
        error.exit_code()
    }))
}

fn run(command: &Command) -> Result<u8, Error> {
    match command {
        Command::Stat(args) => stat::run(args),
        Command::Top(args) => top::run(args).map(|()| 0),
        Command::Trace(args) => trace::run(args),
        Command::Explain(args) => explain::run(args),
        Command::Flame(args) => flame::run(args),
        Command::Daemon(args) => daemon::run(args).map(|()| 0),
        Command::Doctor(args) => doctor::run(args).map(|()| 0),
        Command::Syscalls(args) => syscalls::run(args).map(|()| 0),
        Command::Seccomp(args) => seccomp::run(args),
        Command::Metrics(args) => metrics::run(args).map(|()| 0),
        Command::Completions(args) => completions::run(args).map(|()| 0),
    }
}

/// Prints the answer to `--help` or `--version`, or the error in the command line.
fn answer_usage(mut error: clap::Error) -> Result<u8, Error> {
    let tip = missing_dashes(&error, &std::env::args_os().collect::<Vec<_>>());
    make_harmless(&mut error);
    if let Some(tip) = tip {
        let tips = ContextValue::StyledStrs(vec![tip.into()]);
        error.insert(ContextKind::Suggested, tips);
    }
    let stream = if error.use_stderr() { Stream::Error } else { Stream::Output };
    let printed = stream.tell(&refusal(&error));
    // An invalid command line fails with the same code, even if the error cannot be printed.
    if !error.use_stderr() {
        printed?;
    }
    Ok(u8::try_from(error.exit_code()).unwrap_or(1))
}

/// Suggests the right command line if `--` is missing before a command, as in `profiler stat ls
/// -l`.
fn missing_dashes(error: &clap::Error, args: &[OsString]) -> Option<String> {
    let Some(ContextValue::String(unexpected)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let is_word = error.kind() == ErrorKind::UnknownArgument && !unexpected.starts_with('-');
    let commands = ["stat", "trace", "flame"];
    let takes_command = |command: &OsString| commands.iter().any(|name| command == name);
    if !is_word || !args.get(1).is_some_and(takes_command) {
        return None;
    }
    // The same word can also be the value of an earlier flag. The command line with `--` before
    // that word is then invalid.
    let with_dashes = |at: usize| [&args[..at], &["--".into()], &args[at..]].concat();
    let mut places = (2..args.len()).filter(|&at| args[at] == unexpected.as_str());
    let whole = places.find_map(|at| {
        let words = with_dashes(at);
        Cli::try_parse_from(&words).is_ok().then_some(words)
    });
    let words = whole.as_deref().and_then(|words| {
        words[1..].iter().map(|word| word.to_str().filter(|word| is_plain(word))).collect()
    });
    let line = words.map_or_else(
        || format!("{} -- COMMAND", Untrusted::from(args[1].as_os_str())),
        |words: Vec<_>| words.join(" "),
    );
    Some(format!("put `--` before the command: profiler {line}"))
}

/// Whether the word needs no quotes in a shell.
fn is_plain(word: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=,:@%+".contains(c);
    !word.is_empty() && word.chars().all(plain)
}

/// Makes the arguments in clap's message harmless.
fn make_harmless(error: &mut clap::Error) {
    let quoted: Vec<_> = error
        .context()
        .filter_map(|(kind, value)| match value {
            ContextValue::String(text) => {
                Some((kind, ContextValue::String(harmless(text).into_owned())))
            }
            ContextValue::Strings(texts) => {
                let texts = texts.iter().map(|text| harmless(text).into_owned()).collect();
                Some((kind, ContextValue::Strings(texts)))
            }
            // Clap derives the other values from these, or from our definitions.
            _ => None,
        })
        .collect();
    for (kind, value) in quoted {
        if error.insert(kind, value.clone()).is_some_and(|was| was != value) {
            // The suggestions contain the argument too.
            error.remove(ContextKind::Suggested);
        }
    }
}

/// The message of clap. Without styles if the message contains harmful characters.
fn refusal(error: &clap::Error) -> String {
    let rendered = error.render();
    let plain = rendered.to_string();
    let harmless = harmless_lines(&plain);
    if matches!(harmless, Cow::Borrowed(_)) {
        rendered.ansi().to_string()
    } else {
        harmless.into_owned()
    }
}

/// Prints the error and its hint. A failure to print is ignored, because the exit code still
/// reports the error.
fn report(error: &Error) {
    let mut text = format!("profiler: {error}\n");
    for line in error.hint().iter().flat_map(|hint| hint.lines()) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "  {line}");
    }
    // `Untrusted` text is already harmless. This is for the text of libraries.
    let _ = Stream::Error.tell(&harmless_lines(&text));
}
