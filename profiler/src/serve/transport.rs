//! The transport below HTTP: the connection itself, or a layer such as TLS.

use std::io;

use tokio::io::{AsyncRead, AsyncWrite};

use super::{
    connections::{self, Answers},
    stream::ClientStream,
};

/// Turns an accepted connection into the stream for HTTP.
pub trait Transport: Clone + Send + 'static {
    /// The stream.
    type Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Starts a connection, with a handshake if the transport has one. The timeout of a request's
    /// header applies to the handshake too.
    ///
    /// # Errors
    /// If the client does not keep to the protocol, or goes away.
    fn begin(self, client: ClientStream) -> impl Future<Output = io::Result<Self::Stream>> + Send;

    /// Answers the requests of a connection, by default over HTTP/1.1.
    ///
    /// # Errors
    /// If the client does not keep to the protocol, or goes away.
    fn serve(
        stream: Self::Stream,
        answers: Answers,
    ) -> impl Future<Output = hyper::Result<()>> + Send {
        connections::serve_http1(stream, answers)
    }
}

/// The connection itself.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Transport for Plain {
    type Stream = ClientStream;

    async fn begin(self, client: ClientStream) -> io::Result<ClientStream> {
        Ok(client)
    }
}
