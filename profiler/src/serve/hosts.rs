//! Checks the host names in the `Host` field of requests, to prevent DNS rebinding.
//!
//! A web page in a browser on this host can let its own name resolve to the loopback address, and
//! then read the metrics. The `Host` field of such a request has the name of the page.

use std::{fmt, net::IpAddr, str::FromStr};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, Uri, Version, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

/// A host name, or with a leading dot, a domain with all names below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    fn matches(&self, name: &str) -> bool {
        match self.0.strip_prefix('.') {
            Some(domain) => name == domain || name.ends_with(&self.0),
            None => name == self.0,
        }
    }
}

impl FromStr for HostName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str =
            "expected a host name without a port, for example db1.example.com or .example.com";
        /// Maximum length of a name (RFC 1035, 2.3.4), characters.
        const MAX_LENGTH: usize = 253;
        let name = text.strip_prefix('.').unwrap_or(text);
        let is_label = |label: &str| {
            !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        };
        if name.len() > MAX_LENGTH || !name.split('.').all(is_label) {
            return Err(EXPECTED);
        }
        Ok(Self(text.to_ascii_lowercase()))
    }
}

impl fmt::Display for HostName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The local address of a connection, as an extension of its requests.
#[derive(Clone, Copy, Debug)]
pub struct Local(pub IpAddr);

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// The request has no `Host` field, more than one, or an invalid one.
    Malformed,
    /// The `Host` field has a name that is not allowed.
    Misdirected,
}

