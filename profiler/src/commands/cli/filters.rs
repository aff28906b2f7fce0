//! Flags that say which processes and syscalls are counted.

use std::path::PathBuf;

use clap::Args;

use super::{List, candidates, lists};
use crate::{
    commands::places,
    filter::{CallPattern, Comm, ContainerName, Filter, FilterError, Places, PodName, UnitName},
};

/// Filters: which processes and syscalls are counted. Different filters are ANDed; several values
/// of one filter are ORed.
#[derive(Args, Debug, Clone, Default)]
pub struct FilterArgs {
    /// Count only processes in this cgroup (version 2) or below it
    ///
    /// A path from the root of the hierarchy, such as system.slice/nginx.service, or a directory
    /// below its mount point. A process that moves is counted while it is in the cgroup.
    ///
    /// Several paths are separated by commas. Write a comma within a path as `\,`.
    #[arg(long, value_name = "PATH", value_parser = lists::cgroups, help_heading = "Filters")]
    pub cgroup: Vec<List<PathBuf>>,
    /// Count only processes in this systemd unit
    ///
    /// nginx is nginx.service; other units have their suffix, such as session-3.scope. Cgroups below
    /// that of the unit are included. A unit that is restarted is counted from its first syscall.
    /// Several names are separated by commas.
    #[arg(long, value_name = "NAME", value_delimiter = ',', add = candidates::units(), help_heading = "Filters")]
    pub unit: Vec<UnitName>,
    /// Count only processes in this container
    ///
    /// The name of the container, its id, or at least the first 12 digits of its id. Containers
    /// within the container are included. A container that is restarted is counted from its first
    /// syscall. Several names are separated by commas.
    #[arg(long, value_name = "NAME|ID", value_delimiter = ',', add = candidates::containers(), help_heading = "Filters")]
    pub container: Vec<ContainerName>,
    /// Count only processes in this Kubernetes pod
    ///
    /// NAMESPACE/NAME, the UID of the pod, or at least the first 8 digits of its UID. Containers
    /// that start later are counted from their first syscall. Several pods are separated by commas.
    #[arg(long, value_name = "NAMESPACE/NAME|UID", value_delimiter = ',', add = candidates::pods(), help_heading = "Filters")]
    pub pod: Vec<PodName>,
    /// Accept units, containers and pods that do not exist yet
    ///
    /// They are counted from their first syscall. Without this flag, `stat` and `top` refuse a name
    /// that nothing has. The daemon accepts such a name, and logs a warning.
    #[arg(long, help_heading = "Filters")]
    pub allow_missing: bool,
    /// Count only processes with this name, as in /proc/PID/comm
    ///
    /// The name of a process is that of its first thread, and has at most 15 bytes. Several names
    /// are separated by commas. Write a comma within a name as `\,`.
    #[arg(long, value_name = "NAME", value_parser = lists::comms, help_heading = "Filters")]
    pub comm: Vec<List<Comm>>,
    /// Count only this syscall, by name, number or %CLASS; `!NAME` excludes it
    ///
    /// A name such as open matches the syscalls of all ABIs, and i386:open that of one ABI. A
    /// number such as 2 is one of x86_64, and i386:5 one of another ABI. `unknown` matches all
    /// numbers without a name. A class of strace such as %file, or a category such as
    /// %file-management, matches all its syscalls: `profiler syscalls %file` lists them. Several
    /// are separated by commas.
    #[arg(long, value_name = "CALL", value_delimiter = ',', add = candidates::patterns(), help_heading = "Filters")]
    pub syscall: Vec<CallPattern>,
    /// Exclude this syscall, or a %CLASS. Same as --syscall '!NAME'
    #[arg(long, value_name = "CALL", value_delimiter = ',', add = candidates::patterns(), help_heading = "Filters")]
    pub exclude_syscall: Vec<CallPattern>,
}

impl FilterArgs {
    /// The filter of these flags. Looks up the cgroups, units, containers and pods now.
    ///
    /// # Errors
    /// See [`FilterError`].
    pub fn filter(&self) -> Result<Filter, FilterError> {
        let filter = Filter::new(&self.cgroup.concat(), self.comm.concat(), &self.patterns())?;
        let filter = filter.in_places(self.places())?;
        let unknown = places::unknown(&filter.places)?;
        match unknown.into_iter().next() {
            Some(error) if !self.allow_missing => Err(error.into()),
            _ => Ok(filter),
        }
    }

    /// The units, containers and pods of these flags.
    pub fn places(&self) -> Places {
        let (units, containers) = (self.unit.clone(), self.container.clone());
        Places { units, containers, pods: self.pod.clone() }
    }

    /// The patterns of `--syscall` and `--exclude-syscall`.
    pub fn patterns(&self) -> Vec<CallPattern> {
        let excluded = self.exclude_syscall.iter().cloned().map(CallPattern::excluded);
        self.syscall.iter().cloned().chain(excluded).collect()
    }
}
