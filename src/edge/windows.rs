//! What each client did in the last minute, counted over all cores without a lock, in memory that never grows.
//!
//! A table of lines in buckets of eight. A line is one cache line: the fingerprint of a client (a keyed hash) and a sliding
//! window for each kind of thing that is limited. To count is a compare-and-swap on one word, so a core never waits for
//! another. When a bucket is full, the client gives way that is furthest from any of its limits; among equals the one that
//! was unseen for longest.
//!
//! Tolerance, beside that of the windows themselves:
//! - Cores that look before they count may each let one more pass than the limit says.
//! - Two cores that meet a new client in the same instant may start two lines; all cores then count in the first one, so
//!   what was counted in the second before that is lost, one event for each core at most.
//! - A client that gives way is forgotten. With endless addresses a stranger can so wash out whoever is less conspicuous
//!   than eight others of the same bucket. Which clients share a bucket the stranger cannot know, so to wash out an
//!   offender, addresses that are as near to their limits must fill the whole table: `clients_max` offenders to hide one.
//! - Whoever takes over a line may be charged with what another core counts for the former one in that very instant.

use crate::clock::Instant;
use crate::metrics::{ClientLimit, Label as _};
use crate::policy::clients::Rules;
use crate::policy::window::Window;
use crate::store::HashKey;
use std::cell::Cell;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
};

/// Lines that a client may lie in.
const BUCKET: usize = 8;

const KINDS: usize = ClientLimit::ALL.len();

/// The fingerprint of a line that nobody has had yet.
const FREE: u64 = 0;

/// The fingerprint of a line that changes hands just now.
const CHANGING: u64 = 1;

#[repr(align(64))]
#[derive(Debug, Default)]
struct Line {
    fingerprint: AtomicU64,
    windows: [AtomicU64; KINDS],
}

const _: () = assert!(size_of::<Line>() == 64, "one cache line for each client");

/// The table. Price: 64 bytes for each client.
#[derive(Debug)]
pub struct Windows {
    lines: Box<[Line]>,
    key: HashKey,
}

/// Where a client is counted, as one connection remembers it.
#[derive(Clone, Debug)]
pub struct Seat {
    line: Cell<usize>,
    fingerprint: u64,
}

impl Windows {
    /// A table for `clients_max` clients, rounded up.
    #[must_use]
    pub fn new(clients_max: usize, key: HashKey) -> Self {
        let lines = clients_max.max(BUCKET).next_power_of_two();
        Self {
            lines: (0..lines).map(|_| Line::default()).collect(),
            key,
        }
    }

    /// Where `client` (any bytes that stand for it) is counted.
    #[must_use]
    pub fn seat(&self, client: &[u8], rules: &Rules, now: Instant) -> Seat {
        // Never the value of a line without a client.
        let fingerprint = self.key.hash_bytes(client) | 2;
        Seat {
            line: Cell::new(self.find_or_take(fingerprint, rules, now)),
            fingerprint,
        }
    }

    /// Counts something. A client that had to give way meanwhile starts anew.
    pub fn add(&self, seat: &Seat, limit: ClientLimit, count: u32, rules: &Rules, now: Instant) {
        if self.line(seat).is_none() {
            let line = self.find_or_take(seat.fingerprint, rules, now);
            seat.line.set(line);
        }
        self.change(seat, limit, |window| window.plus(count, now));
    }

    /// Takes back what was counted and did not happen.
    pub fn take_back(&self, seat: &Seat, limit: ClientLimit, count: u32, now: Instant) {
        self.change(seat, limit, |window| window.minus(count, now));
    }

    /// How much of it the client had in the last minute.
    #[must_use]
    pub fn estimate(&self, seat: &Seat, limit: ClientLimit, now: Instant) -> u32 {
        self.line(seat).map_or(0, |line| line.estimate(limit, now))
    }

    fn change(&self, seat: &Seat, limit: ClientLimit, next: impl Fn(Window) -> Window) {
        let Some(line) = self.line(seat) else { return };
        // The closure always has a next value, so this cannot fail.
        let _ = line.windows[limit.index()].fetch_update(Relaxed, Relaxed, |word| {
            Some(next(Window::from_bits(word)).bits())
        });
    }

    /// The client's line, if it still has it.
    fn line(&self, seat: &Seat) -> Option<&Line> {
        let line = &self.lines[seat.line.get()];
        (line.fingerprint.load(Acquire) == seat.fingerprint).then_some(line)
    }

    /// The client's line; if it has none, one that was free or whose client gives way.
    fn find_or_take(&self, fingerprint: u64, rules: &Rules, now: Instant) -> usize {
        let buckets = self.lines.len() / BUCKET;
        let first = (usize::try_from(fingerprint >> 2).unwrap_or(0) & (buckets - 1)) * BUCKET;
        let bucket = &self.lines[first..first + BUCKET];
        let find = || {
            let has = |line: &Line| line.fingerprint.load(Acquire) == fingerprint;
            bucket.iter().position(has)
        };
        if let Some(found) = find() {
            return first + found;
        }
        let free = bucket.iter().position(|line| line.take(FREE, fingerprint));
        if free.is_none()
            && let Some(least) = bucket.iter().min_by_key(|line| line.standing(rules, now))
        {
            // Should another core take it in this instant, this client goes uncounted until it is looked for again.
            let former = least.fingerprint.load(Relaxed);
            if former != CHANGING {
                least.take(former, fingerprint);
            }
        }
        // Another core may have started a line for the same client: the first one counts.
        first + find().unwrap_or(0)
    }
}

impl Line {
    /// Gives the line to another client, if `former` still has it.
    fn take(&self, former: u64, fingerprint: u64) -> bool {
        let own = self
            .fingerprint
            .compare_exchange(former, CHANGING, AcqRel, Relaxed)
            .is_ok();
        if own {
            for window in &self.windows {
                window.store(0, Relaxed);
            }
            self.fingerprint.store(fingerprint, Release);
        }
        own
    }

