//! `profiler top` on a terminal: what it shows of real processes.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    os::unix::process::CommandExt as _,
    path::PathBuf,
    process::{Child, Command},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use nix::{
    pty::{Winsize, openpty},
    unistd::{Uid, User},
};

use crate::{
    conformance::Cgroups,
    io_uring,
    run::{Held, Mode, PROFILER, statement, wait_until},
    workload::Made,
};

/// A live view on a terminal of its own, and all that it has written.
struct Screen {
    child: Child,
    keyboard: File,
    written: Arc<Mutex<String>>,
}

impl Screen {
    fn start(mode: Mode, args: &[&str]) -> Self {
        let size = Winsize { ws_row: 40, ws_col: 160, ws_xpixel: 0, ws_ypixel: 0 };
        let terminal = openpty(&size, None).expect("a terminal");
        let end = || terminal.slave.try_clone().expect("a descriptor");
        let mut command = Command::new(PROFILER);
        command.arg("top").args(mode.flags()).args(args);
        command.env("TERM", "xterm-256color").env("LC_ALL", "C.UTF-8");
        let child = command.stdin(end()).stdout(end()).stderr(end()).spawn().expect("the profiler");
        let mut screen = File::from(terminal.master);
        let keyboard = screen.try_clone().expect("a descriptor");
        let written = Arc::<Mutex<String>>::default();
        let all = Arc::clone(&written);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(read @ 1..) = screen.read(&mut bytes) {
                let text = String::from_utf8_lossy(&bytes[..read]);
                all.lock().expect("no panic").push_str(&text);
            }
        });
        Self { child, keyboard, written }
    }

    fn press(&mut self, keys: &str) {
        self.keyboard.write_all(keys.as_bytes()).expect("a terminal");
    }

    /// Whether the word was ever on the screen in one piece.
    fn has_shown(&self, word: &str) -> bool {
        self.written.lock().expect("no panic").contains(word)
    }

    fn quit(mut self) {
        self.press("q");
        let mut status = None;
        wait_until("the live view quits", || {
            status = self.child.try_wait().expect("a child of ours");
            status.is_some()
        });
        assert!(status.is_some_and(|status| status.success()), "{status:?}");
    }

    /// Presses keys until what the screen then writes has each word so many times. Ctrl-L has all of
    /// the screen written: otherwise, only the cells that change are.
    fn press_until(&mut self, keys: &str, words: &[(&str, usize)]) {
        wait_until(&format!("the screen shows {words:?}"), || {
            self.written.lock().expect("no panic").clear();
            self.press(keys);
            self.press("\x0c");
            thread::sleep(Duration::from_millis(300));
            let written = self.written.lock().expect("no panic");
            words.iter().all(|&(word, times)| written.matches(word).count() >= times)
        });
    }

    /// Waits until the word is on the screen. Ctrl-L has all of the screen written: otherwise, only
    /// the cells that change are, and a word comes in pieces.
    fn expect(&mut self, word: &str) {
        wait_until(&format!("the screen shows {word}"), || {
            self.press("\x0c");
            thread::sleep(Duration::from_millis(100));
            self.has_shown(word)
        });
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Already gone, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A shell by another name, whose children end all the time.
struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The name, the command line and the user of a process; its ended children, who share a row.
pub(crate) fn of_processes_that_come_and_go(mode: Mode) {
    let mut command = Command::new("sh");
    command.arg0("renamed-shell").args(["-c", "while :; do /bin/true; done"]);
    let shell = Shell(command.spawn().expect("a shell"));
    let pid = shell.0.id().to_string();
    let mut screen = Screen::start(mode, &["-p", &pid, "-d", "200ms"]);
    screen.expect(&pid);
    let user = User::from_uid(Uid::current()).expect("a list of users").expect("a user");
    screen.expect(&user.name);
    screen.press("n");
    screen.expect("renamed-shell");
    // Many have ended in an interval of 200 ms.
    screen.expect("\u{d7}");
    screen.expect("true");
    screen.quit();
}

/// With the key e, the page of the marked process says what it waits for, and for how long.
pub(crate) fn explains_a_process(mode: Mode) {
    let sleeper = Shell(Command::new("sleep").arg("5432").spawn().expect("sleep of coreutils"));
    let pid = sleeper.0.id();
    wait_until("it sleeps", || {
        let call = fs::read_to_string(format!("/proc/{pid}/syscall"));
        call.is_ok_and(|call| call.starts_with(&format!("{} ", libc::SYS_clock_nanosleep)))
    });
    let mut screen = Screen::start(mode, &["-p", &pid.to_string(), "-d", "200ms"]);
    // Calls in flight, also those that wait by nature.
    screen.expect("yet");
    screen.press("iw");
    screen.expect("clock_nanosleep");
    screen.press("e");
    // Spaces are not written, so words come one by one.
    screen.expect("clock_nanosleep(CLOCK_REALTIME,");
    screen.expect("{tv_sec=5432,");
    screen.expect("(sleep)");
    screen.expect("limit");
    screen.press("\x1b");
    screen.quit();
}

/// Calls that each thread makes in [`of_threads`].
const CALLS: u64 = 321;
const THREADS: u64 = 3;

/// With the key H, each thread has a row with its own calls; with H again, the process has one row
/// with the calls of all.
pub(crate) fn of_threads(mode: Mode) {
    let (threads, calls) = (format!("threads={THREADS}"), format!("calls={CALLS}"));
    let mut crowd = Held::start(&["crowd", "name=row-of-thread", &threads, &calls]);
    let pid = crowd.pid();
    let process = pid.to_string();
    let args = ["-p", &process, "--syscall", "getppid", "-d", "200ms"];
    let mut screen = Screen::start(mode, &args);
    // Of the text "no syscall yet".
    screen.expect("yet");
    // Figures since the start, of threads.
    screen.press("tH");
    screen.expect("THREAD");
    crowd.fill();
    let tids = std::fs::read_dir(format!("/proc/{pid}/task")).expect("a process");
    let tids = tids.map(|tid| tid.expect("a thread").file_name().into_string().expect("a number"));
    let tids: Vec<String> = tids.filter(|tid| *tid != process).collect();
    assert_eq!(tids.len() as u64, THREADS);
    tids.iter().for_each(|tid| screen.expect(tid));
    let (of_each, of_all) = (CALLS.to_string(), (CALLS * THREADS).to_string());
    wait_until("the calls are on the screen", || {
        screen.press("H\x0c");
        thread::sleep(Duration::from_millis(300));
        screen.has_shown(&of_each) && screen.has_shown(&of_all)
    });
    screen.quit();
    crowd.go();
}

/// With the key 4, each opcode of a process has a row with its own operations, and Enter opens a
/// row to its results and latencies. A request that is in flight is among them.
pub(crate) fn of_operations(mode: Mode) -> Result<(), String> {
    io_uring::is_counted(mode)?;
    let mut held = Held::start(&["rings", "count=30", "stay=1"]);
    let process = held.pid().to_string();
    let mut screen = Screen::start(mode, &["-p", &process, "-d", "200ms"]);
    // Of the text "no syscall yet".
    screen.expect("yet");
    let stated = statement(&held.tell());
    let of = |name: &str| {
        let mut all = stated.operations.iter();
        all.find(|of| of.operation.as_deref() == Some(name)).expect("a stated operation")
    };
    let (nop, read) = (of("NOP"), of("READ"));
    let figures = [nop, read].map(|of| {
        let errors: u64 = of.errnos.values().sum();
        [of.submitted, of.completed, errors].map(|figure| figure.to_string())
    });
    // Figures since the start.
    screen.press("t");
    let mut words = vec![("OPERATION", 1), ("POSTED", 1), ("NOP", 1), ("READ", 1), ("POLL_ADD", 1)];
    words.extend(figures.iter().flatten().map(|figure| (figure.as_str(), 1)));
    screen.press_until("14", &words);
    // The order of the rows depends on their times, so the filter chooses the row.
    screen.press("/nop\r\r");
    let [[submitted, completed, _], [_, of_read, _]] = &figures;
    let words = [("NOP", 1), (submitted, 1), (completed, 1), ("ECANCELED", 1), ("p50", 1)];
    screen.press_until("\x1b\r", &words);
    // Back to the list, and all of it.
    screen.press("\x1b\x1b");
    screen.press_until("14", &[("READ", 1)]);
    screen.press("/read\r\r");
    screen.press_until("\x1b\r", &[("READ", 1), (of_read, 1), ("EBADF", 1), ("p50", 1)]);
    screen.quit();
    held.stop();
    Ok(())
}

const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER_ID: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// Two cgroups that are named as Docker names those of containers.
struct Containers {
    directories: [PathBuf; 2],
    _below: Cgroups,
}

impl Containers {
    fn new(mode: Mode) -> Result<Self, String> {
        let below = Cgroups::new(mode).map_err(|skip| skip.to_string())?;
        let directories = ["in", "in-not"].map(|name| {
            let docker = PathBuf::from(below.path(name)).join("docker");
            let directory = docker.join(if name == "in" { ID } else { OTHER_ID });
            fs::create_dir_all(&directory).expect("a cgroup");
            directory
        });
        Ok(Self { directories, _below: below })
    }

    /// Removes a container whose processes have ended, and may not have left it yet.
    fn remove(&self, at: usize) {
        let directory = &self.directories[at];
        let docker = directory.parent().expect("a directory");
        for path in [directory, docker] {
            for _ in 0..500 {
                match fs::remove_dir(path) {
                    Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
                        thread::sleep(Duration::from_millis(2));
                    }
                    _ => break,
                }
            }
        }
    }
}

