//! The mailboxes of one core: what may be asked of them.
//!
//! Every verb is given the time, which must not run backwards. What is past its time is not shown,
//! whether the wheel has come to it or not; so the wheel only gives memory back, and its lag is
//! nobody's privacy.
//!
//! A mailbox has one timer, because in the order of arrival its messages end in that order too. The
//! timer may ring early (a lease, an extension or a deletion does not touch it) and is then set
//! anew; it never rings late.

#![forbid(unsafe_code)]

mod books;
pub mod public;
mod queries;
pub mod webhooks;

use super::index::Index;
use super::mailbox::Mailbox;
use super::{
    Budget, CreateError, ENTRY_COST_BYTES, Entry, Event, Existence, Expiry, HashKey, Holder,
    LATE_MESSAGE_SHOWN, Lease, MAILBOX_COST_BYTES, MailboxId, MailboxState, NewMailbox, Sequence,
    Tally, TokenHash, Unavailable, Watcher,
};
use crate::clock::Instant;
use crate::filter::{Filter, Measure, Shown};
use crate::mail::{Address, Ledger, Message, Reservation};
use crate::slab::Slab;
use crate::wheel::Wheel;
use public::Public;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use webhooks::{DomainCallee, Happened, Notice};

/// Why looking at a place that an index or the wheel named cannot fail.
const LIVES: &str = "a mailbox leaves the indexes and the wheel before its place";

/// The mailboxes of one core. See the module's text.
pub struct Shard<W> {
    budget: Budget,
    key: HashKey,
    ledger: Ledger,
    mailboxes: Slab<Mailbox<W>>,
    by_address: Index,
    by_token: Index,
    /// Addresses that were held and have ended not long ago.
    ended: Filter,
    /// At most one timer for each mailbox, with its place.
    wheel: Wheel<u32>,
    /// Messages in all mailboxes.
    messages: usize,
    /// What is remembered of mailboxes that are everybody's, and who hears of them.
    public: Public,
    tally: Tally,
    /// What is called for all mail of a domain.
    domain_callees: Box<[DomainCallee]>,
    /// What happened of which somebody is to be called.
    notices: Vec<Notice>,
}

/// Why a mailbox goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its holder wants it gone.
    Erased,
    /// Its time is up.
    Expired,
    /// It is empty and nobody holds it.
    Idle,
}

/// Mail comes in.
impl<W: Watcher> Shard<W> {
    /// An empty shard. `key` must differ from the one that chooses owners, or all addresses of a
    /// shard would share low hash bits.
    #[must_use]
    pub fn new(budget: Budget, key: HashKey, ledger: Ledger) -> Self {
        Self {
            budget,
            key,
            ledger,
            mailboxes: Slab::new(),
            by_address: Index::default(),
            by_token: Index::default(),
            ended: Filter::new(),
            wheel: Wheel::new(),
            messages: 0,
            public: Public::default(),
            tally: Tally::default(),
            domain_callees: Box::default(),
            notices: Vec::new(),
        }
    }

    /// Changes the rules for what comes from now on. What was promised before stays so.
    pub fn set_budget(&mut self, budget: Budget) {
        self.budget = budget;
    }

