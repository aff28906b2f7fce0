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
    pub fn hint(&self) -> Option<String> { None }
}
/// Stub.
pub fn parse_duration(_text: &str) -> Result<Duration, ConfigError> { todo!() }
