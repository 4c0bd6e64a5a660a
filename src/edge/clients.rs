//! How many connections each client has, counted over all cores without a lock.
//!
//! A table of words in buckets of eight, one cache line each. A word holds a client's fingerprint
//! (48 bits of a keyed hash) and its count (16 bits); zero is free. Finding, adding and taking away are single
//! compare-and-swaps on a word, so a core never waits for another.
//!
//! Tolerance: two cores that meet a new client in the same instant may each start a word for it; the later word gives
//! way to the earlier, unless a third core has used it or an earlier place has become free meanwhile, and then the client may
//! have more than its limit for as long as both last; a connection of a client whose bucket is full of others
//! is not counted (with eight words for each connection that may be open, fewer than one bucket in ten million); and
//! connections that are let in by several cores in the same instant may each see the rate of the second without the others.

use crate::store::HashKey;
use std::sync::atomic::{
    AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};

const BUCKET: usize = 8;
const COUNT_BITS: u32 = 16;

/// How often a core tries to agree with others on a client's word before it lets a connection pass uncounted.
const ATTEMPTS: u32 = 4;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

#[repr(align(64))]
#[derive(Debug, Default)]
struct Bucket([AtomicU64; BUCKET]);

/// The table. Price: 64 bytes for each connection that may be open.
#[derive(Debug)]
pub struct Clients {
    buckets: Box<[Bucket]>,
    key: HashKey,
    /// Connections open, of all clients.
    open: AtomicUsize,
    /// The current second and the connections begun in it: 40 and 24 bits.
    second: AtomicU64,
}

const RATE_BITS: u32 = 24;
const RATE: u64 = (1 << RATE_BITS) - 1;

/// Where a client is counted.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    bucket: usize,
    fingerprint: u64,
}

impl Clients {
    /// A table for `connections_max` connections.
    #[must_use]
    pub fn new(connections_max: usize, key: HashKey) -> Self {
        let buckets = connections_max.max(64).next_power_of_two();
        Self {
            buckets: (0..buckets).map(|_| Bucket::default()).collect(),
            key,
            open: AtomicUsize::new(0),
            second: AtomicU64::new(0),
        }
    }

    /// Where `client` (any bytes that stand for it) is counted.
    #[must_use]
    pub fn place(&self, client: &[u8]) -> Place {
        let hash = self.key.hash_bytes(client);
        Place {
            bucket: usize::try_from(hash).unwrap_or(0) & (self.buckets.len() - 1),
            // Never zero: zero marks a free word.
            fingerprint: (hash >> COUNT_BITS) | 1,
        }
    }

    /// Counts a connection of the client; returns how many it has now, and whether it could be counted.
    pub fn enter(&self, place: Place) -> (u32, bool) {
        self.open.fetch_add(1, Relaxed);
        let bucket = &self.buckets[place.bucket].0;
        for _ in 0..ATTEMPTS {
            if let Some(count) = add(bucket, place.fingerprint) {
                return (count, true);
            }
            let first = place.fingerprint << COUNT_BITS | 1;
            let Some(own) = bucket
                .iter()
                .position(|word| word.compare_exchange(0, first, AcqRel, Relaxed).is_ok())
            else {
                return (1, false);
            };
            // Another core may have started a word for the same client in the same instant. The first one stays.
            let doubled = bucket[..own]
                .iter()
                .any(|word| word.load(Acquire) >> COUNT_BITS == place.fingerprint);
            if !doubled
                || bucket[own]
                    .compare_exchange(first, 0, AcqRel, Relaxed)
                    .is_err()
            {
                return (1, true);
            }
        }
        (1, false)
    }

    /// A connection of the client ended; `counted` is what [`Clients::enter`] said.
    pub fn leave(&self, place: Place, counted: bool) {
        self.open.fetch_sub(1, Relaxed);
        if !counted {
            return;
        }
        for word in &self.buckets[place.bucket].0 {
            let taken = word.fetch_update(Relaxed, Relaxed, |word| {
                (word >> COUNT_BITS == place.fingerprint)
                    .then(|| if word & COUNT == 1 { 0 } else { word - 1 })
            });
            if taken.is_ok() {
                return;
            }
        }
    }

    /// Counts a connection of nobody in particular.
    pub fn enter_unnamed(&self) {
        self.open.fetch_add(1, Relaxed);
    }

    /// A connection of nobody in particular ended, or has got a name.
    pub fn leave_unnamed(&self) {
        self.open.fetch_sub(1, Relaxed);
    }

