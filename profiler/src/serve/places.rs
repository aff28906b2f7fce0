//! Bounds the number of connections, and chooses which to close for a new one.

use std::{
    cmp::Reverse,
    collections::HashMap,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
};

/// The progress of a connection. The connection's own task advances it.
#[derive(Debug, Default)]
pub struct Progress {
    stage: AtomicUsize,
    /// The time when bytes were last sent, by the clock of the caller of [`Progress::wrote`].
    wrote: AtomicU64,
}

/// What a connection is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Its request is incomplete.
    Reading,
    /// Its answer is being made. The client cannot delay this.
    Answering,
    /// Its answer is being sent.
    Writing,
}

impl Progress {
    /// Records that the request is complete.
    pub fn answer(&self) {
        self.stage.store(Stage::Answering as usize, Relaxed);
    }

    /// Records that the answer is complete at `now`, and is being sent.
    pub fn write(&self, now: u64) {
        self.wrote.store(now, Relaxed);
        self.stage.store(Stage::Writing as usize, Relaxed);
    }

    /// Records that bytes were sent at `now`. Before the answer, they belong to a handshake, and
    /// the request is still incomplete.
    pub fn wrote(&self, now: u64) {
        self.wrote.store(now, Relaxed);
    }

    fn stage(&self) -> Stage {
        match self.stage.load(Relaxed) {
            0 => Stage::Reading,
            1 => Stage::Answering,
            _ => Stage::Writing,
        }
    }
}

/// The unit in which connections are counted: an address or, for IPv6, the /64 network, since one
/// host can have a whole /64. All loopback addresses are one peer, since any local user can connect
/// from each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Peer(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Kind {
    Address(IpAddr),
    /// A user of this host, over a Unix socket.
    User(u32),
}

impl Peer {
    /// A peer whose address is not known.
    pub const UNKNOWN: Self = Self(Kind::Address(IpAddr::V6(Ipv6Addr::UNSPECIFIED)));

    /// A user of this host, who connects over a Unix socket.
    pub fn user(uid: u32) -> Self {
        Self(Kind::User(uid))
    }

    /// The peer that an address belongs to.
    pub fn of(address: IpAddr) -> Self {
        const NETWORK: u128 = !0 << 64;
        let address = address.to_canonical();
        Self(Kind::Address(match address {
            address if address.is_loopback() => Ipv6Addr::LOCALHOST.into(),
            IpAddr::V4(_) => address,
            IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & NETWORK).into(),
        }))
    }
}

/// Who sent a request, and how many connections are served at one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// Who sent the request.
    pub peer: Peer,
    /// The most connections at one time.
    pub places: usize,
}

impl Client {
    /// The most requests that may wait at one time, of `most`: half of the places stay free for others,
    /// because a request that waits keeps its place.
    pub fn max_waiting(self, most: usize) -> usize {
        most.min(self.places / 2).max(1)
    }
}

#[derive(Debug)]
struct Entry<H> {
    /// Connections are numbered in the order of their arrival.
    number: u64,
    peer: Peer,
    of_peer: Arc<AtomicUsize>,
    progress: Arc<Progress>,
    handle: H,
}

/// The open connections, each with a handle that closes it.
#[derive(Debug)]
pub struct Places<K, H> {
    limit: usize,
    admitted: u64,
    entries: HashMap<K, Entry<H>>,
    /// Open connections of each peer.
    peers: HashMap<Peer, Arc<AtomicUsize>>,
}

impl<K: Copy + Eq + Hash, H> Places<K, H> {
    /// No connections yet, and at most `limit`.
    pub fn new(limit: usize) -> Self {
        Self { limit, admitted: 0, entries: HashMap::new(), peers: HashMap::new() }
    }

    /// The most connections at one time.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// Whether every place is taken.
    pub fn is_full(&self) -> bool {
        self.entries.len() >= self.limit
    }

    /// Takes a place.
    pub fn enter(&mut self, key: K, peer: Peer, progress: Arc<Progress>, handle: H) {
        let of_peer = Arc::clone(self.peers.entry(peer).or_default());
        of_peer.fetch_add(1, Relaxed);
        self.admitted += 1;
        let entry = Entry { number: self.admitted, peer, of_peer, progress, handle };
        self.entries.insert(key, entry);
    }

    /// Frees a place. Does nothing if it was freed before.
    pub fn leave(&mut self, key: K) -> Option<H> {
        let entry = self.entries.remove(&key)?;
        if entry.of_peer.fetch_sub(1, Relaxed) == 1 {
            self.peers.remove(&entry.peer);
        }
        Some(entry.handle)
    }

