//! A program attached to its tracepoint, in as many copies as the kernel requires.
//!
//! The kernel runs a program only once at a time on a CPU (`prog->active`). From Linux 7.1 on, it
//! can preempt a program. While a thread waits inside a program, the kernel skips that program for
//! all other threads on the CPU. `enter_again` and `exit_again` do the same as the first copy,
//! unless a copy before them already has. The call in flight in the record shows whether an earlier
//! copy has run.
//!
//! Half of the copies attach at the start. One more attaches each time the kernel skips all
//! attached copies. Attaching requires no privilege, because all copies are already loaded.

use std::os::fd::{AsFd as _, AsRawFd as _};

#[cfg(any(debug_assertions, feature = "object-override"))]
use aya::programs::loaded_links;
use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, ProgramError, RawTracePoint, raw_trace_point::RawTracePointLink,
        tp_btf::BtfTracePointLink,
    },
};
use aya_log::EbpfLogger;

use super::{
    error::KernelError,
    fd_info::FdInfo,
    load::Loaded,
    object::{Hook, ObjectSpec, ProgramSpec},
    programs,
};

/// A loaded object and the attachments of its programs. Dropping it detaches and unloads
/// everything.
pub(super) struct AttachedObject {
    pub(super) spec: &'static ObjectSpec,
    /// The programs, in the order in which they attach.
    pub(super) programs: Vec<Attached>,
    log: Option<EbpfLogger<&'static dyn log::Log>>,
    /// Keeps the programs loaded, and the maps that were not taken out.
    pub(super) ebpf: Ebpf,
}

impl AttachedObject {
    /// An object whose programs are loaded and not yet attached.
    pub(super) fn new(
        loaded: Loaded,
        programs: impl Iterator<Item = &'static ProgramSpec>,
        preemptible: bool,
    ) -> Self {
        let Loaded { spec, mut ebpf, .. } = loaded;
        let log = EbpfLogger::init(&mut ebpf).ok();
        let programs = programs.map(|program| Attached::new(&ebpf, program, preemptible)).collect();
        Self { spec, programs, log, ebpf }
    }

    /// Attaches one more copy of each program all of whose copies were skipped since the last
    /// call.
    pub(super) fn reinforce(&mut self) -> Result<(), KernelError> {
        for program in &mut self.programs {
            if program.needs_more() {
                program.attach_next(&mut self.ebpf, self.spec.hook)?;
            }
        }
        Ok(())
    }

    /// Detaches all programs.
    pub(super) fn detach(&mut self) {
        self.programs.iter_mut().for_each(Attached::detach);
    }

    /// Passes the messages of the programs on to the log.
    pub(super) fn flush_log(&mut self) {
        if let Some(log) = &mut self.log {
            log.flush();
        }
    }
}

/// The attachment of a copy. Dropping it detaches the copy.
#[expect(dead_code, reason = "dropping it detaches")]
enum Link {
    Typed(BtfTracePointLink),
    Raw(RawTracePointLink),
}

/// An attached program. Dropping it detaches all copies.
pub(super) struct Attached {
    pub(super) spec: &'static ProgramSpec,
    /// What the kernel says about each loaded copy.
    infos: Vec<FdInfo>,
    links: Vec<Link>,
    /// How often, at most, all copies had been skipped when the last one attached.
    skipped_at_last: u64,
    /// How often each copy had been skipped when the last one attached.
    misses_at_last: Vec<u64>,
    /// How often, at most, all copies had been skipped at the last [`Self::needs_more`].
    known: u64,
}

impl Attached {
    /// A program that is loaded and not yet attached.
    fn new(ebpf: &Ebpf, spec: &'static ProgramSpec, preemptible: bool) -> Self {
        let info =
            |name: &&str| Some(FdInfo::open(ebpf.program(name)?.fd().ok()?.as_fd().as_raw_fd()));
        Self {
            spec,
            infos: spec.copies(preemptible).iter().filter_map(info).collect(),
            links: Vec::new(),
            skipped_at_last: 0,
            misses_at_last: Vec::new(),
            known: 0,
        }
    }

    /// Attaches the next copy, if there is one.
    pub(super) fn attach_next(&mut self, ebpf: &mut Ebpf, hook: Hook) -> Result<(), KernelError> {
        let Some(infos) = self.infos.get(..=self.links.len()) else { return Ok(()) };
        let skipped = self.skipped();
        let name = self.spec.copies(true)[self.links.len()];
        self.links.push(attach(ebpf, hook, name, self.spec.tracepoint)?);
        self.skipped_at_last = skipped;
        self.misses_at_last = infos.iter().map(misses).collect();
        Ok(())
    }

    /// How often, at most, the kernel skipped all copies.
    pub(super) fn skipped(&self) -> u64 {
        let since = |(info, at_last): (&FdInfo, &u64)| misses(info).saturating_sub(*at_last);
        let since = self.infos.iter().zip(&self.misses_at_last).map(since).min();
        self.skipped_at_last + since.unwrap_or(0)
    }

    /// Whether all copies were skipped since the last call, and one more copy is loaded.
    pub(super) fn needs_more(&mut self) -> bool {
        // Fast path: detached, or all copies attached.
        if self.links.is_empty() || self.links.len() == self.infos.len() {
            return false;
        }
        let skipped = self.skipped();
        std::mem::replace(&mut self.known, skipped) < skipped
    }

    /// How many copies are attached.
    pub(super) fn copies(&self) -> usize {
        self.links.len()
    }

    /// Detaches all copies.
    pub(super) fn detach(&mut self) {
        self.links.clear();
    }

    /// Detaches all copies, and waits until the kernel has detached them: a child of this process
    /// holds the links until its exec. For trials.
    #[cfg(any(debug_assertions, feature = "object-override"))]
    pub(super) fn detach_and_wait(&mut self) {
        let ids = self.infos.iter().filter_map(|info| info.read_number("prog_id"));
        let ids: Vec<u64> = ids.collect();
        self.detach();
        let links = || loaded_links().flatten();
        while links().any(|link| ids.contains(&link.program_id().into())) {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}

/// How often the kernel skipped a copy because it was already running.
fn misses(info: &FdInfo) -> u64 {
    info.read_number("recursion_misses").unwrap_or(0)
}

fn attach(
    ebpf: &mut Ebpf,
    hook: Hook,
    name: &str,
    tracepoint: &'static str,
) -> Result<Link, KernelError> {
    let failed = |e: ProgramError| {
        KernelError::from_any(format!("attach to the tracepoint {tracepoint}"), &e)
    };
    match hook {
        Hook::Typed => {
            let program = programs::find::<BtfTracePoint>(ebpf, name)?;
            let id = program.attach().map_err(failed)?;
            program.take_link(id).map(Link::Typed).map_err(failed)
        }
        Hook::Raw => {
            let program = programs::find::<RawTracePoint>(ebpf, name)?;
            let id = program.attach(tracepoint).map_err(failed)?;
            program.take_link(id).map(Link::Raw).map_err(failed)
        }
    }
}