    /// Keeps a place for one message of about `declared_bytes`. Creates the mailbox if its
    /// existence is implied.
    ///
    /// # Errors
    /// [`Unavailable::NoSuchMailbox`] when the mailbox must exist and was not created, or its time is up, be it that mail
    /// makes mailboxes but not those that ended a short while ago;
    /// [`Unavailable::UsedUp`] when it has taken as many messages as it was made for;
    /// [`Unavailable::MailboxFull`] when it has no place or not enough bytes left, and, if its existence is
    /// implied, while a mailbox of that address only waits for what is under way to it;
    /// [`Unavailable::NoMemory`] when the ledger cannot pay for the place.
    pub fn lease(
        &mut self,
        address: &Address,
        existence: Existence,
        declared_bytes: u64,
        now: Instant,
    ) -> Result<Lease, Unavailable> {
        let (index, reservation) = match (self.find_fresh(address, now), existence) {
            (Some(index), _) => {
                self.may_lease(index, existence, declared_bytes, now)?;
                (index, self.pay(ENTRY_COST_BYTES)?)
            }
            (None, Existence::Required) => return Err(Unavailable::NoSuchMailbox),
            // Nobody may ever read it: who held the address is gone, and who gets it next must not.
            (None, Existence::Implied | Existence::Public) if self.has_ended(address, now) => {
                return Err(Unavailable::NoSuchMailbox);
            }
            (None, Existence::Implied | Existence::Operators | Existence::Public) => {
                let place = self.pay(ENTRY_COST_BYTES)?;
                let mailbox = Mailbox::new(address.clone(), now, self.pay(MAILBOX_COST_BYTES)?);
                if !mailbox.has_place(&self.budget, declared_bytes) {
                    return Err(Unavailable::MailboxFull);
                }
                (self.add(mailbox), place)
            }
        };
        let mailbox = self.mailbox_mut(index);
        mailbox.add_place(reservation);
        mailbox.is_public = existence == Existence::Public && mailbox.token.is_none();
        let mailbox = MailboxId(self.mailboxes.key_at(index).expect(LIVES));
        self.checked();
        let encryption_key = self.mailbox(index).encryption_key().cloned();
        Ok(Lease {
            mailbox,
            encryption_key,
        })
    }

    /// Gives a place back.
    pub fn release(&mut self, lease: Lease, now: Instant) {
        // Nothing is found when the mailbox was erased, and the place with it.
        if let Some(mailbox) = self.mailboxes.get_mut(lease.mailbox.0) {
            mailbox.take_place();
            self.after_change(lease.mailbox.0.index, now);
        }
        self.checked();
    }

    /// Puts a message in its place. Never refuses. If the mailbox was erased meanwhile the message
    /// goes with it.
    ///
    /// When this returns the message can be read, until its mailbox or its own time ends. If the
    /// mailbox's time ended while the message was under way, it and its mailbox stay for
    /// [`LATE_MESSAGE_SHOWN`].
    ///
    /// Returns when it goes: now, if the mailbox was erased.
    pub fn deliver(&mut self, lease: Lease, message: &Arc<Message>, now: Instant) -> Instant {
        let index = lease.mailbox.0.index;
        if self.mailboxes.get(lease.mailbox.0).is_none() {
            self.tally.messages_late += 1;
            return now;
        }
        self.expire_messages(index, now, &mut { usize::MAX });
        self.evict_for(index, message.body.len() as u64);
        let kept = self.budget.message_ttl_max;
        let soon = self.budget.expires_soon;
        let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
        debug_assert!(
            mailbox.encryption_key().is_none() || message.encrypted,
            "a lease says what its mailbox wants"
        );
        if mailbox.closing || mailbox.is_past(now) {
            mailbox.stay_for_late(now.plus(LATE_MESSAGE_SHOWN));
        }
        let took_more = !mailbox.is_used_up();
        let entry = mailbox.fill_place(message, kept, now);
        let kept_until = mailbox.promise(&entry, now);
        let arrived = Happened::Arrived(entry.sequence);
        if mailbox.is_public {
            let id = MailboxId(lease.mailbox.0);
            self.public.arrived(id, &mailbox.address, &entry);
        }
        let mut dropped = mailbox.tell(&Event::Arrived(entry));
        if took_more && mailbox.is_used_up() {
            dropped += mailbox.tell_soon(soon, now);
            self.tally.mailboxes_used_up += 1;
        }
        self.note(index, arrived);
        self.messages += 1;
        self.tally.messages_delivered += 1;
        self.tally.watchers_dropped += dropped as u64;
        self.after_change(index, now);
        self.checked();
        kept_until
    }

    /// Whether a mailbox takes one more message.
    fn may_lease(
        &self,
        index: u32,
        existence: Existence,
        declared_bytes: u64,
        now: Instant,
    ) -> Result<(), Unavailable> {
        let mailbox = self.mailbox(index);
        let ending = mailbox.closing || mailbox.is_past(now);
        let unheld = mailbox.token.is_none();
        match existence {
            Existence::Required if ending || unheld => Err(Unavailable::NoSuchMailbox),
            // Mail for this address will be welcome again soon.
            Existence::Implied | Existence::Operators | Existence::Public if ending => {
                Err(Unavailable::MailboxFull)
            }
            _ if mailbox.is_used_up() => Err(Unavailable::UsedUp),
            _ if !mailbox.has_place(&self.budget, declared_bytes) => Err(Unavailable::MailboxFull),
            _ => Ok(()),
        }
    }

