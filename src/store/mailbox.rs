//! One mailbox: its messages, its books, and those who watch it.
//!
//! What is here knows nothing of the shard around it. The shard finds mailboxes, sets their timers
//! and pays for them; a mailbox says when something is due in it and what its events are.

#![forbid(unsafe_code)]

mod marks;
mod webhooks;

use super::{
    Budget, Entry, Event, MailboxState, NewMailbox, Password, Sequence, Takes, Terms, TokenHash,
    Watcher, WhenFull,
};
use super::{ENTRY_COST_BYTES, MAILBOX_COST_BYTES, REMOVAL_COST_BYTES};
use crate::clock::Instant;
use crate::mail::{Address, EncryptionKey, Message, Reservation};
use crate::settings::Span;
use crate::wheel::TimerKey;
use marks::Mark;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

/// How many removals a mailbox remembers for watchers that come back.
pub(super) const REMOVALS_MAX: usize = 64;

/// Room for messages that is kept although nothing stands there.
const ENTRIES_SPARE_MAX: usize = 16;

/// One mailbox.
pub(super) struct Mailbox<W> {
    pub(super) address: Address,
    /// `None` for a mailbox that mail has made.
    pub(super) token: Option<TokenHash>,
    created_at: Instant,
    pub(super) expires_at: Option<Instant>,
    /// The longest that its holder may make it live, counted from the moment they ask.
    pub(super) ttl_max: Duration,
    /// What is particular about it.
    terms: Option<Box<Terms>>,
    /// Its time was up while a message was under way to it, which is shown until `expires_at`. No
    /// other mail comes.
    pub(super) closing: bool,
    /// Anybody may read it: the place leased last was leased for everybody. Never with a token.
    pub(super) is_public: bool,
    entries: VecDeque<Stored>,
    bytes: u64,
    last: Sequence,
    /// Places kept free for messages that are under way.
    pub(super) leased: u32,
    /// Rings when something is due here or before. Never later.
    pub(super) timer: Option<TimerKey>,
    watched: Option<Box<Watched<W>>>,
    reservation: Reservation,
}

/// A message in a mailbox.
pub(super) struct Stored {
    message: Arc<Message>,
    sequence: Sequence,
    /// When its own time is up. Never before that of the message that came before it.
    ends_at: Instant,
    /// Whether it was looked at.
    mark: Mark,
}

/// What only mailboxes need that are watched or from which something was taken.
struct Watched<W> {
    watchers: Vec<W>,
    removals: VecDeque<Removal>,
    /// Removals up to here are forgotten.
    forgotten: Sequence,
    /// The event by which watchers were told that the mailbox expires soon.
    told_soon: Option<Sequence>,
}

/// A message that went before its mailbox.
struct Removal {
    sequence: Sequence,
    message: Sequence,
}

impl<W> Mailbox<W> {
    /// What a mailbox costs beside its address and whatever refers to it, in bytes.
    #[cfg(test)]
    pub(super) const STRUCT_BYTES: usize = crate::slab::Slab::<Self>::SLOT_BYTES;
    /// What a message costs in a mailbox, in bytes.
    #[cfg(test)]
    pub(super) const STORED_BYTES: usize = size_of::<Stored>();

    /// An empty one. `reservation` pays for it and for nothing else yet.
    pub(super) fn new(address: Address, now: Instant, reservation: Reservation) -> Self {
        Self {
            address,
            token: None,
            created_at: now,
            expires_at: None,
            ttl_max: Duration::ZERO,
            terms: None,
            closing: false,
            is_public: false,
            entries: VecDeque::new(),
            bytes: 0,
            last: Sequence(0),
            leased: 0,
            timer: None,
            watched: None,
            reservation,
        }
    }

