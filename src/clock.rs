//! Time as a value.
//!
//! Nothing in the inner ring reads a clock: whoever calls says what time it is. The outer ring
//! reads the boot-time clock (which goes on while the machine sleeps and never jumps) and makes
//! an [`Instant`] of it; a [`WallClock`] translates instants to calendar time for people.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;

/// A point in time: microseconds since an origin that is fixed for the life of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The origin.
    pub const ZERO: Self = Self { micros: 0 };

    /// A point this many microseconds after the origin.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// A point this many whole seconds after the origin.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self {
            micros: secs.saturating_mul(1_000_000),
        }
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// The point `span` later; the far end of time at most.
    #[must_use]
    pub fn plus(self, span: Duration) -> Self {
        let span = u64::try_from(span.as_micros()).unwrap_or(u64::MAX);
        Self {
            micros: self.micros.saturating_add(span),
        }
    }

    /// How long after `earlier` this is; zero when it is not after it.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros.saturating_sub(earlier.micros))
    }
}

/// Translates [`Instant`]s to calendar time.
#[derive(Clone, Copy, Debug)]
pub struct WallClock {
    unix_micros_at_zero: i64,
}

impl WallClock {
    /// A clock on which `now` is `unix_micros` microseconds after 1970-01-01T00:00:00Z.
    #[must_use]
    pub fn new(now: Instant, unix_micros: i64) -> Self {
        let offset = i64::try_from(now.as_micros()).unwrap_or(i64::MAX);
        Self {
            unix_micros_at_zero: unix_micros.saturating_sub(offset),
        }
    }

    /// Microseconds between 1970-01-01T00:00:00Z and `instant`.
    #[must_use]
    pub fn unix_micros(&self, instant: Instant) -> i64 {
        let offset = i64::try_from(instant.as_micros()).unwrap_or(i64::MAX);
        self.unix_micros_at_zero.saturating_add(offset)
    }

    /// Whole seconds between 1970-01-01T00:00:00Z and `instant`; 0 before that.
    #[must_use]
    pub fn unix_secs(&self, instant: Instant) -> u64 {
        u64::try_from(self.signed_secs(instant)).unwrap_or(0)
    }

    /// `instant` in whole seconds as RFC 3339 writes it: `2026-11-22T10:00:00Z`.
    #[must_use]
    pub fn rfc3339(&self, instant: Instant) -> String {
        self.timestamp(instant).to_string()
    }

    /// The same to the millisecond, written if there is a fraction: `2026-11-22T10:00:00.001Z`.
    #[must_use]
    pub fn rfc3339_millis(&self, instant: Instant) -> String {
        jiff::Timestamp::from_millisecond(self.unix_micros(instant).div_euclid(1_000))
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
            .to_string()
    }

    /// The calendar year of `instant`, in UTC.
    #[must_use]
    pub fn year(&self, instant: Instant) -> i32 {
        let zoned = self.timestamp(instant).to_zoned(jiff::tz::TimeZone::UTC);
        i32::from(zoned.year())
    }

    /// `instant` as a mail header writes it (RFC 5322 section 3.3): `Sun, 22 Nov 2026 10:00:00 +0000`.
    #[must_use]
    pub fn rfc5322(&self, instant: Instant) -> String {
        let zoned = self.timestamp(instant).to_zoned(jiff::tz::TimeZone::UTC);
        jiff::fmt::rfc2822::to_string(&zoned).unwrap_or_else(|_| OUT_OF_RANGE.to_owned())
    }

    fn signed_secs(self, instant: Instant) -> i64 {
        self.unix_micros(instant).div_euclid(1_000_000)
    }

    fn timestamp(self, instant: Instant) -> jiff::Timestamp {
        jiff::Timestamp::from_second(self.signed_secs(instant))
            .unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }
}

/// A date as text, held without an allocation. It reads as the text that it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    bytes: [u8; Self::BYTES_MAX],
    len: u8,
}