    /// Lets the oldest go, if that is the rule and `bytes` more do not fit.
    fn evict_for(&mut self, index: u32, bytes: u64) {
        loop {
            let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
            let full = mailbox.must_evict(&self.budget, bytes);
            let Some(gone) = mailbox.pop_oldest_if(|_| full) else {
                return;
            };
            let dropped = self.public.tell_removed(mailbox, &gone);
            self.messages -= 1;
            self.tally.messages_evicted += 1;
            self.tally.watchers_dropped += dropped as u64;
        }
    }
}

/// Holders come and look.
impl<W: Watcher> Shard<W> {
    /// Gives an address to the holder of a token; mail that the address already holds becomes
    /// theirs.
    ///
    /// # Errors
    /// [`CreateError::Taken`] when somebody holds the address or has held it not long ago, or the token is in use;
    /// [`CreateError::NoMemory`] when the ledger cannot pay for a mailbox.
    pub fn create(
        &mut self,
        address: &Address,
        wanted: NewMailbox,
        now: Instant,
    ) -> Result<MailboxState, CreateError> {
        let token = wanted.token;
        let found = self.find_fresh(address, now);
        let taken = found.is_some_and(|index| self.mailbox(index).token.is_some());
        // What is there, or on its way, is not encrypted, and the holder was promised that everything is.
        let key = wanted
            .terms
            .as_ref()
            .and_then(|it| it.encryption_key.as_ref());
        let taken = taken || found.is_some() && key.is_some();
        if taken || self.find_token(&token).is_some() {
            return Err(CreateError::Taken);
        }
        if self.has_ended(address, now) {
            self.tally.quarantine_refused += 1;
            return Err(CreateError::Taken);
        }
        let terms = wanted.terms.as_ref().map(|terms| terms.cost());
        let terms = terms.map(|bytes| self.ledger.reserve(bytes).ok_or(CreateError::NoMemory));
        let terms = terms.transpose()?;
        let index = match found {
            Some(index) => {
                // Whoever read this mailbox as the operator must not read on in the holder's.
                let dropped = self.mailbox_mut(index).tell_closed();
                self.tally.watchers_dropped += dropped as u64;
                index
            }
            None => {
                let paid = self.ledger.reserve(MAILBOX_COST_BYTES);
                let paid = paid.ok_or(CreateError::NoMemory)?;
                self.add(Mailbox::new(address.clone(), now, paid))
            }
        };
        self.mailbox_mut(index).give(wanted, terms, now);
        self.by_token.insert(self.key.hash(&token.0), index);
        self.tally.mailboxes_created += 1;
        self.arm(index);
        self.checked();
        Ok(self.mailbox(index).state(now))
    }

    /// A mailbox as it stands. `None` if there is none: unknown, wrong and expired tokens are
    /// alike.
    #[must_use]
    pub fn state(&self, holder: &Holder, now: Instant) -> Option<MailboxState> {
        let index = self.held(holder, now)?;
        Some(self.mailbox(index).state(now))
    }

    /// Sets the mailbox to expire `ttl` from now, within what its creator was granted; which may be earlier
    /// than before. Does nothing to a mailbox of the operator, which has no end.
    pub fn extend(&mut self, holder: &Holder, ttl: Duration, now: Instant) -> Option<MailboxState> {
        let index = self.held(holder, now)?;
        // What has ended stays so: only the mailbox goes on.
        self.expire_messages(index, now, &mut { usize::MAX });
        let mailbox = self.mailbox_mut(index);
        if mailbox.expires_at.is_some() {
            mailbox.extend(ttl, now);
            self.arm(index);
        }
        self.checked();
        Some(self.mailbox(index).state(now))
    }

