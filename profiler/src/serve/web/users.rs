//! Basic authentication against bcrypt hashes.
//!
//! A hash of cost 10 takes a tenth of a second. Hashes are therefore computed one at a time, away
//! from the thread of the event loop, and results are remembered. A client that floods the daemon
//! with wrong passwords does not delay a client whose password was accepted before.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::http::{HeaderMap, header};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::{hmac, rand::SystemRandom};
use tokio::{sync::Semaphore, task::spawn_blocking};

use crate::serve::places::{Client, Peer};

/// Wrong passwords that are remembered.
const MAX_REFUSED: usize = 256;
/// Requests that may wait for a hash, unless there are few places for connections.
const MAX_WAITING: usize = 64;
/// The share of these that one peer can have. The rest is for other peers.
const SHARE_OF_PEER: usize = 8;

/// The outcome of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The user and the password are right.
    Granted,
    /// They are wrong, or missing.
    Refused,
    /// Too many requests wait for a hash.
    Busy,
}

/// The user and the password of a request.
struct Credentials {
    user: Vec<u8>,
    password: Vec<u8>,
}

impl Credentials {
    /// Reads the `Authorization` field, if it has the scheme Basic (RFC 7617).
    fn of(headers: &HeaderMap) -> Option<Self> {
        let field = headers.get(header::AUTHORIZATION)?.as_bytes();
        let (scheme, encoded) = field.split_at_checked(6)?;
        if !scheme.eq_ignore_ascii_case(b"basic ") {
            return None;
        }
        let text = STANDARD.decode(encoded).ok()?;
        let colon = text.iter().position(|&byte| byte == b':')?;
        Some(Self { user: text[..colon].to_vec(), password: text[colon + 1..].to_vec() })
    }
}

/// A keyed digest of a user, a hash and a password. The key is random, so digests in memory are
/// of no use for guessing.
type Digest = [u8; 32];

/// Checks passwords, and remembers results.
pub(super) struct Checker {
    key: hmac::Key,
    turn: Arc<Semaphore>,
    memory: Mutex<Memory>,
}

#[derive(Default)]
struct Memory {
    /// The last right password of each user. Wrong passwords cannot displace an entry.
    granted: HashMap<Vec<u8>, Digest>,
    refused: VecDeque<Digest>,
    waiting: HashMap<Peer, usize>,
}

