//! Measures scrapes of 10,000 series in each format over TLS with a password, and many scrapes over
//! TLS while there are many idle connections.

use std::{
    fs,
    io::{self, Read as _},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, sleep},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use tempfile::TempDir;
use tokio_rustls::rustls::{
    ClientConfig, ClientConnection, RootCertStore, StreamOwned, client::Resumption,
    crypto::ring::default_provider, pki_types::ServerName,
};

use super::{
    Args, Load, PROCESSES,
    client::{Client, Request, Stream},
    groups::{Cgroups, Config, formats, wide_load},
    report::{Figure, Section, quantiles},
    watched::Daemon,
};

/// The user and the password of the daemon, `bench:bench`, in Base64.
const AUTHORIZATION: &str = "Authorization: Basic YmVuY2g6YmVuY2g=\r\n";
/// Scrapes per second by one client.
const RATE: u32 = 200;
/// Threads of this client. Unless responses are late, fewer scrapes are in progress at a time.
const SCRAPERS: usize = 16;
/// Idle connections at the same time.
const IDLE: usize = 500;
/// Threads that keep the idle connections open.
const IDLERS: usize = 4;

pub(super) fn measure(profiler: &Path, args: &Args) -> Result<Vec<Section>> {
    let web = WebConfig::new()?;
    let config = Config::new()?;
    let path = web.path();
    let path = path.to_str().context("the path of the web configuration is not UTF-8")?;
    let flags = [&config.flags()?[..], &["--web-config", path]].concat();
    Ok(vec![wide(profiler, args, (&flags, &web))?, crowd(profiler, args, (&flags, &web))?])
}

fn wide(profiler: &Path, args: &Args, (flags, web): (&[&str], &WebConfig)) -> Result<Section> {
    let cgroups = Cgroups::new()?;
    let daemon = Daemon::start_for(profiler, flags, |address| web.client(address))?;
    let load = wide_load(&cgroups)?;
    let section = formats(&daemon, args, "over TLS with a password");
    drop(load);
    section
}

/// Measures scrapes and drains while a client scrapes all the time, and while there are idle
/// connections.
fn crowd(profiler: &Path, args: &Args, (flags, web): (&[&str], &WebConfig)) -> Result<Section> {
    let cgroups = Cgroups::new()?;
    let daemon = Daemon::start_for(profiler, flags, |address| web.client(address))?;
    let load = Load::start(&["--processes", &PROCESSES.to_string()])?;
    cgroups.fill(&load)?;
    sleep(Duration::from_secs(3));
    let before = daemon.metrics()?;
    let is_over = AtomicBool::new(false);
    let idle = AtomicUsize::new(0);
    let (least_idle, times, latest) = thread::scope(|scope| {
        for _ in 0..IDLERS {
            scope.spawn(|| keep_idle(daemon.client(), &idle, &is_over));
        }
        let deadline = Instant::now() + Duration::from_secs(30);
        while idle.load(Relaxed) < IDLE && Instant::now() < deadline {
            sleep(Duration::from_millis(10));
        }
        let result = scrape_at_rate(&daemon, args.seconds, &idle);
        is_over.store(true, Relaxed);
        result
    })?;
    drop(load);
    let after = daemon.metrics()?;
    let added = |name: &str| {
        let at = |metrics: &std::collections::BTreeMap<String, f64>| metrics.get(name).copied();
        at(&after).unwrap_or(0.0) - at(&before).unwrap_or(0.0)
    };
    let asked = times.len();
    let slowest = times.iter().max().copied().unwrap_or_default();
    let [p50, p99] = quantiles(times);
    let served = asked as f64 / args.seconds as f64;
    Ok(Section {
        title: format!(
            "{RATE} scrapes per second over TLS by one client, {IDLE} idle connections, for {} s",
            args.seconds
        ),
        figures: vec![
            Figure::count("responses per second", served.round()),
            Figure::time("response time, median", p50),
            Figure::time("response time, 99th percentile", p99),
            Figure::time("response time, maximum", slowest).goal(1_000.0),
            Figure::time("maximum delay of a drain, sampled each second", latest).goal(1_000.0),
            Figure::count("missed drains", added("profiler_missed_drains_total")).goal(0.0),
            Figure::count("minimum of idle connections", least_idle as f64),
            Figure::count("lost calls", super::lost(&after)).goal(0.0),
        ],
    })
}