    /// Whether its time has come and no message under way keeps it.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.leased == 0 && self.is_past(now)
    }

    /// Whether its time has come, kept by a lease or not.
    pub(super) fn is_past(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    /// Whether there is nothing and nobody to keep it for.
    pub(super) fn is_idle(&self) -> bool {
        self.token.is_none() && self.leased == 0 && self.entries.is_empty()
    }

    /// Whether it holds a message whose time is not up. The newest lasts longest.
    pub(super) fn has_mail(&self, now: Instant) -> bool {
        self.entries.back().is_some_and(|it| it.ends_at > now)
    }

    /// Messages, those included whose time is up but which the timer has not reached.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many messages it takes in its life, if not any number.
    fn takes(&self) -> Option<&Takes> {
        self.terms.as_ref()?.takes.as_ref()
    }

    fn takes_mut(&mut self) -> Option<&mut Takes> {
        self.terms.as_mut()?.takes.as_mut()
    }

    /// Whether it has taken the last message that it was made for.
    pub(super) fn is_used_up(&self) -> bool {
        self.takes().is_some_and(|it| it.end().is_some())
    }

    /// The most messages and bytes in it.
    fn room(&self, budget: &Budget) -> (u32, u64) {
        let terms = self.terms.as_deref();
        let messages = terms.and_then(|it| it.messages_max);
        let bytes = terms.and_then(|it| it.bytes_max);
        (
            messages.unwrap_or(budget.mailbox_messages_max),
            bytes.unwrap_or(budget.mailbox_bytes_max).0,
        )
    }

    /// Whether one more message may be announced.
    pub(super) fn has_place(&self, budget: &Budget, declared_bytes: u64) -> bool {
        // Who keeps a place may give it back: another message may have it then.
        if self.takes().is_some_and(|it| self.leased >= it.left()) {
            return false;
        }
        let (messages_max, bytes_max) = self.room(budget);
        let bytes = self.bytes.saturating_add(declared_bytes);
        match budget.when_mailbox_full {
            WhenFull::Defer => {
                let messages = self.entries.len() as u64 + u64::from(self.leased);
                messages < u64::from(messages_max) && bytes <= bytes_max
            }
            // The oldest make room, but not for more than a whole mailbox.
            WhenFull::DropOldest => self.leased < messages_max && declared_bytes <= bytes_max,
        }
    }

    /// Whether the oldest message must go before one of `bytes` comes.
    pub(super) fn must_evict(&self, budget: &Budget, bytes: u64) -> bool {
        let (messages_max, bytes_max) = self.room(budget);
        budget.when_mailbox_full == WhenFull::DropOldest
            && !self.entries.is_empty()
            && (self.entries.len() >= messages_max as usize
                || self.bytes.saturating_add(bytes) > bytes_max)
    }

    /// To what all mail for it is encrypted.
    pub(super) fn encryption_key(&self) -> Option<&EncryptionKey> {
        self.terms.as_ref()?.encryption_key.as_ref()
    }

    /// What its holder may show instead of a token.
    pub(super) fn password(&self) -> Option<&Password> {
        self.terms.as_ref()?.password.as_deref()
    }

    /// What it and all in it cost.
    fn cost(&self) -> u64 {
        let removals = self.watched.as_ref().map_or(0, |it| it.removals.len());
        let terms = self.terms.as_ref().map_or(0, |terms| terms.cost());
        MAILBOX_COST_BYTES
            + terms
            + (self.entries.len() as u64 + u64::from(self.leased)) * ENTRY_COST_BYTES
            + removals as u64 * REMOVAL_COST_BYTES
    }

    /// Adds a place for a message, paid for by `reservation`.
    pub(super) fn add_place(&mut self, reservation: Reservation) {
        self.reservation.absorb(reservation);
        self.leased += 1;
    }

    /// Takes a place away and gives back what it cost.
    pub(super) fn take_place(&mut self) {
        debug_assert!(self.leased > 0, "a lease goes back once");
        self.leased = self.leased.saturating_sub(1);
        self.settle();
    }

    /// Gives back what was paid for something that is no longer here.
    pub(super) fn settle(&mut self) {
        let cost = self.cost();
        self.reservation.shrink_to(cost);
    }

    /// Turns a place into a message. Its entry is what watchers are told.
    pub(super) fn fill_place(&mut self, message: &Arc<Message>, kept: Span, now: Instant) -> Entry {
        debug_assert!(self.leased > 0, "a lease goes back once");
        self.leased = self.leased.saturating_sub(1);
        // A span that was lowered meanwhile must not let a message overtake an older one: the
        // timer looks at the oldest only.
        let after = self.entries.back().map_or(now, |it| it.ends_at);
        let sequence = self.next_sequence();
        self.bytes += message.body.len() as u64;
        let stored = Stored {
            message: Arc::clone(message),
            sequence,
            ends_at: now.plus(kept.0).max(after),
            mark: Mark::default(),
        };
        self.count_taken(1, now);
        let entry = self.entry(&stored, now);
        self.entries.push_back(stored);
        entry
    }

    /// Counts messages of those that it takes. With the last its end comes nearer.
    fn count_taken(&mut self, messages: u32, now: Instant) {
        // One that stays for what was under way goes with what came last, which is promised its time.
        let shown = self.expires_at.filter(|_| self.closing);
        let Some(takes) = self.takes_mut() else {
            return;
        };
        if !takes.count(messages, now) {
            return;
        }
        takes.show_until(shown.unwrap_or(now));
        self.end_with_last();
        if let Some(watched) = &mut self.watched {
            watched.told_soon = None;
        }
    }

    /// Brings its end to where its last message has put it, if that is nearer.
    fn end_with_last(&mut self) {
        if let Some(last) = self.takes().and_then(Takes::end) {
            self.expires_at = self.expires_at.map(|end| end.min(last));
        }
    }

    /// Its time is up, but what comes now was under way: it is shown until then, and nothing else comes.
    pub(super) fn stay_for_late(&mut self, shown: Instant) {
        self.closing = true;
        self.expires_at = self.expires_at.map(|end| end.max(shown));
        if let Some(takes) = self.takes_mut() {
            takes.show_until(shown);
        }
    }

    /// How long a message is sure to be kept that came just now, unless its holder wants otherwise: one more message may
    /// be all that the mailbox was made for.
    pub(super) fn promise(&self, entry: &Entry, now: Instant) -> Instant {
        let last = self.takes().map(|it| it.may_end(now));
        let last = last.filter(|_| !self.closing);
        last.map_or(entry.expires_at, |end| end.min(entry.expires_at))
    }

    /// When a message here is to go, whether it was kept until then or not.
    pub(super) fn end_of(&self, stored: &Stored) -> Instant {
        self.expires_at
            .map_or(stored.ends_at, |end| end.min(stored.ends_at))
    }

    /// Takes the oldest message out, if `when` says so. The books are settled by the caller, who
    /// may want to write down the removal first.
    pub(super) fn pop_oldest_if(&mut self, when: impl FnOnce(&Stored) -> bool) -> Option<Stored> {
        let oldest = self.entries.front().filter(|it| when(it)).is_some();
        let gone = if oldest {
            self.entries.pop_front()
        } else {
            None
        }?;
        self.took(&gone);
        Some(gone)
    }

    /// Takes a message out that has not come to its end. As above.
    pub(super) fn take_message(&mut self, sequence: Sequence, now: Instant) -> Option<Stored> {
        let at = self.position(sequence, now)?;
        let gone = self.entries.remove(at)?;
        self.took(&gone);
        Some(gone)
    }

    fn took(&mut self, gone: &Stored) {
        self.bytes -= gone.message.body.len() as u64;
        let len = self.entries.len();
        if self.entries.capacity() > ENTRIES_SPARE_MAX.max(4 * len) {
            self.entries.shrink_to(2 * len);
        }
    }

    fn position(&self, sequence: Sequence, now: Instant) -> Option<usize> {
        let at = self
            .entries
            .binary_search_by_key(&sequence, |it| it.sequence)
            .ok()?;
        (self.entries[at].ends_at > now && !self.is_past(now)).then_some(at)
    }

    /// The number for the next event.
    fn next_sequence(&mut self) -> Sequence {
        self.last = Sequence(self.last.0 + 1);
        self.last
    }

    /// Messages numbered after `after` whose time is not up, oldest first.
    pub(super) fn list(
        &self,
        after: Sequence,
        now: Instant,
    ) -> impl Iterator<Item = Entry> + use<'_, W> {
        let past = self.is_past(now);
        let first = self
            .entries
            .partition_point(|it| past || it.sequence <= after || it.ends_at <= now);
        self.entries
            .range(first..)
            .map(move |it| self.entry(it, now))
    }

    /// One message whose time is not up.
    pub(super) fn message(&self, sequence: Sequence, now: Instant) -> Option<Entry> {
        let at = self.position(sequence, now)?;
        Some(self.entry(&self.entries[at], now))
    }

    fn entry(&self, stored: &Stored, now: Instant) -> Entry {
        let end = self.shown_end(now);
        Entry {
            sequence: stored.sequence,
            expires_at: end.map_or(stored.ends_at, |end| end.min(stored.ends_at)),
            seen: stored.mark.is_seen(),
            message: Arc::clone(&stored.message),
        }
    }

    /// When it goes; `now` when only a message under way keeps it.
    fn shown_end(&self, now: Instant) -> Option<Instant> {
        self.expires_at.map(|end| end.max(now))
    }

    /// The mailbox as its holder sees it.
    pub(super) fn state(&self, now: Instant) -> MailboxState {
        let (mut messages, mut bytes) = (self.entries.len(), self.bytes);
        let past = self.is_past(now);
        for due in self
            .entries
            .iter()
            .take_while(|it| past || it.ends_at <= now)
        {
            messages -= 1;
            bytes -= due.message.body.len() as u64;
        }
        MailboxState {
            address: self.address.clone(),
            created_at: self.created_at,
            expires_at: self.shown_end(now),
            encrypted: self.encryption_key().is_some(),
            messages,
            bytes,
            last: self.last,
            takes: self.takes().copied(),
            plan: self.terms.as_ref().and_then(|it| it.plan.clone()),
        }
    }

    /// When something is due here next.
    pub(super) fn due(&self, soon: Span) -> Option<Instant> {
        let ends = self.leased == 0 || !self.entries.is_empty();
        let end = self.expires_at.filter(|_| ends);
        let oldest = self.entries.front().map(|it| it.ends_at);
        [end, oldest, self.soon_at(soon)]
            .into_iter()
            .flatten()
            .min()
    }

    /// When watchers must be told that it expires soon; `None` when nobody watches or they were
    /// told.
    fn soon_at(&self, soon: Span) -> Option<Instant> {
        let watched = self.watched.as_ref()?;
        let untold = !watched.watchers.is_empty() && watched.told_soon.is_none();
        let end = self.expires_at.filter(|_| untold)?;
        if self.is_used_up() {
            // Its end has just come nearer: that is news.
            return Some(Instant::ZERO);
        }
        Some(Instant::ZERO.plus(end.since(Instant::ZERO).saturating_sub(soon.0)))
    }

    /// Gives the mailbox to the holder of a token. `terms` pays for what is particular about it, if anything is.
    pub(super) fn give(&mut self, wanted: NewMailbox, terms: Option<Reservation>, now: Instant) {
        if let Some(terms) = terms {
            self.reservation.absorb(terms);
        }
        self.token = Some(wanted.token);
        self.is_public = false;
        self.ttl_max = wanted.ttl_max;
        self.terms = wanted.terms;
        self.created_at = now;
        self.expires_at = Some(self.end_after(wanted.ttl, now));
        // What waits here already is part of what it takes.
        let waiting = u32::try_from(self.entries.len()).unwrap_or(u32::MAX);
        self.count_taken(waiting, now);
    }

    fn end_after(&self, ttl: Duration, now: Instant) -> Instant {
        now.plus(ttl.min(self.ttl_max))
    }

    /// Moves its end.
    pub(super) fn extend(&mut self, ttl: Duration, now: Instant) {
        self.expires_at = Some(self.end_after(ttl, now));
        self.closing = false;
        self.end_with_last();
        if let Some(watched) = &mut self.watched {
            watched.told_soon = None;
        }
    }

    /// Recomputes what is counted along the way.
    pub(super) fn check(&self) {
        let bytes: usize = self.entries.iter().map(|it| it.message.body.len()).sum();
        assert_eq!(self.bytes, bytes as u64, "bytes in the mailbox");
        assert_eq!(self.reservation.bytes(), self.cost(), "bytes paid for");
        let (entries, later) = (self.entries.iter(), self.entries.iter().skip(1));
        for (one, next) in entries.zip(later) {
            assert!(one.sequence < next.sequence && one.ends_at <= next.ends_at);
        }
        assert!(
            self.entries
                .back()
                .is_none_or(|it| it.sequence <= self.last)
        );
        assert!(!self.is_idle(), "an empty mailbox that nobody holds");
        assert!(!self.is_public || self.token.is_none(), "held and public");
        if let Some(last) = self.takes().and_then(Takes::end) {
            let end = self.expires_at.expect("it was created");
            assert!(end <= last, "a mailbox that is used up lives on");
        }
    }
}

