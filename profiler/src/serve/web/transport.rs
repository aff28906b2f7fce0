//! TLS as a transport below HTTP.

use std::{io, sync::Arc};

use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::{http2, live::Live};
use crate::serve::{
    connections::{self, Answers},
    stream::ClientStream,
    transport::Transport,
};

/// TLS with the settings that are in effect when a connection begins.
#[derive(Clone, Debug)]
pub struct Tls(pub Arc<Live>);

impl Transport for Tls {
    type Stream = TlsStream<ClientStream>;

    async fn begin(self, client: ClientStream) -> io::Result<Self::Stream> {
        // `Live::replace` does not remove it.
        let config = self.0.current().tls.clone();
        let config = config.ok_or_else(|| io::Error::other("there is no TLS configuration"))?;
        TlsAcceptor::from(config).accept(client).await
    }

    async fn serve(stream: Self::Stream, answers: Answers) -> hyper::Result<()> {
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            http2::serve(stream, answers).await
        } else {
            connections::serve_http1(stream, answers).await
        }
    }
}