impl Stamp {
    /// The longest date that this room writes, `Sun, 22 Nov 2026 10:00:00 +0000`.
    const BYTES_MAX: usize = 31;

    /// Takes over what fits.
    fn new(text: &str) -> Self {
        let mut bytes = [0; Self::BYTES_MAX];
        let len = text.len().min(Self::BYTES_MAX);
        debug_assert!(len == text.len() && text.is_ascii(), "no date of this room");
        bytes[..len].copy_from_slice(&text.as_bytes()[..len]);
        Self {
            bytes,
            len: len as u8,
        }
    }
}

impl Deref for Stamp {
    type Target = str;

    fn deref(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

/// Writes the dates of messages, and remembers the last one of each kind: most are of the same
/// second as the one before.
#[derive(Debug, Default)]
pub struct Stamps {
    rfc3339: Memo,
    rfc5322: Memo,
}

impl Stamps {
    /// What [`WallClock::rfc3339`] writes.
    #[must_use]
    pub fn rfc3339(&self, wall: WallClock, instant: Instant) -> Stamp {
        self.rfc3339
            .of(wall.signed_secs(instant), || wall.rfc3339(instant))
    }

    /// What [`WallClock::rfc5322`] writes.
    #[must_use]
    pub fn rfc5322(&self, wall: WallClock, instant: Instant) -> Stamp {
        self.rfc5322
            .of(wall.signed_secs(instant), || wall.rfc5322(instant))
    }
}

/// The second that was written last, and how.
#[derive(Debug, Default)]
struct Memo(Cell<Option<(i64, Stamp)>>);

impl Memo {
    fn of(&self, second: i64, write: impl FnOnce() -> String) -> Stamp {
        match self.0.get() {
            Some((same, stamp)) if same == second => stamp,
            _ => {
                let stamp = Stamp::new(&write());
                self.0.set(Some((second, stamp)));
                stamp
            }
        }
    }
}

/// What a mail header says when the calendar has no such day (years outside 0 to 9999).
const OUT_OF_RANGE: &str = "Thu, 1 Jan 1970 00:00:00 +0000";

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:06} s",
            self.micros / 1_000_000,
            self.micros % 1_000_000
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calendar_time_is_written_as_people_and_mail_read_it() {
        let now = Instant::from_secs(5);
        let wall = WallClock::new(now, 1_795_341_600_000_000);
        assert_eq!(wall.rfc3339(now), "2026-11-22T10:00:00Z");
        assert_eq!(wall.year(now), 2026);
        assert_eq!(wall.rfc5322(now), "Sun, 22 Nov 2026 10:00:00 +0000");
        let later = now.plus(Duration::from_millis(61_500));
        assert_eq!(wall.rfc3339(later), "2026-11-22T10:01:01Z");
    }

    #[test]
    fn stamps_are_what_the_clock_writes_whatever_was_written_before() {
        let stamps = Stamps::default();
        let wall = WallClock::new(Instant::ZERO, 1_795_341_600_000_000);
        let earlier = WallClock::new(Instant::ZERO, -1_000_000);
        for (wall, second) in [(wall, 9), (wall, 9), (wall, 10), (earlier, 10), (wall, 9)] {
            let at = Instant::from_secs(second).plus(Duration::from_millis(500));
            assert_eq!(*stamps.rfc3339(wall, at), *wall.rfc3339(at));
            assert_eq!(*stamps.rfc5322(wall, at), *wall.rfc5322(at));
        }
        let far = WallClock::new(Instant::ZERO, i64::MAX);
        assert_eq!(*stamps.rfc5322(far, Instant::ZERO), *OUT_OF_RANGE);
        assert_eq!(stamps.rfc3339(far, Instant::ZERO).len(), 20);
    }

    #[test]
    fn differences_never_go_below_zero_and_sums_never_wrap() {
        let (early, late) = (Instant::from_secs(1), Instant::from_secs(3));
        assert_eq!(late.since(early), Duration::from_secs(2));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(early.plus(Duration::MAX), Instant::from_micros(u64::MAX));
    }
}
