//! The features of this kernel, and the privileges of this process.

use std::{borrow::Cow, collections::HashMap, fs, io, path::Path};

use aya::{maps::MapType, sys};
use caps::{CapSet, Capability};
use profiler_common::settings::FieldGroup;

pub use super::layout::Layout;
use super::{
    btf::{Named, Types, excerpt},
    cast::Cast,
    error::KernelError,
    hierarchies::CONTROLLERS,
    object::{
        CAPABILITY_CHECKED, OPERATION_COMPLETED, OPERATION_FAILED, OPERATION_OVERFLOWED,
        OPERATION_SUBMITTED, OPERATION_SUBMITTED_OLD, ProgramSpec, Requirement, SYSCALL_PROGRAMS,
        When, preemptible,
    },
    rings::{Found, Rings},
};
use crate::{exhausted::Exhausted, text::Untrusted};

const BTF_PATH: &str = "/sys/kernel/btf/vmlinux";

/// Inode of the initial pid namespace (`PROC_PID_INIT_INO`, include/linux/proc_ns.h).
const INITIAL_PID_NAMESPACE: &str = "pid:[4026531836]";

/// The features of this kernel, and the privileges of this process.
#[derive(Clone, Debug)]
pub struct Features {
    /// Kernel release, as `uname -r`.
    pub release: String,
    /// Major and minor version of the kernel.
    pub version: (u32, u32),
    /// Where the fields of the kernel's types are. Without BTF, none is known.
    pub layout: Layout,
    /// Whether a tracepoint reports moves between cgroups.
    pub cgroup_tracepoint: bool,
    /// Whether a tracepoint reports checks of capabilities (Linux 6.14).
    pub capability_tracepoint: bool,
    /// Whether a program may be able to attach to the function that checks capabilities.
    pub capability_function: bool,
    /// Indexes of the controllers of version 1 that [`CONTROLLERS`] lists, of those that the kernel
    /// has.
    pub controllers: [Option<u32>; CONTROLLERS.len()],
    /// Whether the tracepoints can be attached to as typed ones.
    pub tp_btf: bool,
    /// Whether task storage maps can be made.
    pub task_storage: bool,
    /// The ids that are patched into the object with an arena; `None` if the kernel has no
    /// arenas.
    pub arena: Option<Cast>,
    /// How to count operations of io_uring; what the kernel lacks, if it cannot be done.
    pub rings: Result<Rings, Cow<'static, str>>,
    /// The errno with which the read of the BTF failed, if a resource ran out. In that case, the
    /// fields that depend on the BTF are not valid.
    pub unread: Option<i32>,
    /// Required capabilities that this process lacks.
    pub missing_capabilities: Vec<&'static str>,
    /// Whether this process is in the pid namespace of the host, so that its process ids are those
    /// of the host; `None` if `/proc` does not say.
    pub host_pid_namespace: Option<bool>,
    /// An excerpt of the kernel's BTF, with what programs attach to; empty without BTF.
    pub attach_btf: Vec<u8>,
}

impl Features {
    /// Probes the kernel and this process. Takes a few milliseconds, mostly for the BTF.
    pub fn probe() -> Self {
        let release = nix::sys::utsname::uname()
            .map(|u| Untrusted::from(u.release()).to_string())
            .unwrap_or_default();
        let (btf, unread) = match fs::read(BTF_PATH) {
            Ok(btf) => (btf, None),
            Err(error) => (Vec::new(), Exhausted::of(&error).and_then(|_| error.raw_os_error())),
        };
        let types = Types::parse(&btf);
        let layout = types.as_ref().map(Layout::from_types).unwrap_or_default();
        let controllers = CONTROLLERS
            .map(|controller| types.as_ref()?.enumerator(&format!("{controller}_cgrp_id")));
        let missing_capabilities = missing_capabilities();
        let may_probe = missing_capabilities.is_empty();
        let attach = types.map_or_else(AttachTypes::default, |types| AttachTypes::find(&types));
        Self {
            version: parse_version(&release),
            release,
            layout,
            tp_btf: attach.tp_btf,
            cgroup_tracepoint: attach.cgroup_tracepoint,
            capability_tracepoint: attach.capability_tracepoint,
            capability_function: attach.capability_function,
            controllers,
            // A trial takes tens of milliseconds: the kernel waits for a grace period before it
            // frees the map (bpf_local_storage_map_free).
            task_storage: may_probe
                && (attach.task_storage
                    || sys::is_map_supported(MapType::TaskStorage).unwrap_or(false)),
            arena: attach.arena,
            rings: Rings::new(&Found {
                has_layout: [FieldGroup::Task, FieldGroup::IoUring].map(|g| layout.has(g))
                    == [true; 2],
                ..attach.rings
            }),
            attach_btf: excerpt(&attach.found),
            unread,
            missing_capabilities,
            host_pid_namespace: fs::read_link("/proc/self/ns/pid")
                .ok()
                .map(|link| link == Path::new(INITIAL_PID_NAMESPACE)),
        }
    }

    /// Whether the kernel has arenas.
    pub fn has_arena(&self) -> bool {
        self.meets(Requirement::Arena)
    }

