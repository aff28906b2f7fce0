//! `profiler flame`: sums up who calls which syscall.

#[cfg(feature = "symbols")]
mod output;
#[cfg(feature = "symbols")]
mod rows;
#[cfg(feature = "symbols")]
mod session;

use super::{cli::FlameArgs, error::Error};

/// Runs `profiler flame`. Returns the exit code, which is that of the command if there is one.
///
/// # Errors
/// If the profiler cannot follow or print.
#[cfg(feature = "symbols")]
pub fn run(args: &FlameArgs) -> Result<u8, Error> {
    check(args)?;
    session::run(args)
}

/// Refuses to run, because this build lacks what names functions.
///
/// # Errors
/// Always.
#[cfg(not(feature = "symbols"))]
pub fn run(args: &FlameArgs) -> Result<u8, Error> {
    check(args)?;
    Err(Error::Usage {
        problem: "this profiler was built without the feature `symbols`, which `flame` requires",
        hint: "build it with: cargo build --release --package profiler --features symbols",
    })
}

/// Refuses invalid combinations of flags.
fn check(args: &FlameArgs) -> Result<(), Error> {
    args.user.check(&args.command, "for example: profiler flame -u nobody -- ls")?;
    let filters = &args.filters;
    if !(filters.unit.is_empty() && filters.container.is_empty() && filters.pod.is_empty()) {
        return Err(Error::Usage {
            problem: "`profiler flame` does not support --unit, --container and --pod yet",
            hint: "name the cgroup of the unit, container or pod instead, for example: profiler \
                   flame --cgroup /system.slice/nginx.service",
        });
    }
    Ok(())
}
