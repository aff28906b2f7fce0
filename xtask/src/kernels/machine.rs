//! A virtual machine in QEMU: boots a kernel, reads its output, and ends the machine if it prints
//! nothing for too long.

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

/// Number of lines of the console that are shown if a machine fails.
const CONSOLE_LINES: usize = 30;

/// How a machine ended.
pub(super) enum End {
    /// The machine switched itself off after all cases.
    SwitchedOff,
    /// Any other end, with the last lines of the console.
    Broken { how: String, console: String },
}

/// Boots `kernel` with `initramfs`, and passes each line of output to `heard`. Ends a machine that
/// prints nothing for longer than `patience`.
pub(super) fn boot(
    kernel: &Path,
    initramfs: &Path,
    console: &Path,
    patience: Duration,
    mut heard: impl FnMut(&Transcript),
) -> Result<(Transcript, End)> {
    let mut machine = start(kernel, initramfs, console)?;
    let stdout = machine.0.stdout.take().context("the machine has no output pipe")?;
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
    // The file of the console is complete only when QEMU has ended.
    drop(machine);
    Ok((transcript, End::Broken { how, console: last_lines(console) }))
}

/// A machine that ends with this command.
struct Machine(Child);

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only if the machine has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(kernel: &Path, initramfs: &Path, console: &Path) -> Result<Machine> {
    let mut command = Command::new(QEMU);
    // Always emulated: if the host is a virtual machine, nested virtualization is often slower. The
    // two processors take turns. If they ran at the same time, one could hit a breakpoint that the
    // other has already removed, because attaching to a tracepoint sets and removes breakpoints.
    // The kernel then crashes or hangs.
    command.args(["-accel", "tcg,thread=single", "-cpu", "max", "-m", "1024", "-smp", "2"]);
    command.arg("-kernel").arg(kernel).arg("-initrd").arg(initramfs);
    // A panic ends the machine. Debian's kernels disable x32 by default.
    command.args(["-append", "console=ttyS0 panic=-1 syscall.x32=y"]);
    command.args(["-nodefaults", "-display", "none", "-no-reboot"]);
    // Two serial lines, so that the messages of the kernel are separate from the output of the
    // cases.
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
