//! Flags of `profiler completions`.

use clap::{Args, ValueEnum};

/// `profiler completions`.
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// A shell that can complete the command line.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// Bash 4.4 or later
    Bash,
    /// Zsh
    Zsh,
    /// Fish
    Fish,
}

const AFTER_HELP: &str = "\
Examples:
  source <(profiler completions bash)      in ~/.bashrc
  source <(profiler completions zsh)       in ~/.zshrc, after compinit
  profiler completions fish | source       in ~/.config/fish/config.fish

Packages install the scripts, so that no line is necessary. At each completion, the script runs
`profiler` from PATH. Completing requires no privilege: also after `sudo profiler`, the shell runs
`profiler` as you.";