impl Checker {
    /// A checker that remembers nothing.
    ///
    /// # Errors
    /// If the kernel has no random numbers.
    pub(super) fn new() -> Result<Self, ring::error::Unspecified> {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new())?;
        Ok(Self { key, turn: Arc::new(Semaphore::new(1)), memory: Mutex::default() })
    }

    /// Checks the request of `client` with these `headers` against `users`, which is not empty.
    pub(super) async fn check(
        self: &Arc<Self>,
        users: &[(String, String)],
        headers: &HeaderMap,
        client: Client,
    ) -> Outcome {
        let Some(credentials) = Credentials::of(headers) else { return Outcome::Refused };
        let known = users.iter().find(|(name, _)| name.as_bytes() == credentials.user);
        // An unknown user takes as long as a known one, or names could be guessed. Which hash is
        // used depends on the name only, so it does not change between attempts.
        let (_, hash) = known.unwrap_or_else(|| {
            let tag = self.tag(&[b"unknown user", &credentials.user]);
            &users[usize::from(u16::from_be_bytes([tag[0], tag[1]])) % users.len()]
        });
        let digest = self.tag(&[&credentials.user, hash.as_bytes(), &credentials.password]);
        if let Some(outcome) = self.memory().recall(&credentials.user, &digest) {
            return outcome;
        }
        let Some(_waiting) = Waiting::begin(self, client) else { return Outcome::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Outcome::Busy };
        // Another request with the same password may have had its turn meanwhile.
        if let Some(outcome) = self.memory().recall(&credentials.user, &digest) {
            return outcome;
        }
        let (this, hash, is_known) = (Arc::clone(self), hash.clone(), known.is_some());
        // The turn ends with the hash, and not with the request: a client that goes away does not
        // make room for a second hash.
        let verified = spawn_blocking(move || {
            let is_right = bcrypt::verify(&credentials.password, &hash).unwrap_or(false);
            let is_granted = is_right & is_known;
            this.memory().remember(credentials.user, digest, is_granted);
            drop(turn);
            is_granted
        });
        match verified.await {
            Ok(true) => Outcome::Granted,
            Ok(false) => Outcome::Refused,
            Err(_) => Outcome::Busy,
        }
    }

    /// Forgets the results of users that no longer exist.
    pub(super) fn retain(&self, users: &[(String, String)]) {
        let is_known = |user: &[u8]| users.iter().any(|(name, _)| name.as_bytes() == user);
        self.memory().granted.retain(|user, _| is_known(user));
    }

    fn tag(&self, parts: &[&[u8]]) -> Digest {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut digest = Digest::default();
        digest.copy_from_slice(context.sign().as_ref());
        digest
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Memory {
    fn recall(&self, user: &[u8], digest: &Digest) -> Option<Outcome> {
        if self.granted.get(user) == Some(digest) {
            return Some(Outcome::Granted);
        }
        self.refused.contains(digest).then_some(Outcome::Refused)
    }

    fn remember(&mut self, user: Vec<u8>, digest: Digest, is_granted: bool) {
        if is_granted {
            self.granted.insert(user, digest);
            return;
        }
        if self.refused.len() == MAX_REFUSED {
            self.refused.pop_front();
        }
        self.refused.push_back(digest);
    }
}

/// A request that waits for a hash, until this is dropped.
struct Waiting<'a> {
    checker: &'a Checker,
    peer: Peer,
}

