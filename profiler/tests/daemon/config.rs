//! Settings: files, flags and messages.

use std::{
    fs,
    path::Path,
    process::{self, Output},
};

use clap::Parser as _;
use profiler::{
    commands::{
        cli::{Cli, Command},
        config::{Config, GroupConfig, MetricsConfig, RankKey},
    },
    model::Dimension,
};

const BINARY: &str = env!("CARGO_BIN_EXE_profiler");

fn check(directory: &Path, arguments: &[&str]) -> Output {
    process::Command::new(BINARY)
        .current_dir(directory)
        .args(["daemon", "--check-config"])
        .args(arguments)
        .output()
        .expect("runs")
}

#[test]
fn the_example_is_the_default() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/profiler.toml");
    let text = fs::read_to_string(path).expect("is there");
    assert_eq!(Config::parse(&text, path.as_ref()).expect("parses"), Config::default());
    // The file has every setting, commented out, with its default.
    let active: String = text
        .lines()
        .map(|line| line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line))
        .map(|line| format!("{line}\n"))
        .collect();
    let all = Config::parse(&active, path.as_ref()).expect("parses uncommented");
    assert_eq!(all, Config::default());
    for line in Config::default().to_toml().lines() {
        assert!(active.contains(line), "{line}");
    }
}

#[test]
fn what_a_terminal_obeys_is_printed_escaped_and_can_be_read_again() {
    let hostile = "a\u{1b}]0;t\u{7}\u{202e}\u{2028}\u{e0041}\n";
    let config = Config { cgroups: vec![hostile.into()], ..Config::default() };
    let text = config.to_toml();
    assert!(text.chars().all(|c| c == '\n' || profiler::text::is_harmless(c)), "{text}");
    assert_eq!(Config::parse(&text, "x".as_ref()).expect("parses"), config);
}

#[test]
fn what_is_printed_can_be_read_again() {
    let config = Config {
        interval: "250ms".parse().expect("an interval"),
        cgroups: vec!["a.slice/b \"c\".service".into()],
        comms: vec!["two words".parse().expect("a name")],
        syscalls: ["read", "!i386:open", "39"].map(|text| text.parse().expect("a call")).into(),
        metrics: MetricsConfig {
            syscalls: vec!["!futex".parse().expect("a call")],
            openmetrics_created: true,
            groups: vec![GroupConfig {
                name: "g".into(),
                by: vec![Dimension::Pod, Dimension::Comm],
                top: 7,
                rank_by: RankKey::Errors,
                max_series: 500,
                expire: "2m".parse().expect("a time"),
            }],
            ..toml::from_str("latency_bounds = [\"1.024us\", \"8ns\"]").expect("settings")
        },
        ..Config::default()
    };
    let again = Config::parse(&config.to_toml(), "x.toml".as_ref()).expect("parses");
    assert_eq!(again, config);
}

#[test]
fn flags_win_over_the_file() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(
        directory.path().join("p.toml"),
        "listen = \"[::1]:9000\"\ninterval = \"250ms\"\nmax_threads = 100\nlog_level = \"debug\"\n\
         cgroups = [\"a.slice\"]\ncomms = [\"nginx\"]\nsyscalls = [\"read\", \"write\"]\n",
    )
    .expect("written");
    let file = directory.path().join("p.toml");
    let args = [
        &["profiler", "daemon", "--config", file.to_str().expect("text")][..],
        &["--interval", "2m", "--max-memory", "7", "--include-self"],
        &["--sample", "9", "--bpf-stats", "--where"],
        &["--unit", "nginx", "--container", "web"],
        &["--cgroup", "b.slice", "--cgroup", "c.slice,d.slice", "--exclude-syscall", "futex"],
    ]
    .concat();
    let Command::Daemon(args) = Cli::try_parse_from(args).expect("flags").command else {
        panic!("another command");
    };
    let config = Config::load(&args).expect("settings");
    // Not with `--check-config`, which looks up the cgroups.
    insta::assert_snapshot!(config.to_toml(), @r#"
    listen = "[::1]:9000"
    allowed_hosts = []
    web_config = ""
    interval = "2m"
    max_threads = 100
    max_memory_mib = 7
    time_one_in = 9
    where = true
    include_self = true
    bpf_stats = true
    cgroups = ["b.slice", "c.slice", "d.slice"]
    units = ["nginx.service"]
    containers = ["web"]
    pods = []
    comms = ["nginx"]
    syscalls = ["!futex"]
    user = "nobody"
    log_level = "debug"

    [metrics]
    syscalls = []
    latency_bounds = ["10.24us", "1.048576ms", "10.48576ms", "100.663296ms", "1.073741824s"]
    openmetrics_created = false
    "#);
}

