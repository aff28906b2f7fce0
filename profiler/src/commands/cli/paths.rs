//! The flag that has the targets of calls that fail noted.

use clap::Args;

/// Whether the targets of calls that fail are noted.
#[derive(Args, Debug, Clone, Default)]
pub struct PathsArgs {
    /// Note on which paths and addresses calls fail, and why calls are refused
    ///
    /// For each syscall and error, the 20 paths, socket addresses or descriptors on which most
    /// calls failed. For EPERM and EACCES, also which capability was missing, whether file
    /// permissions or seccomp refused the call, or that the reason is unknown. `stat` shows them in
    /// a second table, by process with `--by process`, and in `failing` of the JSON. In `top`, the
    /// key E shows those of the marked row. A call that fails costs more; others cost the same.
    #[arg(long, help_heading = "Shown")]
    pub show_paths: bool,
}
