//! A virtual machine, in QEMU: boots a kernel, listens, and ends it if it falls silent.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    time::Duration,
};

use anyhow::{Context, Result};

use super::transcript::Transcript;

pub(super) const QEMU: &str = "qemu-system-x86_64";

/// Lines of the console that are shown of a machine that came to no good end.
const CONSOLE_LINES: usize = 30;

/// How a machine ended.
pub(super) enum End {
    /// By its own will, with every case run.
    SwitchedOff,
    /// Another way, as said, with the last lines of its console.
    Broken { how: String, console: String },
}

/// Boots `kernel` on `initramfs` and passes each line to `heard`. A machine that says
/// nothing for longer than `patience` is ended.
pub(super) fn boot(
    kernel: &Path,
    initramfs: &Path,
    console: &Path,
    patience: Duration,
    mut heard: impl FnMut(&Transcript),
) -> Result<(Transcript, End)> {
    let mut machine = start(kernel, initramfs, console)?;
    let stdout = machine.0.stdout.take().context("a pipe")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let mut transcript = Transcript::default();
    let how = loop {
        match lines.recv_timeout(patience) {
            Ok(line) => {
                let known = transcript.cases.len();
                transcript.add(&String::from_utf8_lossy(&line));
                if transcript.cases.len() > known {
                    heard(&transcript);
                }
            }
            Err(RecvTimeoutError::Timeout) => break format!("silent for {} s", patience.as_secs()),
            Err(RecvTimeoutError::Disconnected) if transcript.is_complete => {
                return Ok((transcript, End::SwitchedOff));
            }
            Err(RecvTimeoutError::Disconnected) => break "it ended by itself".to_owned(),
        }
    };
    // The console's file is whole only when QEMU has ended.
    drop(machine);
    Ok((transcript, End::Broken { how, console: last_lines(console) }))
}

/// A machine that does not outlive this command.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(kernel: &Path, initramfs: &Path, console: &Path) -> Result<Machine> {
    let mut command = Command::new(QEMU);
    // Emulated everywhere, since where the host is a virtual machine itself its own
    // virtualization is often slower.
    // Its two processors take turns: side by side, one of them runs into breakpoints that
    // the other has removed already, as each attaching to a tracepoint sets and removes
    // some, and the kernel dies or hangs of it.
    command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-m", "1024", "-smp", "2"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    // A panic ends the machine. Debian has x32 only for who asks for it.
    command.args(["-append", "console=ttyS0 panic=-1 syscall.x32=y"]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    // Two lines, so that what the kernel prints is not among what the cases say.
    command.arg("-serial").arg(format!("file:{}", console.display()));
    command.args(["-serial", "stdio"]).stdin(Stdio::null()).stdout(Stdio::piped());
    command.spawn().map(Machine).with_context(|| format!("cannot run {QEMU}"))
}

fn last_lines(console: &Path) -> String {
    let text = std::fs::read(console).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES)..].join("\n")
}