impl Drop for Containers {
    fn drop(&mut self) {
        self.remove(0);
        self.remove(1);
    }
}

/// A process goes from no container into one and out into another, several times, and ends. Each
/// container has the calls that entered in it, also the denied ones, down to the latencies; and a
/// removed container stays in the figures since the start.
pub(crate) fn of_containers(mode: Mode) -> Result<(), String> {
    const ROUNDS: u64 = 3;
    const CALLS: u64 = 107;
    /// Of two threads, and of the one that moves the process.
    const IN_A_TURN: u64 = 3 * CALLS;
    let containers = Containers::new(mode)?;
    let [inside, outside] = &containers.directories;
    let args = [
        "migrated",
        &format!("rounds={ROUNDS}"),
        "threads=2",
        &format!("calls={CALLS}"),
        &format!("inside={}", inside.display()),
        &format!("outside={}", outside.display()),
    ];
    let held = Held::start(&args);
    let process = held.pid().to_string();
    let args = ["-p", &process, "--syscall", "getppid,getsid", "-d", "200ms", "-s", "calls"];
    let mut screen = Screen::start(mode, &[&args[..], &["--by", "container"]].concat());
    // Of the text "no syscall yet".
    screen.expect("yet");
    let statement = held.go();
    let sum = |of: fn(&Made) -> u64, name: &str| -> u64 {
        let made = statement.processes.iter().filter_map(|process| process.calls.get(name));
        made.map(of).sum()
    };
    let within = sum(|made| made.calls, "x86_64/getppid");
    assert_eq!(sum(|made| made.denied, "x86_64/getsid"), within);
    // In each round, a turn before and one after the other container. The first turn of all is in
    // no container.
    let without = (2 * ROUNDS - 1) * IN_A_TURN;
    let [id, other] = [ID, OTHER_ID].map(|id| &id[..12]);
    let (within, without) = (within.to_string(), without.to_string());
    // Figures since the start. As many calls were denied as were made.
    screen.press("t");
    let all = [(id, 1), (other, 1), (&*within, 2), (&*without, 2)];
    screen.press_until("BBBBB", &all);
    // The processes of the container that has fewer calls than the other one.
    screen.press("gj\r");
    screen.press_until("\x1b\r", &[(&within, 2), ("(ended)", 1)]);
    screen.press("\r");
    screen.press_until("\x1b\r", &[(&within, 2), ("getppid", 1), ("getsid", 1)]);
    screen.press_until("\x1bh", &[(&within, 1), ("p50", 1)]);
    containers.remove(0);
    screen.press_until("\x1b1BBBBB", &[(id, 1), ("(removed)", 1), (&within, 2)]);
    screen.quit();
    Ok(())
}