    /// Gives the mailbox of one token to the holder of another. The old one is dead, and whoever watched with it hears no
    /// more. `None` if there is none.
    pub fn recover(
        &mut self,
        old: &TokenHash,
        new: TokenHash,
        now: Instant,
    ) -> Option<MailboxState> {
        let index = self.held(&Holder::Token(*old), now)?;
        if self.find_token(&new).is_some() {
            return None;
        }
        // Who had the old token may have named it.
        self.close_webhook(index);
        let mailbox = self.mailbox_mut(index);
        mailbox.token = Some(new);
        let dropped = mailbox.tell_closed();
        self.tally.watchers_dropped += dropped as u64;
        self.tally.mailboxes_recovered += 1;
        self.by_token.remove(self.key.hash(&old.0), index);
        self.by_token.insert(self.key.hash(&new.0), index);
        self.checked();
        Some(self.mailbox(index).state(now))
    }

    /// Erases the mailbox and all its mail; its token is dead. `None` if there is none.
    pub fn erase(&mut self, holder: &Holder, now: Instant) -> Option<()> {
        let index = self.held(holder, now)?;
        self.close(index, End::Erased, now);
        self.checked();
        Some(())
    }

    /// Messages numbered after `after`, oldest first, `limit` at most. `None` if there is no such
    /// mailbox.
    #[must_use]
    pub fn list(
        &self,
        holder: &Holder,
        after: Sequence,
        limit: usize,
        now: Instant,
    ) -> Option<Vec<Entry>> {
        let mailbox = self.mailbox(self.held(holder, now)?);
        Some(mailbox.list(after, now).take(limit).collect())
    }

    /// One message. Outer `None`: no such mailbox. Inner: no such message.
    #[must_use]
    pub fn message(
        &self,
        holder: &Holder,
        sequence: Sequence,
        now: Instant,
    ) -> Option<Option<Entry>> {
        let mailbox = self.mailbox(self.held(holder, now)?);
        Some(mailbox.message(sequence, now))
    }

    /// Deletes one message; says whether it was there. `None` if there is no such mailbox.
    pub fn delete(&mut self, holder: &Holder, sequence: Sequence, now: Instant) -> Option<bool> {
        let index = self.held(holder, now)?;
        let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
        let Some(gone) = mailbox.take_message(sequence, now) else {
            return Some(false);
        };
        let dropped = self.public.tell_removed(mailbox, &gone);
        self.note(index, Happened::Deleted(sequence));
        self.messages -= 1;
        self.tally.messages_deleted += 1;
        self.tally.watchers_dropped += dropped as u64;
        self.after_change(index, now);
        self.checked();
        Some(true)
    }

    /// Adds a watcher, who is first told what followed `since` (if given). `Some(false)`: too many
    /// watch already.
    ///
    /// What followed is told in order: messages that are still there, removals, and that the
    /// mailbox expires soon. When the shard does not remember that far back, [`Event::Reset`]
    /// alone. Without `since`, only that the mailbox expires soon.
    pub fn watch(
        &mut self,
        holder: &Holder,
        since: Option<Sequence>,
        watcher: W,
        now: Instant,
    ) -> Option<bool> {
        let index = self.held(holder, now)?;
        self.expire_messages(index, now, &mut { usize::MAX });
        let watchers_max = self.budget.watchers_max as usize;
        let mailbox = self.mailbox_mut(index);
        let watching = mailbox.watch(since, watcher, watchers_max, now);
        self.tally.watchers_dropped += watching.unwrap_or(0) as u64;
        self.arm(index);
        self.checked();
        Some(watching.is_some())
    }

    /// The mailbox that a holder may see now.
    fn held(&self, holder: &Holder, now: Instant) -> Option<u32> {
        match holder {
            Holder::Token(token) => self
                .find_token(token)
                .filter(|index| !self.mailbox(*index).is_over(now)),
            Holder::Operator(address) => self.find(address).filter(|index| {
                let mailbox = self.mailbox(*index);
                mailbox.token.is_none() && (mailbox.leased > 0 || mailbox.has_mail(now))
            }),
            Holder::Public(address) => self.find(address).filter(|index| {
                let mailbox = self.mailbox(*index);
                mailbox.is_public && (mailbox.leased > 0 || mailbox.has_mail(now))
            }),
        }
    }
}

