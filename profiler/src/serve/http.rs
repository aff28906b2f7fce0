//! Serves the last reading over HTTP.

use std::{convert::Infallible, net::SocketAddr, sync::Arc, thread, time::Instant};

use axum::{
    Extension, Router,
    extract::State,
    http::{HeaderMap, HeaderName, StatusCode, header},
    middleware,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use tokio::{net::TcpListener, sync::oneshot};

use super::{
    ServeError, connections,
    feed::{Feed, MAX_WAITING},
    hosts::{self, HostName},
    negotiation,
    places::Client,
    socket_file::SocketFile,
    sockets::{Listeners, Sockets},
    transport::{Plain, Transport},
    web_config::WebConfig,
};
use crate::address::Listen;

/// Listens on an address. This comes before [`serve`], so that an address in use is found before
/// anything is attached, and a low port is bound before privileges are dropped.
///
/// # Errors
/// [`ServeError::Listen`].
pub fn bind(address: SocketAddr) -> Result<std::net::TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address: Listen::Tcp(address), source };
    connections::listen(address).map_err(failed)
}

/// Opens the sockets to serve on: those that systemd passes, or else one at `listen`. The file of
/// a Unix socket belongs to `owner`, a user and a group, and is removed when the returned
/// [`SocketFile`] is dropped.
///
/// # Errors
/// [`ServeError::Listen`] and [`ServeError::Inherited`].
pub fn open(
    listen: &Listen,
    owner: (u32, u32),
) -> Result<(Sockets, Option<SocketFile>), ServeError> {
    if let Some(sockets) = Sockets::inherited().map_err(ServeError::Inherited)? {
        return Ok((sockets, None));
    }
    let failed = |source| ServeError::Listen { address: listen.clone(), source };
    Sockets::open(listen, owner).map_err(failed)
}

/// Serves on a thread of its own, so that drains and clients never delay each other: a drain of a
/// large host takes a quarter of a second, and clients may connect as fast as they can.
///
/// The thread serves until the process ends. If the thread panics, the receiver fails.
///
/// # Errors
/// If the thread or its event loop cannot be started.
pub fn spawn(
    sockets: impl Into<Sockets>,
    feed: Feed,
    allowed_hosts: Vec<HostName>,
    web: Option<Arc<dyn WebConfig>>,
) -> Result<oneshot::Receiver<Infallible>, ServeError> {
    let failed = |source| ServeError::Start(source);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let listener = {
        let _within = runtime.enter();
        sockets.into().register().map_err(failed)?
    };
    let (alive, ended) = oneshot::channel();
    let serve = move || {
        // Dropped if this thread panics.
        let _alive: oneshot::Sender<Infallible> = alive;
        match runtime.block_on(serve_by(web, listener, feed, allowed_hosts)) {}
    };
    thread::Builder::new().name("http".into()).spawn(serve).map_err(failed)?;
    Ok(ended)
}

/// Answers requests with the settings of a web configuration file, if there is one, for as long as
/// it is polled.
pub async fn serve_by(
    web: Option<Arc<dyn WebConfig>>,
    listener: impl Into<Listeners>,
    feed: Feed,
    allowed_hosts: Vec<HostName>,
) -> Infallible {
    let router = router(feed, allowed_hosts);
    match web {
        Some(web) => web.serve(listener.into(), router).await,
        None => connections::serve(listener, Plain, router).await,
    }
}

/// Answers requests for as long as it is polled.
pub async fn serve(listener: TcpListener, feed: Feed, allowed_hosts: Vec<HostName>) -> Infallible {
    serve_over(Plain, listener, feed, allowed_hosts).await
}

/// Answers requests over `transport` for as long as it is polled.
pub async fn serve_over(
    transport: impl Transport,
    listener: TcpListener,
    feed: Feed,
    allowed_hosts: Vec<HostName>,
) -> Infallible {
    connections::serve(listener, transport, router(feed, allowed_hosts)).await
}

/// The paths that are served.
pub fn router(feed: Feed, allowed_hosts: Vec<HostName>) -> Router {
    Router::new()
        .route("/", get(landing_page))
        .route("/metrics", get(metrics))
        .route("/-/healthy", get(healthy))
        .route("/-/ready", get(ready))
        .with_state(feed)
        // Also for paths that do not exist.
        .layer(middleware::from_fn_with_state(allowed_hosts, hosts::check))
}

const SECURITY_HEADERS: [(HeaderName, &str); 2] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
];

async fn landing_page() -> impl IntoResponse {
    const PAGE: &str = concat!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">",
        "<title>profiler</title></head>\n<body>\n<h1>profiler</h1>\n<p>Syscalls of this host, version ",
        env!("CARGO_PKG_VERSION"),
        ".</p>\n<ul>\n",
        "<li><a href=\"/metrics\">/metrics</a>: for Prometheus</li>\n",
        "<li><a href=\"/-/healthy\">/-/healthy</a>: whether drains come when they are due</li>\n",
        "<li><a href=\"/-/ready\">/-/ready</a>: whether there are metrics to scrape</li>\n",
        "</ul>\n</body>\n</html>\n",
    );
    (SECURITY_HEADERS, Html(PAGE))
}

async fn metrics(
    State(feed): State<Feed>,
    client: Option<Extension<Client>>,
    request: HeaderMap,
) -> Response {
    let asked = Instant::now();
    let (format, gzip) = (negotiation::format(&request), negotiation::gzip(&request));
    let most = client.map_or(1, |Extension(client)| client.max_waiting(MAX_WAITING));
    let Some(reading) = feed.fresh_among(most).await else { return not_ready() };
    let body = reading.body(format, gzip);
    feed.scraped(asked.elapsed());
    let Some(body) = body else {
        return (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n").into_response();
    };
    let coding = body.is_gzip.then_some([(header::CONTENT_ENCODING, "gzip")]);
    let headers =
        [(header::CONTENT_TYPE, format.content_type()), (header::VARY, "Accept, Accept-Encoding")];
    (headers, coding, body.bytes).into_response()
}

async fn healthy(State(feed): State<Feed>) -> Response {
    if feed.is_alive() {
        "healthy\n".into_response()
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "the last drain is overdue\n").into_response()
    }
}

async fn ready(State(feed): State<Feed>) -> Response {
    match feed.latest() {
        Some(_) => "ready\n".into_response(),
        None => not_ready(),
    }
}

fn not_ready() -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, "no drain has ended yet\n").into_response()
}
