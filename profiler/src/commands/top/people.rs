//! Looks up the command lines, users, and units or containers of visible processes.
//!
//! Only processes on the screen are looked up in /proc, each once. A separate thread does that,
//! because a look-up can block: the kernel takes the lock of a process's memory to read its command
//! line (`get_mm_cmdline`, fs/proc/base.c, Linux 6.12), and the list of users can be on another
//! host. So no look-up delays a drain.

use std::{
    collections::HashMap,
    fs::File,
    io::Read as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
};

use super::{
    explained::{Explainer, Wanted},
    view::ProcessId,
};
use crate::{
    model::{Process, ThreadInFlight},
    placement::{Named, Names, Placement},
    present::explain::Line,
    proc_fields,
    text::Untrusted,
    users,
};

/// Maximum size of a command line, in bytes. Longer ones are cut off.
const MAX_COMMAND: u64 = 4096;

/// Maximum number of bytes that are read of a file `cgroup`. Paths are rarely longer than 200
/// bytes, and a process is in fourteen hierarchies at most.
const MAX_CGROUP: u64 = 65_536;

/// The identity of a process, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The arguments, separated by spaces. `None` for a kernel thread.
    pub(super) command: Option<Untrusted>,
    /// The name of the real user. For a user without a name, the id.
    pub(super) user: Untrusted,
    /// The container or the unit of the process, for people.
    pub(super) place: Option<Untrusted>,
}

/// Names of users and containers that were looked up.
#[derive(Default)]
struct NamesOfOthers {
    users: HashMap<u32, Untrusted>,
    containers: Names,
}

/// The result of a look-up. `None` if the process has ended meanwhile.
pub(super) type Answer = (Arc<Process>, Option<Who>);

/// The processes that are known or being looked up.
#[derive(Default)]
pub(super) struct People {
    known: HashMap<ProcessId, Known>,
}

struct Known {
    /// The name of the process at the look-up. An exec changes both the name and the command line.
    comm: Untrusted,
    who: Option<Who>,
}

impl People {
    /// The identity of `process`, if it is known.
    pub(super) fn of(&self, process: &Process) -> Option<&Who> {
        self.known.get(&process.into())?.who.as_ref()
    }

    /// Returns the processes to look up: those that are alive, and have not been looked up under
    /// this name.
    pub(super) fn ask<'a>(
        &mut self,
        processes: impl Iterator<Item = &'a Arc<Process>>,
    ) -> Vec<Arc<Process>> {
        let mut asked = Vec::new();
        for process in processes.filter(|process| process.tgid.is_some() && !process.ended) {
            let id = ProcessId::from(&**process);
            if self.known.get(&id).is_some_and(|known| known.comm == process.comm) {
                continue;
            }
            let who = self.known.remove(&id).and_then(|known| known.who);
            self.known.insert(id, Known { comm: process.comm.clone(), who });
            asked.push(Arc::clone(process));
        }
        asked
    }

    /// Adds a result. Returns whether it differs from the known one.
    pub(super) fn learn(&mut self, (process, who): Answer) -> bool {
        let Some(known) = self.known.get_mut(&ProcessId::from(&*process)) else { return false };
        let is_new = known.who != who;
        known.who = who;
        is_new
    }

    /// Removes all processes except `alive`.
    pub(super) fn retain<'a>(&mut self, alive: impl Iterator<Item = &'a Arc<Process>>) {
        if self.known.is_empty() {
            return;
        }
        self.known = alive
            .filter_map(|process| self.known.remove_entry(&ProcessId::from(&**process)))
            .collect();
    }
}

/// Looks processes up.
pub(super) trait Lookup {
    /// Starts to look up these processes.
    fn ask(&mut self, processes: Vec<Arc<Process>>);

    /// The results since the last call.
    fn answers(&mut self) -> Vec<Answer>;

    /// Number of look-ups without a result.
    fn open_questions(&self) -> usize;

    /// Starts to explain a process.
    fn explain(&mut self, _wanted: Wanted) {}

    /// Tells the calls in flight of the process that is explained, from a new snapshot.
    fn tell_in_flight(&mut self, _calls: Vec<ThreadInFlight>) {}

