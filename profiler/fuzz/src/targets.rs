//! The fuzz targets. Each target takes any bytes, and panics if the parser violates a property.
//!
//! `profiler/tests/corpus.rs` runs the same functions over the committed corpus, without
//! libFuzzer.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpStream},
    path::Path,
    str,
    sync::LazyLock,
    thread,
    time::Duration,
};

use profiler::{
    budget::Budget,
    commands::config::Config,
    decode::{Style, decode as decoded},
    duration::Interval,
    engine::kernel::trace::parse,
    filter::{CallPattern, Calls, Comm},
    inspect::{fdinfo::FdInfo, locks, net, parse_call, task},
    model::{Call, Copied, Happened, Left, Part},
    placement::{Named, Placement},
    present::metrics::Format,
    seccomp::{Arch, Container, read_oci, read_systemd, write_oci},
    serve::{feed, http, negotiation, web::check},
};

use profiler_common::call::{ABIS, CallKey};

/// A target.
pub(crate) type Target = fn(&[u8]);

/// Every target, by the name of its directory in the corpus.
pub(crate) const ALL: [(&str, Target); 12] = [
    ("accept", accept),
    ("budget", budget),
    ("config", config),
    ("decode", decode),
    ("duration", duration),
    ("filters", filters),
    ("placement", placement),
    ("proc", proc),
    ("request", request),
    ("seccomp", seccomp),
    ("trace", trace),
    ("web", web),
];

/// A file of /proc, by any of its parsers.
fn proc(data: &[u8]) {
    if let Some(stat) = task::Stat::parse(data) {
        assert!(data.windows(2).any(|two| two == b") ") || data.contains(&b')'), "{stat:?}");
    }
    let _ = (task::Status::parse(data), task::schedstat(data), task::ids(data));
    task::last_on_cpu(data);
    assert!(task::stack(data).iter().all(|name| !name.raw().is_empty()));
    let info = FdInfo::parse(data);
    assert!(info.targets.len() <= info.target_count, "{info:?}");
    let all = locks::parse(data);
    for lock in &all {
        let holders = locks::holders(&all, lock.pid.unwrap_or(1), Some(lock.inode));
        assert!(holders.is_sorted(), "{holders:?}");
    }
    for line in data.split(|&byte| byte == b'\n') {
        let text = String::from_utf8_lossy(line);
        if let Some(socket) = net::InetSocket::parse(&text) {
            socket.tcp_state();
        }
        net::UnixSocket::parse(line);
        for abi in ABIS {
            let _ = parse_call(&text, abi);
        }
    }
}

/// The headers `Accept` and `Accept-Encoding`, one field per line. Fields with unknown formats
/// change nothing.
fn accept(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let format = negotiation::best_format(text.lines());
    let among_others = text.lines().chain(["image/png", ";", "q=1", ",,"]);
    assert_eq!(negotiation::best_format(among_others), format, "{text:?}");
    let best = ["application/openmetrics-text"].into_iter().chain(text.lines());
    if format == Format::Text {
        assert_eq!(negotiation::best_format(best), Format::OpenMetrics, "{text:?}");
    }
    negotiation::prefers_gzip(text.lines());
}

/// A record of the kernel side about a single call. The parts are sorted, each is there once, and no
/// part is longer than the record.
fn trace(data: &[u8]) {
    let Ok(event) = parse(data) else { return };
    let Happened::Call(call) = event.happened else { return };
    assert!(call.parts.is_sorted_by_key(|part| (part.capture, part.index)), "{call:?}");
    for part in &call.parts {
        assert_eq!(call.part(part.capture, part.index), Some(part));
        assert!(!matches!(&part.copied, Copied::Bytes(bytes) if bytes.len() > data.len()));
    }
}

