//! The drain loop: cadence, wake-ups, scrapes, reload, end.

use std::{
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    time::{Duration, Instant},
};

use clap::Parser;
use profiler::{
    commands::{
        cli::{Cli, Command, DaemonArgs},
        config::Config,
        daemon::{
            manager::Manager,
            work::{Order, Settings, Work},
        },
    },
    model::{Snapshot, Timed},
    present::metrics::Format,
    serve::{
        feed::{self, Feed},
        sockets::Listeners,
        web_config::{Change, Serving, WebConfig, WebError},
    },
};
use tokio::sync::mpsc;

use crate::fake::{self, Remote};

/// A timeout that is longer than any step, also on a busy host.
const SOON: Duration = Duration::from_secs(60);

struct Running {
    remote: Remote,
    feed: Feed,
    orders: mpsc::Sender<Order>,
    config: PathBuf,
}

fn args(config: &str, more: &[&str]) -> DaemonArgs {
    let arguments =
        ["profiler", "daemon", "--config", config].into_iter().chain(more.iter().copied());
    match Cli::parse_from(arguments).command {
        Command::Daemon(args) => args,
        other => panic!("{other:?}"),
    }
}

/// Runs the loop with a fake engine, `config` and `flags`, while `test` acts as the operator.
/// Returns the result of the loop.
fn run<F: Future<Output = Running>>(
    config: &str,
    flags: &[&str],
    test: impl FnOnce(Running) -> F,
) -> Snapshot {
    run_with(config, flags, None, test)
}

