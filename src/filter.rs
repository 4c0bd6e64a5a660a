//! What came lately, remembered in a few bits each.
//!
//! A [`Filter`] knows for a set time whether it has been shown a hash. It never says no to what it was shown in that
//! time, and sometimes says yes to what it was not. Nothing can be read back out of it: it is made of the keyed hashes of
//! what it was shown, of which each leaves a few bits among those of others.
//!
//! It is a row of Bloom filters. New hashes go into the youngest; when a quarter of the time is over a new one begins, and
//! the oldest goes when the time of all that is in it is up. So a hash is known for the time and up to a quarter more, and
//! no step ever walks through what is remembered.
//!
//! **How often it errs.** With up to as many hashes as there is room for, it says yes to fewer than one in a thousand that
//! it was not shown; with twice as many, to about one in eight. Beyond that the oldest are forgotten before their time,
//! which [`Filter::show`] says, since one that errs more and more would be of no use to anybody.

#![forbid(unsafe_code)]

use crate::clock::Instant;
use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Into how many parts the time is cut.
const PARTS: u32 = 4;

/// Those that cover the time, the one that fills, and one whose last hash has a moment left.
const GENERATIONS_MAX: usize = PARTS as usize + 2;

/// Bits for each hash that there is room for.
const BITS_PER_HASH: u64 = 18;

/// Bits that one hash sets.
const MARKS: u64 = 12;

/// How much more than there is room for goes into one generation.
const OVERFULL: u32 = 2;

/// The most bytes that a filter takes for each hash that it has room for, rounded up.
pub const BYTES_PER_HASH: u64 = (GENERATIONS_MAX as u64 * BITS_PER_HASH).div_ceil(8 * PARTS as u64);

/// How long hashes are known, and how many there is room for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// How long each is known at least; up to a quarter longer in fact.
    pub time: Duration,
    /// How many may come in that time.
    pub room: u32,
}

/// What became of a hash that was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// It is remembered.
    Kept,
    /// It is remembered, and others were forgotten before their time to make room.
    KeptForOthers,
}

/// What came lately. See the module's text.
#[derive(Default)]
pub struct Filter {
    /// The oldest first.
    generations: VecDeque<Generation>,
}

/// Hashes that came one after another.
struct Generation {
    bits: Vec<u64>,
    hashes: u32,
    begun_at: Instant,
    last_at: Instant,
}

impl Filter {
    /// One that has been shown nothing. Takes no memory yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows it a hash, which must be keyed.
    pub fn show(&mut self, hash: u64, measure: Measure, now: Instant) -> Shown {
        while self
            .generations
            .front()
            .is_some_and(|it| it.is_over(measure.time, now))
        {
            self.generations.pop_front();
        }
        let part = measure.time / PARTS;
        let room = measure.room.div_ceil(PARTS).max(1);
        let goes_on = |it: &Generation| {
            now.since(it.begun_at) < part && it.hashes < room.saturating_mul(OVERFULL)
        };
        let mut shown = Shown::Kept;
        if !self.generations.back().is_some_and(goes_on) {
            if self.generations.len() == GENERATIONS_MAX {
                self.generations.pop_front();
                shown = Shown::KeptForOthers;
            }
            self.generations.push_back(Generation::new(room, now));
        }
        if let Some(youngest) = self.generations.back_mut() {
            youngest.add(hash, now);
        }
        shown
    }

    /// Whether it was shown this hash, or errs.
    #[must_use]
    pub fn knows(&self, hash: u64, time: Duration, now: Instant) -> bool {
        let mut alive = self.generations.iter().filter(|it| !it.is_over(time, now));
        alive.any(|it| it.has(hash))
    }

    /// Bytes that it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.generations
            .iter()
            .map(|it| size_of_val(&it.bits[..]))
            .sum()
    }
}

impl Generation {
    fn new(room: u32, now: Instant) -> Self {
        let words = (u64::from(room) * BITS_PER_HASH).div_ceil(64);
        Self {
            bits: vec![0; usize::try_from(words).unwrap_or(usize::MAX)],
            hashes: 0,
            begun_at: now,
            last_at: now,
        }
    }

    /// Whether the time of all that is in it is up.
    fn is_over(&self, time: Duration, now: Instant) -> bool {
        self.last_at.plus(time) <= now
    }

    fn add(&mut self, hash: u64, now: Instant) {
        for (word, bit) in marks(hash, self.bits.len()) {
            self.bits[word] |= bit;
        }
        self.hashes += 1;
        self.last_at = now;
    }

    fn has(&self, hash: u64) -> bool {
        marks(hash, self.bits.len()).all(|(word, bit)| self.bits[word] & bit != 0)
    }
}

/// Where a hash leaves its marks: so many steps of one width from one place, both taken from it.
fn marks(hash: u64, words: usize) -> impl Iterator<Item = (usize, u64)> {
    let step = hash.rotate_left(32).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bits = words as u128 * 64;
    (0..MARKS).map(move |nth| {
        let place = hash.wrapping_add(step.wrapping_mul(nth));
        // The high half of a product is a number below the factor.
        let at = ((u128::from(place) * bits) >> 64) as usize;
        (at / 64, 1 << (at % 64))
    })
}

