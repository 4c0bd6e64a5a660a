//! The process-wide budget of bytes.
//!
//! Whatever mail occupies is reserved here first and held as a [`Reservation`], a value that gives
//! its bytes back when it is dropped. So the books balance by construction: no path, however it
//! ends, can keep bytes or return them twice.
//!
//! The two numbers, and those of [`quota`](super::quota), are the only state in the inner ring that cores share. They are
//! atomics, not a lock: a core never waits for another.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The budget. Clones share one account.
#[derive(Clone)]
pub struct Ledger {
    account: Arc<Account>,
}

struct Account {
    used: AtomicU64,
    limit: AtomicU64,
}

impl Ledger {
    /// A budget of `limit` bytes.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self {
            account: Arc::new(Account {
                used: AtomicU64::new(0),
                limit: AtomicU64::new(limit),
            }),
        }
    }

    /// Reserves `bytes`; `None` when they are not there now.
    #[must_use]
    pub fn reserve(&self, bytes: u64) -> Option<Reservation> {
        let limit = self.limit();
        self.account
            .used
            .fetch_update(Relaxed, Relaxed, |used| {
                used.checked_add(bytes).filter(|sum| *sum <= limit)
            })
            .ok()
            .map(|_| Reservation {
                ledger: self.clone(),
                bytes,
            })
    }

    /// Bytes reserved now.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.account.used.load(Relaxed)
    }

    /// The most that may be reserved.
    #[must_use]
    pub fn limit(&self) -> u64 {
        self.account.limit.load(Relaxed)
    }

    /// Changes the limit. What is reserved stays so, even when it is more than the new limit.
    pub fn set_limit(&self, limit: u64) {
        self.account.limit.store(limit, Relaxed);
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Ledger({} of {} bytes)", self.used(), self.limit())
    }
}

/// Bytes that are ours until this value is dropped.
pub struct Reservation {
    ledger: Ledger,
    bytes: u64,
}

impl Reservation {
    /// How many bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds what `other` holds.
    ///
    /// # Panics
    /// In debug builds, when `other` is of another ledger.
    pub fn absorb(&mut self, mut other: Self) {
        debug_assert!(Arc::ptr_eq(&self.ledger.account, &other.ledger.account));
        self.bytes += std::mem::take(&mut other.bytes);
    }

    /// Gives back all but `bytes`; does nothing when no more than that is held.
    pub fn shrink_to(&mut self, bytes: u64) {
        let excess = self.bytes.saturating_sub(bytes);
        self.bytes -= excess;
        self.ledger.account.used.fetch_sub(excess, Relaxed);
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.shrink_to(0);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reservation({} bytes)", self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_comes_back() {
        let ledger = Ledger::new(100);
        let mut first = ledger.reserve(60).expect("fits");
        assert!(ledger.reserve(41).is_none());
        first.absorb(ledger.reserve(40).expect("fits exactly"));
        assert_eq!((first.bytes(), ledger.used()), (100, 100));
        first.shrink_to(30);
        first.shrink_to(50);
        assert_eq!((first.bytes(), ledger.used()), (30, 30));
        drop(first);
        assert_eq!(ledger.used(), 0);
    }

    #[test]
    fn a_lowered_limit_refuses_but_takes_nothing_away() {
        let ledger = Ledger::new(100);
        let held = ledger.reserve(80).expect("fits");
        ledger.set_limit(50);
        assert!(ledger.reserve(1).is_none());
        assert_eq!(held.bytes(), 80);
        assert!(ledger.reserve(u64::MAX).is_none(), "no wrap-around");
    }
}