#[test]
fn mistakes_are_told_with_their_place() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut told = String::new();
    for text in [
        "lisen = \"127.0.0.1:9494\"\n",
        "# comment\n\nlisten = 9494\n",
        "listen = \"example.org:9494\"\n",
        "listen = \"127.0.0.1\"\n",
        "interval = 0\n",
        "interval = -5\n",
        "interval = 0.009\n",
        "interval = true\n",
        "interval = \"5x\"\n",
        "interval = \"9ms\"\n",
        "interval = \"2h\"\n",
        "interval = 5s\n",
        "max_threads = \"many\"\n",
        "max_threads = 0\n",
        "max_threads = 1.5\n",
        "max_memory_mib = -1\n",
        "max_memory_mib = 99999999999999999999\n",
        "include_self = \"yes\"\n",
        "bpf_stats = 1\n",
        "time_one_in = -1\n",
        "time_one_in = true\n",
        "time_one_in = \"auto:9\"\n",
        "cgroups = \"a.slice\"\n",
        "comms = [\"a name that is too long\"]\n",
        "comms = [1]\n",
        "syscalls = [\"read\", \"opnat\"]\n",
        "syscalls = [\"i386:9999\"]\n",
        "log_level = \"verbose\"\n",
        "[metrics]\nlatency_bounds = [\"1ms\"]\n",
        "[metrics]\nlatency_bounds = [\"5 parsecs\"]\n",
        "[metrics]\nbuckets = []\n",
        "interval = \"1s\"\ninterval = \"2s\"\n",
        "[daemon]\ninterval = \"1s\"\n",
        "[metrics]\nsyscalls = [\"read\", \"!read\"]\n",
        "[metrics]\ngroup = 1\n",
        "[[metrics.groups]]\nname = \"g\"\n",
        "[[metrics.groups]]\nby = [\"comm\"]\n",
        "[[metrics.groups]]\nname = \"g\"\nby = []\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"process\"]\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"comm\", \"unit\", \"comm\"]\n",
        "[[metrics.groups]]\nname = \"a b\"\nby = [\"comm\"]\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"comm\"]\ntop = 0\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"comm\"]\nmax_series = 99\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"comm\"]\nrank_by = \"p99\"\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"comm\"]\nexpire = \"1s\"\n",
        "time_one_in = 0\n[[metrics.groups]]\nname = \"g\"\nby = [\"comm\"]\nrank_by = \"time\"\n",
        "[[metrics.groups]]\nname = \"g\"\nby = [\"comm\"]\n[[metrics.groups]]\nname = \"g\"\nby = [\"unit\"]\n",
        "interval\n",
        "interval = \"1s\n",
        "\u{0}\n",
    ] {
        fs::write(directory.path().join("p.toml"), text).expect("written");
        let output = check(directory.path(), &["--config", "p.toml"]);
        assert_eq!(output.status.code(), Some(7), "{text:?}");
        assert!(output.stdout.is_empty());
        let message = String::from_utf8(output.stderr).expect("text");
        let first = message.lines().next().expect("a line");
        told.push_str(&format!("{}\n    {first}\n", text.trim_end().escape_debug()));
    }
    insta::assert_snapshot!(told);
}