/// A budget file. A valid budget is written and parsed again, with the same result.
fn budget(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Budget::from_toml(text) {
        Ok(budget) => {
            let written = budget.to_toml();
            let again = Budget::from_toml(&written).map(|budget| budget.to_toml());
            assert_eq!(again.as_ref(), Ok(&written), "{text:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A seccomp profile, by both of its parsers. A valid one is written as JSON and parsed again, with the
/// same result.
fn seccomp(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    for parsed in [read_oci(text), read_systemd(text)] {
        let profile = match parsed {
            Ok(profile) => profile,
            Err(error) => {
                assert!(!error.place.is_empty() && !error.problem.is_empty(), "{text:?}");
                continue;
            }
        };
        let _ = profile.check();
        for arch in Arch::ALL {
            for name in ["read", "clone", "nosuch"] {
                let verdict = profile.judge(arch, name, &Container::default());
                let action = profile.judge_call(arch, name, &[0; 6], &Container::default());
                let strictest = verdict.strictest().strictness();
                assert!(action.strictness() <= strictest, "{name}: {action}, {verdict:?}");
            }
        }
        assert_eq!(read_oci(&write_oci(&profile)), Ok(profile), "{text:?}");
    }
}

/// `/proc/PID/cgroup`. A label has no harmful characters.
fn placement(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for placement in [Placement::of_proc(&text), Placement::of_path(&text)] {
        let label = placement.label(&Named::default()).unwrap_or_default();
        assert!(!label.chars().any(char::is_control), "{label:?}");
    }
}

/// The daemon's configuration file. A valid configuration is written and parsed again, with the
/// same result.
fn config(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match Config::parse(text, Path::new("fuzzed.toml")) {
        Ok(config) => {
            let written = config.to_toml();
            let again = Config::parse(&written, Path::new("written.toml"));
            assert_eq!(again.ok().as_ref(), Some(&config), "{written}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// The web configuration file. A mistake has a line, and a message without control characters.
fn web(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    if let Err(error) = check(text, Path::new("fuzzed.yml")) {
        let message = error.to_string();
        assert!(message.contains("line ") && !message.chars().any(char::is_control), "{message}");
    }
}

/// A call as the kernel side sends it: the ABI, the number in two bytes, whether the call left, the
/// result and the arguments in eight bytes each, then parts: capture, index, state, length, bytes.
/// Its line has no control characters.
fn decode(data: &[u8]) {
    let Some((head, mut rest)) = data.split_at_checked(4 + 7 * 8) else { return };
    let number = |at: usize| {
        let bytes = head[4 + 8 * at..12 + 8 * at].iter().rev();
        bytes.fold(0_u64, |number, byte| number << 8 | u64::from(*byte))
    };
    let mut parts = Vec::new();
    while let Some((&[capture, index, state, length], after)) = rest.split_first_chunk() {
        let (bytes, after) = after.split_at(usize::from(length).min(after.len()));
        let copied = match state {
            0 => Copied::Bytes(bytes.to_vec()),
            1 => Copied::Fault,
            _ => Copied::NoSpace,
        };
        let wanted = u64::from(length) + u64::from(state & 1);
        parts.push(Part { capture: capture.into(), index: index.into(), copied, wanted });
        rest = after;
    }
    let abi = ABIS[usize::from(head[0]) % ABIS.len()];
    let call = Call {
        key: CallKey::of(abi, u16::from_le_bytes([head[1], head[2]]).into()),
        args: [1, 2, 3, 4, 5, 6].map(number),
        entry_ns: None,
        left: (head[3] != 0).then(|| Left { exit_ns: 0, result: number(0).cast_signed() }),
        thread_ended_ns: None,
        is_denied: false,
        is_cut: false,
        parts,
    };
    for is_verbose in [false, true] {
        let style = Style { is_verbose, with_files: is_verbose, ..Style::default() };
        let decoded = decoded(&call, &style);
        for text in [decoded.text(), decoded.text_before_exit(), decoded.rest_text()] {
            assert!(!text.chars().any(char::is_control), "{text:?}");
        }
        assert!(serde_json::to_string(&decoded).is_ok());
    }
}

/// Durations, as in `--interval`. A valid duration is written and parsed again, with the same
/// result.
fn duration(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    match text.parse::<Interval>() {
        Ok(duration) => {
            let written = duration.to_string();
            assert_eq!(written.parse().ok(), Some(duration), "{text:?}, {written:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// Values of `--syscall` and `--comm`, one per line.
fn filters(data: &[u8]) {
    let Ok(text) = str::from_utf8(data) else { return };
    let mut patterns = Vec::new();
    for line in text.lines() {
        match line.parse::<CallPattern>() {
            Ok(pattern) => {
                let written = pattern.to_string();
                assert_eq!(written.parse().ok().as_ref(), Some(&pattern), "{line:?}, {written:?}");
                patterns.push(pattern);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if let Ok(comm) = line.parse::<Comm>() {
            let written = comm.to_string();
            assert_eq!(written.parse().ok().as_ref(), Some(&comm), "{line:?}, {written:?}");
        }
    }
    if let Ok(Some(calls)) = Calls::new(&patterns) {
        assert!(calls.counts().contains(&true), "nothing counts: {text:?}");
    }
}

/// The bytes that a client sends to the daemon. The connection ends, the answer is HTTP, and the
/// next client is served.
fn request(data: &[u8]) {
    static SERVER: LazyLock<SocketAddr> = LazyLock::new(serve);
    let answer = exchange(*SERVER, data);
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{answer:?}");
    let next = exchange(*SERVER, b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(next.starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&next));
}

/// Starts the daemon's server on a free port.
fn serve() -> SocketAddr {
    let listener = http::bind(([127, 0, 0, 1], 0).into()).expect("a port");
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        let (_publisher, feed) = feed::feed();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).expect("registers");
            match http::serve(listener, feed, Vec::new()).await {}
        })
    });
    address
}

fn exchange(address: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
    // A server that refuses may reset the connection before everything is sent.
    let _ = stream.write_all(request);
    let _ = stream.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{error}");
    }
    answer
}
