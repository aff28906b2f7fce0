//! The address to serve metrics on, as the user writes it.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    str::FromStr,
};

use crate::text;

/// Where the daemon listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// An address and a port: `127.0.0.1:9494`, `[::1]:9494`, or `localhost:9494` for the first.
    Tcp(SocketAddr),
    /// The path of a Unix socket, after `unix:`.
    Unix(PathBuf),
}

impl Listen {
    /// The address of the metrics, for people.
    pub fn url(&self, scheme: &str) -> String {
        match self {
            Self::Tcp(address) => format!("{scheme}://{address}/metrics"),
            Self::Unix(_) => format!("{scheme}://localhost/metrics on {self}"),
        }
    }
}

impl FromStr for Listen {
    type Err = &'static str;

    /// Parses an address. The error says what is wrong, and gives an example.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix("unix:") {
            Some(path) => parse_path(path).map(Self::Unix),
            None => parse_tcp(text).map(Self::Tcp),
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", text::path(path)),
        }
    }
}

fn parse_path(text: &str) -> Result<PathBuf, &'static str> {
    /// `sun_path` of `struct sockaddr_un` (include/uapi/linux/un.h), less the NUL at its end.
    const MAX_LENGTH: usize = 107;
    if !Path::new(text).is_absolute() || text.ends_with('/') || text.contains('\0') {
        return Err("expected an absolute path, for example unix:/run/profiler/metrics.sock");
    }
    if text.len() > MAX_LENGTH {
        return Err("the path of a Unix socket has at most 107 bytes");
    }
    Ok(text.into())
}

fn parse_tcp(text: &str) -> Result<SocketAddr, &'static str> {
    const FORM: &str = "expected an IP address and a port, for example 127.0.0.1:9494 or [::]:9494";
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    let Some((host, port)) = text.rsplit_once(':').filter(|_| text.parse::<IpAddr>().is_err())
    else {
        return Err(match text.parse::<IpAddr>() {
            Ok(IpAddr::V6(_)) => {
                "the port is missing; expected [ADDRESS]:PORT, for example [::1]:9494"
            }
            Ok(IpAddr::V4(_)) => "the port is missing, for example 127.0.0.1:9494",
            Err(_) => FORM,
        });
    };
    let port = port.parse::<u16>().ok().filter(|_| port.bytes().all(|b| b.is_ascii_digit()));
    match (host, port) {
        (_, None) => Err("the port is a number from 0 to 65535, for example 127.0.0.1:9494"),
        ("", _) => Err(
            "the address is missing: 127.0.0.1:PORT serves this host only, [::]:PORT every network",
        ),
        ("localhost", Some(port)) => Ok((Ipv4Addr::LOCALHOST, port).into()),
        _ if host.parse::<IpAddr>().is_ok() => {
            Err("an IPv6 address is written in brackets, for example [::1]:9494")
        }
        _ => {
            Err("a host name is not looked up; expected an IP address, for example 127.0.0.1:9494")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_port() {
        for (text, address) in [
            ("127.0.0.1:9494", "127.0.0.1:9494"),
            ("[::]:0", "[::]:0"),
            ("localhost:9494", "127.0.0.1:9494"),
        ] {
            assert_eq!(text.parse(), Ok(Listen::Tcp(address.parse().expect("an address"))));
        }
    }

    #[test]
    fn a_unix_socket_has_an_absolute_path() {
        let path = "unix:/run/profiler/metrics.sock";
        let listen: Listen = path.parse().expect("a path");
        assert_eq!(listen, Listen::Unix("/run/profiler/metrics.sock".into()));
        assert_eq!(listen.to_string(), path);
        let long = format!("unix:/{}", "x".repeat(107));
        for text in ["unix:", "unix:x", "unix:/", "unix:/x/", "unix:/a\0b", long.as_str()] {
            assert!(text.parse::<Listen>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_address_says_why() {
        let texts = [
            "",
            ":",
            "9494",
            ":9494",
            "*:9494",
            "localhost",
            "localhost:",
            "127.0.0.1",
            "::1",
            "::1:9494",
            "127.0.0.1:99999",
            "127.0.0.1:+1",
            "example.org:9494",
            "256.0.0.1:1",
        ];
        let told = texts.map(|text| match text.parse::<Listen>() {
            Ok(address) => format!("{text:?} is {address}"),
            Err(why) => format!("{text:?}: {why}"),
        });
        insta::assert_snapshot!(told.join("\n"), @r#"
        "": expected an IP address and a port, for example 127.0.0.1:9494 or [::]:9494
        ":": the port is a number from 0 to 65535, for example 127.0.0.1:9494
        "9494": expected an IP address and a port, for example 127.0.0.1:9494 or [::]:9494
        ":9494": the address is missing: 127.0.0.1:PORT serves this host only, [::]:PORT every network
        "*:9494": a host name is not looked up; expected an IP address, for example 127.0.0.1:9494
        "localhost": expected an IP address and a port, for example 127.0.0.1:9494 or [::]:9494
        "localhost:": the port is a number from 0 to 65535, for example 127.0.0.1:9494
        "127.0.0.1": the port is missing, for example 127.0.0.1:9494
        "::1": the port is missing; expected [ADDRESS]:PORT, for example [::1]:9494
        "::1:9494": the port is missing; expected [ADDRESS]:PORT, for example [::1]:9494
        "127.0.0.1:99999": the port is a number from 0 to 65535, for example 127.0.0.1:9494
        "127.0.0.1:+1": the port is a number from 0 to 65535, for example 127.0.0.1:9494
        "example.org:9494": a host name is not looked up; expected an IP address, for example 127.0.0.1:9494
        "256.0.0.1:1": a host name is not looked up; expected an IP address, for example 127.0.0.1:9494
        "#);
    }
}
