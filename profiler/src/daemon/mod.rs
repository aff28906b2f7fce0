//! `profiler daemon`: wires the drain loop to those who read its results.

pub mod alarm;
pub mod connections;
pub mod feed;
pub mod http;
pub mod manager;
pub mod places;
pub mod reload;
pub mod source;
pub mod stream;
pub mod work;

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use self::{
    manager::Manager,
    work::{Order, Settings, Work},
};
use crate::{
    aggregate::Aggregate,
    cli::DaemonArgs,
    config::Config,
    drain::Profiler,
    error::Error,
    filter::Filter,
    kernel::{Options, Scope},
    logging::Logging,
    privilege,
    streams::Stream,
};

/// Runs the daemon until a signal ends it.
pub fn run(args: &DaemonArgs) -> Result<(), Error> {
    let config = Config::load(args)?;
    if args.check_config {
        return Stream::Output.print(config.to_toml().as_bytes());
    }
    let logging = Logging::start(config.log_level)?;
    let settings = Settings {
        logging: Some(logging.clone()),
        manager: Manager::from_environment(),
        config,
        args,
        cgroups: Vec::new(),
    };
    let outcome = run_with(settings);
    logging.finish();
    outcome
}

fn run_with(settings: Settings<'_>) -> Result<(), Error> {
    // One thread until privileges are dropped: capabilities are a thread's, and those that
    // start later inherit what is left.
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::Io { context: "cannot start the event loop", source })?
        .block_on(start(settings))
}

async fn start(mut settings: Settings<'_>) -> Result<(), Error> {
    // Before anything is attached: a signal then ends us as it should, and an
    // address in use, the likeliest mistake, costs nothing.
    let orders = orders()?;
    connections::raise_descriptor_limit();
    let listener = http::bind(settings.config.listen)?;

    let kernel_args = settings.config.kernel_args(&settings.args.kernel);
    let filter = Filter::new(&settings.config.filter_args())?;
    settings.cgroups.clone_from(&filter.cgroups);
    let filtered = filter.to_string();
    if !filtered.is_empty() {
        tracing::info!("only {filtered}");
    }
    let time_programs = settings.config.bpf_stats;
    let options = Options { time_programs, ..Options::new(Scope::Host, &kernel_args)? };
    // Neither processes nor intervals are shown.
    let profiler = Profiler::attach_into(&options.filtered(filter), Aggregate::totals())?;
    if let Some(why) = profiler.shrunk() {
        tracing::warn!("{why}");
    }
    if let Some(why) = profiler.untimed().filter(|_| time_programs) {
        tracing::warn!("bpf_stats: the profiler's programs are not timed: {why}");
    }
    let kept = privilege::drop_unneeded()?;
    match kept.iter().next() {
        None => tracing::info!("attached, and gave up every capability"),
        Some(kept) => tracing::info!("attached, and gave up every capability but {kept}"),
    }

    if let Some(logging) = &settings.logging {
        logging.start_thread()?;
    }
    let (publisher, feed) = feed::feed();
    // The address in fact: port 0 asks for any.
    let address = listener.local_addr().unwrap_or(settings.config.listen);
    tracing::info!("serving metrics on http://{address}/metrics");
    let served = http::spawn(listener, feed)?;
    let work = Work::begin(profiler, publisher, settings)?;
    let last = tokio::select! {
        last = work.run(orders) => last,
        _ = served => return Err(Error::ServingEnded),
    };
    tracing::info!(
        "detached after {} s, {} events lost",
        last.window.as_secs(),
        last.health.lost()
    );
    Ok(())
}

/// Orders out of signals.
fn orders() -> Result<mpsc::Receiver<Order>, Error> {
    let handle = |kind| {
        signal(kind).map_err(|source| Error::Io { context: "cannot handle signals", source })
    };
    let (terminate, interrupt) =
        (handle(SignalKind::terminate())?, handle(SignalKind::interrupt())?);
    let hangup = handle(SignalKind::hangup())?;
    let (sender, orders) = mpsc::channel(1);
    tokio::spawn(forward(terminate, interrupt, hangup, sender));
    Ok(orders)
}

async fn forward(
    mut terminate: Signal,
    mut interrupt: Signal,
    mut hangup: Signal,
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
