//! Runs a daemon, and reads its cost from the kernel.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use nix::{
    sys::signal::{Signal, kill},
    time::{clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use serde::Serialize;

use super::client::{Client, Request};

/// Time between two drains.
pub(super) const INTERVAL: &str = "1s";

/// A running daemon. Dropping this value ends the daemon.
pub(super) struct Daemon {
    child: Child,
    client: Client,
    /// The time from its start until its programs were attached.
    pub(super) attached_after: Duration,
}

/// Resident memory of a process by kind of mapping, bytes.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(super) struct Memory {
    /// Mapped BPF maps. The kernel needs this memory even if no process maps it.
    pub(super) maps: u64,
    /// Heap and stacks.
    pub(super) own: u64,
    /// Executable and libraries.
    pub(super) files: u64,
    /// All memory, with each page divided by the number of processes that share it.
    pub(super) proportional: u64,
}

impl Memory {
    pub(super) fn all(&self) -> u64 {
        self.maps + self.own + self.files
    }
}

impl Daemon {
    pub(super) fn start(profiler: &Path, flags: &[&str]) -> Result<Self> {
        Self::start_for(profiler, flags, Client::plain)
    }

    /// Same as [`Self::start`], with a client that `client` makes from the address of the daemon.
    pub(super) fn start_for(
        profiler: &Path,
        flags: &[&str],
        client: impl FnOnce(SocketAddr) -> Client,
    ) -> Result<Self> {
        let started = Instant::now();
        let mut child = Command::new(profiler)
            .args(["daemon", "--interval", INTERVAL, "--listen", "127.0.0.1:0"])
            .args(flags)
            .env("NO_COLOR", "1")
            .env_remove("JOURNAL_STREAM")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", profiler.display()))?;
        let mut log = BufReader::new(child.stderr.take().context("no pipe")?);
        let mut attached_after = None;
        let mut said = String::new();
        let address = loop {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                bail!("the daemon ended early:\n{said}");
            }
            if line.contains("attached") {
                attached_after.get_or_insert_with(|| started.elapsed());
            }
            if let Some((_, rest)) = line.split_once("://") {
                break rest
                    .split('/')
                    .next()
                    .unwrap_or(rest)
                    .parse()
                    .context("the log has no address")?;
            }
            said += &line;
        };
        // Continue to read, so that the daemon does not wait for space in the pipe.
        thread::spawn(move || std::io::copy(&mut log, &mut std::io::stderr()));
        let attached_after = attached_after.context("the daemon did not log that it attached")?;
        let daemon = Self { child, client: client(address), attached_after };
        while daemon.get("/-/ready")?.0 != 200 {
            thread::sleep(Duration::from_millis(10));
        }
        Ok(daemon)
    }

    pub(super) fn pid(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }

    /// CPU time of all threads of the daemon since its start.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        Ok(clock_gettime(clock_getcpuclockid(self.pid())?)?.into())
    }

    pub(super) fn memory(&self) -> Result<Memory> {
        Ok(memory(&fs::read_to_string(format!("/proc/{}/smaps", self.pid()))?))
    }

    /// Total time and number of the runs of its programs, if the kernel times programs.
    pub(super) fn programs_ran(&self) -> Result<(Duration, u64)> {
        let (mut time, mut runs) = (0, 0);
        for entry in fs::read_dir(format!("/proc/{}/fdinfo", self.pid()))? {
            // The descriptor may have been closed meanwhile.
            let Ok(text) = fs::read_to_string(entry?.path()) else { continue };
            let value = |key| {
                let line = text.lines().find_map(|line| line.strip_prefix(key));
                line.and_then(|value| value.trim().parse::<u64>().ok()).unwrap_or(0)
            };
            time += value("run_time_ns:");
            runs += value("run_cnt:");
        }
        Ok((Duration::from_nanos(time), runs))
    }

    /// Returns the client of the daemon.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Requests the text format, and returns the status and the body of the response.
    pub(super) fn get(&self, path: &str) -> Result<(u16, String)> {
        let (status, body) = self.client.ask(&Request::text(path))?;
        Ok((status, String::from_utf8(body)?))
    }

    /// Returns the values that the daemon serves, by series.
    pub(super) fn metrics(&self) -> Result<BTreeMap<String, f64>> {
        let (status, body) = self.get("/metrics")?;
        ensure!(status == 200, "status {status}");
        let samples = body.lines().filter(|line| !line.starts_with('#'));
        samples
            .map(|line| {
                let (series, value) = line.rsplit_once(' ').context("a series has no value")?;
                Ok((series.to_owned(), value.parse()?))
            })
            .collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = self.child.wait();
    }
}

/// Adds up the mappings in `/proc/PID/smaps` (proc_pid_smaps(5)).
fn memory(smaps: &str) -> Memory {
    let mut memory = Memory::default();
    let mut of = String::new();
    for line in smaps.lines() {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let Some(field) = first.strip_suffix(':') else {
            // `address perms offset dev inode path`
            of = words.nth(4).unwrap_or_default().to_owned();
            continue;
        };
        let bytes = words.next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024;
        match field {
            "Pss" => memory.proportional += bytes,
            "Rss" if of.contains("bpf-map") => memory.maps += bytes,
            "Rss" if of.starts_with('/') => memory.files += bytes,
            "Rss" => memory.own += bytes,
            _ => {}
        }
    }
    memory
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_apart_by_what_is_mapped() {
        let smaps = "\
55d0-55d1 r-xp 00000000 fe:00 1234   /usr/bin/profiler
Rss:                  12 kB
Pss:                   6 kB
7f00-7f01 rw-s 00000000 00:0f 77     anon_inode:bpf-map
Rss:                 400 kB
Pss:                 400 kB
7f02-7f03 rw-p 00000000 00:00 0
Rss:                  30 kB
Pss:                  30 kB
7f04-7f05 rw-p 00000000 00:00 0      [heap]
Rss:                   5 kB
Pss:                   5 kB
VmFlags: rd wr
";
        let Memory { maps, own, files, proportional } = memory(smaps);
        assert_eq!([maps, own, files, proportional], [400, 35, 12, 441].map(|kib| kib * 1024));
    }
}
