//! What this kernel and this process have.

use std::{fs, io, path::Path};

use aya::{maps::MapType, sys};
use caps::{CapSet, Capability};

pub use super::btf::{CgroupLayout, FilterLayout};
use super::{
    arena::Cast,
    btf::{Named, TaskLayout, Types, excerpt},
    error::KernelError,
    programs::{CGROUP_ATTACH, PROGRAMS, SIGNAL_SENT, preemptible},
};
use crate::{exhausted::Exhausted, text::Untrusted};

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
    /// What the object with an arena needs to know of this kernel; `None` if it has no
    /// arenas.
    pub arena: Option<Cast>,
    /// The errno with which the BTF could not be read, if a resource ran out. What the other
    /// fields say of it is not known then.
    pub unread: Option<i32>,
    /// Capabilities needed and not there.
    pub missing_capabilities: Vec<&'static str>,
    /// Whether this process is in the host's own pid namespace, so that ids mean the same;
    /// `None` if `/proc` does not say.
    pub host_pid_namespace: Option<bool>,
    /// The kernel's BTF as far as programs attach to it; empty without BTF.
    pub attach_btf: Vec<u8>,
}

impl Features {
    /// Looks. Costs a few milliseconds, most of it for the BTF.
    pub fn probe() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|u| Untrusted::from(u.release()).to_string())
            .unwrap_or_default();
        let (btf, unread) = match fs::read(BTF_PATH) {
            Ok(btf) => (btf, None),
            Err(error) => (Vec::new(), Exhausted::of(&error).and_then(|_| error.raw_os_error())),
        };
        let types = Types::parse(&btf);
        let layout = types.as_ref().and_then(TaskLayout::from_types);
        let missing_capabilities = missing_capabilities();
        let may_probe = missing_capabilities.is_empty();
        let attach = types.map_or_else(AttachTypes::default, |types| AttachTypes::find(&types));
        Self {
            version: parse_version(&release),
            release,
            layout,
            tp_btf: attach.tp_btf,
            cgroup_tracepoint: attach.cgroup_tracepoint,
            filters: attach.filters,
            // To make one and see takes tens of milliseconds: the kernel waits for a grace
            // period before it lets go of it (bpf_local_storage_map_free).
            task_storage: may_probe
                && (attach.task_storage
                    || sys::is_map_supported(MapType::TaskStorage).unwrap_or(false)),
            arena: attach.arena,
            attach_btf: excerpt(&attach.found),
            unread,
            missing_capabilities,
            host_pid_namespace: fs::read_link("/proc/self/ns/pid")
                .ok()
                .map(|link| link == Path::new(INITIAL_PID_NAMESPACE)),
        }
    }

    /// Whether records and cells can be in an arena.
    pub fn has_arena(&self) -> bool {
        self.arena.is_some()
    }

    /// Whether typed tracepoints and task storage can be used: without them, the fallback runs.
    pub fn has_typed_tracepoints(&self) -> bool {
        self.layout.is_some() && self.tp_btf && self.task_storage
    }

    /// Whether programs in tracepoints can be preempted, so that the kernel may skip them.
    pub fn preemptible_tracepoints(&self) -> bool {
        preemptible(self.version)
    }

    /// Checks that the kernel has everything that each object requires.
    pub(super) fn require(&self) -> Result<(), KernelError> {
        if !self.missing_capabilities.is_empty() {
            return Err(KernelError::Privilege { missing: self.missing_capabilities.clone() });
        }
        if let Some(errno) = self.unread {
            let source = io::Error::from_raw_os_error(errno);
            return Err(KernelError::from_io(format!("read {BTF_PATH}"), source));
        }
        Ok(())
    }
}

/// What programs attach to, as far as the kernel's types say.
#[derive(Default)]
struct AttachTypes {
    tp_btf: bool,
    task_storage: bool,
    arena: Option<Cast>,
    cgroup_tracepoint: bool,
    filters: Option<FilterLayout>,
    found: Vec<(Named, u32)>,
}

impl AttachTypes {
    fn find(types: &Types<'_>) -> Self {
        // A typed tracepoint is found by this typedef (Linux 5.5,
        // include/trace/bpf_probe.h). Trying a program of the type would not do:
        // it also stands for fentry, which some kernels lack.
        let tracepoints =
            PROGRAMS.iter().map(|spec| Named::Typedef(format!("btf_trace_{}", spec.tracepoint)));
        // `BPF_CALL_4` makes a typedef of each helper that is compiled in
        // (include/linux/filter.h); this one comes with the map (bpf_task_storage.c).
        let storage = Named::Typedef("btf_bpf_task_storage_get".into());
        let iterator = Named::Function("bpf_iter_task".into());
        let of_arena = Cast::FUNCTIONS.map(|name| Named::Function(name.into()));
        let migration = Named::Typedef(format!("btf_trace_{}", CGROUP_ATTACH.tracepoint));
        let sending = Named::Typedef(format!("btf_trace_{}", SIGNAL_SENT.tracepoint));
        let wanted: Vec<Named> =
            tracepoints.chain([storage, migration, sending, iterator]).chain(of_arena).collect();
        let ids = types.find(&wanted);
        let arena = match ids[..] {
            [.., Some(_), Some(cast)] => Cast::new(cast, types),
            _ => None,
        };
        Self {
            tp_btf: ids[..PROGRAMS.len()].iter().all(Option::is_some),
            task_storage: ids[PROGRAMS.len()].is_some(),
            cgroup_tracepoint: ids[PROGRAMS.len() + 1].is_some(),
            filters: FilterLayout::from_types(types),
            arena,
            found: wanted.into_iter().zip(ids).filter_map(|(n, id)| Some((n, id?))).collect(),
        }
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
