//! The well-behaved client, which measures the duration of each answer.

use std::{
    fmt,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

/// The durations of answers.
#[derive(Default)]
pub(super) struct Times(Vec<Duration>);

impl Times {
    /// The longest.
    pub(super) fn most(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }

    /// The longest of this share of them.
    pub(super) fn of_share(&self, share: f64) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let last = sorted.len().saturating_sub(1);
        sorted.get((last as f64 * share) as usize).copied().unwrap_or_default()
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} answers: half within {:.1?}, 99 % within {:.1?}, all within {:.1?}",
            self.0.len(),
            self.of_share(0.5),
            self.of_share(0.99),
            self.most(),
        )
    }
}

pub(super) struct Client(SocketAddr);

impl Client {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Checks that an answer is complete and valid.
    #[track_caller]
    pub(super) fn ask_everything(&self, times: &mut Times) {
        for path in ["/-/healthy", "/-/ready", "/metrics"] {
            let asked = Instant::now();
            let answer = self.ask(path).unwrap_or_else(|error| {
                panic!("{path}: {error} after {:?}; {times}", asked.elapsed())
            });
            times.0.push(asked.elapsed());
            let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
            assert!(head.starts_with("HTTP/1.1 200 "), "{path}: {head}");
            let length = format!("content-length: {}", body.len());
            assert!(head.contains(&length), "{path}: {} bytes of {head}", body.len());
        }
    }

    fn ask(&self, path: &str) -> std::io::Result<String> {
        let patience = Duration::from_secs(10);
        let mut stream = TcpStream::connect_timeout(&self.0, patience)?;
        stream.set_read_timeout(Some(patience))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.0);
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }
}