    /// Connections open now.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Relaxed)
    }

    /// How many connections have been let in, in the second `now_secs`.
    #[must_use]
    pub fn begun(&self, now_secs: u64) -> u64 {
        let word = self.second.load(Relaxed);
        if word >> RATE_BITS == now_secs {
            word & RATE
        } else {
            0
        }
    }

    /// Counts a connection that was let in, in the second `now_secs`.
    pub fn begin(&self, now_secs: u64) {
        let update = |word: u64| {
            if word >> RATE_BITS < now_secs {
                now_secs << RATE_BITS | 1
            } else {
                word + u64::from(word & RATE < RATE)
            }
        };
        // The closure always has a next value, so this cannot fail.
        let _ = self
            .second
            .fetch_update(Relaxed, Relaxed, |word| Some(update(word)));
    }
}

/// Adds one to the client's word, if it has one.
fn add(bucket: &[AtomicU64], fingerprint: u64) -> Option<u32> {
    bucket.iter().find_map(|word| {
        let before = word
            .fetch_update(AcqRel, Acquire, |word| {
                (word >> COUNT_BITS == fingerprint && word & COUNT < COUNT).then_some(word + 1)
            })
            .ok()?;
        Some(u32::try_from(before & COUNT).unwrap_or(u32::MAX) + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_client_is_counted_for_itself() {
        let clients = Clients::new(1000, HashKey(1, 2));
        let (one, two) = (clients.place(b"one"), clients.place(b"two"));
        assert_eq!(
            [clients.enter(one), clients.enter(one), clients.enter(two)],
            [(1, true), (2, true), (1, true)]
        );
        assert_eq!(clients.open(), 3);
        clients.leave(one, true);
        assert_eq!(clients.enter(one), (2, true));
        for place in [one, one, two] {
            clients.leave(place, true);
        }
        assert_eq!(clients.open(), 0);
        assert!(
            clients
                .buckets
                .iter()
                .all(|bucket| bucket.0.iter().all(|word| word.load(Relaxed) == 0)),
            "nothing is left of clients that are gone"
        );
    }

    #[test]
    fn connections_are_counted_by_the_second() {
        let clients = Clients::new(10, HashKey(1, 2));
        for second in [7, 7, 8] {
            clients.begin(second);
        }
        assert_eq!([clients.begun(8), clients.begun(9)], [1, 0]);
        clients.begin(8);
        assert_eq!(clients.begun(8), 2);
    }

    #[test]
    fn whoever_finds_no_place_takes_nobody_elses() {
        let clients = Clients::new(1, HashKey(1, 2));
        let place = |fingerprint| Place {
            bucket: 0,
            fingerprint,
        };
        for fingerprint in 1..=8 {
            assert_eq!(clients.enter(place(fingerprint)), (1, true));
        }
        assert_eq!(clients.enter(place(9)), (1, false));
        clients.leave(place(1), true);
        assert_eq!(clients.enter(place(9)), (1, true));
        clients.leave(place(9), false);
        assert_eq!(
            clients.enter(place(9)),
            (2, true),
            "the uncounted one took nothing away"
        );
    }

    #[test]
    fn two_cores_that_meet_a_client_at_once_count_it_together() {
        let clients = Clients::new(64, HashKey(5, 6));
        for round in 0..5_000_u32 {
            let place = clients.place(&round.to_le_bytes());
            let start = std::sync::Barrier::new(2);
            std::thread::scope(|scope| {
                for _ in 0..2 {
                    scope.spawn(|| {
                        start.wait();
                        assert!(clients.enter(place).1);
                    });
                }
            });
            assert_eq!(clients.enter(place), (3, true), "round {round}");
            for _ in 0..3 {
                clients.leave(place, true);
            }
        }
        assert_eq!(clients.open(), 0);
    }

    #[test]
    fn many_threads_keep_the_books() {
        let clients = Clients::new(10_000, HashKey(3, 4));
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let clients = &clients;
                scope.spawn(move || {
                    for round in 0..20_000_u32 {
                        let place = clients.place(&(round % 97 + thread).to_le_bytes());
                        let (_, counted) = clients.enter(place);
                        clients.leave(place, counted);
                    }
                });
            }
        });
        assert_eq!(clients.open(), 0);
        assert!(
            clients
                .buckets
                .iter()
                .all(|bucket| bucket.0.iter().all(|word| word.load(Relaxed) == 0))
        );
    }
}
