//! Applies a web configuration file to every answer: authentication, a rate limit, headers.

use std::{sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse as _, Response},
};

use super::{
    live::{Live, Web},
    users::Outcome,
};
use crate::serve::places::{Client, Peer};

impl Live {
    /// Applies the settings to all requests of `router`.
    pub(super) fn protect(self: &Arc<Self>, router: Router) -> Router {
        router.layer(middleware::from_fn_with_state(Arc::clone(self), answer))
    }
}

async fn answer(State(live): State<Arc<Live>>, request: Request, next: Next) -> Response {
    let web = live.current();
    let mut response = judged(&live, &web, request, next).await;
    for (name, value) in &web.headers {
        response.headers_mut().insert(name, value.clone());
    }
    response
}

async fn judged(live: &Live, web: &Web, request: Request, next: Next) -> Response {
    if web.bucket.as_ref().is_some_and(|bucket| !bucket.take(Instant::now())) {
        return (StatusCode::TOO_MANY_REQUESTS, "too many requests: see rate_limit\n")
            .into_response();
    }
    if web.users.is_empty() {
        return next.run(request).await;
    }
    // A connection always has one.
    let unknown = Client { peer: Peer::UNKNOWN, places: 0 };
    let client = request.extensions().get::<Client>().copied().unwrap_or(unknown);
    match live.checker.check(&web.users, request.headers(), client).await {
        Outcome::Granted => next.run(request).await,
        Outcome::Refused => {
            const CHALLENGE: [(header::HeaderName, &str); 1] =
                [(header::WWW_AUTHENTICATE, "Basic realm=\"profiler\"")];
            (StatusCode::UNAUTHORIZED, CHALLENGE, "unauthorized\n").into_response()
        }
        Outcome::Busy => {
            const LATER: [(header::HeaderName, &str); 1] = [(header::RETRY_AFTER, "1")];
            let why = "too many passwords are being checked\n";
            (StatusCode::SERVICE_UNAVAILABLE, LATER, why).into_response()
        }
    }
}