/// Scrapes at [`RATE`]. The time of a scrape counts from the moment at which the scrape was due. So
/// if a response is late, the times of the next scrapes include their delay. Returns the minimum
/// number of idle connections, the times, and the maximum delay of a drain.
fn scrape_at_rate(
    daemon: &Daemon,
    seconds: u64,
    idle: &AtomicUsize,
) -> Result<(usize, Vec<Duration>, Duration)> {
    let (started, next) = (Instant::now(), AtomicUsize::new(0));
    let scrapes = RATE as usize * usize::try_from(seconds)?;
    let times = Mutex::new(Vec::with_capacity(scrapes));
    let latest = Mutex::new(0.0_f64);
    let least_idle = AtomicUsize::new(idle.load(Relaxed));
    let request = Request::text("/metrics").compressed();
    let scrape = || -> Result<()> {
        loop {
            let number = next.fetch_add(1, Relaxed);
            if number >= scrapes {
                return Ok(());
            }
            let due = started + Duration::from_secs(1) * u32::try_from(number)? / RATE;
            sleep(due.saturating_duration_since(Instant::now()));
            // Once per second, requests the text format, to read the delay of the last drain from
            // it.
            let looks = number.is_multiple_of(RATE as usize);
            let asked = if looks { Request::text("/metrics") } else { request };
            let (status, body) = daemon.client().ask(&asked)?;
            ensure!(status == 200, "status {status}");
            times.lock().unwrap_or_else(PoisonError::into_inner).push(due.elapsed());
            least_idle.fetch_min(idle.load(Relaxed), Relaxed);
            if looks {
                let mut latest = latest.lock().unwrap_or_else(PoisonError::into_inner);
                *latest = latest.max(last_drain_late(&String::from_utf8(body)?));
            }
        }
    };
    thread::scope(|scope| {
        let scrapers: Vec<_> = (0..SCRAPERS).map(|_| scope.spawn(scrape)).collect();
        scrapers.into_iter().try_for_each(|scraper| match scraper.join() {
            Ok(scraped) => scraped,
            Err(_) => Err(anyhow::anyhow!("a client panicked")),
        })
    })?;
    let times = times.into_inner().unwrap_or_else(PoisonError::into_inner);
    let latest = latest.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((least_idle.into_inner(), times, Duration::from_secs_f64(latest)))
}

fn last_drain_late(page: &str) -> f64 {
    let name = "profiler_last_drain_late_seconds ";
    let value = page.lines().find_map(|line| line.strip_prefix(name));
    value.and_then(|value| value.parse().ok()).unwrap_or(0.0)
}

/// Keeps a share of the idle connections open until `is_over` is true. The daemon closes each
/// connection after some seconds. A new connection then replaces it.
fn keep_idle(client: &Client, idle: &AtomicUsize, is_over: &AtomicBool) {
    let mut open: Vec<(Instant, Box<dyn Stream>)> = Vec::new();
    while !is_over.load(Relaxed) {
        if open.len() < IDLE / IDLERS {
            if let Ok(stream) = client.connect() {
                open.push((Instant::now(), stream));
                idle.fetch_add(1, Relaxed);
            }
        } else {
            sleep(Duration::from_millis(10));
        }
        // Replaces the oldest connection once the daemon has closed it, after 5 s without a
        // request.
        if open.first().is_some_and(|(since, _)| since.elapsed() > Duration::from_secs(5)) {
            let (_, mut stream) = open.remove(0);
            let _ = stream.read(&mut [0]);
            idle.fetch_sub(1, Relaxed);
        }
    }
}

/// A web configuration file with a certificate, and with a user whose password hash has the usual
/// cost.
struct WebConfig {
    directory: TempDir,
    tls: Arc<ClientConfig>,
}

impl WebConfig {
    fn new() -> Result<Self> {
        let directory = TempDir::new()?;
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let hash = bcrypt::hash("bench", 10)?;
        let files = [
            ("server.crt", made.cert.pem()),
            ("server.key", made.signing_key.serialize_pem()),
            (
                "web.yml",
                format!(
                    "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n\
                     basic_auth_users:\n  bench: {hash}\n"
                ),
            ),
        ];
        for (name, text) in files {
            fs::write(directory.path().join(name), text)?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let mut tls = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        // Prometheus does not resume sessions either.
        tls.resumption = Resumption::disabled();
        Ok(Self { directory, tls: Arc::new(tls) })
    }

    /// Returns the path of the file.
    fn path(&self) -> PathBuf {
        self.directory.path().join("web.yml")
    }

    /// Creates a client that has the certificate and the password.
    fn client(&self, address: SocketAddr) -> Client {
        let tls = Arc::clone(&self.tls);
        Client::over(address, Arc::new(move |socket| handshake(&tls, socket)), AUTHORIZATION)
    }
}

/// Starts TLS, and completes the handshake.
fn handshake(tls: &Arc<ClientConfig>, mut socket: TcpStream) -> io::Result<Box<dyn Stream>> {
    let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
    let mut connection = ClientConnection::new(Arc::clone(tls), name).map_err(io::Error::other)?;
    while connection.is_handshaking() {
        connection.complete_io(&mut socket)?;
    }
    Ok(Box::new(StreamOwned::new(connection, socket)))
}
