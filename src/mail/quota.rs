//! How many mailboxes one creator may have at a time.
//!
//! Who creates a mailbox takes a [`Seat`] first, and the mailbox holds it until it goes, however that happens. So the count
//! is exact at every moment, over all cores, and nobody has to be told. Like the [ledger](super::ledger) it is a number that
//! cores share, not a lock.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The mailboxes of one creator. Clones share one count.
#[derive(Clone)]
pub struct Quota(Arc<Count>);

struct Count {
    taken: AtomicU32,
    most: AtomicU32,
}

impl Quota {
    /// Room for `most` mailboxes; 0 means no limit.
    #[must_use]
    pub fn new(most: u32) -> Self {
        Self(Arc::new(Count {
            taken: AtomicU32::new(0),
            most: AtomicU32::new(most),
        }))
    }

    /// Takes a place for a mailbox; `None` when there are as many as there may be.
    #[must_use]
    pub fn take(&self) -> Option<Seat> {
        let most = self.0.most.load(Relaxed);
        let limit = if most == 0 { u32::MAX } else { most };
        let taken = &self.0.taken;
        taken
            .fetch_update(Relaxed, Relaxed, |taken| {
                (taken < limit).then_some(taken + 1)
            })
            .ok()
            .map(|_| Seat(Arc::clone(&self.0)))
    }

    /// How many places are taken.
    #[must_use]
    pub fn taken(&self) -> u32 {
        self.0.taken.load(Relaxed)
    }

    /// Changes how many there may be; 0 means no limit. Mailboxes beyond that stay.
    pub fn set_most(&self, most: u32) {
        self.0.most.store(most, Relaxed);
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Quota({} mailboxes)", self.taken())
    }
}

/// A place among a creator's mailboxes, free again when this is dropped.
pub struct Seat(Arc<Count>);

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.taken.fetch_sub(1, Relaxed);
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seat(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_never_more_than_there_may_be_and_places_come_back() {
        let quota = Quota::new(2);
        let seats = [quota.take(), quota.take()];
        assert!(seats.iter().all(Option::is_some));
        assert!(quota.take().is_none());
        quota.set_most(1);
        drop(seats);
        assert_eq!(quota.taken(), 0);
        let one = quota.take();
        assert!(one.is_some() && quota.take().is_none());
        quota.set_most(0);
        assert!(quota.take().is_some(), "no limit");
    }

    #[test]
    fn threads_that_race_for_places_get_no_more_than_there_are() {
        let quota = Quota::new(100);
        let got: usize = std::thread::scope(|scope| {
            let take = || (0..100).filter_map(|_| quota.take()).collect::<Vec<Seat>>();
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
            let seats: Vec<_> = threads
                .into_iter()
                .map(|it| it.join().expect("ends"))
                .collect();
            seats.iter().map(Vec::len).sum()
        });
        assert_eq!((got, quota.taken()), (100, 0));
    }
}
