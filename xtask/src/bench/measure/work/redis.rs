//! redis, under redis-benchmark.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, ensure};

use super::{PATIENCE, Running, Traced};
use crate::bench::measure::{attached::Attached, child::Tied};

pub(super) const NEEDS: [(&str, &str); 2] =
    [("redis-server", "redis-server"), ("redis-benchmark", "redis-tools")];

const REQUESTS: u64 = 25_000;

struct Redis {
    server: Tied,
    socket: PathBuf,
}

pub(super) fn start(directory: &Path) -> Result<Box<dyn Running>> {
    let socket = directory.join("redis.socket");
    let mut server = Command::new("redis-server");
    server.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]);
    server.arg(&socket).arg("--dir").arg(directory);
    let mut server = Tied::start(server)?;
    server.until(PATIENCE, "listening", |_| socket.exists())?;
    Ok(Box::new(Redis { server, socket }))
}

impl Running for Redis {
    fn once(&mut self, attached: &Attached, fewer: u64) -> Result<f64> {
        let traced = Traced::by(attached, self.server.id())?;
        let mut client = Command::new("redis-benchmark");
        client.arg("-s").arg(&self.socket);
        client.args(["-c", "10", "-t", "get,set", "--csv"]);
        client.args(["-n", &(REQUESTS / fewer).to_string()]);
        let said = Tied::start(client)?.ended()?;
        drop(traced);
        seconds_a_request(&said)
    }
}

/// The mean over all kinds of requests in the table.
fn seconds_a_request(csv: &str) -> Result<f64> {
    let rates: Vec<f64> = csv
        .lines()
        .filter_map(|line| line.split(',').nth(1)?.trim_matches('"').parse().ok())
        .collect();
    ensure!(!rates.is_empty(), "redis-benchmark gave no rate: {csv}");
    Ok(rates.iter().map(|rate| 1.0 / rate).sum::<f64>() / rates.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_of_times_and_not_of_rates() {
        let csv = "\"test\",\"rps\",\"avg_latency_ms\"\n\
                   \"SET\",\"50000.00\",\"0.1\"\n\"GET\",\"100000.00\",\"0.1\"\n";
        assert!((seconds_a_request(csv).expect("rates") - 15e-6).abs() < 1e-12);
        assert!(seconds_a_request("Could not connect").is_err());
    }
}