/// Events.
impl<W: Watcher> Mailbox<W> {
    fn watched(&mut self) -> &mut Watched<W> {
        self.watched.get_or_insert_with(|| {
            Box::new(Watched {
                watchers: Vec::new(),
                removals: VecDeque::new(),
                forgotten: Sequence(0),
                told_soon: None,
            })
        })
    }

    /// Tells every watcher; says how many were dropped because they could not take it.
    pub(super) fn tell(&mut self, event: &Event) -> usize {
        self.watched
            .as_mut()
            .map_or(0, |it| it.retain(|watcher| watcher.notify(event)))
    }

    /// Writes down and tells that a message went before its mailbox, and settles the books.
    pub(super) fn tell_removed(&mut self, gone: &Stored) -> usize {
        if self.is_idle() && self.watched.is_none() {
            // The mailbox goes next, and nobody will ask what was in it.
            self.settle();
            return 0;
        }
        let sequence = self.next_sequence();
        let message = gone.sequence;
        let watched = self.watched();
        if watched.removals.len() == REMOVALS_MAX
            && let Some(forgotten) = watched.removals.pop_front()
        {
            watched.forgotten = forgotten.sequence;
        }
        watched.removals.push_back(Removal { sequence, message });
        self.settle();
        self.tell(&Event::Removed { sequence, message })
    }

