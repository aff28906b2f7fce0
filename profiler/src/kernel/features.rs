//! What this kernel and this process have.

use std::{fs, path::Path};

use aya::{maps::MapType, sys};
use caps::{CapSet, Capability};

use super::{
    btf::{TaskLayout, Types},
    error::KernelError,
    programs::{CGROUP_ATTACH, PROGRAMS, preemptible},
};

pub use super::btf::{CgroupLayout, FilterLayout};

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// What this kernel and this process have.
#[derive(Clone, Debug)]
pub struct Features {
    /// Kernel release, as `uname -r`.
    pub release: String,
    /// Major and minor version out of it.
    pub version: (u32, u32),
    /// Where the fields of a task are; `None` without BTF.
    pub layout: Option<TaskLayout>,
    /// Where that is by which filters decide; `None` without BTF.
    pub filters: Option<FilterLayout>,
    /// It can be told when a task is moved to another cgroup.
    pub cgroup_tracepoint: bool,
    /// The tracepoints are there as typed ones.
    pub tp_btf: bool,
    /// Task storage maps can be made.
    pub task_storage: bool,
    /// Capabilities needed and not there.
    pub missing_capabilities: Vec<&'static str>,
    /// This process is in the host's own pid namespace, so ids mean the same.
    pub host_pid_namespace: bool,
}

impl Features {
    /// Looks. Costs a few milliseconds, most of it for the BTF.
    pub fn probe() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|u| u.release().to_string_lossy().into_owned())
            .unwrap_or_default();
        let btf = fs::read(BTF_PATH).unwrap_or_default();
        let types = Types::parse(&btf);
        let typed = |tracepoint: &str| {
            types
                .as_ref()
                .is_some_and(|types| types.has_typedef(&format!("btf_trace_{tracepoint}")))
        };
        let layout = types.as_ref().and_then(TaskLayout::from_types);
        let missing_capabilities = missing_capabilities();
        let may_probe = missing_capabilities.is_empty();
        Self {
            version: parse_version(&release),
            release,
            layout,
            // A typed tracepoint is found by this typedef (Linux 5.5,
            // include/trace/bpf_probe.h). Trying a program of the type would not do:
            // it also stands for fentry, which some kernels lack.
            tp_btf: PROGRAMS.iter().all(|spec| typed(spec.tracepoint)),
            cgroup_tracepoint: typed(CGROUP_ATTACH.tracepoint),
            filters: types.as_ref().and_then(FilterLayout::from_types),
            task_storage: may_probe && sys::is_map_supported(MapType::TaskStorage).unwrap_or(false),
            missing_capabilities,
            host_pid_namespace: fs::read_link("/proc/self/ns/pid")
                .is_ok_and(|link| link == Path::new(INITIAL_PID_NAMESPACE)),
        }
    }

    /// Whether the main object can be used.
    pub fn main_way(&self) -> bool {
        self.layout.is_some() && self.tp_btf && self.task_storage
    }

    /// Whether programs in tracepoints can be preempted, so that the kernel may skip them.
    pub fn preemptible_tracepoints(&self) -> bool {
        preemptible(self.version)
    }

    /// Whether everything that any way needs is there.
    pub(super) fn require(&self) -> Result<(), KernelError> {
        if !self.missing_capabilities.is_empty() {
            return Err(KernelError::Privilege { missing: self.missing_capabilities.clone() });
        }
        Ok(())
    }
}

/// CAP_BPF and CAP_PERFMON (Linux 5.8), or CAP_SYS_ADMIN, which stands for both.
fn missing_capabilities() -> Vec<&'static str> {
    let has = |c| caps::has_cap(None, CapSet::Effective, c).unwrap_or(false);
    if has(Capability::CAP_SYS_ADMIN) {
        return Vec::new();
    }
    [(Capability::CAP_BPF, "CAP_BPF"), (Capability::CAP_PERFMON, "CAP_PERFMON")]
        .into_iter()
        .filter_map(|(capability, name)| (!has(capability)).then_some(name))
        .collect()
}

fn parse_version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    let mut next = || numbers.next().and_then(Result::ok).unwrap_or(0);
    (next(), next())
}

#[cfg(test)]
mod tests {
    use super::parse_version;

    #[test]
    fn releases() {
        assert_eq!(parse_version("6.18.44-fc-v595"), (6, 18));
        assert_eq!(parse_version("5.10.0-33-cloud-amd64"), (5, 10));
        assert_eq!(parse_version("7.2+deb14"), (7, 2));
        assert_eq!(parse_version(""), (0, 0));
    }
}
