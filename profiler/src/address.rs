//! The address to serve metrics on, as the user writes it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// An address and a port: `127.0.0.1:9494`, `[::1]:9494`, or `localhost:9494` for the first.
///
/// # Errors
/// What is wrong with `text`, and what would be right.
pub fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
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
            assert_eq!(parse_listen(text).expect(text), address.parse().expect("an address"));
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
        let told = texts.map(|text| match parse_listen(text) {
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
