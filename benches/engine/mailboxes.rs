//! The store: places, deliveries, ends, timers, hashes; and a message all the way into its mailbox.

use crate::kept::{Kept, Mailboxes};
use crate::world::{Random, address, message, token};
use mayfly::clock::Instant;
use mayfly::mail::{Address, Ledger, Message};
use mayfly::settings::Bytes;
use mayfly::smtp::{Leases, Reply};
use mayfly::store::{
    Budget, Event, Existence, HashKey, Lease, NewMailbox, Shard, Watcher, WhenFull,
};
use mayfly::wheel::{TimerKey, Wheel};
use std::sync::Arc;
use std::time::Duration;

/// Nobody watches here.
pub(crate) struct Nobody;

impl Watcher for Nobody {
    fn notify(&self, _: &Event) -> bool {
        false
    }
}

/// A shard with this many mailboxes, which end within a day. The oldest message of a full one goes,
/// so that delivery can go on for ever.
pub(crate) fn shard(mailboxes: u32) -> Shard<Nobody> {
    let budget = Budget {
        mailbox_messages_max: 4,
        mailbox_bytes_max: Bytes::mib(64),
        when_mailbox_full: WhenFull::DropOldest,
        ..Budget::default()
    };
    let mut shard = Shard::new(budget, HashKey(1, 2), Ledger::new(u64::MAX));
    for number in 0..mailboxes {
        let ttl = Duration::from_millis(3_600_000 + u64::from(number) * 82);
        let created = shard.create(
            &address(number),
            NewMailbox::new(token(number.into()), ttl, ttl),
            Instant::ZERO,
        );
        assert!(created.is_ok());
    }
    shard
}

/// Mailboxes to which messages come in no order, while others are made and end.
pub(crate) struct Crowd {
    shard: Shard<Nobody>,
    body: Arc<Message>,
    addresses: Vec<Address>,
    random: Random,
    /// The mailbox that was made last.
    number: u32,
    /// From one to the next.
    step: Duration,
    now: Instant,
}

impl Crowd {
    /// So many mailboxes stay as they are. Others are made every 10 microseconds.
    pub(crate) fn new(mailboxes: u32) -> Self {
        Self {
            shard: shard(mailboxes),
            body: message(&Ledger::new(u64::MAX), 4096, Instant::ZERO),
            addresses: (0..mailboxes).map(address).collect(),
            random: Random::new(1),
            number: mailboxes,
            step: Duration::from_micros(10),
            now: Instant::from_secs(1),
        }
    }

    /// The same, with others made so seldom that one of them ends with each that is made.
    pub(crate) fn steady(mailboxes: u32) -> Self {
        let mut crowd = Self::new(mailboxes);
        crowd.step = Duration::from_millis(20);
        while crowd.create_and_expire() == 0 {}
        crowd
    }

    /// A place is kept for a message, and the message put there.
    pub(crate) fn deliver(&mut self) {
        let to = &self.addresses[self.random.below(self.addresses.len() as u64) as usize];
        let lease = self.shard.lease(to, Existence::Required, 4096, self.now);
        let lease = lease.expect("the oldest makes room");
        self.shard.deliver(lease, &self.body, self.now);
    }

    /// A mailbox is made, and what is due ends.
    pub(crate) fn create_and_expire(&mut self) -> usize {
        self.number += 1;
        let ttl = Duration::from_millis(200);
        let wanted = NewMailbox::new(token(self.number.into()), ttl, ttl);
        let created = self.shard.create(&address(self.number), wanted, self.now);
        assert!(created.is_ok());
        self.now = self.now.plus(self.step);
        self.shard.expire(self.now, 1000).mailboxes
    }
}

/// Lets everything in a shard end.
pub(crate) fn expire_all(mut shard: Shard<Nobody>) -> Shard<Nobody> {
    let end = Instant::from_secs(100_000);
    while shard.expire(end, 1000).more {}
    assert_eq!(shard.mailboxes(), 0);
    shard
}

/// Timers that are set and taken back in no order.
pub(crate) struct Timers {
    wheel: Wheel<u32>,
    keys: Vec<TimerKey>,
    random: Random,
    at: usize,
}

impl Timers {
    pub(crate) fn new(count: u32) -> Self {
        let mut timers = Self {
            wheel: Wheel::new(),
            keys: Vec::new(),
            random: Random::new(1),
            at: 0,
        };
        for value in 0..count {
            let key = timers.set(value);
            timers.keys.push(key);
        }
        timers
    }

    fn set(&mut self, value: u32) -> TimerKey {
        let deadline = Instant::from_micros(self.random.next() % 86_400_000_000);
        self.wheel.insert(deadline, value)
    }

    /// One is taken back and set anew.
    pub(crate) fn move_one(&mut self) {
        // A step that is prime to the sizes visits all of them in no order.
        self.at = (self.at + 7_919) % self.keys.len();
        let value = self.wheel.remove(self.keys[self.at]).expect("it was set");
        self.keys[self.at] = self.set(value);
    }
}

/// Says which core of a few owns each address.
pub(crate) fn owners(addresses: &[Address]) -> usize {
    let key = HashKey(1, 2);
    let owners = addresses.iter().map(|it| key.owner_of_address(it, 3));
    owners.sum()
}

/// Mailboxes of one core, as a session sees them.
pub(crate) struct Here(Shard<Nobody>);

impl Mailboxes for Here {
    type Place = Lease;

    fn place(
        &mut self,
        mailbox: &Address,
        declared_bytes: u64,
        now: Instant,
    ) -> Result<Lease, Reply> {
        let lease = self
            .0
            .lease(mailbox, Existence::Implied, declared_bytes, now);
        lease.map_err(|_| Reply::NoSuchMailbox)
    }

    fn store(&mut self, places: Leases<Lease>, message: Message, now: Instant) -> Instant {
        let message = Arc::new(message);
        let until = places
            .into_iter()
            .map(|lease| self.0.deliver(lease, &message, now));
        until.min().unwrap_or(now)
    }
}

/// A client on a kept connection whose messages come into the mailbox that they are for, among so many others.
pub(crate) fn into_mailbox(mailboxes: u32) -> Kept<Here> {
    Kept::with(Here(shard(mailboxes)))
}
