//! Debian's Prometheus scrapes a daemon in every format. Its answers to queries agree with the
//! statement of a workload.
//!
//! The environment variable `PROMETHEUS` names another executable, for other versions.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    conformance::filters::Cgroups,
    run::{Mode, statement, wait_until, workload_args},
    service::{Daemon, Name, get},
    workload::{Statement, Timing},
};

/// The jobs, and the `Accept` header that they send. `None` means the default of Prometheus.
const JOBS: [(&str, Option<&str>, &str); 3] = [
    ("text", Some("text/plain;version=0.0.4"), "text/plain; version=0.0.4; charset=utf-8"),
    (
        "openmetrics",
        Some("application/openmetrics-text;version=1.0.0"),
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    ),
    (
        "protobuf",
        None,
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
         encoding=delimited",
    ),
];

/// The calls that the workload times.
const CALLS: [&str; 3] = ["clock_nanosleep", "getrandom", "getppid"];
/// Number of calls of each syscall.
const EACH: usize = 1_000;
/// The error of a quantile of a native histogram (docs/formats.md).
const NATIVE_ERROR: f64 = 0.104;

pub(crate) fn scrapes_every_format() {
    let name = Name::new();
    // The second run is in a cgroup of its own, if there are cgroups.
    let cgroups = Cgroups::new(Mode::Main).ok();
    let config = tempfile::NamedTempFile::new().expect("a file");
    let mut text = "[[metrics.groups]]\nname = \"names\"\nby = [\"comm\"]\n".to_owned();
    if cgroups.is_some() {
        text += "[[metrics.groups]]\nname = \"cgroups\"\nby = [\"cgroup\"]\n";
    }
    std::fs::write(config.path(), text).expect("written");
    let [comm, watched] = name.filter();
    let flags = [comm, watched, "--config", config.path().to_str().expect("text")];
    let daemon = Daemon::start_with(Mode::Main, "200ms", &flags);
    let proxies = JOBS.map(|(job, accept, _)| (job, Proxy::start(daemon.address(), accept)));
    let prometheus = Prometheus::start(&proxies);
    wait_until("each job has scraped", || prometheus.number("sum(up)") == Some(3.0));
    for (job, _, _) in JOBS {
        let build = prometheus.number(&format!("profiler_build_info{{job=\"{job}\"}}"));
        assert_eq!(build, Some(1.0), "{job}");
    }

    let first = run_workload(&name, None);
    prometheus.wait_for_calls(1);
    check_counts(&prometheus, &[&first]);
    // Samples for rates of the second run. Each scrape from here on includes all of the first run.
    let between = Instant::now();
    std::thread::sleep(Duration::from_secs(6));
    let second = run_workload(&name, cgroups.as_ref());
    prometheus.wait_for_calls(2);
    check_counts(&prometheus, &[&first, &second]);
    let window = format!("[{}s]", between.elapsed().as_secs());
    check_groups(&prometheus, cgroups.as_ref(), &window);
    check_quantiles(&prometheus, &second, &window);
    check_stored(&prometheus);

    for ((_, proxy), (job, _, content_type)) in proxies.iter().zip(JOBS) {
        let seen = proxy.seen.lock().expect("no panic").clone();
        let expected = BTreeSet::from([
            format!("content-type: {content_type}"),
            "content-encoding: gzip".to_owned(),
            "vary: Accept, Accept-Encoding".to_owned(),
        ]);
        assert_eq!(seen, expected, "{job}");
    }
    drop(prometheus);
    daemon.end();
}

