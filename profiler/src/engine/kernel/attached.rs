//! A program at its tracepoint, in as many copies as the kernel makes necessary.
//!
//! The kernel runs no program twice at a time on a CPU (`prog->active`), and from Linux 7.1 on it may
//! preempt a program. While a thread waits inside a program, the kernel skips that program for all
//! other threads on the CPU. `enter_again` and `exit_again` do the same as the first copy, if no copy
//! before them has: the call in flight in the record says so.
//!
//! Half of the copies attach at the start. One more attaches each time the kernel counts a skip in all
//! attached copies, which requires no privilege.

use std::os::fd::{AsFd as _, AsRawFd as _};

use aya::{
    Ebpf,
    programs::{
        BtfTracePoint, RawTracePoint, raw_trace_point::RawTracePointLink, tp_btf::BtfTracePointLink,
    },
};

use super::{FdInfo, KernelError, load::program, object::ObjectKind, programs::ProgramSpec};

/// A copy's attachment; dropping it detaches.
#[expect(dead_code, reason = "held for what dropping it does")]
enum Link {
    Typed(BtfTracePointLink),
    Raw(RawTracePointLink),
}

/// See the module. Dropping it detaches.
pub(super) struct Attached {
    pub(super) spec: ProgramSpec,
    /// Of the loaded copies, by number.
    infos: Vec<FdInfo>,
    links: Vec<Link>,
    /// How often all copies were skipped, at most, until the last of them was attached,
    before: u64,
    /// and how often each had been by then.
    at_last: Vec<u64>,
    /// How often all had been skipped when [`Self::needs_more`] was asked last.
    known: u64,
}

impl Attached {
    /// Of a program that is loaded, and attached nowhere yet.
    pub(super) fn new(ebpf: &Ebpf, spec: ProgramSpec, preemptible: bool) -> Self {
        let info =
            |name: &&str| Some(FdInfo::of(ebpf.program(name)?.fd().ok()?.as_fd().as_raw_fd()));
        Self {
            spec,
            infos: spec.copies(preemptible).iter().filter_map(info).collect(),
            links: Vec::new(),
            before: 0,
            at_last: Vec::new(),
            known: 0,
        }
    }

    /// Attaches the next copy, if there is one.
    pub(super) fn attach_next(
        &mut self,
        ebpf: &mut Ebpf,
        kind: ObjectKind,
    ) -> Result<(), KernelError> {
        let Some(infos) = self.infos.get(..=self.links.len()) else { return Ok(()) };
        let skipped = self.skipped();
        let name = self.spec.copies(true)[self.links.len()];
        self.links.push(attach(ebpf, kind, name, self.spec.tracepoint)?);
        self.before = skipped;
        self.at_last = infos.iter().map(misses).collect();
        Ok(())
    }

    /// How often the kernel skipped all copies, at most.
    pub(super) fn skipped(&self) -> u64 {
        let since = |(info, at_last): (&FdInfo, &u64)| misses(info).saturating_sub(*at_last);
        self.before + self.infos.iter().zip(&self.at_last).map(since).min().unwrap_or(0)
    }

    /// Whether all copies were skipped again, and there is another one.
    pub(super) fn needs_more(&mut self) -> bool {
        // Detached, or all there are: the usual case costs nothing.
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
}

/// How often the kernel skipped a program because it was running already.
fn misses(info: &FdInfo) -> u64 {
    info.number("recursion_misses").unwrap_or(0)
}

fn attach(
    ebpf: &mut Ebpf,
    kind: ObjectKind,
    name: &str,
    tracepoint: &'static str,
) -> Result<Link, KernelError> {
    let failed = |e: aya::programs::ProgramError| {
        KernelError::from_any(format!("attach to the tracepoint {tracepoint}"), &e)
    };
    match kind {
        ObjectKind::Arena | ObjectKind::Arrays => {
            let program = program::<BtfTracePoint>(ebpf, name)?;
            let id = program.attach().map_err(failed)?;
            program.take_link(id).map(Link::Typed).map_err(failed)
        }
        ObjectKind::Fallback => {
            let program = program::<RawTracePoint>(ebpf, name)?;
            let id = program.attach(tracepoint).map_err(failed)?;
            program.take_link(id).map(Link::Raw).map_err(failed)
        }
    }
}
