//! Serves the last reading over HTTP.

pub mod body;
pub mod connections;
pub mod feed;
pub mod hosts;
pub mod http;
pub mod negotiation;
pub mod places;
pub mod socket_file;
pub mod sockets;
pub mod stream;
pub mod transport;
#[cfg(feature = "tls")]
pub mod web;
pub mod web_config;

use std::io;

use crate::address::Listen;

/// Why the daemon cannot serve.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The daemon cannot listen on the address.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: Listen,
        /// The kernel's error.
        source: io::Error,
    },
    /// The sockets that systemd passes cannot be used.
    #[error("cannot listen on the sockets of systemd: {0}")]
    Inherited(io::Error),
    /// The thread that serves, or its event loop, cannot start.
    #[error("cannot start the thread that serves HTTP: {0}")]
    Start(io::Error),
}