    /// Tells that the mailbox expires soon, when that moment has come.
    pub(super) fn tell_soon(&mut self, soon: Span, now: Instant) -> usize {
        let (Some(at), Some(expires_at)) = (self.soon_at(soon), self.expires_at) else {
            return 0;
        };
        if at > now {
            return 0;
        }
        let sequence = self.next_sequence();
        self.watched().told_soon = Some(sequence);
        self.tell(&Event::ExpiresSoon {
            sequence,
            expires_at,
        })
    }

    /// Tells that nothing will follow, and lets the watchers go.
    pub(super) fn tell_closed(&mut self) -> usize {
        let sequence = self.next_sequence();
        let dropped = self.tell(&Event::Closed { sequence });
        if let Some(watched) = &mut self.watched {
            watched.watchers = Vec::new();
            watched.told_soon = None;
        }
        dropped
    }

    /// Adds a watcher after telling it what followed `since`. `None` when too many watch; else how
    /// many were dropped.
    pub(super) fn watch(
        &mut self,
        since: Option<Sequence>,
        watcher: W,
        watchers_max: usize,
        now: Instant,
    ) -> Option<usize> {
        let mut dropped = 0;
        if let Some(watched) = &mut self.watched
            && watched.watchers.len() >= watchers_max
        {
            dropped = watched.retain(|it| !it.is_gone());
        }
        let watching = self.watched.as_ref().map_or(0, |it| it.watchers.len());
        if watching >= watchers_max {
            return None;
        }
        if self.replay(since, now).iter().all(|it| watcher.notify(it)) {
            self.watched().watchers.push(watcher);
        } else {
            dropped += 1;
        }
        Some(dropped)
    }

