//! `profiler daemon`: connects the drain loop to the HTTP server.

pub mod alarm;
pub mod groups;
pub mod manager;
mod name_reader;
pub mod pace;
pub mod reload;
pub mod work;

use std::{iter, net::SocketAddr, path::PathBuf, sync::Arc};

use nix::{
    errno::Errno,
    sys::signal::Signal,
    unistd::{AccessFlags, access},
};
use tokio::{
    signal::unix::{self, SignalKind},
    sync::mpsc,
};

use self::{
    manager::Manager,
    work::{Order, Settings, Work},
};
use super::{
    cli::DaemonArgs,
    config::{self, Config, ConfigError},
    error::Error,
    places,
};
use crate::{
    aggregate::Aggregate,
    engine::kernel::{Options, Profiler},
    filter::{FilterError, PlaceError},
    launch::interruptible::{End, Interruptible},
    logging::Logging,
    model::Scope,
    privilege::{self, Confinement, User},
    serve::{connections, feed, http},
    streams::Stream,
    text,
};

/// Runs the daemon until a signal ends it.
pub fn run(args: &DaemonArgs) -> Result<(), Error> {
    let config = Config::load(args)?;
    if args.check_config {
        User::find(&config.user)?;
        let (_, warnings) = kernel_options(&config, args)?;
        for warning in warnings {
            Stream::Error.print(format!("warning: {warning}\n").as_bytes())?;
        }
        if let Some(web) = config.web()? {
            for warning in web.warnings() {
                Stream::Error
                    .print(format!("warning: web configuration: {warning}\n").as_bytes())?;
            }
        }
        return Ok(Stream::Output.print(config.to_toml().as_bytes())?);
    }
    let logging = Logging::start(config.log_level)?;
    let settings = Settings {
        logging: Some(logging.clone()),
        manager: Manager::from_environment(),
        config,
        args,
        cgroups: Vec::new(),
        web: None,
        listens: Vec::new(),
    };
    let outcome = run_with(settings);
    logging.finish();
    outcome
}

fn run_with(settings: Settings<'_>) -> Result<(), Error> {
    // Before the event loop handles the signals. A reload waits until the daemon runs.
    let interruptible = Interruptible::of(&[Signal::SIGTERM, Signal::SIGINT], &[Signal::SIGHUP])?;
    // The process has one thread until privileges are dropped: capabilities belong to a thread, and
    // threads that start later inherit the remaining ones.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { context: "cannot start the event loop", source })?
        .block_on(start(settings, interruptible))
}

/// The options of the kernel side, and warnings about units, containers and pods that do not exist
/// yet. All invalid settings are refused here, for `--check-config` as for a start.
fn kernel_options(config: &Config, args: &DaemonArgs) -> Result<(Options, Vec<String>), Error> {
    let filter = config.filter()?;
    let mut unknown = places::unknown(&filter.places).map_err(FilterError::from)?;
    if args.filters.allow_missing {
        unknown.clear();
    }
    let options = Options::new(Scope::Host, &config.request(&args.kernel))?.filtered(filter);
    // Only if a group needs them, because they make a move between cgroups more expensive.
    let cgroups = config.metrics.owners().cgroup;
    let options = Options { time_programs: config.bpf_stats, cgroups, ..options };
    Ok((options, unknown.iter().map(PlaceError::waiting).collect()))
}