    /// Whether the kernel has typed tracepoints and task storage. Otherwise, the fallback runs.
    pub fn has_typed_tracepoints(&self) -> bool {
        [Requirement::TypedTracepoints, Requirement::TaskStorage].into_iter().all(|r| self.meets(r))
    }

    /// Whether the kernel meets a requirement of an object.
    pub(super) fn meets(&self, requirement: Requirement) -> bool {
        match requirement {
            Requirement::TypedTracepoints => self.layout.has(FieldGroup::Task) && self.tp_btf,
            Requirement::TaskStorage => self.task_storage,
            Requirement::Arena => self.arena.is_some(),
        }
    }

    /// Whether records can have the cgroups of their owners.
    pub fn knows_cgroups(&self) -> bool {
        let groups = [FieldGroup::Task, FieldGroup::Threads, FieldGroup::Cgroup];
        self.cgroup_tracepoint && groups.into_iter().all(|group| self.layout.has(group))
    }

    /// How to count operations of io_uring, if the kernel has what that needs.
    pub(super) fn io_uring(&self) -> Option<Rings> {
        self.rings.as_ref().ok().copied()
    }

    /// Whether the kernel can preempt programs in tracepoints, and may therefore skip them.
    pub fn preemptible_tracepoints(&self) -> bool {
        preemptible(self.version)
    }

    /// Checks what every object requires: capabilities, and a BTF that can be read if there is one.
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

/// What the kernel's types say about attaching.
#[derive(Default)]
struct AttachTypes {
    tp_btf: bool,
    task_storage: bool,
    arena: Option<Cast>,
    cgroup_tracepoint: bool,
    capability_tracepoint: bool,
    capability_function: bool,
    rings: Found,
    found: Vec<(Named, u32)>,
}

/// `BPF_CALL_4` makes a typedef of each helper that is compiled in (include/linux/filter.h). This
/// helper comes with task storage (bpf_task_storage.c).
const TASK_STORAGE: &str = "btf_bpf_task_storage_get";

/// The function that comes with task iterators.
const TASK_ITERATOR: &str = "bpf_iter_task";

/// The function that checks capabilities (security/commoncap.c).
pub(super) const CAPABILITY_CHECK: &str = "cap_capable";

/// The function that comes with arenas.
const ARENA: &str = "bpf_arena_alloc_pages";

/// The typedef of a typed tracepoint (Linux 5.5, include/trace/bpf_probe.h). A trial load would not
/// be reliable: the program type is also that of fentry, which some kernels lack.
fn typed_tracepoint(program: &ProgramSpec) -> Named {
    Named::Typedef(format!("btf_trace_{}", program.tracepoint))
}

impl AttachTypes {
    fn find(types: &Types<'_>) -> Self {
        let tracepoints = SYSCALL_PROGRAMS.iter().map(typed_tracepoint);
        let storage = Named::Typedef(TASK_STORAGE.into());
        let functions = [TASK_ITERATOR, ARENA, Cast::FUNCTION, CAPABILITY_CHECK];
        let functions = functions.map(|name| Named::Function(name.into()));
        let wanted: Vec<Named> = tracepoints.chain([storage.clone()]).chain(functions).collect();
        let ids: HashMap<&Named, u32> =
            wanted.iter().zip(types.find(&wanted)).filter_map(|(n, id)| Some((n, id?))).collect();
        let function = |name: &str| ids.get(&Named::Function(name.into())).copied();
        let parameters = |program: &ProgramSpec| {
            let id = ids.get(&typed_tracepoint(program));
            id.and_then(|&id| types.tracepoint_parameters(id)).unwrap_or_default()
        };
        let rings = Found {
            submit: parameters(&OPERATION_SUBMITTED),
            submit_old: parameters(&OPERATION_SUBMITTED_OLD),
            fail: parameters(&OPERATION_FAILED),
            complete: parameters(&OPERATION_COMPLETED),
            overflow: parameters(&OPERATION_OVERFLOWED),
            has_layout: false,
        };
        let mut always = SYSCALL_PROGRAMS.iter().filter(|program| program.when == When::Always);
        Self {
            tp_btf: always.all(|program| ids.contains_key(&typed_tracepoint(program))),
            task_storage: ids.contains_key(&storage),
            cgroup_tracepoint: SYSCALL_PROGRAMS
                .iter()
                .filter(|program| program.tracepoint.starts_with("cgroup_"))
                .all(|program| ids.contains_key(&typed_tracepoint(program))),
            capability_tracepoint: ids.contains_key(&typed_tracepoint(&CAPABILITY_CHECKED)),
            capability_function: function(CAPABILITY_CHECK).is_some(),
            rings,
            arena: function(ARENA).and_then(|_| Cast::new(function(Cast::FUNCTION)?, types)),
            found: ids.into_iter().map(|(named, id)| (named.clone(), id)).collect(),
        }
    }
}

/// The required capabilities that this process lacks: CAP_BPF and CAP_PERFMON (Linux 5.8).
/// CAP_SYS_ADMIN stands for both.
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

/// The major and minor version in a release such as `6.18.44-fc-v595`.
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