#[test]
fn a_file_that_is_named_has_to_be_there() {
    let directory = tempfile::tempdir().expect("a directory");
    let output = check(directory.path(), &["--config", "absent.toml"]);
    assert_eq!(output.status.code(), Some(7));
    insta::assert_snapshot!(String::from_utf8_lossy(&output.stderr), @r"
    profiler: cannot read the configuration absent.toml: No such file or directory (os error 2)
      without --config, the daemon uses its defaults
    ");
}

#[test]
fn flags_have_the_same_bounds() {
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("p.toml"), "").expect("written");
    let mut told = String::new();
    for (flag, code) in [
        (["--interval", "1ms"], 2),
        (["--interval", "2h"], 2),
        (["--max-threads", "0"], 7),
        (["--max-memory", "4097"], 7),
    ] {
        let output = check(directory.path(), &[&["--config", "p.toml"], &flag[..]].concat());
        assert_eq!(output.status.code(), Some(code), "{flag:?}");
        told.push_str(&String::from_utf8_lossy(&output.stderr));
    }
    insta::assert_snapshot!(told, @r"
    error: invalid duration `1ms` for --interval: expected 10ms to 1h
    error: invalid duration `2h` for --interval: expected 10ms to 1h
    profiler: --max-threads 0: expected a whole number from 1 to 4194304
    profiler: --max-memory 4097: expected a whole number from 1 to 2560
    ");
}

#[test]
fn a_bare_number_is_seconds() {
    for (file, flags) in [
        ("interval = 2\n", &[][..]),
        ("interval = 2.0\n", &[]),
        ("interval = \"2\"\n", &[]),
        ("", &["--interval", "2"]),
    ] {
        let directory = tempfile::tempdir().expect("a directory");
        fs::write(directory.path().join("p.toml"), file).expect("written");
        let output = check(directory.path(), &[&["--config", "p.toml"], flags].concat());
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("interval = \"2s\"\n"), "{file}{flags:?}: {output:?}");
    }
}

/// The error comes before anything is loaded, so this test requires no privilege.
#[test]
fn a_port_in_use_ends_it_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let directory = tempfile::tempdir().expect("a directory");
    fs::write(directory.path().join("p.toml"), "").expect("written");
    let output = process::Command::new(BINARY)
        .current_dir(directory.path())
        .args(["daemon", "--config", "p.toml", "--listen", &address])
        .output()
        .expect("runs");
    assert_eq!(output.status.code(), Some(8));
    let message = String::from_utf8(output.stderr).expect("text");
    assert!(message.contains(&format!("cannot listen on {address}: Address already in use")));
}

/// `--check-config` refuses everything that a start refuses, with the same exit code.
#[test]
fn the_check_refuses_what_a_start_refuses() {
    let directory = tempfile::tempdir().expect("a directory");
    let names: Vec<_> = (0..257).map(|number| format!("\"n{number}\"")).collect();
    for (text, why) in [
        ("cgroups = [\"no/such\"]".to_owned(), "cgroup"),
        ("syscalls = [\"read\", \"!read\"]".to_owned(), "the filters exclude every syscall"),
        (format!("comms = [{}]", names.join(", ")), "257 names of processes exceed the limit"),
    ] {
        fs::write(directory.path().join("x.toml"), &text).expect("a file");
        let checked = check(directory.path(), &["--config", "x.toml"]);
        let started = process::Command::new(BINARY)
            .current_dir(directory.path())
            .args(["daemon", "--listen", "localhost:0", "--config", "x.toml"])
            .env_remove("JOURNAL_STREAM")
            .output()
            .expect("runs");
        let told = String::from_utf8_lossy(&checked.stderr);
        assert!(told.contains(why), "{told}");
        assert!(checked.stdout.is_empty() && !checked.status.success());
        assert_eq!(checked.status.code(), started.status.code(), "{text}");
        assert_eq!(checked.stderr, started.stderr, "{text}");
    }
}

#[test]
fn an_address_is_taken_or_explained() {
    let directory = tempfile::tempdir().expect("a directory");
    let localhost = check(directory.path(), &["--listen", "localhost:9494"]);
    let printed = String::from_utf8_lossy(&localhost.stdout);
    assert!(printed.contains("listen = \"127.0.0.1:9494\""), "{printed}");
    for (text, why) in [(":9494", "the address is missing"), ("::1:9494", "[::1]:9494")] {
        let refused = check(directory.path(), &["--listen", text]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why));
        fs::write(directory.path().join("x.toml"), format!("listen = \"{text}\"")).expect("a file");
        let refused = check(directory.path(), &["--config", "x.toml"]);
        assert_eq!(refused.status.code(), Some(7));
        assert!(String::from_utf8_lossy(&refused.stderr).contains(why));
    }
}
