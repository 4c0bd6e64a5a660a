//! Which messages of a mailbox somebody has looked at.
//!
//! It is one bit of a message's place in its mailbox, beside the number of the event by which that bit changed last: so
//! watchers that come back are told of it like of everything else, and nothing is kept for them.

#![forbid(unsafe_code)]

use super::{Mailbox, Stored};
use crate::clock::Instant;
use crate::store::{Entry, Event, Sequence, Watcher};

/// The number of the event that changed it last, 0 for none, and in the lowest bit whether it was seen.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark(u64);

impl Mark {
    const fn new(changed: Sequence, seen: bool) -> Self {
        Self(changed.0 << 1 | seen as u64)
    }

    pub(super) const fn is_seen(self) -> bool {
        self.0 & 1 == 1
    }

    const fn changed(self) -> Sequence {
        Sequence(self.0 >> 1)
    }
}

impl<W> Mailbox<W> {
    /// So many of its messages whose time is not up, newest first, after leaving out `skip`; and how many there are in all.
    pub(in crate::store) fn newest(
        &self,
        skip: usize,
        limit: usize,
        now: Instant,
    ) -> (usize, Vec<Entry>) {
        let past = self.is_past(now);
        let first = self.entries.partition_point(|it| past || it.ends_at <= now);
        let total = self.entries.len() - first;
        let newest = self.entries.range(first..).rev().skip(skip).take(limit);
        (total, newest.map(|it| self.entry(it, now)).collect())
    }

    /// What `since` changed in messages that were there before.
    pub(super) fn marked(
        &self,
        since: Sequence,
        now: Instant,
    ) -> impl Iterator<Item = Event> + use<'_, W> {
        let is_shown = move |it: &&Stored| it.ends_at > now && !self.is_past(now);
        let known = self
            .entries
            .iter()
            .take_while(move |it| it.sequence <= since);
        known
            .filter(move |it| it.mark.changed() > since)
            .filter(is_shown)
            .map(move |it| Event::Marked {
                sequence: it.mark.changed(),
                entry: self.entry(it, now),
            })
    }
}

impl<W: Watcher> Mailbox<W> {
    /// Marks a message whose time is not up as seen or not, and tells if that is news. Its entry, and how many watchers
    /// were dropped; `None` if there is no such message.
    pub(in crate::store) fn set_seen(
        &mut self,
        message: Sequence,
        seen: bool,
        now: Instant,
    ) -> Option<(Entry, usize)> {
        let at = self.position(message, now)?;
        if self.entries[at].mark.is_seen() == seen {
            return Some((self.entry(&self.entries[at], now), 0));
        }
        let sequence = self.next_sequence();
        self.entries[at].mark = Mark::new(sequence, seen);
        let entry = self.entry(&self.entries[at], now);
        let told = Event::Marked {
            sequence,
            entry: entry.clone(),
        };
        let dropped = self.tell(&told);
        Some((entry, dropped))
    }
}