    /// What followed `since`, in order: messages that are still here, removals, and the last
    /// warning.
    fn replay(&self, since: Option<Sequence>, now: Instant) -> Vec<Event> {
        let watched = self.watched.as_deref();
        let soon = watched
            .and_then(|it| it.told_soon)
            .zip(self.expires_at)
            .map(|(sequence, expires_at)| Event::ExpiresSoon {
                sequence,
                expires_at,
            });
        let Some(since) = since else {
            return soon.into_iter().collect();
        };
        let forgotten = watched.map_or(Sequence(0), |it| it.forgotten);
        if since < forgotten || since > self.last {
            let sequence = self.last;
            return vec![Event::Reset { sequence }];
        }
        let arrived = self.list(since, now).map(Event::Arrived);
        let arrived = arrived.chain(self.marked(since, now));
        let removed = watched.into_iter().flat_map(|it| &it.removals);
        let removed = removed.map(|it| Event::Removed {
            sequence: it.sequence,
            message: it.message,
        });
        let mut events: Vec<Event> = arrived
            .chain(removed.chain(soon).filter(|it| it.sequence() > since))
            .collect();
        events.sort_unstable_by_key(Event::sequence);
        events
    }
}

impl<W> Watched<W> {
    /// Keeps some watchers; says how many went.
    fn retain(&mut self, keep: impl FnMut(&W) -> bool) -> usize {
        let before = self.watchers.len();
        self.watchers.retain(keep);
        if self.watchers.is_empty() {
            self.watchers = Vec::new();
        }
        before - self.watchers.len()
    }
}