    /// The page of a process, once it is ready.
    fn explanation(&mut self) -> Option<(Wanted, Vec<Line>)> {
        None
    }
}

/// Looks processes up in /proc and in the list of users. The first look-up starts a thread.
#[derive(Default)]
pub(super) struct Proc {
    worker: Option<Worker>,
    open: usize,
    explainer: Explainer,
}

struct Worker {
    questions: Sender<Arc<Process>>,
    answers: Receiver<Answer>,
}

impl Worker {
    /// Starts the thread. `None` if the host cannot start another thread.
    fn start() -> Option<Self> {
        let (questions, asked) = channel::<Arc<Process>>();
        let (answer, answers) = channel();
        let work = move || {
            let mut names = NamesOfOthers::default();
            for process in asked {
                let who = look_up(Path::new("/proc"), &process, &mut names);
                if answer.send((process, who)).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("top-people".into()).spawn(work).ok()?;
        Some(Self { questions, answers })
    }
}

impl Lookup for Proc {
    fn ask(&mut self, processes: Vec<Arc<Process>>) {
        for process in processes {
            if self.worker.is_none() {
                self.worker = Worker::start();
            }
            let Some(worker) = &self.worker else { return };
            if worker.questions.send(process).is_ok() {
                self.open += 1;
            }
        }
    }

    fn answers(&mut self) -> Vec<Answer> {
        let answers: Vec<Answer> =
            self.worker.iter().flat_map(|worker| worker.answers.try_iter()).collect();
        self.open -= answers.len();
        answers
    }

    fn open_questions(&self) -> usize {
        self.open
    }

    fn explain(&mut self, wanted: Wanted) {
        self.explainer.explain(wanted);
    }

    fn tell_in_flight(&mut self, calls: Vec<ThreadInFlight>) {
        self.explainer.tell_in_flight(calls);
    }

    fn explanation(&mut self) -> Option<(Wanted, Vec<Line>)> {
        self.explainer.page()
    }
}

/// Looks `process` up in the files below `proc`. `None` if the process has ended, or if another
/// process has its id there, as in a pid namespace.
fn look_up(proc: &Path, process: &Process, names: &mut NamesOfOthers) -> Option<Who> {
    let directory = proc.join(process.tgid?.to_string());
    let command = command_line(directory.join("cmdline"));
    let placement = placement(directory.join("cgroup"));
    // Read last: if the process still exists, the other files were those of this process too.
    let uid = proc_fields::real_uid(proc, process.tgid?, process.start_ns)?;
    let user = names.users.entry(uid).or_insert_with(|| match users::by_id(uid) {
        Ok(Some(user)) => user.name.into(),
        _ => uid.to_string().into(),
    });
    let user = user.clone();
    let named = match &placement.container {
        Some(container) => names.containers.of(container),
        None => &Named::default(),
    };
    let place = placement.label(named).map(Untrusted::from);
    Some(Who { command, user, place })
}

/// Reads arguments from a file that has a NUL after each.
fn command_line(path: PathBuf) -> Option<Untrusted> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_COMMAND).read_to_end(&mut bytes).ok()?;
    let end = bytes.iter().rposition(|&byte| byte != 0)? + 1;
    bytes.truncate(end);
    bytes.iter_mut().filter(|byte| **byte == 0).for_each(|byte| *byte = b' ');
    Some(Untrusted::from_bytes(&bytes))
}

