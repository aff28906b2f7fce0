//! Serves the last reading over HTTP.

pub mod connections;
pub mod feed;
pub mod hosts;
pub mod http;
pub mod places;
pub mod stream;
pub mod transport;

use std::{io, net::SocketAddr};

/// Why nothing can be served.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// The thread that serves cannot start.
    #[error("cannot start to serve: {0}")]
    Start(io::Error),
}
