//! How many requests a client may send, and how many mailboxes it may create, by sliding window. Time is an argument.
//!
//! The window slides over two fixed ones: what counts is this minute's requests and, of the last
//! minute's, the share that still lies within sixty seconds of now, as if they had come evenly.
//! Two numbers a client are enough for that, whatever the limit is.
//!
//! The table has two halves. New clients go into the young half; when it is full it becomes the old
//! one and the former old half is forgotten. A client that is seen again moves to the young half.
//! So memory is bounded, no step ever walks the table, and who is forgotten was unseen for longest.

use crate::clock::Instant;
use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

/// The window.
const WINDOW_SECS: u64 = 60;
const WINDOW_MICROS: u64 = WINDOW_SECS * 1_000_000;

/// Who is counted: an IPv4 address, or an IPv6 network of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Client {
    /// An IPv4 address.
    V4(u32),
    /// The first 64 bits of an IPv6 address.
    V6(u64),
}

impl From<IpAddr> for Client {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.to_bits()),
            IpAddr::V6(address) => Self::V6((address.to_bits() >> 64) as u64),
        }
    }
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Requests that it may send now.
    pub remaining: u32,
    /// Seconds until it may send more than that (or one, if it may send none).
    pub reset_secs: u64,
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may pass.
    Pass(Standing),
    /// There were too many; `reset_secs` says when to try again.
    Refuse(Standing),
}

/// Counts requests by client, whatever makes one.
#[derive(Debug)]
pub struct RateLimiter<C> {
    clients_max: usize,
    young: HashMap<C, Count>,
    old: HashMap<C, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    /// The number of the window that `current` counts.
    window: u64,
    current: u32,
    previous: u32,
}

