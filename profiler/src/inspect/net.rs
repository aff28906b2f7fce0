//! Parses the lists of sockets in /proc/PID/net (proc_pid_net(5)).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::text::Untrusted;

/// A socket of TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InetSocket {
    /// Own address.
    pub local: SocketAddr,
    /// Address of the peer. Its port is 0 if there is none.
    pub remote: SocketAddr,
    /// The state (include/net/tcp_states.h).
    pub state: u8,
    /// Bytes that were sent, and that the peer has not acknowledged.
    pub send_queue: u64,
    /// Bytes that were received, and that the program has not read.
    pub receive_queue: u64,
    /// Inode. 0 if no descriptor names the socket.
    pub inode: u64,
}

/// States in which a socket of TCP accepts connections.
pub const LISTEN: u8 = 10;

impl InetSocket {
    /// Parses a line of tcp, tcp6, udp or udp6. `None` if it is malformed, as the heading is.
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace();
        let local = address(words.nth(1)?)?;
        let remote = address(words.next()?)?;
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        let (send, receive) = words.next()?.split_once(':')?;
        let queue = |text| u64::from_str_radix(text, 16).ok();
        // tr:tm->when, retrnsmt, uid and timeout are in between.
        let inode = words.nth(4)?.parse().ok()?;
        let (send_queue, receive_queue) = (queue(send)?, queue(receive)?);
        Some(Self { local, remote, state, send_queue, receive_queue, inode })
    }

    /// The name of the state of a TCP socket.
    pub fn tcp_state(&self) -> &'static str {
        const STATES: [&str; 12] = [
            "established",
            "connecting",
            "handshake received",
            "closing (FIN_WAIT1)",
            "closing (FIN_WAIT2)",
            "closing (TIME_WAIT)",
            "closed",
            "the peer has closed",
            "closing (LAST_ACK)",
            "listening",
            "closing",
            "handshake received",
        ];
        let at = usize::from(self.state).checked_sub(1);
        at.and_then(|at| STATES.get(at)).copied().unwrap_or("in an unknown state")
    }
}

/// Parses an address such as `0100007F:0035`: words of four bytes in the order of the host, and the
/// port.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let mut bytes = Vec::with_capacity(16);
    if !ip.is_ascii() || !matches!(ip.len(), 8 | 32) {
        return None;
    }
    for at in (0..ip.len()).step_by(8) {
        bytes.extend(u32::from_str_radix(ip.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let ip = match <[u8; 4]>::try_from(&bytes[..]) {
        Ok(four) => IpAddr::from(Ipv4Addr::from(four)),
        Err(_) => {
            let ip = Ipv6Addr::from(<[u8; 16]>::try_from(&bytes[..]).ok()?);
            // So that both ends of a connection have the same address.
            ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4)
        }
    };
    Some(SocketAddr::new(ip, port))
}

/// A Unix socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnixSocket {
    /// The type: `SOCK_STREAM` and so on.
    pub kind: u16,
    /// Whether it accepts connections (`SO_ACCEPTCON`).
    pub listens: bool,
    /// Whether it is connected (`SS_CONNECTED`).
    pub is_connected: bool,
    /// Inode.
    pub inode: u64,
    /// Its path; `@` and a name for an abstract one. Empty if it has none.
    pub path: Untrusted,
}

impl UnixSocket {
    /// Parses a line of unix. `None` if it is malformed, as the heading is.
    pub fn parse(line: &[u8]) -> Option<Self> {
        let text = Untrusted::from_bytes(line);
        let text = text.raw();
        let mut words = text.split_whitespace();
        // Num, RefCount, Protocol
        let flags = u32::from_str_radix(words.nth(3)?, 16).ok()?;
        let kind = u16::from_str_radix(words.next()?, 16).ok()?;
        let state = u8::from_str_radix(words.next()?, 16).ok()?;
        let inode = words.next()?;
        let path = match words.next() {
            // A path may contain spaces.
            Some(word) => &text[word.as_ptr() as usize - text.as_ptr() as usize..],
            None => "",
        };
        /// `__SO_ACCEPTCON` and `SS_CONNECTED` (include/uapi/linux/net.h).
        const ACCEPTS: u32 = 1 << 16;
        const CONNECTED: u8 = 3;
        Some(Self {
            kind,
            listens: flags & ACCEPTS != 0,
            is_connected: state == CONNECTED,
            inode: inode.parse().ok()?,
            path: path.trim_end_matches('\n').into(),
        })
    }

    /// The name of the type.
    pub fn kind_name(&self) -> &'static str {
        match self.kind {
            1 => "UNIX-STREAM",
            2 => "UNIX-DGRAM",
            5 => "UNIX-SEQPACKET",
            _ => "UNIX",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_in_the_order_of_the_host() {
        let line = "   0: 0100007F:1F90 0200000A:0035 01 0000000A:00000005 00:00000000 00000000 \
                    1000        0 4242 1 0000 100 0 0 10 0";
        let socket = InetSocket::parse(line).expect("a socket");
        assert_eq!(socket.local.to_string(), "127.0.0.1:8080");
        assert_eq!(socket.remote.to_string(), "10.0.0.2:53");
        assert_eq!((socket.send_queue, socket.receive_queue, socket.inode), (10, 5, 4242));
        assert_eq!(socket.tcp_state(), "established");
        assert_eq!(
            InetSocket::parse("  sl  local_address rem_address   st tx_queue rx_queue"),
            None
        );
        let six = "0: 00000000000000000000000001000000:0016 00000000000000000000000000000000:0000 0A \
                   0:0 0:0 0 0 0 7 1";
        let socket = InetSocket::parse(six).expect("a socket");
        assert_eq!((socket.local.to_string().as_str(), socket.state), ("[::1]:22", LISTEN));
        let mapped = address("0000000000000000FFFF00000100007F:0001").expect("an address");
        assert_eq!(mapped.to_string(), "127.0.0.1:1");
    }

    #[test]
    fn a_unix_socket_may_have_a_path_with_spaces() {
        let line = b"ffff8: 00000002 00000000 00010000 0001 01 4242 /run/a b.sock";
        let socket = UnixSocket::parse(line).expect("a socket");
        assert!(socket.listens);
        assert_eq!((socket.inode, socket.path.raw()), (4242, "/run/a b.sock"));
        assert_eq!(socket.kind_name(), "UNIX-STREAM");
        let line = b"0000000000000000: 00000003 00000000 00000000 0005 03 7";
        let socket = UnixSocket::parse(line).expect("a socket");
        assert_eq!((socket.listens, socket.path.raw(), socket.kind), (false, "", 5));
        assert!(socket.is_connected);
        assert_eq!(UnixSocket::parse(b"Num RefCount Protocol Flags Type St Inode Path"), None);
    }

    proptest! {
        #[test]
        fn anything_can_be_parsed(line in ".{0,200}", bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            InetSocket::parse(&line);
            UnixSocket::parse(line.as_bytes());
            UnixSocket::parse(&bytes);
        }

        #[test]
        fn every_address_is_read_back(ip: u32, port: u16) {
            let text = format!("{ip:08X}:{port:04X}");
            let expected = SocketAddr::new(Ipv4Addr::from(ip.to_ne_bytes()).into(), port);
            prop_assert_eq!(address(&text), Some(expected));
        }
    }
}
