//! The loop of the daemon: drains when a drain is due, publishes the result, and handles orders.

use std::{
    io,
    os::fd::{BorrowedFd, OwnedFd},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio::{
    io::{Interest, unix::AsyncFd},
    sync::mpsc,
    time::sleep_until,
};

use super::{
    alarm::Alarms,
    groups::Groups,
    manager::Manager,
    pace::{Pace, thread_cpu_time},
    reload::{Read, Reload, Reloaded},
};
use crate::{
    address::Listen,
    commands::{
        cli::DaemonArgs,
        config::{Config, ConfigError},
        error::Error,
    },
    engine::{Cadence, Engine},
    filter::Cgroup,
    logging::{LogLevel, Logging},
    model::{Detail, Snapshot},
    present::metrics::{self, Exposition, Service},
    serve::{
        feed::{Publisher, Reading},
        web_config::{Change, WebConfig},
    },
};

/// An order from the operator to a running daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Read the configuration again.
    Reload,
    /// End the daemon.
    Stop,
}

/// The settings of a running daemon, and what is needed to read them again.
pub struct Settings<'a> {
    /// The settings in effect.
    pub config: Config,
    /// The flags, which override the file also after a reload.
    pub args: &'a DaemonArgs,
    /// The cgroups of the filter, as far as they still exist.
    pub cgroups: Vec<Cgroup>,
    /// The service manager.
    pub manager: Manager,
    /// The log, whose level follows the settings.
    pub logging: Option<Logging>,
    /// The web configuration in effect, if there is one.
    pub web: Option<Arc<dyn WebConfig>>,
    /// The addresses on which the daemon really listens.
    pub listens: Vec<Listen>,
}

/// The loop's state.
pub struct Work<'a, E> {
    engine: E,
    wake: Option<AsyncFd<OwnedFd>>,
    cadence: Cadence,
    pace: Pace,
    publisher: Publisher,
    settings: Settings<'a>,
    service: Service,
    options: Arc<metrics::Options>,
    alarms: Alarms,
    groups: Groups,
    reload: Reload,
    /// Whether the last reload failed.
    reload_failed: bool,
    last: LastDrain,
}

/// Data about the last drain.
struct LastDrain {
    started: Instant,
    took: Duration,
    lost: u64,
    mode: String,
}

