//! The daemon over TLS, after it dropped its privileges: Prometheus scrapes it, and a key is
//! renewed.

use std::{
    fs,
    io::BufRead as _,
    net::{SocketAddr, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    certificates::Authority,
    prometheus::program,
    run::{Mode, profiler_command, wait_until},
    service::{Daemon, get},
};

/// Prometheus uses a certificate and a password. A key is renewed after the daemon has dropped its
/// privileges. The log has no secrets.
pub(crate) fn prometheus_scrapes_it_with_a_password_and_a_certificate() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path();
    // The daemon changes to another user, who must be able to read the files.
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
    let (authority, secret) = (Authority::new(), "correct-horse-battery");
    authority.server().write(path, "server");
    authority.client(&["prometheus"]).write(path, "client");
    fs::write(path.join("ca.crt"), authority.pem()).expect("written");
    let hash = bcrypt::hash(secret, 6).expect("a hash");
    let web = path.join("web.yml");
    let text = format!(
        "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n  client_ca_file: ca.crt\n  client_auth_type: RequireAndVerifyClientCert\nbasic_auth_users:\n  prometheus: {hash}\n"
    );
    fs::write(&web, text).expect("written");

    let flags = ["--web-config", web.to_str().expect("text")];
    let (daemon, log) = Daemon::start_unread(profiler_command(), Mode::Main, "200ms", &flags);
    let applied = Arc::new(AtomicUsize::new(0));
    let reader = {
        let applied = Arc::clone(&applied);
        thread::spawn(move || {
            let mut text = String::new();
            for line in log.lines().map_while(Result::ok) {
                applied.fetch_add(line.contains("and was applied").into(), Relaxed);
                text += &line;
            }
            text
        })
    };
    let job = format!(
        "    scheme: https\n    tls_config: {{ca_file: {0}/ca.crt, cert_file: {0}/client.crt, key_file: {0}/client.key}}\n    basic_auth: {{username: prometheus, password: {secret}}}\n",
        path.display()
    );
    let prometheus = scraped_by_prometheus(path, daemon.address(), &job);
    authority.server().write(path, "server");
    wait_until("the renewed key is used", || applied.load(Relaxed) > 0);
    drop(prometheus);
    let again = tempfile::tempdir().expect("a directory");
    drop(scraped_by_prometheus(again.path(), daemon.address(), &job));
    daemon.end();
    let log = reader.join().expect("a log");
    let key = fs::read_to_string(path.join("server.key")).expect("a key");
    let line = key.lines().nth(1).expect("base64");
    for hidden in [secret, &hash, line] {
        assert!(!log.contains(hidden), "{log}");
    }
}

/// Starts Debian's Prometheus, with these further lines for its job, and waits until its series are
/// those of the daemon.
fn scraped_by_prometheus(directory: &Path, address: SocketAddr, job: &str) -> impl Drop + use<> {
    let config = directory.join("prometheus.yml");
    let text = format!(
        "scrape_configs:\n  - job_name: profiler\n    scrape_interval: 1s\n{job}    static_configs:\n      - targets: ['{address}']\n"
    );
    fs::write(&config, text).expect("a file");
    // This port was free a moment ago.
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("one");
    let spawned = Command::new(program())
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
        .arg(format!("--web.listen-address={port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let prometheus = match spawned {
        Ok(child) => Killed(child),
        Err(error) => panic!("this test needs Debian's package prometheus: {error}"),
    };
    wait_until("prometheus listens", || TcpStream::connect(port).is_ok());
    let value_of = |query: &str| -> Option<f64> {
        let (status, body) = get(port, &format!("/api/v1/query?query={query}"));
        if status != 200 {
            return None;
        }
        // The answer may be chunked, with lengths before and after the JSON.
        let json = &body[body.find('{')?..=body.rfind('}')?];
        let answer: serde_json::Value = serde_json::from_str(json).ok()?;
        answer["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    };
    wait_until("prometheus has scraped", || value_of("up") == Some(1.0));
    let series = value_of("scrape_samples_scraped").expect("a number of samples");
    assert!(series > 100.0, "{series}");
    assert!(value_of("sum(profiler_syscalls_total)").is_some_and(|calls| calls > 0.0));
    let built = value_of("profiler_build_info");
    assert_eq!(built, Some(1.0));
    prometheus
}

/// A child that is killed at the end of the test.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