/// Reads the placement of a process from its file `cgroup`. Empty if the file cannot be read.
fn placement(path: PathBuf) -> Placement {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_CGROUP).read_to_end(&mut bytes));
    if read.is_err() {
        return Placement::default();
    }
    Placement::of_proc(Untrusted::from_bytes(&bytes).raw())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;
    use crate::commands::top::fixtures::process;
    use crate::proc_fields::{TICK_NS, start_ticks};
    use std::fs;

    fn who(command: &str) -> Who {
        Who { command: Some(command.into()), user: "root".into(), place: None }
    }

    /// This process.
    fn own() -> Process {
        let stat = fs::read("/proc/self/stat").unwrap();
        let start_ns = start_ticks(&stat).unwrap() * TICK_NS + 1;
        Process::new(std::process::id(), start_ns, "profiler")
    }

    #[test]
    fn a_process_is_asked_for_once_and_again_after_an_exec() {
        let mut people = People::default();
        let bash = process(5, "bash");
        assert_eq!(people.ask([&bash].into_iter()), [Arc::clone(&bash)]);
        assert!(people.ask([&bash].into_iter()).is_empty());
        assert_eq!(people.of(&bash), None);
        assert!(people.learn((Arc::clone(&bash), Some(who("bash -l")))));
        assert!(!people.learn((Arc::clone(&bash), Some(who("bash -l")))), "nothing new");
        assert_eq!(people.of(&bash), Some(&who("bash -l")));
        let after_exec = process(5, "python3");
        assert_eq!(people.ask([&after_exec].into_iter()).len(), 1);
        assert_eq!(people.of(&after_exec), Some(&who("bash -l")), "until the answer comes");
    }

    #[test]
    fn ended_processes_are_neither_asked_for_nor_kept() {
        let mut people = People::default();
        let ended = Arc::new((*process(6, "true")).clone().into_ended());
        let nobody = Arc::new(Process::nobody("(overflow)"));
        assert!(people.ask([&ended, &nobody].into_iter()).is_empty());
        let (stays, goes) = (process(7, "a"), process(8, "b"));
        for process in people.ask([&stays, &goes].into_iter()) {
            people.learn((process, Some(who("x"))));
        }
        people.retain([&stays].into_iter());
        assert_eq!((people.of(&stays), people.of(&goes)), (Some(&who("x")), None));
        assert!(!people.learn((goes, Some(who("late")))));
        assert_eq!(people.known.len(), 1);
    }

    #[test]
    fn the_command_line_and_the_user_of_a_process_are_found() {
        let mut lookup = Proc::default();
        lookup.ask(vec![Arc::new(own())]);
        let deadline = Instant::now() + Duration::from_secs(20);
        let answers = loop {
            let answers = lookup.answers();
            if !answers.is_empty() {
                break answers;
            }
            assert!(Instant::now() < deadline, "no answer");
            thread::sleep(Duration::from_millis(1));
        };
        assert_eq!(lookup.open_questions(), 0);
        let found = answers[0].1.clone().unwrap();
        let arguments: Vec<String> = std::env::args().collect();
        let command = found.command.unwrap();
        assert!(arguments.join(" ").starts_with(command.raw()), "{command}");
        let user = nix::unistd::User::from_uid(nix::unistd::Uid::current()).unwrap().unwrap();
        assert_eq!(found.user.raw(), user.name);
        let cgroups = fs::read_to_string("/proc/self/cgroup").unwrap();
        let place = Placement::of_proc(&cgroups).label(&Named::default());
        assert_eq!(found.place, place.map(Untrusted::from));
    }

    #[test]
    fn a_process_with_the_same_id_that_started_at_another_time_is_not_taken_for_it() {
        let mut names = NamesOfOthers::default();
        let other = Process { start_ns: own().start_ns + TICK_NS, ..own() };
        assert_eq!(look_up(Path::new("/proc"), &other, &mut names), None);
        assert!(look_up(Path::new("/proc"), &own(), &mut names).is_some());
        assert_eq!(look_up(Path::new("/no/such"), &own(), &mut names), None);
    }

    #[test]
    fn files_of_proc_are_read_whatever_is_in_them() {
        let directory = tempfile::tempdir().unwrap();
        let file = |bytes: &[u8]| {
            let path = directory.path().join("cmdline");
            fs::write(&path, bytes).unwrap();
            command_line(path).map(|command| command.to_string())
        };
        assert_eq!(file(b"nginx\0-g\0daemon off;\0").as_deref(), Some("nginx -g daemon off;"));
        assert_eq!(file(b"a\0\x1b[2J\n\xff\0").as_deref(), Some("a \u{fffd}[2J\u{fffd}\u{fffd}"));
        assert_eq!(file(b"x\0\0\0").as_deref(), Some("x"));
        assert_eq!((file(b""), file(b"\0\0")), (None, None));
        assert_eq!(file(&[b'x'; 10_000]).map(|command| command.len()), Some(4096));
    }
}