/// Runs the workload, and in a cgroup if there is one.
fn run_workload(name: &Name, cgroups: Option<&Cgroups>) -> Statement {
    const ENTER: &str = "if test -n \"$0\"; then echo $$ > \"$0/cgroup.procs\"; fi; exec \"$@\"";
    let directory = cgroups.map_or_else(String::new, |cgroups| cgroups.path("in"));
    let arguments = workload_args(&["spread", &format!("calls={EACH}"), &name.arg()]);
    let output = Command::new("sh").args(["-c", ENTER, &directory]).args(arguments).output();
    let output = output.expect("runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    statement(&String::from_utf8_lossy(&output.stdout))
}

/// Checks that counts and sums of each job equal those of the statements.
fn check_counts(prometheus: &Prometheus, statements: &[&Statement]) {
    for call in CALLS {
        let timings = || statements.iter().map(|statement| timing(statement, call));
        let calls = timings().map(|timing| timing.took_ns.len()).sum::<usize>() as f64;
        let most_s = timings().flat_map(|t| &t.took_ns).sum::<u64>() as f64 / 1e9;
        let least_s = timings().flat_map(|t| &t.asked_ns).sum::<u64>() as f64 / 1e9;
        let mut sums = BTreeSet::new();
        for (job, _, _) in JOBS {
            let of = format!("job=\"{job}\",syscall=\"{call}\"");
            let number = |query: &str| prometheus.number(query);
            assert_eq!(number(&format!("profiler_syscalls_total{{{of}}}")), Some(calls), "{of}");
            let histogram = |what: &str| match job {
                "protobuf" => {
                    format!("histogram_{what}(profiler_syscall_duration_seconds{{{of}}})")
                }
                _ => format!("profiler_syscall_duration_seconds_{what}{{{of}}}"),
            };
            assert_eq!(number(&histogram("count")), Some(calls), "{of}");
            let sum = number(&histogram("sum")).expect("a sum");
            assert!((least_s..=most_s).contains(&sum), "{of}: {sum} in {least_s}..={most_s}");
            sums.insert(sum.to_string());
        }
        assert_eq!(sums.len(), 1, "{call}: {sums:?}");
    }
}

/// Sums over groups are the counters without groups, and both are what the two runs state.
fn check_groups(prometheus: &Prometheus, cgroups: Option<&Cgroups>, window: &str) {
    let number = |query: &str| prometheus.number(query);
    for (job, _, _) in JOBS {
        for group in ["names", "cgroups"].into_iter().take(1 + usize::from(cgroups.is_some())) {
            let of_group = format!("job=\"{job}\",group=\"{group}\"");
            for (sums, ungrouped) in [
                (
                    format!("profiler_group_syscalls_total{{{of_group}}}"),
                    format!("profiler_syscalls_total{{job=\"{job}\"}}"),
                ),
                (
                    format!(
                        "profiler_group_syscall_outcomes_total{{{of_group},outcome=\"error\"}}"
                    ),
                    format!("profiler_syscall_errors_total{{job=\"{job}\"}}"),
                ),
            ] {
                let by = "sum by (abi, syscall)";
                let (sums, ungrouped) = (format!("{by} ({sums})"), format!("{by} ({ungrouped})"));
                assert_eq!(number(&format!("count({sums} != {ungrouped})")), None, "{sums}");
                let series = number(&format!("count({ungrouped})"));
                assert_eq!(number(&format!("count({sums} == {ungrouped})")), series, "{sums}");
            }
            for call in CALLS {
                let of = format!("{of_group},syscall=\"{call}\"");
                let calls = number(&format!("sum(profiler_group_syscalls_total{{{of}}})"));
                assert_eq!(calls, Some(2.0 * EACH as f64), "{of}");
                let seconds = format!("sum(profiler_group_syscall_seconds_total{{{of}}})");
                let seconds = number(&seconds).expect("a sum");
                let all = format!(
                    "profiler_syscall_duration_seconds{{job=\"{job}\",syscall=\"{call}\"}}"
                );
                let all = match job {
                    "protobuf" => number(&format!("histogram_sum({all})")),
                    _ => number(&all.replacen('{', "_sum{", 1)),
                };
                // Sums of doubles, in any order.
                let all = all.expect("a sum");
                assert!((seconds - all).abs() <= all * 1e-12, "{of}: {seconds}, {all}");
            }
        }
        // The series of the name are there since the first run.
        let of_name = format!("job=\"{job}\",group=\"names\",syscall=\"getppid\",comm!=\"folded\"");
        let increase = format!("sum(increase(profiler_group_syscalls_total{{{of_name}}}{window}))");
        let increase = number(&increase).expect("a rate");
        let calls = EACH as f64;
        assert!((calls..=calls * 1.5).contains(&increase), "{job}: {increase}");
        if let Some(cgroups) = cgroups {
            let of =
                format!("job=\"{job}\",group=\"cgroups\",cgroup=\"/{}\"", cgroups.relative("in"));
            for call in CALLS {
                let of = format!("{of},syscall=\"{call}\"");
                let calls = number(&format!("profiler_group_syscalls_total{{{of}}}"));
                assert_eq!(calls, Some(EACH as f64), "{of}");
            }
        }
    }
}

/// Checks that rates and quantiles over `window` are those of the second run. The window begins
/// after the first run.
fn check_quantiles(prometheus: &Prometheus, second: &Statement, window: &str) {
    for call in CALLS {
        let timing = timing(second, call);
        for (job, _, _) in JOBS {
            let of = format!("job=\"{job}\",syscall=\"{call}\"");
            // Prometheus scales to the whole window, from samples that are up to a second away from
            // either end. The window has seven seconds or more.
            let increase = prometheus
                .number(&format!("increase(profiler_syscalls_total{{{of}}}{window})"))
                .expect("a rate");
            let calls = EACH as f64;
            assert!((calls..=calls * 1.5).contains(&increase), "{of}: {increase}");
            for quantile in [0.5, 0.9, 0.99] {
                let suffix = if job == "protobuf" { "" } else { "_bucket" };
                let by = if job == "protobuf" { "syscall" } else { "syscall, le" };
                let query = format!(
                    "histogram_quantile({quantile}, sum by ({by}) \
                     (rate(profiler_syscall_duration_seconds{suffix}{{{of}}}{window})))"
                );
                let shown = prometheus.number(&query).expect("a quantile") * 1e9;
                // This rank or the next, because ranks of Prometheus are not whole numbers.
                let rank = (quantile * calls).ceil() as usize;
                let (asked, took) = (timing.asked_ns[rank - 1], timing.took_ns[rank]);
                let (least, most) = match job {
                    "protobuf" => {
                        (asked as f64 * (1.0 - NATIVE_ERROR), took as f64 * (1.0 + NATIVE_ERROR))
                    }
                    // The bounds of the classic buckets that the latency can be in.
                    _ => (classic_below(asked), classic_above(took)),
                };
                assert!(
                    (least..=most).contains(&shown),
                    "p{quantile} of {of}: {shown} in {least}..={most}"
                );
            }
        }
        if call == "clock_nanosleep" {
            check_fraction(prometheus, timing, window);
        }
    }
}

/// The share of the sleeps of up to 10 ms is exact for a bound that is off by the error.
fn check_fraction(prometheus: &Prometheus, timing: &Timing, window: &str) {
    let query = format!(
        "histogram_fraction(0, 0.01, sum by (syscall) (rate(profiler_syscall_duration_seconds\
         {{job=\"protobuf\",syscall=\"clock_nanosleep\"}}{window})))"
    );
    let shown = prometheus.number(&query).expect("a share");
    let share = |ns: &[u64], bound: f64| {
        ns.iter().filter(|&&ns| ns as f64 <= bound).count() as f64 / ns.len() as f64
    };
    let least = share(&timing.took_ns, 1e7 * (1.0 - NATIVE_ERROR));
    let most = share(&timing.asked_ns, 1e7 * (1.0 + NATIVE_ERROR));
    assert!((least - 1e-9..=most + 1e-9).contains(&shown), "{shown} in {least}..={most}");
}

/// The default bounds of classic buckets, in nanoseconds (docs/formats.md).
const BOUNDS: [u64; 5] = [10_240, 1_048_576, 10_485_760, 100_663_296, 1_073_741_824];

/// The greatest default bound below `ns`, or 0.
fn classic_below(ns: u64) -> f64 {
    // Below the first bound, quantiles are interpolated from 0.
    BOUNDS.into_iter().rfind(|&bound| bound < ns).unwrap_or(0) as f64
}

/// The least default bound that is not below `ns`. Prometheus shows the last bound for quantiles
/// above it.
fn classic_above(ns: u64) -> f64 {
    BOUNDS.into_iter().find(|&bound| bound >= ns).unwrap_or(BOUNDS[4]) as f64
}

/// The native histograms, as Prometheus has stored them.
fn check_stored(prometheus: &Prometheus) {
    let stored = prometheus.query("profiler_syscall_duration_seconds{job=\"protobuf\"}");
    let stored = stored.as_array().expect("series");
    assert!(stored.len() >= CALLS.len());
    let number = |value: &Value| -> f64 {
        value.as_str().and_then(|text| text.parse().ok()).expect("a number")
    };
    for series in stored {
        let histogram = &series["histogram"][1];
        let buckets = histogram["buckets"].as_array().map_or(&[][..], Vec::as_slice);
        assert!(buckets.len() <= 161, "{series}");
        let sum: f64 = buckets.iter().map(|bucket| number(&bucket[3])).sum();
        assert_eq!(sum, number(&histogram["count"]), "{series}");
        for bucket in buckets {
            let (low, high) = (number(&bucket[1]), number(&bucket[2]));
            // The zero bucket, or one of 16 per octave.
            let is_zero = high == 8e-9;
            assert!(is_zero || (high / low).log2() <= 1.001 / 16.0, "{series}");
        }
    }
}

fn timing<'a>(statement: &'a Statement, call: &str) -> &'a Timing {
    statement.timings.iter().find(|timing| timing.syscall == call).expect("a timed call")
}