impl<'a> Waiting<'a> {
    /// `None` if too many wait already.
    fn begin(checker: &'a Checker, client: Client) -> Option<Self> {
        let peer = client.peer;
        let most = client.max_waiting(MAX_WAITING);
        let most_of_peer = most.div_ceil(SHARE_OF_PEER);
        let waiting = &mut checker.memory().waiting;
        let is_full = waiting.values().sum::<usize>() >= most;
        let of_peer = waiting.entry(peer).or_default();
        if is_full || *of_peer >= most_of_peer {
            if *of_peer == 0 {
                waiting.remove(&peer);
            }
            return None;
        }
        *of_peer += 1;
        Some(Self { checker, peer })
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let waiting = &mut self.checker.memory().waiting;
        if let Some(of_peer) = waiting.get_mut(&self.peer) {
            *of_peer -= 1;
            if *of_peer == 0 {
                waiting.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "$2y$04$X0h1gDsPszWURQaxFh.zoubFi6DXncSjhoQNJgRrnGs7EsimhC7zG";

    fn users(password: &str) -> Vec<(String, String)> {
        let hash = bcrypt::hash(password, 4).expect("a hash");
        vec![("alice".into(), hash), ("bob".into(), HASH.into())]
    }

    fn headers(credentials: &str) -> HeaderMap {
        let field = format!("Basic {}", STANDARD.encode(credentials));
        [(header::AUTHORIZATION, field.parse().expect("a value"))].into_iter().collect()
    }

    fn peer(address: &str) -> Client {
        Client { peer: Peer::of(address.parse().expect("an address")), places: 1_024 }
    }

    #[tokio::test]
    async fn only_the_right_password_of_a_known_user_is_granted() {
        let checker = Arc::new(Checker::new().expect("random numbers"));
        let users = users("s3cret:with colon");
        for (credentials, outcome) in [
            ("alice:s3cret:with colon", Outcome::Granted),
            ("alice:s3cret", Outcome::Refused),
            ("alice:", Outcome::Refused),
            ("bob:s3cret:with colon", Outcome::Refused),
            ("carol:s3cret:with colon", Outcome::Refused),
            (":", Outcome::Refused),
            ("alice", Outcome::Refused),
        ] {
            // The second time from memory.
            for time in ["first", "second"] {
                let found = checker.check(&users, &headers(credentials), peer("::1")).await;
                assert_eq!(found, outcome, "{credentials}, {time}");
            }
        }
        for field in ["", "Basic", "Basic !", "Bearer x", "Basic \u{e9}"] {
            let mut headers = HeaderMap::new();
            let value = axum::http::HeaderValue::from_bytes(field.as_bytes()).expect("a value");
            headers.insert(header::AUTHORIZATION, value);
            let found = checker.check(&users, &headers, peer("::1")).await;
            assert_eq!(found, Outcome::Refused, "{field:?}");
        }
        let found = checker.check(&users, &HeaderMap::new(), peer("::1")).await;
        assert_eq!(found, Outcome::Refused);
    }

    #[tokio::test]
    async fn a_changed_password_is_not_granted_from_memory() {
        let checker = Arc::new(Checker::new().expect("random numbers"));
        let request = headers("alice:old");
        for (users, outcome) in [
            (users("old"), Outcome::Granted),
            (users("new"), Outcome::Refused),
            (vec![("bob".into(), HASH.into())], Outcome::Refused),
        ] {
            assert_eq!(checker.check(&users, &request, peer("::1")).await, outcome);
        }
    }

    #[tokio::test]
    async fn waiting_requests_are_bounded_by_peer_and_a_known_password_does_not_wait() {
        let checker = Arc::new(Checker::new().expect("random numbers"));
        let users = users("right");
        let good = headers("alice:right");
        assert_eq!(checker.check(&users, &good, peer("192.0.2.1")).await, Outcome::Granted);
        let held: Vec<_> = (0..9).map(|_| Waiting::begin(&checker, peer("192.0.2.2"))).collect();
        assert_eq!(held.iter().flatten().count(), MAX_WAITING / SHARE_OF_PEER);
        let wrong = headers("alice:wrong");
        assert_eq!(checker.check(&users, &wrong, peer("192.0.2.2")).await, Outcome::Busy);
        assert_eq!(checker.check(&users, &good, peer("192.0.2.2")).await, Outcome::Granted);
        assert_eq!(checker.check(&users, &wrong, peer("192.0.2.3")).await, Outcome::Refused);
        drop(held);
        assert!(checker.memory().waiting.is_empty());
        for n in 0..2 * MAX_REFUSED {
            checker.memory().remember(b"alice".to_vec(), checker.tag(&[&n.to_be_bytes()]), false);
        }
        assert_eq!(checker.memory().refused.len(), MAX_REFUSED);
        assert_eq!(checker.check(&users, &good, peer("192.0.2.1")).await, Outcome::Granted);
    }

    /// Requests that wait keep their connections. With few places, the others must not be all taken.
    #[tokio::test]
    async fn half_of_the_places_never_wait_for_a_hash() {
        let checker = Arc::new(Checker::new().expect("random numbers"));
        let users = users("right");
        let good = headers("alice:right");
        assert_eq!(checker.check(&users, &good, peer("192.0.2.1")).await, Outcome::Granted);
        for (places, most, of_peer) in [(8, 4, 1), (64, 32, 4), (128, 64, 8), (1_024, 64, 8)] {
            let client = |n: usize| Client { places, ..peer(&format!("198.51.100.{n}")) };
            let of_one: Vec<_> = (0..places).map(|_| Waiting::begin(&checker, client(0))).collect();
            assert_eq!(of_one.iter().flatten().count(), of_peer, "{places} places");
            let of_all: Vec<_> =
                (1..=places.min(200)).map(|n| Waiting::begin(&checker, client(n))).collect();
            assert_eq!(of_all.iter().flatten().count() + of_peer, most, "{places} places");
            let wrong = headers("alice:wrong");
            assert_eq!(checker.check(&users, &wrong, client(201)).await, Outcome::Busy);
            assert_eq!(checker.check(&users, &good, client(201)).await, Outcome::Granted);
        }
    }
}