impl<C: Copy + Eq + Hash> RateLimiter<C> {
    /// Counts `clients_max` clients at most.
    #[must_use]
    pub fn new(clients_max: u32) -> Self {
        Self {
            clients_max: clients_max.max(2) as usize,
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// Counts a request of `client` if it may pass under `limit` requests a minute.
    pub fn request(&mut self, client: C, limit: u32, now: Instant) -> Verdict {
        let count = self.count(client);
        count.move_to(now);
        let weighted = count.weighted(now);
        let refused = weighted + 1.0 > f64::from(limit);
        if !refused {
            count.current += 1;
        }
        let standing = count.standing(limit, now);
        if refused {
            Verdict::Refuse(standing)
        } else {
            Verdict::Pass(standing)
        }
    }

    /// Takes back the request that `client` sent last, because it does not count after all.
    pub fn forgive(&mut self, client: C, now: Instant) {
        if let Some(count) = self.young.get_mut(&client) {
            count.move_to(now);
            count.current = count.current.saturating_sub(1);
        }
    }

    /// How many clients are remembered.
    #[must_use]
    pub fn clients(&self) -> usize {
        self.young.len() + self.old.len()
    }

    fn count(&mut self, client: C) -> &mut Count {
        let known = self.old.remove(&client);
        if self.young.len() >= self.clients_max / 2 && !self.young.contains_key(&client) {
            self.old = std::mem::take(&mut self.young);
        }
        let count = self.young.entry(client).or_default();
        if let Some(known) = known {
            *count = known;
        }
        count
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_sign_loss)] // Windows are 60,000,000 long.
impl Count {
    fn move_to(&mut self, now: Instant) {
        let window = now.as_micros() / WINDOW_MICROS;
        if window != self.window {
            self.previous = if window == self.window + 1 {
                self.current
            } else {
                0
            };
            self.current = 0;
            self.window = window;
        }
    }

    /// Requests of the last sixty seconds, those of the window before estimated.
    fn weighted(&self, now: Instant) -> f64 {
        f64::from(self.previous) * (1.0 - elapsed(now)) + f64::from(self.current)
    }

    fn standing(&self, limit: u32, now: Instant) -> Standing {
        let free = f64::from(limit) - self.weighted(now);
        // An empty window is full again at once; else what counts most goes in time.
        let remaining = free.floor().max(0.0) as u32;
        Standing {
            remaining,
            reset_secs: self.reset_secs(limit, now, f64::from(remaining) + 1.0),
        }
    }

    /// Seconds until `wanted` requests may pass.
    fn reset_secs(&self, limit: u32, now: Instant, wanted: f64) -> u64 {
        let room = f64::from(limit) - wanted;
        let elapsed = elapsed(now);
        let (current, previous) = (f64::from(self.current), f64::from(self.previous));
        let windows = if room < 0.0 {
            1.0
        } else if current <= room && previous > 0.0 {
            (1.0 - (room - current) / previous - elapsed).max(0.0)
        } else if current <= room {
            0.0
        } else {
            1.0 - elapsed + (1.0 - room / current)
        };
        ((windows * WINDOW_SECS as f64).ceil() as u64).max(1)
    }
}

/// How much of its window has gone at `now`, from 0 to 1.
#[allow(clippy::cast_precision_loss)]
fn elapsed(now: Instant) -> f64 {
    (now.as_micros() % WINDOW_MICROS) as f64 / WINDOW_MICROS as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const ONE: Client = Client::V4(1);

    fn passes(limiter: &mut RateLimiter<Client>, client: Client, limit: u32, now: Instant) -> bool {
        matches!(limiter.request(client, limit, now), Verdict::Pass(_))
    }

    #[test]
    fn the_hundred_and_first_is_refused_and_told_when_to_come_back() {
        let mut limiter = RateLimiter::new(16);
        let mut now = Instant::from_secs(6_000);
        for nth in 1..=100 {
            let Verdict::Pass(standing) = limiter.request(ONE, 100, now) else {
                panic!("request {nth} was refused");
            };
            assert_eq!(standing.remaining, 100 - nth);
        }
        for _ in 0..1_000 {
            let Verdict::Refuse(standing) = limiter.request(ONE, 100, now) else {
                panic!("request 101 passed");
            };
            now = now.plus(Duration::from_millis(1));
            assert_eq!(standing.remaining, 0);
            assert!((1..=61).contains(&standing.reset_secs), "{standing:?}");
        }
        assert!(
            passes(&mut limiter, Client::V4(2), 100, now),
            "another client"
        );
    }

    #[test]
    fn whoever_waits_as_told_may_pass() {
        for limit in [1, 2, 3, 10, 100] {
            for start in [0, 1, 17, 59] {
                let mut limiter = RateLimiter::new(16);
                let mut now = Instant::from_secs(6_000 + start);
                for _ in 0..500 {
                    if let Verdict::Refuse(standing) = limiter.request(ONE, limit, now) {
                        now = now.plus(Duration::from_secs(standing.reset_secs));
                        assert!(
                            passes(&mut limiter, ONE, limit, now),
                            "{limit} {standing:?}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn no_minute_has_many_more_than_the_limit() {
        let mut limiter = RateLimiter::new(16);
        let mut passed = Vec::new();
        for tenth in 0..6_000 {
            let now = Instant::from_secs(600).plus(Duration::from_millis(100 * tenth));
            if passes(&mut limiter, ONE, 100, now) {
                passed.push(tenth);
            }
        }
        for start in 0..5_400 {
            let within = passed
                .iter()
                .filter(|tenth| (start..start + 600).contains(*tenth))
                .count();
            assert!(
                within <= 130,
                "{within} requests in the minute from {start}"
            );
        }
        assert!(passed.len() >= 900, "{} of 1000", passed.len());
    }

    #[test]
    fn memory_is_bounded_and_the_busy_are_remembered() {
        let mut limiter = RateLimiter::new(100);
        let now = Instant::from_secs(600);
        for _ in 0..5 {
            assert!(passes(&mut limiter, ONE, 5, now));
        }
        for stranger in 2..10_000 {
            limiter.request(Client::V4(stranger), 5, now);
            assert!(limiter.clients() <= 100);
            assert!(
                !passes(&mut limiter, ONE, 5, now),
                "forgotten at {stranger}"
            );
        }
    }

    #[test]
    fn a_forgiven_request_does_not_count() {
        let mut limiter = RateLimiter::new(16);
        let now = Instant::from_secs(600);
        for _ in 0..10 {
            assert!(passes(&mut limiter, ONE, 1, now));
            limiter.forgive(ONE, now);
        }
    }

    #[test]
    fn an_ipv6_network_is_one_client() {
        let client = |text: &str| Client::from(text.parse::<IpAddr>().expect("an address"));
        assert_eq!(client("2001:db8::1"), client("2001:db8::ffff:1:2:3"));
        assert_ne!(client("2001:db8::1"), client("2001:db8:0:1::1"));
        assert_eq!(client("::ffff:192.0.2.1"), client("192.0.2.1"));
    }
}