impl Stored {
    /// Its number.
    pub(super) const fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// When its own time is up.
    pub(super) const fn ends_at(&self) -> Instant {
        self.ends_at
    }
}

#[cfg(test)]
mod tests {
    use super::super::index::Index;
    use super::super::{PASSWORD_COST_BYTES, TERMS_COST_BYTES};
    use super::*;
    use crate::mail::ReversePath;
    use crate::wheel::Wheel;

    /// What the allocator adds to a piece of memory at worst, rounding to its size classes
    /// included.
    const MALLOC_BYTES: usize = 32;
    /// RFC 5321 section 4.5.3.1.3.
    const PATH_BYTES_MAX: usize = 256;
    /// A body beside its bytes: a list of four segments, when it came in several pieces.
    const BODY_BYTES: usize = 4 * size_of::<Vec<u8>>() + MALLOC_BYTES;

    #[test]
    fn the_price_of_a_mailbox_is_what_it_costs() {
        let address = 64 + MALLOC_BYTES;
        let watched = size_of::<Watched<usize>>() + MALLOC_BYTES;
        let mailbox = Mailbox::<usize>::STRUCT_BYTES;
        let indexes = 2 * Index::SPOT_BYTES;
        let cost = mailbox + address + watched + indexes + Wheel::<u32>::TIMER_BYTES;
        assert!(cost as u64 <= MAILBOX_COST_BYTES, "{cost}");
        assert!(cost as u64 * 2 > MAILBOX_COST_BYTES, "{cost}");
        let counts = 2 * size_of::<usize>();
        let key = size_of::<[u8; 32]>() + counts + MALLOC_BYTES;
        let terms = size_of::<Terms>() + MALLOC_BYTES + key;
        assert!(size_of::<Terms>() <= 128, "{}", size_of::<Terms>());
        assert!(terms as u64 <= TERMS_COST_BYTES, "{terms}");
        let password = size_of::<Password>() + MALLOC_BYTES;
        assert!(password as u64 <= PASSWORD_COST_BYTES, "{password}");
    }

    #[test]
    fn the_price_of_a_message_is_what_it_costs() {
        // A list that has just doubled, or holds its first message in room for four.
        let place = 4 * Mailbox::<usize>::STORED_BYTES + MALLOC_BYTES;
        let counts = 2 * size_of::<usize>();
        let message = size_of::<Message>() + counts + MALLOC_BYTES;
        let path = size_of::<ReversePath>().max(PATH_BYTES_MAX) + MALLOC_BYTES;
        let cost = place + message + path + BODY_BYTES;
        assert!(cost as u64 <= ENTRY_COST_BYTES, "{cost}");
        let removal = 2 * size_of::<Removal>();
        assert!(removal as u64 <= REMOVAL_COST_BYTES, "{removal}");
    }
}
