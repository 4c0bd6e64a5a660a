//! What must be true: a list of mailboxes that is looked through from end to end.
//!
//! It knows nothing of shards, wheels or memory. A lease is known by its text, which names
//! place and generation.

#![forbid(unsafe_code)]

use super::{AFTER_LAST, QUARANTINE};
use mayfly::clock::Instant;
use mayfly::store::{Budget, Existence, LATE_MESSAGE_SHOWN, Lease, Unavailable, WhenFull};
use std::collections::BTreeMap;
use std::time::Duration;

/// What came of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Delivered {
    /// The mailbox was erased meanwhile.
    Erased,
    /// The mailbox's time had come; the lease has kept it.
    Late,
    /// As usual.
    Stored,
}

struct Copy {
    name: u64,
    bytes: usize,
    ends_at: Instant,
}

struct Mailbox {
    address: u32,
    token: Option<u64>,
    expires_at: Option<Instant>,
    closing: bool,
    leased: u32,
    /// How many more messages it takes, and the end that the last of them has set.
    takes: Option<(u32, Option<Instant>)>,
    mail: Vec<Copy>,
}

pub(crate) struct Oracle {
    budget: Budget,
    /// By a number that is never used again.
    mailboxes: BTreeMap<u64, Mailbox>,
    next: u64,
    /// Which mailbox a lease is for.
    leases: BTreeMap<String, u64>,
    /// How many copies of a message reached a mailbox or went with it.
    copies: BTreeMap<u64, usize>,
    dead_tokens: Vec<u64>,
    /// When a held address ended that was not held again since.
    ended: BTreeMap<u32, Instant>,
}

fn key(lease: &Lease, shard: usize) -> String {
    format!("{shard} {lease:?}")
}

impl Mailbox {
    fn is_past(&self, now: Instant) -> bool {
        self.expires_at.is_some_and(|end| end <= now)
    }

    fn bytes(&self) -> usize {
        self.mail.iter().map(|copy| copy.bytes).sum()
    }

    /// Counts messages of those that it takes.
    fn count(&mut self, messages: u32, now: Instant) {
        let Some((left, None)) = self.takes else {
            return;
        };
        let left = left.saturating_sub(messages);
        let shown = self.expires_at.filter(|_| self.closing).unwrap_or(now);
        let end = (left == 0).then(|| now.plus(AFTER_LAST).max(shown));
        self.takes = Some((left, end));
        self.end_with_last();
    }

    fn end_with_last(&mut self) {
        if let Some((_, Some(last))) = self.takes {
            self.expires_at = self.expires_at.map(|end| end.min(last));
        }
    }
}

impl Oracle {
    pub(crate) fn new(budget: Budget) -> Self {
        Self {
            budget,
            mailboxes: BTreeMap::new(),
            next: 0,
            leases: BTreeMap::new(),
            copies: BTreeMap::new(),
            dead_tokens: Vec::new(),
            ended: BTreeMap::new(),
        }
    }

