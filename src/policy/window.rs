//! How much happened in the last minute, in one word.
//!
//! Minutes are numbered. A word holds the number of the minute that runs, what happened in it, and what happened in the one
//! before. What happened in the last sixty seconds is taken to be: all of this minute, and of the minute before the share
//! that sixty seconds still reach into, as if it had been spread evenly.
//!
//! **Error.** The estimate is off by no more than the count of the minute before, and exact when that came evenly. A limit
//! that is held against it lets no more than twice its number pass in any sixty seconds, and no more than its number in the
//! long run.

#![forbid(unsafe_code)]

use crate::clock::Instant;

/// How long a window is, in microseconds.
const WINDOW_MICROS: u64 = 60_000_000;

const COUNT_BITS: u32 = 22;

/// The most that one window counts; it stays there.
pub const COUNT_MAX: u32 = (1 << COUNT_BITS) - 1;

const MINUTE_BITS: u32 = 64 - 2 * COUNT_BITS;
const MINUTES: u64 = (1 << MINUTE_BITS) - 1;

/// What one client did of one kind. From high to low bits: the number of the minute (20, comes round after two years), the
/// count of the minute before (22), the count of this minute (22). All zero: nothing was ever counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window(u64);

impl Window {
    /// What a word says.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The word.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// With `count` more at `now`.
    #[must_use]
    pub fn plus(self, count: u32, now: Instant) -> Self {
        let (before, current) = self.counts(now);
        Self::new(now, before, current.saturating_add(count))
    }

    /// With `count` of this minute taken back, as far as there is so much.
    #[must_use]
    pub fn minus(self, count: u32, now: Instant) -> Self {
        let (before, current) = self.counts(now);
        Self::new(now, before, current.saturating_sub(count))
    }

    /// How much happened in the sixty seconds before `now`.
    #[must_use]
    pub fn estimate(self, now: Instant) -> u32 {
        let (before, current) = self.counts(now);
        let left = WINDOW_MICROS - now.as_micros() % WINDOW_MICROS;
        let reached = (u64::from(before) * left).div_ceil(WINDOW_MICROS);
        current + u32::try_from(reached).unwrap_or(COUNT_MAX)
    }

    /// How many minutes ago something was last counted, as far as one can tell.
    #[must_use]
    pub const fn age(self, now: Instant) -> u64 {
        minute(now).wrapping_sub(self.0 >> (2 * COUNT_BITS)) & MINUTES
    }

    fn new(now: Instant, before: u32, current: u32) -> Self {
        let counts = u64::from(before) << COUNT_BITS | u64::from(current.min(COUNT_MAX));
        Self(minute(now) << (2 * COUNT_BITS) | counts)
    }

    /// The counts of the minute before and of the minute of `now`.
    const fn counts(self, now: Instant) -> (u32, u32) {
        let before = (self.0 >> COUNT_BITS) as u32 & COUNT_MAX;
        let current = self.0 as u32 & COUNT_MAX;
        match self.age(now) {
            0 => (before, current),
            1 => (current, 0),
            // Another core may be a moment ahead of this one.
            MINUTES => (before, current),
            _ => (0, 0),
        }
    }
}

const fn minute(now: Instant) -> u64 {
    (now.as_micros() / WINDOW_MICROS) & MINUTES
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::time::Duration;

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    #[test]
    fn a_minute_fades_over_the_next() {
        let window = Window::default().plus(60, at(59));
        let estimates = [59, 60, 90, 119, 120].map(|secs| window.estimate(at(secs)));
        assert_eq!(estimates, [60, 60, 30, 1, 0]);
        let both = window.plus(6, at(90));
        assert_eq!(both.estimate(at(90)), 36);
        assert_eq!(both.minus(10, at(90)).estimate(at(90)), 30);
        assert_eq!((both.age(at(90)), both.age(at(200))), (0, 2));
    }

    #[test]
    fn the_most_is_not_exceeded_and_nothing_runs_over() {
        let full = Window::default()
            .plus(u32::MAX, at(1))
            .plus(u32::MAX, at(2));
        assert_eq!(full.estimate(at(3)), COUNT_MAX);
        assert_eq!(full.plus(1, at(60)).estimate(at(60)), COUNT_MAX + 1);
        assert_eq!(
            full.plus(1, at(90)).estimate(at(90)),
            COUNT_MAX.div_ceil(2) + 1
        );
    }

    #[test]
    fn a_core_that_is_a_moment_behind_loses_nothing() {
        let ahead = Window::default().plus(5, at(60));
        assert_eq!(ahead.estimate(at(59)), 5);
    }

    proptest! {
        #[test]
        fn it_is_as_near_to_the_truth_as_it_says(
            events in prop::collection::vec((0..20_000_000_u64, 1..50_u32), 1..200)
        ) {
            let mut now = Instant::from_secs(30);
            let mut window = Window::default();
            let mut exact: Vec<(Instant, u32)> = Vec::new();
            for (micros, count) in events {
                now = now.plus(Duration::from_micros(micros));
                window = window.plus(count, now);
                exact.push((now, count));
                let minute = |instant: Instant| instant.as_micros() / WINDOW_MICROS;
                let sum = |keep: &dyn Fn(Instant) -> bool| {
                    exact.iter().filter(|it| keep(it.0)).map(|it| it.1).sum::<u32>()
                };
                let truth = sum(&|instant| now.since(instant) < Duration::from_secs(60));
                let before = sum(&|instant| minute(instant) + 1 == minute(now));
                prop_assert!(window.estimate(now).abs_diff(truth) <= before);
            }
        }

        #[test]
        fn a_limit_lets_no_more_than_twice_its_number_pass(
            pauses in prop::collection::vec(0..3_000_000_u64, 1..600),
            limit in 1..40_u32,
        ) {
            let mut now = Instant::from_secs(6_000);
            let mut window = Window::default();
            let mut passed: Vec<Instant> = Vec::new();
            for micros in pauses {
                now = now.plus(Duration::from_micros(micros));
                if window.estimate(now) < limit {
                    window = window.plus(1, now);
                    passed.push(now);
                }
                let within = passed.iter().filter(|it| now.since(**it) < Duration::from_secs(60));
                prop_assert!(within.count() <= 2 * limit as usize);
            }
        }
    }
}
