//! A client's connection that fails if the client stops reading.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{connections::SEND_BUFFER, places::Progress, sockets::ClientSocket};

/// Maximum time for which a client may leave an answer unread.
const WRITE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that notes in its [`Progress`] when bytes are sent, and fails if none are sent for
/// [`WRITE_TIMEOUT`].
///
/// If it is dropped before its end, it is reset. Otherwise, the kernel would keep unread data, up
/// to a send buffer per connection, long after our descriptor is closed.
pub struct ClientStream {
    stream: ClientSocket,
    progress: Arc<Progress>,
    epoch: Instant,
    /// Runs while the client does not read.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl ClientStream {
    /// Wraps an accepted connection. `epoch` is when the clock of `progress` began.
    pub(super) fn new(
        stream: ClientSocket,
        progress: Arc<Progress>,
        epoch: Instant,
    ) -> io::Result<Self> {
        if stream.lingers() {
            stream.as_ref().set_linger(Some(Duration::ZERO))?;
        } else {
            stream.as_ref().set_send_buffer_size(SEND_BUFFER)?;
        }
        Ok(Self { stream, progress, epoch, stalled: None })
    }

    /// Updates progress and timeout after an attempt to write.
    fn wrote(
        &mut self,
        cx: &mut Context<'_>,
        result: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if result.is_ready() {
            self.stalled = None;
            self.progress.wrote(micros_since(self.epoch));
            return result;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(stalled.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

/// Time for [`Progress::wrote`].
pub fn micros_since(epoch: Instant) -> u64 {
    u64::try_from(epoch.elapsed().as_micros()).unwrap_or(u64::MAX)
}

impl AsyncRead for ClientStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for ClientStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.wrote(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.wrote(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Sends the rest, and closes the connection gracefully.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.stream.lingers() {
            self.stream.as_ref().set_linger(None)?;
        }
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Closes a connection at once, without an answer.
pub(super) fn refuse(socket: ClientSocket) {
    // Best effort: the connection ends either way.
    let _ = socket.as_ref().set_linger(Some(Duration::ZERO));
    drop(socket);
}
