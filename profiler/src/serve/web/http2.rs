//! HTTP/2, bounded as HTTP/1.1 is: a connection is for one request, or a few at once.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use axum::{http::Request, response::Response};
use hyper::{body::Incoming, rt::Executor, server::conn::http2, service::Service};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::Notify,
    task::JoinSet,
    time::{Instant, sleep_until},
};

use crate::serve::connections::{Answer, Answers, HEADER_TIMEOUT, MAX_HEADER_BYTES};

/// Streams that a client may have open at one time.
const MAX_STREAMS: u32 = 8;
/// Requests of a connection, including those that the client resets. A client that opens streams
/// and resets them at once (CVE-2023-44487) gets no further.
const MAX_REQUESTS: usize = 32;
/// Streams that the client reset before they were accepted, and streams that we reset.
const MAX_RESETS: usize = 8;
/// Bytes that a client may send of the body of a request. Nothing reads a body.
const WINDOW: u32 = 16 << 10;
/// Bytes of an answer that wait for the client to read.
const SEND_BUFFER: usize = 32 << 10;

/// Serves a connection. The first request has to arrive within [`HEADER_TIMEOUT`].
pub(super) async fn serve<S>(stream: S, answers: Answers) -> hyper::Result<()>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let requests = Arc::<Requests>::default();
    let answers = Counting { answers, requests: Arc::clone(&requests) };
    let connection = http2::Builder::new(Streams::default())
        .timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_pending_accept_reset_streams(MAX_RESETS)
        .max_local_error_reset_streams(MAX_RESETS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(2 * WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(MAX_HEADER_BYTES as u32)
        .serve_connection(TokioIo::new(stream), answers);
    let mut connection = pin!(connection);
    let deadline = Instant::now() + HEADER_TIMEOUT;
    let mut is_last = false;
    loop {
        tokio::select! {
            biased;
            served = connection.as_mut() => return served,
            () = requests.arrived() => {
                if requests.count() > MAX_REQUESTS {
                    tracing::debug!("connection closed: it has more than {MAX_REQUESTS} requests");
                    return Ok(());
                }
                if !is_last {
                    // As with HTTP/1.1, the next scrape has a connection of its own. Requests
                    // that are on their way are still answered (RFC 9113, 6.8).
                    connection.as_mut().graceful_shutdown();
                    is_last = true;
                }
            }
            () = sleep_until(deadline), if !is_last => {
                tracing::debug!("connection timed out: no request");
                return Ok(());
            }
        }
    }
}

/// Counts the requests of a connection.
#[derive(Debug, Default)]
struct Requests {
    count: AtomicUsize,
    arrived: Notify,
}

impl Requests {
    fn add(&self) {
        self.count.fetch_add(1, Relaxed);
        self.arrived.notify_one();
    }

    /// The requests so far.
    fn count(&self) -> usize {
        self.count.load(Relaxed)
    }

    /// Returns when a request has arrived since the last call.
    async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// Counts requests, and passes them on.
struct Counting {
    answers: Answers,
    requests: Arc<Requests>,
}

impl Service<Request<Incoming>> for Counting {
    type Response = Response;
    type Error = Infallible;
    type Future = Answer;

    fn call(&self, request: Request<Incoming>) -> Answer {
        self.requests.add();
        self.answers.call(request)
    }
}

/// Runs the streams of one connection. They end with the connection.
#[derive(Clone, Default)]
struct Streams(Arc<Mutex<JoinSet<()>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut streams = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while streams.try_join_next().is_some() {}
        streams.spawn(stream);
    }
}