/// Refuses requests with a host name that is not allowed.
///
/// IP addresses and `localhost` are always accepted, because a web page cannot use them as its own
/// name. Other names must be in the list of allowed names. One exception: if the list is empty, a
/// request that arrived at an address other than loopback may have any name, because Prometheus on
/// another host may use any name.
pub(super) async fn check(
    State(allowed): State<Vec<HostName>>,
    request: Request,
    next: Next,
) -> Response {
    let local = request.extensions().get().map(|&Local(address)| address);
    match judge(&allowed, local, request.version(), request.uri(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(Refusal::Malformed) => {
            (StatusCode::BAD_REQUEST, "expected exactly one valid Host field\n").into_response()
        }
        Err(Refusal::Misdirected) => {
            const WHY: &str =
                "this host name is not allowed; add it to the setting allowed_hosts\n";
            (StatusCode::MISDIRECTED_REQUEST, WHY).into_response()
        }
    }
}

fn judge(
    allowed: &[HostName],
    local: Option<IpAddr>,
    version: Version,
    uri: &Uri,
    headers: &HeaderMap,
) -> Result<(), Refusal> {
    let mut fields = headers.get_all(header::HOST).iter();
    let field = match (fields.next(), fields.next()) {
        (Some(field), None) => Some(field.to_str().map_err(|_| Refusal::Malformed)?),
        // No browser speaks HTTP/1.0, which has no such field.
        (None, _) if version <= Version::HTTP_10 => None,
        // In HTTP/2, the authority of the target replaces the field (RFC 9113, 8.3.1).
        (None, _) if version == Version::HTTP_2 && uri.authority().is_some() => None,
        _ => return Err(Refusal::Malformed),
    };
    // An absolute target replaces the field (RFC 9112, 3.2.2). Both must be allowed.
    let target = uri.authority().map(Authority::as_str);
    for text in field.into_iter().chain(target) {
        let authority: Authority = text.parse().map_err(|_| Refusal::Malformed)?;
        if !is_ours(allowed, local, authority.host()) {
            return Err(Refusal::Misdirected);
        }
    }
    Ok(())
}

fn is_ours(allowed: &[HostName], local: Option<IpAddr>, host: &str) -> bool {
    let host = host.to_ascii_lowercase();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(&host);
    let name = bare.strip_suffix('.').unwrap_or(bare);
    let from_elsewhere = local.is_some_and(|local| !local.to_canonical().is_loopback());
    bare.parse::<IpAddr>().is_ok()
        || name == "localhost"
        || allowed.iter().any(|allowed| allowed.matches(name))
        || (from_elsewhere && allowed.is_empty())
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const LOOPBACK: &str = "127.0.0.1";
    const ELSEWHERE: &str = "192.0.2.1";

    fn judged(allowed: &[&str], local: &str, target: &str, hosts: &[&str]) -> Result<(), Refusal> {
        let allowed: Vec<_> = allowed.iter().map(|name| name.parse().expect("a name")).collect();
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(header::HOST, HeaderValue::from_str(host).expect("a value"));
        }
        let local = Some(local.parse().expect("an address"));
        let uri = target.parse().expect("a target");
        judge(&allowed, local, Version::HTTP_11, &uri, &headers)
    }

    #[test]
    fn a_name_of_somebody_else_s_is_refused_on_the_loopback() {
        let of = |host: &str| judged(&[], LOOPBACK, "/metrics", &[host]);
        for host in [
            "localhost",
            "LocalHost:9494",
            "localhost.",
            "127.0.0.1:9494",
            "127.1.2.3",
            "[::1]:9494",
            "[::1]",
            "192.0.2.7:80",
        ] {
            assert_eq!(of(host), Ok(()), "{host}");
        }
        for host in
            ["evil.example", "evil.example:9494", "localhost.evil.example", "127.0.0.1.nip.io"]
        {
            assert_eq!(of(host), Err(Refusal::Misdirected), "{host}");
        }
        for host in ["", "a b", "http://localhost", "[::1"] {
            assert_eq!(of(host), Err(Refusal::Malformed), "{host}");
        }
        assert_eq!(judged(&[], "::1", "/", &["evil.example"]), Err(Refusal::Misdirected));
        assert_eq!(judged(&[], "::ffff:127.0.0.1", "/", &["e.example"]), Err(Refusal::Misdirected));
    }

    #[test]
    fn configured_names_are_served() {
        let names = ["db1.example.com", ".Prod.example.com"];
        let of = |host: &str| judged(&names, LOOPBACK, "/metrics", &[host]);
        for host in ["DB1.example.com:9494", "prod.example.com", "a.b.prod.example.com."] {
            assert_eq!(of(host), Ok(()), "{host}");
        }
        for host in ["db2.example.com", "x.db1.example.com", "evilprod.example.com"] {
            assert_eq!(of(host), Err(Refusal::Misdirected), "{host}");
        }
        assert_eq!(judged(&names, ELSEWHERE, "/", &["other"]), Err(Refusal::Misdirected));
    }

    #[test]
    fn from_elsewhere_any_name_will_do_unless_some_are_configured() {
        assert_eq!(judged(&[], ELSEWHERE, "/", &["db1:9494"]), Ok(()));
        assert_eq!(judged(&["db2"], ELSEWHERE, "/", &["db1:9494"]), Err(Refusal::Misdirected));
        assert_eq!(judged(&["db2"], ELSEWHERE, "/", &["192.0.2.1:9494"]), Ok(()));
    }

    #[test]
    fn there_is_one_host_and_the_target_s_counts_too() {
        assert_eq!(judged(&[], LOOPBACK, "/", &[]), Err(Refusal::Malformed));
        let two = ["localhost", "localhost"];
        assert_eq!(judged(&[], LOOPBACK, "/", &two), Err(Refusal::Malformed));
        let of = |target| judged(&[], LOOPBACK, target, &["localhost"]);
        assert_eq!(of("http://127.0.0.1:9494/metrics"), Ok(()));
        assert_eq!(of("http://evil.example/metrics"), Err(Refusal::Misdirected));
        let old = judge(&[], None, Version::HTTP_10, &Uri::from_static("/"), &HeaderMap::new());
        assert_eq!(old, Ok(()));
        let of = |target| {
            judge(&[], None, Version::HTTP_2, &Uri::from_static(target), &HeaderMap::new())
        };
        assert_eq!(of("https://localhost:9494/metrics"), Ok(()));
        assert_eq!(of("https://evil.example/metrics"), Err(Refusal::Misdirected));
        assert_eq!(of("/metrics"), Err(Refusal::Malformed));
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        for text in ["", ".", "a..b", "a:80", "http://a", "a b", "*.a", "\u{e9}", &"a".repeat(254)]
        {
            assert!(text.parse::<HostName>().is_err(), "{text}");
        }
    }
}