/// Time goes on.
impl<W: Watcher> Shard<W> {
    /// Lets go what is due, in at most `work_max` steps (at least one). A step is a timer that
    /// rings or moves in the wheel, or a message that goes.
    pub fn expire(&mut self, now: Instant, work_max: usize) -> Expiry {
        let mut done = Expiry::default();
        let mut work = work_max.max(1);
        let mailboxes = self.tally.mailboxes_expired;
        let messages = self.tally.messages_expired;
        while let Some(index) = self.wheel.pop(now, &mut work) {
            self.mailbox_mut(index).timer = None;
            // The timer took the last step: without this one nothing would ever go.
            work = work.max(1);
            self.tend(index, now, &mut work);
        }
        done.mailboxes = (self.tally.mailboxes_expired - mailboxes) as usize;
        done.messages = (self.tally.messages_expired - messages) as usize;
        done.more = self.next_expiry().is_some_and(|due| due <= now);
        self.checked();
        done
    }

    /// Nothing is due before then.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.wheel.next_deadline()
    }

    /// Does what a mailbox's timer rang for.
    fn tend(&mut self, index: u32, now: Instant, work: &mut usize) {
        if self.mailbox(index).is_over(now) {
            self.expire_mailbox(index, now, work);
            return;
        }
        self.expire_messages(index, now, work);
        let soon = self.budget.expires_soon;
        let dropped = self.mailbox_mut(index).tell_soon(soon, now);
        self.tally.watchers_dropped += dropped as u64;
        self.after_change(index, now);
    }

    /// Empties a mailbox whose time is up, as far as `work` goes, and lets it go when it is empty.
    fn expire_mailbox(&mut self, index: u32, now: Instant, work: &mut usize) {
        let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
        let lag = mailbox.expires_at.map(|end| now.since(end));
        self.tally.expiry_lag_max = self.tally.expiry_lag_max.max(lag.unwrap_or_default());
        while *work > 0 && mailbox.pop_oldest_if(|_| true).is_some() {
            *work -= 1;
            self.messages -= 1;
            self.tally.messages_expired += 1;
        }
        mailbox.settle();
        if mailbox.len() == 0 {
            self.close(index, End::Expired, now);
        } else {
            self.arm(index);
        }
    }

    /// Lets the messages go whose time is up, or their mailbox's, as far as `work` goes. Leaves the mailbox, even when
    /// nothing is in it.
    fn expire_messages(&mut self, index: u32, now: Instant, work: &mut usize) {
        let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
        let past = mailbox.is_past(now);
        while *work > 0
            && let Some(gone) = mailbox.pop_oldest_if(|it| past || it.ends_at() <= now)
        {
            *work -= 1;
            let lag = now.since(mailbox.end_of(&gone));
            let dropped = self.public.tell_removed(mailbox, &gone);
            self.messages -= 1;
            self.tally.messages_expired += 1;
            self.tally.expiry_lag_max = self.tally.expiry_lag_max.max(lag);
            self.tally.watchers_dropped += dropped as u64;
        }
    }

    /// After something came into a mailbox, went out of it, or its time moved on: lets it go if
    /// nothing keeps it, else sees to its timer.
    fn after_change(&mut self, index: u32, now: Instant) {
        let mailbox = self.mailbox(index);
        if mailbox.is_over(now) {
            self.close(index, End::Expired, now);
        } else if mailbox.is_idle() {
            self.close(index, End::Idle, now);
        } else {
            self.arm(index);
        }
    }

    /// Sees to it that the mailbox's timer rings when something is due, or before.
    fn arm(&mut self, index: u32) {
        let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
        let Some(due) = mailbox.due(self.budget.expires_soon) else {
            return;
        };
        let timer = mailbox.timer;
        let rings = timer.and_then(|timer| self.wheel.deadline_of(timer));
        if rings.is_none_or(|rings| due < rings) {
            timer.map(|timer| self.wheel.remove(timer));
            mailbox.timer = Some(self.wheel.insert(due, index));
        }
    }

    /// Remembers for a while that an address was somebody's.
    fn keep_from_others(&mut self, hash: u64, now: Instant) {
        let measure = Measure {
            time: self.budget.address_quarantine.0,
            room: self.budget.quarantine_addresses_max,
        };
        if measure.time.is_zero() {
            self.ended = Filter::new();
        } else if self.ended.show(hash, measure, now) == Shown::KeptForOthers {
            self.tally.quarantine_cut_short += 1;
        }
    }

    /// Whether an address was somebody's not long ago.
    fn has_ended(&self, address: &Address, now: Instant) -> bool {
        let hash = self.key.hash(address.as_str().as_bytes());
        let time = self.budget.address_quarantine.0;
        self.ended.knows(hash, time, now)
    }

    /// Lets a mailbox go with all that is in it.
    fn close(&mut self, index: u32, end: End, now: Instant) {
        self.note(index, Happened::Closed);
        let key = self.mailboxes.key_at(index).expect(LIVES);
        let mut mailbox = self.mailboxes.remove(key).expect(LIVES);
        self.tally.watchers_dropped += mailbox.tell_closed() as u64;
        let hash = self.key.hash(mailbox.address.as_str().as_bytes());
        self.by_address.remove(hash, index);
        if let Some(token) = mailbox.token {
            self.by_token.remove(self.key.hash(&token.0), index);
            self.keep_from_others(hash, now);
        }
        mailbox.timer.map(|timer| self.wheel.remove(timer));
        self.messages -= mailbox.len();
        let messages = mailbox.len() as u64;
        match end {
            End::Erased => {
                self.tally.mailboxes_erased += 1;
                self.tally.messages_deleted += messages;
            }
            End::Expired => {
                self.tally.mailboxes_expired += 1;
                self.tally.messages_expired += messages;
            }
            End::Idle => debug_assert_eq!(messages, 0, "an idle mailbox is empty"),
        }
    }
}