/// The executable of Prometheus.
pub(crate) fn program() -> OsString {
    std::env::var_os("PROMETHEUS").unwrap_or_else(|| "prometheus".into())
}

/// A server of Prometheus.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    _directory: tempfile::TempDir,
}

impl Prometheus {
    fn start(proxies: &[(&str, Proxy)]) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let config = directory.path().join("prometheus.yml");
        let mut text = "global: {scrape_interval: 1s}\nscrape_configs:\n".to_owned();
        for (job, proxy) in proxies {
            text += &format!(
                "  - job_name: {job}\n    static_configs:\n      - targets: ['{}']\n",
                proxy.address
            );
        }
        std::fs::write(&config, text).expect("a file");
        // This port was free a moment ago.
        let address = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one");
        let child = Command::new(program())
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.path().join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .arg("--enable-feature=native-histograms")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = child.unwrap_or_else(|error| {
            panic!("this test needs Debian's package prometheus: {error}");
        });
        let prometheus = Self { child, address, _directory: directory };
        wait_until("prometheus listens", || TcpStream::connect(address).is_ok());
        prometheus
    }

    /// The result of an instant query; null if it cannot be answered yet.
    fn query(&self, query: &str) -> Value {
        let encoded: String = query.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let (status, body) = get(self.address, &format!("/api/v1/query?query={encoded}"));
        // The answer may be chunked, with lengths before and after the JSON.
        let json = body.find('{').zip(body.rfind('}')).map(|(from, to)| &body[from..=to]);
        let answer = json.and_then(|json| serde_json::from_str::<Value>(json).ok());
        let answer = answer.unwrap_or_default();
        assert!(!matches!(status, 400 | 422), "{query}: {answer}");
        answer["data"]["result"].clone()
    }

    /// The value of the only series of an answer.
    fn number(&self, query: &str) -> Option<f64> {
        let result = self.query(query);
        assert!(result.as_array().is_none_or(|series| series.len() <= 1), "{query}: {result}");
        result[0]["value"][1].as_str()?.parse().ok()
    }

    /// Waits until each job has the calls of this many runs.
    fn wait_for_calls(&self, runs: usize) {
        let (calls, each) = (CALLS.join("|"), runs * EACH);
        let query = format!("count(profiler_syscalls_total{{syscall=~\"{calls}\"}} >= {each})");
        let all = (JOBS.len() * CALLS.len()) as f64;
        wait_until("all calls are stored", || self.number(&query) == Some(all));
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Passes requests on, with another `Accept`, and remembers which fields the answers have. Until
/// 2.49, Prometheus has no setting for the format.
struct Proxy {
    address: SocketAddr,
    seen: Arc<Mutex<BTreeSet<String>>>,
}

impl Proxy {
    fn start(daemon: SocketAddr, accept: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::<Mutex<BTreeSet<String>>>::default();
        let answers = Arc::clone(&seen);
        // The thread ends with the process.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // If a client disconnects, its job is shown as down, which other checks find.
                let _ = pass(client, daemon, accept, &answers);
            }
        });
        Self { address, seen }
    }
}

