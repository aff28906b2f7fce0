//! `profiler completions`: completion of commands, flags and values in shells.
//!
//! At each completion, the script runs the binary, with the words of the line as arguments after
//! `--`, and the name of the shell in [`VARIABLE`]. So the candidates are always those of the
//! installed binary. Generated lists would repeat all names of syscalls, classes and errnos for
//! each flag in each script.

use std::{env, ffi::OsString};

use clap::CommandFactory as _;
use clap_complete::env::{Bash, EnvCompleter, Fish, Zsh};

use super::{
    cli::{Cli, CompletionsArgs, Shell},
    error::Error,
};
use crate::streams::Stream;

/// Names the shell that asks for completions.
const VARIABLE: &str = "PROFILER_COMPLETE";
/// The name of the command, which the scripts find in PATH.
const NAME: &str = "profiler";

/// If compinit loads the script of zsh from a file, the script runs as the function of this name.
/// It then has to complete the current word.
const ZSH_AUTOLOAD: &str = "\
if [[ \"$funcstack[1]\" == _profiler ]]; then
    _clap_dynamic_completer_profiler \"$@\"
fi
";

impl Shell {
    fn completer(self) -> &'static dyn EnvCompleter {
        match self {
            Self::Bash => &Bash,
            Self::Zsh => &Zsh,
            Self::Fish => &Fish,
        }
    }
}

/// Runs `profiler completions`: prints the script of a shell.
///
/// # Errors
/// [`Error::Output`].
pub fn run(args: &CompletionsArgs) -> Result<(), Error> {
    let stream = Stream::Output;
    let mut script = Vec::new();
    let completer = args.shell.completer();
    stream.outcome(completer.write_registration(VARIABLE, NAME, NAME, NAME, &mut script))?;
    let more = if args.shell == Shell::Zsh { ZSH_AUTOLOAD } else { "" };
    Ok(stream.print(&[script.trim_ascii(), b"\n", more.as_bytes()].concat())?)
}

/// Answers a completion script, if a completion script started the process. Returns the exit code.
///
/// # Errors
/// [`Error::Output`].
pub fn answer(arguments: impl IntoIterator<Item = OsString>) -> Option<Result<u8, Error>> {
    let shell = env::var(VARIABLE).ok()?;
    let completer = [Shell::Bash, Shell::Zsh, Shell::Fish].map(Shell::completer);
    let completer = completer.into_iter().find(|completer| completer.is(&shell))?;
    // Only the scripts begin with `--`, so the variable does no harm in any other environment.
    let mut arguments = arguments.into_iter().skip(1);
    arguments.next().filter(|first| first == "--")?;
    let words: Vec<OsString> = arguments.collect();
    if words.is_empty() {
        return Some(Ok(2));
    }
    let directory = env::current_dir().ok();
    let mut answer = Vec::new();
    let mut command = Cli::command();
    Some(match completer.write_complete(&mut command, words, directory.as_deref(), &mut answer) {
        Ok(()) => Stream::Output.print(&answer).map(|()| 0).map_err(Error::from),
        // There is no candidate for these words.
        Err(_) => Ok(1),
    })
}