    /// Frees the place of one connection and returns its handle. Returns `None` if every connection
    /// is about to be answered.
    ///
    /// Half of the places belong to requests that are incomplete and half to answers
    /// that are being sent, so that neither kind can crowd out the other. The victim is
    /// of the kind that exceeds its half:
    ///
    /// - an incomplete request: the oldest.
    /// - an answer: the one that was not read for longest. A client that reads is safe.
    ///
    /// Connections of the peer that has most connections go first.
    pub fn evict(&mut self) -> Option<H> {
        let of = |stage| self.entries.iter().filter(move |(_, e)| e.progress.stage() == stage);
        let reading = of(Stage::Reading).count();
        let crowd = |entry: &Entry<H>| Reverse(entry.of_peer.load(Relaxed));
        let slowest =
            of(Stage::Writing).min_by_key(|(_, e)| (crowd(e), e.progress.wrote.load(Relaxed)));
        let victim = match slowest {
            Some(slowest) if reading <= self.limit / 2 => Some(slowest),
            _ => of(Stage::Reading).min_by_key(|(_, e)| (crowd(e), e.number)),
        };
        let key = *victim?.0;
        self.leave(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> Peer {
        Peer::of(text.parse().expect("an address"))
    }

    /// Enters connections that are their own handles, all reading.
    fn places(limit: usize, peers: &[&str]) -> (Places<usize, usize>, Vec<Arc<Progress>>) {
        let mut places = Places::new(limit);
        let progresses: Vec<_> = peers.iter().map(|_| Arc::<Progress>::default()).collect();
        for (key, (text, progress)) in peers.iter().zip(&progresses).enumerate() {
            places.enter(key, peer(text), Arc::clone(progress), key);
        }
        (places, progresses)
    }

    #[test]
    fn the_oldest_incomplete_request_goes_first() {
        let (mut places, progresses) = places(4, &["127.0.0.1"; 4]);
        assert!(places.is_full());
        progresses[0].answer();
        assert_eq!(places.evict(), Some(1));
        assert_eq!(places.evict(), Some(2));
        assert!(!places.is_full());
        assert_eq!(places.evict(), Some(3));
        assert_eq!(places.evict(), None, "the one that is about to be answered stays");
    }

    #[test]
    fn the_answer_that_was_not_read_for_longest_goes_first() {
        let (mut places, progresses) = places(4, &["127.0.0.1"; 4]);
        for (at, now) in [(0, 30), (1, 10), (2, 20)] {
            progresses[at].write(now);
        }
        // Connection 3 has not sent its request yet, and is one of less than half.
        assert_eq!(places.evict(), Some(1));
        progresses[2].write(40);
        assert_eq!(places.evict(), Some(0));
        assert_eq!(places.evict(), Some(2));
        assert_eq!(places.evict(), Some(3));
    }

    #[test]
    fn a_handshake_is_no_answer() {
        let (mut places, progresses) = places(4, &["127.0.0.1"; 4]);
        // Connection 3 answers; the others have a handshake behind them, and no request.
        progresses[3].write(1);
        for (at, now) in [(0, 5), (1, 4), (2, 3)] {
            progresses[at].wrote(now);
        }
        assert_eq!(places.evict(), Some(0), "the oldest without a request");
        assert_eq!(places.evict(), Some(3), "of the others less than half have no request");
    }

    #[test]
    fn incomplete_requests_do_not_crowd_out_answers() {
        let (mut places, progresses) = places(4, &["127.0.0.1"; 4]);
        progresses[0].write(1);
        assert_eq!(places.evict(), Some(1), "three of four places are too many");
    }

    #[test]
    fn the_peer_with_most_connections_loses_one() {
        let (mut places, _) = places(5, &["192.0.2.1", "127.0.0.1", "127.0.0.2", "::1", "::2"]);
        assert_eq!(places.evict(), Some(1));
        assert_eq!(places.evict(), Some(2));
        assert_eq!(places.evict(), Some(0), "with one each the oldest goes");
        assert_eq!((places.leave(3), places.leave(3)), (Some(3), None));
        assert_eq!(places.peers.len(), 1);
    }

    #[test]
    fn one_host_is_one_peer() {
        assert_eq!(peer("127.0.0.1"), peer("127.9.9.9"));
        assert_eq!(peer("127.0.0.1"), peer("::ffff:127.0.0.1"));
        assert_eq!(peer("127.0.0.1"), peer("::1"));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::2:2"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_ne!(peer("192.0.2.1"), peer("192.0.2.2"));
        assert_eq!(peer("192.0.2.1"), peer("::ffff:192.0.2.1"));
    }
}