/// What is counted.
impl<W> Shard<W> {
    /// Mailboxes, those included that are due to go.
    #[must_use]
    pub const fn mailboxes(&self) -> usize {
        self.mailboxes.len()
    }

    /// Messages in all mailboxes, those included that are due to go. One with several recipients
    /// counts for each.
    #[must_use]
    pub const fn messages(&self) -> usize {
        self.messages
    }

    /// What was counted since this was asked last.
    pub fn take_tally(&mut self) -> Tally {
        std::mem::take(&mut self.tally)
    }

    fn mailbox(&self, index: u32) -> &Mailbox<W> {
        self.mailboxes.at(index).expect(LIVES)
    }

    fn mailbox_mut(&mut self, index: u32) -> &mut Mailbox<W> {
        self.mailboxes.at_mut(index).expect(LIVES)
    }

    fn find(&self, address: &Address) -> Option<u32> {
        let hash = self.key.hash(address.as_str().as_bytes());
        self.by_address
            .find(hash, |index| self.mailbox(index).address == *address)
    }

    fn find_token(&self, token: &TokenHash) -> Option<u32> {
        self.by_token.find(self.key.hash(&token.0), |index| {
            self.mailbox(index).token == Some(*token)
        })
    }

    fn pay(&self, bytes: u64) -> Result<Reservation, Unavailable> {
        self.ledger.reserve(bytes).ok_or(Unavailable::NoMemory)
    }

    fn add(&mut self, mailbox: Mailbox<W>) -> u32 {
        let hash = self.key.hash(mailbox.address.as_str().as_bytes());
        let index = self.mailboxes.insert(mailbox).index;
        self.by_address.insert(hash, index);
        index
    }
}

impl<W: Watcher> Shard<W> {
    /// The mailbox of an address, after what is due in it has gone; `None` if that was the mailbox
    /// itself.
    fn find_fresh(&mut self, address: &Address, now: Instant) -> Option<u32> {
        let index = self.find(address)?;
        if !self.mailbox(index).is_over(now) {
            self.expire_messages(index, now, &mut { usize::MAX });
        }
        let mailbox = self.mailbox(index);
        let goes = mailbox.is_over(now) || mailbox.is_idle();
        if goes {
            self.after_change(index, now);
        }
        (!goes).then_some(index)
    }
}

impl<W> fmt::Debug for Shard<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Shard({} mailboxes, {} messages)",
            self.mailboxes.len(),
            self.messages
        )
    }
}