impl fmt::Debug for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Filter({} bytes)", self.bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::hash::Hasher as _;

    const DAY: Duration = Duration::from_secs(86_400);

    fn hash(number: u64) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(1, 2);
        hasher.write_u64(number);
        hasher.finish()
    }

    /// Shows `count` hashes, evenly over `time`, and gives the filter and the moment after.
    fn filled(count: u32, measure: Measure) -> (Filter, Instant) {
        let mut filter = Filter::new();
        let mut now = Instant::from_secs(1_000);
        let pause = measure.time / count;
        for number in 0..count {
            filter.show(hash(number.into()), measure, now);
            now = now.plus(pause);
        }
        (filter, now)
    }

    /// Of a million hashes that it was not shown, how many it says it knows.
    fn mistakes(filter: &Filter, now: Instant) -> usize {
        let strangers = (1 << 40)..(1 << 40) + 1_000_000;
        strangers
            .filter(|it| filter.knows(hash(*it), DAY, now))
            .count()
    }

    #[test]
    fn at_its_measure_it_errs_less_than_once_in_a_thousand_times() {
        let measure = Measure {
            time: DAY,
            room: 40_000,
        };
        let (filter, now) = filled(measure.room, measure);
        let mistakes = mistakes(&filter, now);
        assert!((1..1_000).contains(&mistakes), "{mistakes} of 1,000,000");
        assert!(filter.bytes() as u64 <= u64::from(measure.room) * BYTES_PER_HASH);
        let half = filled(measure.room / 2, measure);
        let fewer = self::mistakes(&half.0, half.1);
        assert!(fewer < 50, "{fewer} of 1,000,000 at half its measure");
    }

    #[test]
    fn at_twice_its_measure_it_forgets_nobody_and_errs_once_in_eight_times() {
        let measure = Measure {
            time: DAY,
            room: 20_000,
        };
        let (filter, now) = filled(2 * measure.room, measure);
        let missing =
            (1..2 * u64::from(measure.room)).filter(|it| !filter.knows(hash(*it), DAY, now));
        assert_eq!(missing.count(), 0);
        let mistakes = mistakes(&filter, now);
        assert!(
            (80_000..140_000).contains(&mistakes),
            "{mistakes} of 1,000,000"
        );
    }

    #[test]
    fn a_flood_takes_no_more_memory_and_is_told() {
        let measure = Measure {
            time: DAY,
            room: 1_000,
        };
        let mut filter = Filter::new();
        let now = Instant::from_secs(1);
        let shown: Vec<Shown> = (0..100_000)
            .map(|it| filter.show(hash(it), measure, now))
            .collect();
        assert!(filter.bytes() as u64 <= 1_000 * BYTES_PER_HASH);
        let early = shown
            .iter()
            .filter(|it| **it == Shown::KeptForOthers)
            .count();
        assert_eq!(early, 100_000 / 500 - GENERATIONS_MAX);
        assert!(filter.knows(hash(99_999), DAY, now));
        // With each generation overfull it errs often, but it has not gone blind.
        let mistakes = mistakes(&filter, now);
        assert!(mistakes < 200_000, "{mistakes} of 1,000,000");
    }

    #[test]
    fn what_is_over_gives_its_memory_back() {
        let measure = Measure {
            time: DAY,
            room: 1_000,
        };
        let (mut filter, now) = filled(1_000, measure);
        let later = now.plus(2 * DAY);
        filter.show(1, measure, later);
        assert_eq!(filter.generations.len(), 1);
        assert!(!format!("{filter:?}").contains("hash"));
    }

    proptest! {
        #[test]
        fn each_is_known_for_its_time_and_not_much_longer(
            pauses in prop::collection::vec(0..40_000_u64, 1..120),
            seconds in 60..2_000_u64,
        ) {
            let measure = Measure { time: Duration::from_secs(seconds), room: 100_000 };
            let mut filter = Filter::new();
            let mut now = Instant::from_secs(5);
            let mut seen: Vec<(u64, Instant)> = Vec::new();
            for (number, millis) in pauses.into_iter().enumerate() {
                now = now.plus(Duration::from_millis(millis));
                let hash = hash(number as u64);
                prop_assert_eq!(filter.show(hash, measure, now), Shown::Kept);
                seen.push((hash, now));
                for (hash, at) in &seen {
                    let age = now.since(*at);
                    let known = filter.knows(*hash, measure.time, now);
                    if age < measure.time {
                        prop_assert!(known, "forgotten after {:?}", age);
                    } else if age >= measure.time + measure.time / PARTS {
                        prop_assert!(!known, "known after {:?}", age);
                    }
                }
                prop_assert!(filter.generations.len() <= GENERATIONS_MAX);
            }
        }
    }
}
