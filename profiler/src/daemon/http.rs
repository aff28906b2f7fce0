//! Serves the last reading over HTTP, with a bound on all that a client decides.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderName, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};

use super::feed::Feed;
use crate::{error::Error, export::prometheus};

/// Connections served at one time. Further ones wait in the kernel's queue.
const MAX_CONNECTIONS: usize = 32;
/// Time for a request to arrive, all of it that we read.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a connection from its first byte to its last.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);
/// Bytes of a request; the least that hyper takes.
const MAX_REQUEST_BYTES: usize = 8192;
/// Pause after a failed accept, which out of descriptors would fail at once again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Takes the address. Apart from [`serve`], so that one in use is found out before
/// anything is attached, and a low port is had before privileges are dropped.
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, Error> {
    let listen = || {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|source: io::Error| Error::Listen { address, source })
}

/// Answers requests for as long as it is polled.
pub async fn serve(listener: TcpListener, feed: Feed) -> Infallible {
    let router = router(feed);
    let connections = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    loop {
        let permit = Arc::clone(&connections).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) => {
                let connection = connection(stream, router.clone());
                tokio::spawn(async move {
                    connection.await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!("cannot accept a connection: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer. A scrape every few seconds gains nothing from a
/// connection kept open, and one that ends can be bounded as a whole: what reads
/// slowly holds its place for [`CONNECTION_TIMEOUT`] and no longer.
async fn connection(stream: TcpStream, router: Router) {
    let answered = http1::Builder::new()
        .keep_alive(false)
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(MAX_REQUEST_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    match tokio::time::timeout(CONNECTION_TIMEOUT, answered).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("connection failed: {error}"),
        Err(_) => tracing::debug!("connection timed out"),
    }
}

/// What is served where.
pub fn router(feed: Feed) -> Router {
    Router::new()
        .route("/", get(landing_page))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .with_state(feed)
}

const SECURITY_HEADERS: [(HeaderName, &str); 2] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

async fn landing_page() -> impl IntoResponse {
    const PAGE: &str = concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">",
        "<title>profiler</title></head>\n<body>\n<h1>profiler</h1>\n<p>System calls of this host, version ",
        env!("CARGO_PKG_VERSION"),
        ".</p>\n<ul>\n",
        "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n",
        "<li><a href=\"/-/healthy\">/-/healthy</a>: whether it does its work</li>\n",
        "<li><a href=\"/-/ready\">/-/ready</a>: whether there are metrics to scrape</li>\n",
        "</ul>\n</body>\n</html>\n",
    );
    (SECURITY_HEADERS, Html(PAGE))
}

async fn metrics(State(feed): State<Feed>) -> Response {
    let asked = Instant::now();
    let Some(reading) = feed.fresh().await else { return not_ready() };
    let text = reading.text();
    feed.scraped(asked.elapsed());
    match text {
        Some(text) => ([(header::CONTENT_TYPE, prometheus::CONTENT_TYPE)], text).into_response(),
        None => (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n").into_response(),
    }
}

async fn healthy(State(feed): State<Feed>) -> Response {
    if feed.is_alive() {
        "healthy\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "no drain when it was due\n").into_response()
    }
}

async fn ready(State(feed): State<Feed>) -> Response {
    match feed.latest() {
        Some(_) => "ready\n".into_response(),
        None => not_ready(),
    }
}

fn not_ready() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "nothing has been read yet\n").into_response()
}
