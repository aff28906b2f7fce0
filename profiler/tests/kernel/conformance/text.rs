//! Untrusted names of processes and cgroups never reach a terminal unchanged, in any output.

use std::{
    fs,
    process::{Child, Command, Stdio},
};

use super::{Skip, filters::Cgroups};
use crate::run::{Mode, Stat, profiler_command, wait_until};

/// Text that sets the title of a terminal, reverses the direction of text, and starts a new line.
/// It fits into the name of a process.
const HOSTILE: &str = "e\u{1b}]0;t\u{7}\u{202e}\u{2028}";

/// A shell script that renames itself to the hostile name.
const BE_HOSTILE: &str = r"printf 'e\033]0;t\007\342\200\256\342\200\250' > /proc/$$/comm";

#[track_caller]
fn assert_harmless(what: &str, printed: &[u8]) -> String {
    let printed = String::from_utf8(printed.to_vec()).expect("UTF-8");
    let is_obeyed = |c: char| c != '\n' && (c.is_control() || HOSTILE[7..].contains(c));
    assert!(!printed.contains(is_obeyed), "{what}: {printed:?}");
    printed
}

/// Checks that a text has the harmless form of the hostile name.
#[track_caller]
fn assert_shown(what: &str, printed: &[u8]) {
    let printed = assert_harmless(what, printed);
    assert!(printed.contains("]0;t"), "{what}: {printed}");
}

/// A process with the hostile name that makes calls forever, in a cgroup.
struct Hostile(Child);

impl Hostile {
    fn start(cgroup: &str) -> Self {
        let script =
            format!("echo $$ > \"$1/cgroup.procs\"; {BE_HOSTILE}; while :; do kill -0 $$; done");
        let mut command = Command::new("sh");
        let child = command.args(["-c", &script, "sh", cgroup]).spawn().expect("a shell");
        let comm = format!("/proc/{}/comm", child.id());
        wait_until("it has its name", || {
            fs::read_to_string(&comm).expect("it runs").trim_end_matches('\n') == HOSTILE
        });
        Self(child)
    }
}

impl Drop for Hostile {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Programs get the complete name. People see replacement characters.
pub(super) fn hostile_process_name(mode: Mode) {
    let script = format!("{BE_HOSTILE}; kill -0 $$");
    let ended =
        Stat::new(mode).by_process_and_call().args(["--", "sh", "-c", &script]).start().end();
    assert_harmless("JSON", ended.text().as_bytes());
    assert!(ended.report().rows.iter().all(|row| row.comm.as_deref() == Some(HOSTILE)));
    let table = profiler_command()
        .args(["stat", "--by", "process"])
        .args(mode.flags())
        .args(["--", "sh", "-c", &script])
        .output()
        .expect("the profiler");
    assert_shown("table", &table.stderr);
}

/// The same for the name of a cgroup, also in the header of `top -b`, in errors and hints, and in
/// the daemon's log.
pub(super) fn hostile_cgroup_name(mode: Mode) -> Result<(), Skip> {
    let cgroups = Cgroups::new(mode)?;
    let path = cgroups.path(&format!("in/{HOSTILE}"));
    fs::create_dir(&path).expect("a cgroup");
    let outcome = std::panic::catch_unwind(|| {
        let hostile = Hostile::start(&path);
        for args in [
            &["top", "-b", "-n", "2", "-i", "200ms"][..],
            &["stat", "-d", "200ms", "--by", "process"],
            &["stat", "-d", "200ms", "--by", "process", "--format", "json"],
        ] {
            let mut command = profiler_command();
            command.args(args).args(["--cgroup", &path]).args(mode.flags());
            let output = command.output().expect("the profiler");
            assert!(output.status.success(), "{output:?}");
            assert_shown(&args.join(" "), &output.stdout);
        }
        drop(hostile);
        let missing = cgroups.path("in/none");
        let refused = profiler_command().args(["stat", "--cgroup", &missing]).output();
        assert_shown("hint", &refused.expect("the profiler").stderr);
        daemon(mode, &path);
    });
    for _ in 0..500 {
        if fs::remove_dir(&path).is_ok() || !fs::exists(&path).unwrap_or(false) {
            break;
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    Ok(())
}

/// The daemon logs which cgroup it watches, and that the cgroup was removed.
fn daemon(mode: Mode, path: &str) {
    let directory = tempfile::tempdir().expect("a directory");
    let log = directory.path().join("log");
    let mut command = profiler_command();
    command.args(["daemon", "-i", "50ms", "--listen", "127.0.0.1:0", "--cgroup", path]);
    command.args(mode.flags()).env_remove("JOURNAL_STREAM");
    command.stdout(Stdio::null()).stderr(fs::File::create(&log).expect("a file"));
    let mut daemon = command.spawn().expect("the profiler");
    let says = |text: &str| fs::read_to_string(&log).is_ok_and(|log| log.contains(text));
    wait_until("it serves", || says("/metrics"));
    wait_until("the cgroup is empty", || fs::remove_dir(path).is_ok());
    wait_until("it tells that the cgroup is gone", || says("has been removed"));
    daemon.kill().expect("it runs");
    daemon.wait().expect("a child of ours");
    assert_shown("log", &fs::read(&log).expect("a file"));
}