/// Same as [`run`], with a web configuration.
fn run_with<F: Future<Output = Running>>(
    config: &str,
    flags: &[&str],
    web: Option<Arc<dyn WebConfig>>,
    test: impl FnOnce(Running) -> F,
) -> Snapshot {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("p.toml");
    fs::write(&path, config).expect("written");
    let args = args(path.to_str().expect("text"), flags);
    let settings = Settings {
        config: Config::load(&args).expect("valid"),
        args: &args,
        cgroups: Vec::new(),
        logging: None,
        web,
        listens: Vec::new(),
        manager: Manager::default(),
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(
        async {
            let (source, remote) = fake::fake();
            let (publisher, feed) = feed::feed();
            let work = Work::begin(source, publisher, settings).expect("begins");
            let (orders, receiver) = mpsc::channel(1);
            let running = Running { remote, feed, orders, config: path };
            let test = async {
                let running = test(running).await;
                let started = Instant::now();
                running.orders.send(Order::Stop).await.expect("is listened to");
                (running, started)
            };
            let (last, (running, stopped)) = tokio::join!(work.run(receiver), test);
            assert!(stopped.elapsed() < SOON);
            assert!(running.remote.is_finished());
            last
        },
    )
}

async fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !what() {
        assert!(Instant::now() < deadline, "it did not come in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[test]
fn it_drains_at_the_interval() {
    run("interval = \"50ms\"", &[], |running| async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        // One drain before the loop, and one per interval. There are fewer on a busy host.
        assert!((2..=11).contains(&running.remote.drains()), "{}", running.remote.drains());
        running
    });
}

/// Drains of 20 ms of CPU time each are 0.5 s apart, so that they use 4 % of a CPU. The first
/// expensive drain changes nothing, and a busy host makes fewer drains.
#[test]
fn expensive_drains_are_further_apart() {
    run("interval = \"10ms\"", &[], |running| async {
        running.remote.cost(Duration::from_millis(20));
        let before = running.remote.drains();
        tokio::time::sleep(Duration::from_millis(1_400)).await;
        // One drain may be running, two measure the cost, and two more come after 0.5 and 1 s.
        let made = running.remote.drains() - before;
        assert!((1..=5).contains(&made), "{made}");
        // Scrapes do not make drains more frequent.
        let before = running.remote.drains();
        for _ in 0..10 {
            assert!(running.feed.fresh().await.is_some());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let made = running.remote.drains() - before;
        assert!(made <= 1, "{made}");
        // Cheap drains come at the interval again.
        running.remote.cost(Duration::ZERO);
        let before = running.remote.drains();
        until(|| running.remote.drains() > before + 10).await;
        running
    });
}

#[test]
fn it_drains_at_once_when_the_kernel_side_asks() {
    run("interval = \"1h\"", &[], |mut running| async {
        for round in 1..=3 {
            assert_eq!(running.remote.drains(), round);
            running.remote.wake();
            until(|| running.remote.drains() > round).await;
            // A drain ends the wake-up.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(running.remote.drains(), 4);
        running
    });
}

#[test]
fn who_reads_sees_the_present() {
    run("interval = \"1h\"", &[], |running| async {
        tokio::time::sleep(feed::FRESH * 2).await;
        assert!(running.feed.fresh().await.is_some());
        assert_eq!(running.remote.drains(), 2);
        // Many concurrent scrapes cost one drain, which stays fresh for a while.
        tokio::time::sleep(feed::FRESH * 2).await;
        let (a, b, c) =
            tokio::join!(running.feed.fresh(), running.feed.fresh(), running.feed.fresh());
        assert!(a.is_some() && b.is_some() && c.is_some());
        assert!((3..=4).contains(&running.remote.drains()), "{}", running.remote.drains());
        running
    });
}

#[test]
fn a_reload_changes_the_interval_at_once() {
    run("interval = \"1h\"", &[], |running| async {
        fs::write(&running.config, "interval = \"20ms\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        until(|| running.remote.drains() >= 4).await;
        assert_eq!(reload_succeeded(&running.feed), Some(true));
        running
    });
}

#[test]
fn a_bad_file_changes_nothing_and_is_told() {
    run("interval = \"20ms\"", &[], |running| async {
        fs::write(&running.config, "interval = \"never\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        until(|| reload_succeeded(&running.feed) == Some(false)).await;
        let before = running.remote.drains();
        until(|| running.remote.drains() > before + 2).await;

        fs::write(&running.config, "interval = \"20ms\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        until(|| reload_succeeded(&running.feed) == Some(true)).await;
        running
    });
}

/// A web configuration whose changes fail, or do not.
#[derive(Debug, Default)]
struct Web {
    fails: AtomicBool,
    has_failed: AtomicBool,
    applied: AtomicBool,
}

impl WebConfig for Web {
    fn serve(self: Arc<Self>, _listeners: Listeners, _router: axum::Router) -> Serving {
        Box::pin(std::future::pending())
    }

    fn read_again(self: Arc<Self>) -> Result<Change, WebError> {
        Ok(Change::new(Vec::new(), move || {
            if self.fails.load(SeqCst) {
                return Err(WebError::NotBuilt);
            }
            self.applied.store(true, SeqCst);
            Ok(())
        }))
    }

    fn begin_watch(self: Arc<Self>) -> Result<(), WebError> {
        Ok(())
    }

    fn has_failed(&self) -> bool {
        self.has_failed.load(SeqCst)
    }

    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    fn is_tls(&self) -> bool {
        false
    }

    fn authenticates(&self) -> bool {
        false
    }

    fn files(&self) -> Vec<PathBuf> {
        Vec::new()
    }
}

/// A change of the web configuration that its own thread notices, without a reload.
#[test]
fn a_change_of_the_web_configuration_that_fails_is_told() {
    let web = Arc::new(Web::default());
    let config: Arc<dyn WebConfig> = Arc::<Web>::clone(&web);
    run_with("interval = \"20ms\"", &[], Some(config), |running| async move {
        until(|| reload_succeeded(&running.feed) == Some(true)).await;
        web.has_failed.store(true, SeqCst);
        until(|| reload_succeeded(&running.feed) == Some(false)).await;
        web.has_failed.store(false, SeqCst);
        until(|| reload_succeeded(&running.feed) == Some(true)).await;
        running
    });
}

/// A reload changes all that it can, or nothing.
#[test]
fn a_reload_whose_web_configuration_fails_changes_nothing() {
    let web = Arc::new(Web::default());
    let config: Arc<dyn WebConfig> = Arc::<Web>::clone(&web);
    run_with("interval = \"20ms\"", &[], Some(config), |running| async move {
        web.fails.store(true, SeqCst);
        fs::write(&running.config, "interval = \"1h\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        until(|| reload_succeeded(&running.feed) == Some(false)).await;
        let before = running.remote.drains();
        until(|| running.remote.drains() > before + 2).await;
        assert!(!web.applied.load(SeqCst));
        web.fails.store(false, SeqCst);
        fs::write(&running.config, "interval = \"30ms\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        until(|| reload_succeeded(&running.feed) == Some(true)).await;
        assert!(web.applied.load(SeqCst));
        running
    });
}

/// A FIFO without a writer, a device without an end, a file that is too large.
#[test]
fn a_file_that_cannot_be_read_to_its_end_stops_nothing() {
    run("interval = \"20ms\"", &[], |running| async {
        let huge = running.config.with_file_name("huge");
        fs::write(&huge, vec![b'#'; 10 << 20]).expect("written");
        let fifo = running.config.with_file_name("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
        for target in [fifo.as_path(), "/dev/zero".as_ref(), huge.as_path()] {
            fs::remove_file(&running.config).expect("there");
            std::os::unix::fs::symlink(target, &running.config).expect("a link");
            running.orders.send(Order::Reload).await.expect("is listened to");
            until(|| reload_succeeded(&running.feed) == Some(false)).await;

            fs::remove_file(&running.config).expect("there");
            fs::write(&running.config, "interval = \"20ms\"").expect("written");
            running.orders.send(Order::Reload).await.expect("is listened to");
            until(|| reload_succeeded(&running.feed) == Some(true)).await;
        }
        running
    });
}

#[test]
fn a_reload_ends_though_drains_take_longer_than_the_interval() {
    run("interval = \"10ms\"", &[], |running| async {
        running.remote.delay(Duration::from_millis(30));
        fs::write(&running.config, "interval = \"never\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        until(|| reload_succeeded(&running.feed) == Some(false)).await;
        running
    });
}

#[test]
fn flags_win_over_a_file_read_again_too() {
    run("", &["--interval", "1h"], |running| async {
        fs::write(&running.config, "interval = \"10ms\"").expect("written");
        running.orders.send(Order::Reload).await.expect("is listened to");
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(running.remote.drains(), 1);
        running
    });
}

#[test]
fn what_needs_a_restart_is_named_and_left_as_it_is() {
    let mut config = Config::default();
    let new = Config {
        listen: "unix:/run/x".parse().expect("a socket"),
        interval: "9s".parse().expect("an interval"),
        web_config: "web.yml".into(),
        allowed_hosts: vec!["db1.example.com".parse().expect("a name")],
        max_threads: 5,
        max_memory_mib: 6,
        time_one_in: Timed::None,
        off_cpu: true,
        include_self: true,
        bpf_stats: true,
        cgroups: vec!["a.slice".into()],
        units: vec!["nginx".parse().expect("a unit")],
        containers: vec!["web".parse().expect("a container")],
        pods: vec!["shop/web-0".parse().expect("a pod")],
        comms: vec!["nginx".parse().expect("a name")],
        syscalls: vec!["fsync".parse().expect("a call")],
        user: "profiler".into(),
        log_level: profiler::logging::LogLevel::Trace,
        metrics: toml::from_str(
            "syscalls = [\"fsync\"]\nlatency_bounds = [\"128ns\"]\nopenmetrics_created = true",
        )
        .expect("settings"),
    };
    let need_restart = config.take_live(&new);
    let of_tables =
        ["listen", "allowed_hosts", "web_config", "max_threads", "max_memory_mib", "time_one_in"];
    assert_eq!(need_restart[..6], of_tables);
    let others = ["where", "include_self", "bpf_stats", "cgroups", "units", "containers", "pods"];
    assert_eq!(need_restart[6..13], others);
    assert_eq!(need_restart[13..16], ["comms", "syscalls", "user"]);
    let of_metrics = ["metrics.syscalls", "metrics.latency_bounds", "metrics.openmetrics_created"];
    assert_eq!(need_restart[16..], of_metrics);
    let expected = Config { interval: new.interval, log_level: new.log_level, ..Config::default() };
    assert_eq!(config, expected);
}

#[test]
fn it_ends_when_it_is_told_and_reads_the_rest() {
    let last = run("interval = \"1h\"", &[], |running| async { running });
    assert_eq!(last.sequence, fake::snapshot().sequence);
}

fn reload_succeeded(feed: &Feed) -> Option<bool> {
    let body = feed.latest()?.body(Format::Text, false)?;
    let text = std::str::from_utf8(&body.bytes).expect("text");
    let name = "profiler_config_last_reload_successful ";
    text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value == "1")
}