    /// Lets go what is past its time or kept by nothing.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let (dead, ended) = (&mut self.dead_tokens, &mut self.ended);
        self.mailboxes.retain(|_, it| {
            let past = it.is_past(now);
            it.mail.retain(|copy| !past && copy.ends_at > now);
            let idle = it.token.is_none() && it.mail.is_empty();
            let stays = it.leased > 0 || !(it.is_past(now) || idle);
            if !stays && let Some(token) = it.token {
                dead.push(token);
                ended.insert(it.address, now);
            }
            stays
        });
    }

    fn at(&mut self, address: u32, now: Instant) -> Option<(u64, &mut Mailbox)> {
        self.sweep(now);
        let mut found = self.mailboxes.iter_mut();
        found
            .find(|(_, it)| it.address == address)
            .map(|(number, it)| (*number, it))
    }

    fn add(&mut self, address: u32) -> u64 {
        self.next += 1;
        let mailbox = Mailbox {
            address,
            token: None,
            expires_at: None,
            closing: false,
            leased: 0,
            takes: None,
            mail: Vec::new(),
        };
        self.mailboxes.insert(self.next, mailbox);
        self.next
    }

    pub(crate) fn may_lease(
        &mut self,
        address: u32,
        existence: Existence,
        declared: u64,
        now: Instant,
    ) -> Result<(), Unavailable> {
        let budget = self.budget.clone();
        let kept = self.is_kept_from_others(address, now);
        let Some((_, it)) = self.at(address, now) else {
            return match existence {
                Existence::Implied | Existence::Public if kept => Err(Unavailable::NoSuchMailbox),
                Existence::Implied | Existence::Operators | Existence::Public => Ok(()),
                Existence::Required => Err(Unavailable::NoSuchMailbox),
            };
        };
        let ending = it.closing || it.is_past(now);
        if existence == Existence::Required && (ending || it.token.is_none()) {
            return Err(Unavailable::NoSuchMailbox);
        }
        let taken = match budget.when_mailbox_full {
            WhenFull::Defer => it.mail.len() as u32 + it.leased,
            WhenFull::DropOldest => it.leased,
        };
        let held = match budget.when_mailbox_full {
            WhenFull::Defer => it.bytes() as u64,
            WhenFull::DropOldest => 0,
        };
        let full =
            taken >= budget.mailbox_messages_max || held + declared > budget.mailbox_bytes_max.0;
        if let (Some((_, Some(_))), false) = (it.takes, ending) {
            return Err(Unavailable::UsedUp);
        }
        let none_left = it.takes.is_some_and(|(left, _)| it.leased >= left);
        if ending || full || none_left {
            return Err(Unavailable::MailboxFull);
        }
        Ok(())
    }

    pub(crate) fn lease(&mut self, address: u32, lease: &Lease, shard: usize, now: Instant) {
        let found = self.at(address, now).map(|(number, _)| number);
        let number = found.unwrap_or_else(|| self.add(address));
        self.leases.insert(key(lease, shard), number);
        if let Some(it) = self.mailboxes.get_mut(&number) {
            it.leased += 1;
        }
    }

    pub(crate) fn release(&mut self, lease: &Lease, shard: usize, now: Instant) {
        if let Some(it) = self.leased(lease, shard) {
            it.leased -= 1;
        }
        self.sweep(now);
    }

    fn leased(&mut self, lease: &Lease, shard: usize) -> Option<&mut Mailbox> {
        let number = self.leases.get(&key(lease, shard)).expect("was leased");
        self.mailboxes.get_mut(number)
    }

    pub(crate) fn deliver(
        &mut self,
        lease: &Lease,
        shard: usize,
        name: u64,
        bytes: usize,
        now: Instant,
    ) -> Delivered {
        self.sweep(now);
        *self.copies.entry(name).or_default() += 1;
        let budget = self.budget.clone();
        let Some(it) = self.leased(lease, shard) else {
            return Delivered::Erased;
        };
        it.leased -= 1;
        if budget.when_mailbox_full == WhenFull::DropOldest {
            while !it.mail.is_empty()
                && (it.mail.len() >= budget.mailbox_messages_max as usize
                    || (it.bytes() + bytes) as u64 > budget.mailbox_bytes_max.0)
            {
                it.mail.remove(0);
            }
        }
        let ends_at = now.plus(budget.message_ttl_max.0);
        it.mail.push(Copy {
            name,
            bytes,
            ends_at,
        });
        if !it.closing && !it.is_past(now) {
            it.count(1, now);
            return Delivered::Stored;
        }
        let shown = now.plus(LATE_MESSAGE_SHOWN);
        it.closing = true;
        it.expires_at = it.expires_at.max(Some(shown));
        if let Some((_, Some(last))) = &mut it.takes {
            *last = shown.max(*last);
        }
        it.count(1, now);
        Delivered::Late
    }

    pub(crate) fn create(
        &mut self,
        address: u32,
        token: u64,
        ttl: Duration,
        takes: Option<u32>,
        now: Instant,
    ) {
        let found = self.at(address, now).map(|(number, _)| number);
        let number = found.unwrap_or_else(|| self.add(address));
        let end = now.plus(ttl.min(self.budget.mailbox_ttl_max.0));
        if let Some(it) = self.mailboxes.get_mut(&number) {
            (it.token, it.expires_at) = (Some(token), Some(end));
            it.takes = takes.map(|left| (left, None));
            it.count(it.mail.len() as u32, now);
        }
    }

    pub(crate) fn recover(&mut self, address: u32, token: u64) {
        let dead = &mut self.dead_tokens;
        let mut found = self.mailboxes.values_mut();
        if let Some(it) = found.find(|it| it.address == address) {
            dead.extend(it.token.replace(token));
        }
    }

    /// Whether an address must be kept from others because it has ended not long ago.
    pub(crate) fn is_kept_from_others(&mut self, address: u32, now: Instant) -> bool {
        self.sweep(now);
        let ended = self.ended.get(&address);
        ended.is_some_and(|ended| now < ended.plus(QUARANTINE))
    }

    /// Whether it may be: nobody has to see at once that something has ended.
    pub(crate) fn may_be_kept_from_others(&mut self, address: u32, now: Instant) -> bool {
        self.sweep(now);
        self.ended.contains_key(&address)
    }

    pub(crate) fn extend(&mut self, address: u32, ttl: Duration, now: Instant) {
        let end = now.plus(ttl.min(self.budget.mailbox_ttl_max.0));
        if let Some((_, it)) = self.at(address, now) {
            (it.expires_at, it.closing) = (Some(end), false);
            it.end_with_last();
        }
    }

    pub(crate) fn erase(&mut self, address: u32, now: Instant) {
        let (dead, ended) = (&mut self.dead_tokens, &mut self.ended);
        self.mailboxes.retain(|_, it| {
            let erased = it.address == address;
            if erased {
                dead.extend(it.token);
                ended.insert(address, now);
            }
            !erased
        });
    }

    pub(crate) fn delete_first(&mut self, address: u32) {
        let mut found = self.mailboxes.values_mut();
        if let Some(it) = found.find(|it| it.address == address) {
            it.mail.remove(0);
        }
    }

    pub(crate) fn is_free(&mut self, address: u32, now: Instant) -> bool {
        self.at(address, now).is_none()
    }

    pub(crate) fn is_taken(&mut self, address: u32, now: Instant) -> bool {
        self.token_of(address, now).is_some()
    }

    pub(crate) fn token_of(&mut self, address: u32, now: Instant) -> Option<u64> {
        self.at(address, now).and_then(|(_, it)| it.token)
    }

    /// The names of the messages at an address, oldest first. Call [`Oracle::sweep`] before.
    pub(crate) fn mail(&self, address: u32) -> Option<Vec<u64>> {
        let mut found = self.mailboxes.values();
        let it = found.find(|it| it.address == address)?;
        Some(it.mail.iter().map(|copy| copy.name).collect())
    }

    pub(crate) fn copies(&self, name: u64) -> usize {
        self.copies.get(&name).copied().unwrap_or(0)
    }

    pub(crate) fn dead_tokens(&self) -> Vec<u64> {
        // The last ones: an older one was looked for often enough.
        let from = self.dead_tokens.len().saturating_sub(5);
        self.dead_tokens[from..].to_vec()
    }
}