impl<'a, E: Engine> Work<'a, E> {
    /// Reads `engine` for the first time and publishes it.
    ///
    /// # Errors
    /// [`Error::Io`] if the engine's descriptor cannot be polled, and [`Error::Config`] if no
    /// syscall may have series.
    pub fn begin(
        mut engine: E,
        publisher: Publisher,
        settings: Settings<'a>,
    ) -> Result<Self, Error> {
        let context = "cannot wait for the kernel side";
        // A descriptor of its own, because the engine is borrowed while it drains.
        let register = |fd: BorrowedFd<'_>| {
            let fd = fd.try_clone_to_owned()?;
            // SAFETY: the `OwnedFd` moves into the `AsyncFd`, so the descriptor stays open for as
            // long as the `AsyncFd` lives.
            unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
                .map_err(io::Error::from)
        };
        let wake = engine
            .wake_fd()
            .map(register)
            .transpose()
            .map_err(|source| Error::Io { context, source })?;
        let last = LastDrain {
            started: Instant::now(),
            took: Duration::ZERO,
            lost: 0,
            mode: String::new(),
        };
        let cadence = Cadence::new(last.started);
        let metrics = &settings.config.metrics;
        let options = Arc::new(metrics.options());
        let mut groups = Groups::new(metrics.named_calls()?);
        if !groups.change(metrics, &mut engine) {
            tracing::warn!("no groups of metrics: the kernel side does not tell cgroups apart");
        }
        let mut work = Self {
            engine,
            wake,
            cadence,
            pace: Pace::default(),
            publisher,
            settings,
            service: Service { named: groups.named(), ..Service::default() },
            options,
            alarms: Alarms::default(),
            groups,
            reload: Reload::default(),
            reload_failed: false,
            last,
        };
        work.drain();
        work.tell_ready();
        Ok(work)
    }

    /// Works until an order to stop, or until the sender of orders is dropped. Then detaches, and
    /// returns the last reading.
    pub async fn run(mut self, mut orders: mpsc::Receiver<Order>) -> Snapshot {
        while self.wait(&mut orders).await == Next::Drain {
            self.drain();
        }
        self.settings.manager.stopping();
        self.engine.finish(Detail::Calls)
    }

    /// Waits until the next drain is due, and handles orders meanwhile.
    async fn wait(&mut self, orders: &mut mpsc::Receiver<Order>) -> Next {
        let alive_every = self.settings.manager.alive_every();
        let mut due = self.due();
        loop {
            // Orders are handled first: if drains take longer than their interval, the sleep
            // returns at once, and nothing else would run.
            tokio::select! {
                biased;
                order = orders.recv() => match order {
                    Some(Order::Reload) => self.begin_reload(),
                    Some(Order::Stop) | None => return Next::Stop,
                },
                reloaded = self.reload.finished() => {
                    self.end_reload(reloaded);
                    due = self.due();
                }
                () = sleep_until(due.into()) => return Next::Drain,
                () = self.publisher.wanted() => return Next::Drain,
                () = woken(self.wake.as_ref()) => due = due.min(self.cadence.deaf_until()),
                () = pause(alive_every) => self.settings.manager.alive(),
            }
        }
    }

    fn due(&self) -> Instant {
        self.last.started + self.interval()
    }

    /// The longest time between two drains: as configured, or longer if drains are expensive.
    fn interval(&self) -> Duration {
        self.pace.interval(self.settings.config.interval.get())
    }

    /// The interval in effect: as configured, or in tenths of a second.
    fn shown_interval(&self) -> String {
        let (configured, interval) = (self.settings.config.interval, self.interval());
        if interval == configured.get() {
            configured.to_string()
        } else {
            format!("{:.1}s", interval.as_secs_f64())
        }
    }

    fn drain(&mut self) {
        let (started, cpu) = (Instant::now(), thread_cpu_time());
        self.note_lateness(started);
        // No metric has processes as labels, so they are not read.
        let snapshot = Arc::new(self.engine.snapshot(Detail::Calls));
        self.service.groups = self.groups.add(&snapshot, &self.engine.take_owned());
        self.cadence.was_read(started, Instant::now());
        self.pace.add(thread_cpu_time().saturating_sub(cpu));
        self.service.interval = self.interval();
        // Once: by a wall clock that is set, it would seem to change.
        if self.service.attached.is_none() {
            self.service.attached = SystemTime::now().checked_sub(snapshot.window);
        }
        // The web configuration also changes without a reload, on a thread of its own.
        let web_failed = self.settings.web.as_ref().is_some_and(|web| web.has_failed());
        self.service.reload_failed = self.reload_failed || web_failed;
        self.service.scrapes = self.publisher.scrapes();
        self.service.unlogged =
            self.settings.logging.as_ref().map(Logging::unlogged).unwrap_or_default();
        let changed = self.last.lost != snapshot.health.lost();
        self.last = LastDrain {
            started,
            took: started.elapsed(),
            lost: snapshot.health.lost(),
            mode: snapshot
                .health
                .kernel()
                .map_or_else(String::new, |kernel| kernel.mode.to_string()),
        };
        tracing::trace!(
            "drain {}: {} syscalls in {:?}",
            snapshot.sequence,
            snapshot.calls.len(),
            self.last.took
        );
        self.tell_losses(&snapshot);
        self.tell_pace();
        self.settings.tell_gone_cgroups();
        let options = Arc::clone(&self.options);
        let exposition = Exposition { snapshot, service: self.service.clone(), options };
        self.publisher.publish(Reading::now(exposition, self.due(), self.pace.shortest()));
        if changed {
            let status = self.status();
            self.settings.manager.status(&status);
        }
        self.settings.manager.alive();
    }

    /// Records how late a drain is, and how many drains were missed. No data is lost: a drain reads
    /// everything since the last one.
    fn note_lateness(&mut self, started: Instant) {
        let late = started.saturating_duration_since(self.due());
        let missed = late.as_nanos() / self.interval().as_nanos().max(1);
        self.service.last_drain_late = late;
        self.service.missed_drains += u64::try_from(missed).unwrap_or(u64::MAX);
        if let Some(more) = self.alarms.check_missed(self.service.missed_drains, started) {
            tracing::warn!(
                "missed {more} drains, and the last drain was {:.1} s late: this process gets too \
                 little CPU time. No call is lost, but metrics are late, and calls of new threads may \
                 be counted without their process. Raise CPUWeight= or lower Nice= of the unit",
                late.as_secs_f64()
            );
        }
    }

    fn tell_pace(&mut self) {
        let configured = self.settings.config.interval;
        let is_expensive = self.interval() > configured.get();
        if !self.alarms.check_pace(is_expensive, Instant::now()) {
            return;
        }
        if is_expensive {
            tracing::info!(
                "a drain uses {:.0} ms of CPU time, so the daemon drains every {} instead of every \
                 {configured}. Drains then use at most 4 % of a CPU",
                self.pace.cost().as_secs_f64() * 1e3,
                self.shown_interval(),
            );
        } else {
            tracing::info!("drains use less CPU time: the daemon drains every {configured} again");
        }
        let status = self.status();
        self.settings.manager.status(&status);
    }

    fn tell_losses(&mut self, snapshot: &Snapshot) {
        let due = self.alarms.check(&snapshot.health, Instant::now());
        if let Some(more) = due.lost {
            tracing::warn!(
                "lost {more} calls or other events; profiler_lost_calls_total has the reasons"
            );
        }
        if let Some(more) = due.breaches {
            tracing::error!(
                "{more} sums are wrong, most recently that of {}. This is a bug in the profiler: \
                 please report this message",
                snapshot.health.last_breach
            );
        }
        if let Some(more) = due.overflowed {
            tracing::warn!(
                "{more} calls were counted without their process, because the tables were full; \
                 raise max_threads or max_memory_mib{}",
                snapshot.health.used_up_share()
            );
        }
    }

    fn status(&self) -> String {
        format!(
            "Metrics on {}, drained every {}; {}; {} lost",
            self.settings.url(),
            self.shown_interval(),
            self.last.mode,
            self.last.lost,
        )
    }

    fn tell_ready(&mut self) {
        let status = self.status();
        self.settings.manager.ready(&status);
    }

    /// Starts to read the configuration again, while drains continue.
    fn begin_reload(&mut self) {
        match self.reload.begin(self.settings.args, self.settings.web.as_ref()) {
            Ok(true) => self.settings.manager.reloading(),
            Ok(false) => tracing::warn!(
                "still reading the configuration; the daemon reads the file once more after that"
            ),
            Err(error) => self.not_reloaded(&error),
        }
    }

    fn end_reload(&mut self, reloaded: Reloaded) {
        match reloaded {
            Reloaded::Read(Ok(new)) => match self.apply(new) {
                Ok(needing_restart) => self.reloaded(&needing_restart),
                Err(error) => self.not_reloaded(&error),
            },
            Reloaded::Read(Err(error)) => self.not_reloaded(&error),
            Reloaded::Failed(error) => self.not_reloaded(&error),
        }
        self.tell_ready();
        if self.reload.take_again() {
            self.begin_reload();
        }
    }

    /// Applies of `new` what can be applied, and names what cannot. An error leaves
    /// everything as it was.
    fn apply(&mut self, read: Read) -> Result<Vec<&'static str>, Error> {
        let (new, web) = *read;
        // First what can fail. Of two such steps, the one that can be undone comes first.
        self.set_log_level(new.log_level)?;
        match web.map(Change::apply).transpose() {
            Ok(warnings) => {
                for warning in warnings.unwrap_or_default() {
                    tracing::warn!("web configuration: {warning}");
                }
            }
            Err(error) => {
                self.set_log_level(self.settings.config.log_level)?;
                return Err(ConfigError::from(error).into());
            }
        }
        let config = &mut self.settings.config;
        let mut needing_restart = config.take_live(&new);
        if self.groups.change(&new.metrics, &mut self.engine) {
            config.metrics.groups.clone_from(&new.metrics.groups);
        } else {
            needing_restart.push("metrics.groups");
        }
        Ok(needing_restart)
    }

    fn set_log_level(&self, level: LogLevel) -> Result<(), Error> {
        match &self.settings.logging {
            Some(logging) => Ok(logging.set_level(level)?),
            None => Ok(()),
        }
    }

    fn reloaded(&mut self, needing_restart: &[&str]) {
        self.reload_failed = false;
        tracing::info!(
            "configuration reloaded: drains every {}, log level {:?}",
            self.settings.config.interval,
            self.settings.config.log_level,
        );
        for setting in needing_restart {
            tracing::warn!("{setting} has changed; restart the daemon to apply the change");
        }
    }

    fn not_reloaded(&mut self, error: &dyn std::error::Error) {
        self.reload_failed = true;
        tracing::error!(
            "cannot reload the configuration, so the old settings stay in effect: {error}"
        );
    }
}

impl Settings<'_> {
    /// Once of each: what is made anew at its path is another, of which nothing counts.
    fn tell_gone_cgroups(&mut self) {
        for gone in self.cgroups.extract_if(.., |cgroup| !cgroup.is_there()) {
            tracing::warn!(
                "the cgroup {} has been removed; if a new cgroup has the same path, restart the \
                 daemon to count its processes",
                gone.path
            );
        }
    }

    /// The first URL that is served.
    fn url(&self) -> String {
        self.listens.first().unwrap_or(&self.config.listen).url(self.scheme())
    }

    /// The scheme of the URLs that are served.
    pub fn scheme(&self) -> &'static str {
        if self.web.as_ref().is_some_and(|web| web.is_tls()) { "https" } else { "http" }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Next {
    Drain,
    Stop,
}

/// Returns when the engine requests a drain.
async fn woken(wake: Option<&AsyncFd<OwnedFd>>) {
    let Some(wake) = wake else { return std::future::pending().await };
    match wake.readable().await {
        // Cleared before the drain, so that a wake-up during the drain causes another one.
        Ok(mut ready) => ready.clear_ready(),
        Err(error) => tracing::warn!("cannot poll the kernel for full tables: {error}"),
    }
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