async fn start(mut settings: Settings<'_>, interruptible: Interruptible) -> Result<(), Error> {
    // Before anything is attached, so that an address in use, the most likely mistake, is found
    // early.
    let orders = orders()?;
    let user = User::find(&settings.config.user)?;
    connections::raise_descriptor_limit();
    settings.web = settings.config.web()?;
    // The file is removed however the daemon ends from here on.
    let (sockets, socket_file) = http::open(&settings.config.listen, user.ids())?;

    let (options, warnings) = kernel_options(&settings.config, settings.args)?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    settings.cgroups.clone_from(&options.filter.cgroups);
    let filtered = options.filter.to_string();
    if !filtered.is_empty() {
        tracing::info!("counting only {filtered}");
    }
    let time_programs = settings.config.bpf_stats;
    // The daemon shows neither processes nor intervals.
    let attach = || Profiler::attach_into(&options, Aggregate::totals());
    let (manager, logging) = (&mut settings.manager, settings.logging.as_ref());
    let mut profiler =
        interruptible.run(|signal| end_early(signal, manager, logging), attach)??;
    drop(interruptible);
    for warning in profiler.warnings() {
        tracing::warn!("{warning}");
    }
    if let Some(why) = profiler.untimed().filter(|_| time_programs) {
        tracing::warn!("bpf_stats: the profiler's programs are not timed: {why}");
    }
    // Only if a group or a filter needs names.
    let names = options.knows_cgroups().then(|| name_reader::start(&user)).flatten();
    let (left, undone) =
        profiler.confined(names, || privilege::confine(&user, socket_file.is_some()))?;
    tell_confinement(&left, &undone);
    tell_unreadable(&settings, &user);
    if let Some(logging) = &settings.logging {
        logging.start_thread()?;
    }
    let (publisher, feed) = feed::feed();
    // The real addresses: port 0 means any port, and systemd can pass other addresses.
    for address in sockets.addresses() {
        tracing::info!("serving metrics on {}", address.url(settings.scheme()));
        settings.listens.push(address);
    }
    sockets.tcp_addresses().into_iter().for_each(|address| tell_exposure(address, &settings));
    if let Some(web) = &settings.web {
        for warning in web.warnings() {
            tracing::warn!("web configuration: {warning}");
        }
        Arc::clone(web).begin_watch().map_err(ConfigError::from)?;
    }
    let (allowed_hosts, web) = (settings.config.allowed_hosts.clone(), settings.web.clone());
    let served = http::spawn(sockets, feed, allowed_hosts, web)?;
    let work = Work::begin(profiler, publisher, settings)?;
    let last = tokio::select! {
        last = work.run(orders) => last,
        _ = served => return Err(Error::ServingEnded),
    };
    tracing::info!(
        "detached after {} s; lost {} calls or other events",
        last.window.as_secs(),
        last.health.lost()
    );
    Ok(())
}

/// Ends the daemon on a signal before it is attached.
fn end_early(signal: Signal, manager: &mut Manager, logging: Option<&Logging>) -> End {
    manager.stopping();
    tracing::info!("ended by {signal} before the programs were attached");
    if let Some(logging) = logging {
        logging.finish();
    }
    End::WithCode(0)
}

/// Logs the remaining privileges of this process, as the kernel reports them.
fn tell_confinement(left: &Confinement, undone: &[String]) {
    tracing::info!(
        "attached, and dropped the privileges that are no longer needed; remaining: {left}"
    );
    for problem in undone.iter().chain(&left.weaknesses()) {
        tracing::warn!("not fully confined: {problem}");
    }
}

/// Warns if the configuration can no longer be read with the remaining privileges, instead of only
/// at the next reload.
fn tell_unreadable(settings: &Settings<'_>, user: &User) {
    let path = settings.args.config.as_deref().unwrap_or(config::DEFAULT_PATH.as_ref());
    let files = settings.web.as_ref().map_or_else(Vec::new, |web| web.files());
    for path in iter::once(path).chain(files.iter().map(PathBuf::as_path)) {
        if access(path, AccessFlags::R_OK) == Err(Errno::EACCES) {
            tracing::warn!(
                "a reload will fail: the user {user} cannot read the configuration {}",
                text::path(path)
            );
        }
    }
}

/// Warns if other hosts can connect.
fn tell_exposure(address: SocketAddr, settings: &Settings<'_>) {
    if address.ip().to_canonical().is_loopback() {
        return;
    }
    if settings.web.as_ref().is_some_and(|web| web.authenticates()) {
        return;
    }
    let without = if settings.scheme() == "https" { "a password" } else { "TLS or a password" };
    let names = if settings.config.allowed_hosts.is_empty() {
        "; every host name is accepted, because allowed_hosts is empty"
    } else {
        ""
    };
    tracing::warn!(
        "listening on {address}, which is not a loopback address, without {without}: \
         anyone who can connect can read which syscalls this host makes{names}"
    );
}

/// Translates signals into orders.
fn orders() -> Result<mpsc::Receiver<Order>, Error> {
    let handle = |kind| {
        unix::signal(kind).map_err(|source| Error::Io { context: "cannot handle signals", source })
    };
    let (terminate, interrupt) =
        (handle(SignalKind::terminate())?, handle(SignalKind::interrupt())?);
    let hangup = handle(SignalKind::hangup())?;
    let (sender, orders) = mpsc::channel(1);
    tokio::spawn(forward(terminate, interrupt, hangup, sender));
    Ok(orders)
}

async fn forward(
    mut terminate: unix::Signal,
    mut interrupt: unix::Signal,
    mut hangup: unix::Signal,
    orders: mpsc::Sender<Order>,
) {
    loop {
        let order = tokio::select! {
            _ = terminate.recv() => Order::Stop,
            _ = interrupt.recv() => Order::Stop,
            _ = hangup.recv() => Order::Reload,
        };
        if orders.send(order).await.is_err() {
            return;
        }
    }
}