fn pass(
    mut client: TcpStream,
    daemon: SocketAddr,
    accept: Option<&str>,
    seen: &Mutex<BTreeSet<String>>,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut bytes = [0; 4096];
        let read = client.read(&mut bytes)?;
        if read == 0 {
            return Ok(());
        }
        request.extend_from_slice(&bytes[..read]);
    }
    let request = String::from_utf8_lossy(&request).into_owned();
    let is_accept = |line: &&str| line.to_lowercase().starts_with("accept:");
    let mut lines: Vec<&str> =
        request.trim_end().lines().filter(|line| accept.is_none() || !is_accept(line)).collect();
    let field = accept.map(|accept| format!("Accept: {accept}"));
    lines.extend(field.as_deref());
    let mut server = TcpStream::connect(daemon)?;
    server.write_all(format!("{}\r\n\r\n", lines.join("\r\n")).as_bytes())?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let end = answer.windows(4).position(|end| end == b"\r\n\r\n").unwrap_or(answer.len());
    let header = String::from_utf8_lossy(&answer[..end]).into_owned();
    let fields: BTreeMap<_, _> = header.lines().filter_map(|line| line.split_once(": ")).collect();
    let mut seen = seen.lock().expect("no panic");
    for name in ["content-type", "content-encoding", "vary"] {
        seen.extend(fields.get(name).map(|value| format!("{name}: {value}")));
    }
    drop(seen);
    client.write_all(&answer)
}