    fn window(&self, limit: ClientLimit) -> Window {
        Window::from_bits(self.windows[limit.index()].load(Relaxed))
    }

    fn estimate(&self, limit: ClientLimit, now: Instant) -> u32 {
        self.window(limit).estimate(now)
    }

    /// How much the client deserves to be remembered: how near it is to a limit, then how lately it was seen.
    fn standing(&self, rules: &Rules, now: Instant) -> (u32, std::cmp::Reverse<u64>) {
        let conspicuousness = rules.conspicuousness(|limit| self.estimate(limit, now));
        let ages = ClientLimit::ALL
            .into_iter()
            .map(|limit| self.window(limit))
            .filter(|window| *window != Window::default())
            .map(|window| window.age(now));
        let unseen = ages.min().unwrap_or(u64::MAX);
        (conspicuousness, std::cmp::Reverse(unseen))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_secs(600);

    fn table(clients: usize) -> (Windows, Rules) {
        (Windows::new(clients, HashKey(1, 2)), Rules::default())
    }

    #[test]
    fn each_client_and_each_kind_is_counted_for_itself() {
        let (windows, rules) = table(1024);
        let [one, two] = [b"one", b"two"].map(|client| windows.seat(client, &rules, NOW));
        windows.add(&one, ClientLimit::Messages, 3, &rules, NOW);
        windows.add(&one, ClientLimit::Bytes, 500, &rules, NOW);
        windows.add(&two, ClientLimit::Messages, 1, &rules, NOW);
        windows.take_back(&one, ClientLimit::Bytes, 200, NOW);
        let again = windows.seat(b"one", &rules, NOW);
        for (seat, limit, expected) in [
            (&again, ClientLimit::Messages, 3),
            (&again, ClientLimit::Bytes, 300),
            (&again, ClientLimit::Connections, 0),
            (&two, ClientLimit::Messages, 1),
        ] {
            assert_eq!(windows.estimate(seat, limit, NOW), expected, "{limit:?}");
        }
        let later = Instant::from_secs(720);
        assert_eq!(windows.estimate(&one, ClientLimit::Messages, later), 0);
    }

    #[test]
    fn whoever_comes_with_endless_addresses_washes_out_no_offender() {
        let (windows, rules) = table(64);
        let offender = windows.seat(b"offender", &rules, NOW);
        let half = rules.failed_recipients_per_minute_max / 2;
        windows.add(&offender, ClientLimit::FailedRecipients, half, &rules, NOW);
        let mut now = NOW;
        for stranger in 0..100_000_u32 {
            let seat = windows.seat(&stranger.to_le_bytes(), &rules, now);
            windows.add(&seat, ClientLimit::Connections, 1, &rules, now);
            now = now.plus(std::time::Duration::from_micros(200));
        }
        assert_eq!(windows.lines.len(), 64, "it does not grow");
        let estimate = windows.estimate(&offender, ClientLimit::FailedRecipients, NOW);
        assert_eq!(estimate, half, "still known");
    }

    #[test]
    fn the_client_that_was_unseen_for_longest_gives_way_and_starts_anew() {
        let (windows, rules) = table(BUCKET);
        let seats: Vec<Seat> = (0..BUCKET as u64)
            .map(|client| {
                let seen = NOW.plus(std::time::Duration::from_secs(60 * client));
                let seat = windows.seat(&client.to_le_bytes(), &rules, seen);
                windows.add(&seat, ClientLimit::Messages, 1, &rules, seen);
                seat
            })
            .collect();
        let now = Instant::from_secs(6_000);
        let newcomer = windows.seat(b"newcomer", &rules, now);
        windows.add(&newcomer, ClientLimit::Connections, 1, &rules, now);
        let known = |seat: &Seat| windows.line(seat).is_some();
        assert!(!known(&seats[0]) && seats[1..].iter().all(known));
        windows.take_back(&seats[0], ClientLimit::Messages, 1, now);
        assert_eq!(windows.estimate(&seats[0], ClientLimit::Messages, now), 0);
        windows.add(&seats[0], ClientLimit::Messages, 1, &rules, now);
        assert_eq!(windows.estimate(&seats[0], ClientLimit::Messages, now), 1);
        assert!(!known(&seats[1]), "the next one gave way");
    }

    #[test]
    fn many_threads_count_together() {
        let (windows, rules) = table(1024);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20_000_u32 {
                        let seat = windows.seat(&(round % 50).to_le_bytes(), &rules, NOW);
                        windows.add(&seat, ClientLimit::Messages, 1, &rules, NOW);
                    }
                });
            }
        });
        for client in 0..50_u32 {
            let seat = windows.seat(&client.to_le_bytes(), &rules, NOW);
            let counted = windows.estimate(&seat, ClientLimit::Messages, NOW);
            // Each core may lose one event where two meet a new client at once.
            assert!((1_596..=1_600).contains(&counted), "{counted}");
        }
    }

    #[test]
    fn threads_that_fight_for_a_bucket_do_no_harm() {
        let (windows, rules) = table(BUCKET);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let (windows, rules) = (&windows, &rules);
                scope.spawn(move || {
                    for round in 0..20_000_u32 {
                        let client = round.wrapping_mul(4) + thread;
                        let seat = windows.seat(&client.to_le_bytes(), rules, NOW);
                        windows.add(&seat, ClientLimit::Messages, 1, rules, NOW);
                    }
                });
            }
        });
        let owned = |line: &Line| line.fingerprint.load(Relaxed) > CHANGING;
        assert!(windows.lines.iter().all(owned), "no line is left changing");
    }
}
