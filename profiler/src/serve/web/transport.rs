//! TLS as a transport below HTTP.

use std::{io, sync::Arc};

use tokio_rustls::{TlsAcceptor, server::TlsStream};

use super::live::Live;
use crate::serve::{stream::ClientStream, transport::Transport};

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

    fn is_http2(stream: &Self::Stream) -> bool {
        stream.get_ref().1.alpn_protocol() == Some(b"h2")
    }
}
