//! Stub.
use std::time::Duration;
/// Stub.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A text is no duration.
    #[error("{text:?} is no time: write a number and a unit, as 500ms, 10s or 2m")]
    Duration {
        /// The text.
        text: String,
    },
}
impl ConfigError {
    /// Stub.
    pub fn hint(&self) -> Option<String> {
        None
    }
}
/// Stub.
pub fn parse_duration(text: &str) -> Result<Duration, ConfigError> {
    let (n, s) = if let Some(n) = text.strip_suffix("ms") {
        (n, 1)
    } else {
        (text.trim_end_matches('s'), 1000)
    };
    n.parse::<u64>()
        .map(|n| Duration::from_millis(n * s))
        .map_err(|_| ConfigError::Duration { text: text.into() })
}
