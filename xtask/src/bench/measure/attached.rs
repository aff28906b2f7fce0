//! Attaches a subject, and detaches it.

use anyhow::{Context as _, Result, ensure};
use aya::{Btf, Ebpf, include_bytes_aligned, programs::BtfTracePoint};
use profiler::{
    aggregate::KeepEnded,
    engine::kernel::{Options, Profiler},
};

use super::{
    child::Tied,
    peers::{Peer, own_program},
    pilot::Pilot,
    subjects::{How, OWN, Subject},
};
use crate::workspace::find_program;

/// The object with pairs of programs that are lower bounds for any tool.
static FLOOR: &[u8] =
    include_bytes_aligned!("../../../../profiler/src/engine/kernel/objects/profiler-floor.bpf.o");

/// An attached subject. Dropping this value detaches it.
pub(super) enum Attached {
    Nothing,
    #[expect(dead_code, reason = "held because dropping it detaches the programs")]
    Pair(Ebpf),
    #[expect(dead_code, reason = "held because dropping it detaches the programs")]
    Ours(Box<Profiler>),
    Program(Tied),
    Strace,
}

impl Subject {
    /// Why the subject cannot be measured on this host. `None` if it can.
    pub(super) fn missing(&self) -> Option<String> {
        match &self.how {
            How::Peer(peer) => peer.find().err(),
            How::Strace if find_program(&["strace"]).is_none() => {
                Some("not installed: Debian's package `strace`".to_owned())
            }
            _ => None,
        }
    }

    /// Attaches the subject. Calls are watched once this function returns.
    pub(super) fn attach(&self, cpus: usize) -> Result<Attached> {
        match &self.how {
            How::Nothing => Ok(Attached::Nothing),
            How::Pair(name) => floor_pair(name).map(Attached::Pair),
            How::Ours(options) => ours(&options()),
            How::Program(args) => program(args, cpus).map(Attached::Program),
            How::Peer(peer) => attach_peer(peer, cpus).map(Attached::Program),
            How::Strace => Ok(Attached::Strace),
        }
    }
}

impl Attached {
    /// Detaches the subject. Fails if the tool ended before, because the measurement is then
    /// invalid.
    pub(super) fn detach(self) -> Result<()> {
        if let Self::Program(mut tied) = self {
            ensure!(tied.runs()?, "the tool ended during the measurement: {}", tied.last_words());
            tied.stop()?;
        }
        Ok(())
    }
}

fn attach_peer(peer: &Peer, cpus: usize) -> Result<Tied> {
    peer.attach(cpus, &mut Pilot::new())
}

/// Starts the profiler's executable.
fn program(args: &'static [&'static str], cpus: usize) -> Result<Tied> {
    let program = own_program()?;
    let mut command = std::process::Command::new(&program);
    command.args(args);
    super::peers::started(command, OWN, cpus, &mut Pilot::new())
}

fn floor_pair(name: &str) -> Result<Ebpf> {
    let btf = Btf::from_sys_fs()?;
    let mut ebpf = Ebpf::load(FLOOR)?;
    for hook in ["enter", "exit"] {
        let program = format!("{name}_{hook}");
        let program: &mut BtfTracePoint = ebpf
            .program_mut(&program)
            .with_context(|| format!("no program {program}"))?
            .try_into()?;
        program.load(&format!("sys_{hook}"), &btf)?;
        program.attach()?;
    }
    Ok(ebpf)
}

fn ours(options: &Options) -> Result<Attached> {
    Ok(Attached::Ours(Box::new(Profiler::attach(options, KeepEnded::Always)?)))
}
