//! `kernel siege`: one daemon under every attack at once that a local user, a broken service
//! manager and a careless operator can make, while a well-behaved client scrapes and a workload
//! states its counts. `cargo xtask siege` runs it for minutes, and a kernel test for seconds.

mod attacks;
mod client;

use std::{
    fs,
    io::BufReader,
    os::unix::{fs::PermissionsExt as _, net::UnixDatagram, process::CommandExt as _},
    process::{ChildStderr, Command, ExitCode},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sys::resource::{Resource, getrlimit, setrlimit},
};
use tempfile::TempDir;

use self::{
    attacks::{Crowd, Reloads, abuse, churn, trace},
    client::{Client, Times},
};
use crate::{
    confinement::assert_confined,
    run::{Held, Mode, profiler_command, wait_until},
    service::{Daemon, Name, RARE, assert_added},
    workload::{Process, Statement},
};

/// The argument that makes this executable a siege.
pub(crate) const SIEGE: &str = "siege";

/// Maximum duration of an answer to the well-behaved client.
const IN_TIME: Duration = Duration::from_secs(1);

/// `Nice=` of deploy/systemd/profiler.service.
const NICE: libc::c_int = -10;

/// From `seconds=N`.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let mut length = Duration::from_secs(300);
    for arg in args {
        let seconds = arg.strip_prefix("seconds=").expect("seconds=N");
        length = Duration::from_secs(seconds.parse().expect("a number"));
    }
    let times = besiege(length);
    assert!(times.most() < IN_TIME, "an answer took {:?}", times.most());
    println!("nothing amiss");
    ExitCode::SUCCESS
}

/// A siege of twenty seconds. Counts are exact and every request is answered, also on a busy host.
/// The attackers, a debug build and other work compete with the daemon for the CPUs, so only most
/// answers have to be in time.
pub(crate) fn holds_for_a_while() {
    let times = besiege(Duration::from_secs(20));
    let most = times.of_share(0.75);
    assert!(most < IN_TIME, "one in four answers took {most:?} or longer");
}

/// The environment of the daemon: its configuration, and a service manager and a log that do not
/// read.
struct Surroundings {
    directory: TempDir,
    /// Never read: its queue fills.
    manager: UnixDatagram,
}

impl Surroundings {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        // The daemon reads its configuration as nobody.
        let for_all = fs::Permissions::from_mode(0o755);
        fs::set_permissions(directory.path(), for_all).expect("a directory of ours");
        let manager = UnixDatagram::bind(directory.path().join("notify")).expect("a socket");
        Self { directory, manager }
    }

    /// A daemon whose log and service manager are not read, with the priority that the systemd
    /// unit gives it.
    fn start(&self, name: &Name) -> (Daemon, BufReader<ChildStderr>) {
        let path = |file: &str| self.directory.path().join(file);
        let config = path("profiler.toml");
        attacks::write_good(&config);
        let mut command: Command = profiler_command();
        command.env("NOTIFY_SOCKET", path("notify")).env("WATCHDOG_USEC", "1000000");
        command.env_remove("WATCHDOG_PID");
        // SAFETY: one syscall, which is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                Errno::result(libc::setpriority(libc::PRIO_PROCESS, 0, NICE))?;
                Ok(())
            });
        }
        let config = config.to_str().expect("text").to_owned();
        let mut flags = vec!["--config", &config];
        flags.extend(name.filter());
        Daemon::start_unread(command, Mode::Main, "200ms", &flags)
    }
}

/// Attacks for that long, and returns how long the good client waited for each answer.
fn besiege(length: Duration) -> Times {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard.min(1 << 16), hard).expect("below the hard limit");
    let surroundings = Surroundings::new();
    let name = Name::new();
    let (mut daemon, log) = surroundings.start(&name);
    wait_until("the daemon is ready", || daemon.is_ready());
    let before = daemon.metrics();

    let over = Arc::new(AtomicBool::new(false));
    let attackers = attack(&daemon, &surroundings, &over);
    let workload = work(&name, &over);
    let client = Client::new(daemon.address());
    let mut times = Times::default();
    let (started, mut told) = (Instant::now(), Instant::now());
    while started.elapsed() < length {
        client.ask_everything(&mut times);
        if told.elapsed() > Duration::from_secs(10) {
            told = Instant::now();
            println!("{:>4} s  {times}", started.elapsed().as_secs());
        }
        thread::sleep(Duration::from_millis(100));
    }
    over.store(true, Ordering::Relaxed);
    let attacks: Vec<_> = attackers
        .into_iter()
        .map(|(name, attacker)| {
            (name, attacker.join().unwrap_or_else(|_| panic!("the attack failed: {name}")))
        })
        .collect();
    let processes = workload.join().expect("the workload runs");
    println!("{times}; {} processes stated their calls", processes.len());
    for (name, count) in attacks {
        println!("        {count:>8} {name}");
        assert!(count > 0, "there were no {name}");
    }

    assert_confined(daemon.pid(), 65534);
    // The configuration is a good one again, and is read.
    daemon.reload();
    wait_until("the configuration was read", || {
        daemon.metrics()["profiler_config_last_reload_successful"] == 1.0
    });
    let after = daemon.metrics();
    assert_added(&before, &after, &Statement::of_all(processes), &RARE);
    let dropped = after["profiler_log_messages_unlogged_total{reason=\"dropped\"}"];
    assert!(dropped > 0.0, "the log was read after all");
    let peak = after["profiler_peak_resident_memory_bytes"] as u64 >> 20;
    println!("        {dropped:>8} log messages dropped; {peak} MiB resident at most");
    let took = daemon.stop();
    assert!(took < Duration::from_secs(3), "it took {took:?} to end");
    drop((log, surroundings.manager));
    times
}

/// An attack and what it counted.
type Attacker = (&'static str, JoinHandle<u64>);

/// Starts every attack.
fn attack(daemon: &Daemon, surroundings: &Surroundings, over: &Arc<AtomicBool>) -> Vec<Attacker> {
    let (address, pid) = (daemon.address(), daemon.pid());
    let spawn = |name, attack: Box<dyn Fn() -> u64 + Send>| {
        let over = Arc::clone(over);
        let until_over = move || {
            let mut count = 0;
            while !over.load(Ordering::Relaxed) {
                count += attack();
            }
            count
        };
        (name, thread::spawn(until_over))
    };
    let crowd = |crowd: Crowd| {
        let crowd = std::sync::Mutex::new(crowd);
        Box::new(move || crowd.lock().expect("no panic").keep_up()) as Box<dyn Fn() -> u64 + Send>
    };
    let reloads = Reloads::new(surroundings.directory.path(), pid);
    vec![
        spawn("idle connections", crowd(Crowd::idle(address, 500))),
        spawn("half-sent requests", crowd(Crowd::half_sent(address, 500))),
        spawn("unread answers", crowd(Crowd::unread(address, 200))),
        spawn("connections closed at once", Box::new(move || churn(address))),
        spawn("abusive requests", Box::new(move || abuse(address))),
        spawn("reloads of what is no configuration", Box::new(move || reloads.send())),
        spawn("attempts to look into its memory", Box::new(move || trace(pid))),
    ]
}

/// Runs workloads in succession until the siege is over. Returns all statements.
fn work(name: &Name, over: &Arc<AtomicBool>) -> JoinHandle<Vec<Process>> {
    let (name, over) = (name.arg(), Arc::clone(over));
    thread::spawn(move || {
        let mut processes = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let workload = ["counts", "threads=4", "calls=200", "processes=20", &name];
            processes.extend(Held::start(&workload).go().processes);
        }
        processes
    })
}
