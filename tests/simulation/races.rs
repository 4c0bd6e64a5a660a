//! Everything at once: two mailboxes on two shards end at the very moment at which a message for both is stored or given up,
//! their wheels come to them, mail is announced to them and somebody else wants their addresses. In every order on each
//! shard, against every order on the other.

#![forbid(unsafe_code)]

use super::world::{address, message, token};
use super::{OWNER_KEY, Picture, QUARANTINE, SHARDS};
use mayfly::clock::Instant;
use mayfly::mail::{Ledger, Message};
use mayfly::settings::Span;
use mayfly::store::{
    Budget, CreateError, Existence, HashKey, Holder, LATE_MESSAGE_SHOWN, Lease, NewMailbox,
    Sequence, Shard, Unavailable,
};
use std::sync::Arc;
use std::time::Duration;

const END: Instant = Instant::from_secs(10);

/// What happens to a mailbox at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    /// Somebody else wants the address.
    Create,
    /// The wheel comes to it.
    Expire,
    /// Mail is announced.
    Lease,
    /// What was under way comes, or does not.
    Settle,
}

const ACTS: [Act; 4] = [Act::Create, Act::Expire, Act::Lease, Act::Settle];

/// Every order of the acts.
fn orders() -> Vec<[Act; 4]> {
    let mut found = Vec::new();
    for code in 0..256_usize {
        let order = [code & 3, code >> 2 & 3, code >> 4 & 3, code >> 6].map(|at| ACTS[at]);
        if ACTS.iter().all(|act| order.contains(act)) {
            found.push(order);
        }
    }
    found
}

/// What becomes of the message that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    GivenUp,
    Stored,
}

/// One of the two mailboxes.
struct Corner {
    number: u32,
    shard: Shard<Picture>,
    lease: Option<Lease>,
    /// Whoever got the address anew.
    heir: Option<Holder>,
}

impl Corner {
    fn new(number: u32, budget: &Budget, ledger: &Ledger) -> Self {
        let mut shard = Shard::new(budget.clone(), HashKey(1, 2), ledger.clone());
        let ttl = END.since(Instant::ZERO);
        let wanted = NewMailbox::new(token(number.into()), ttl, ttl);
        let created = shard.create(&address(number), wanted, Instant::ZERO);
        assert!(created.is_ok());
        let mut place = |secs| {
            let at = Instant::from_secs(secs);
            let leased = shard.lease(&address(number), Existence::Required, 1, at);
            leased.expect("it lives")
        };
        let (early, lease) = (place(5), place(9));
        let now = Instant::from_secs(5);
        shard.deliver(early, &message(ledger, 10, now), now);
        Self {
            number,
            shard,
            lease: Some(lease),
            heir: None,
        }
    }

    fn act(&mut self, act: Act, outcome: Outcome, quarantine: Duration, message: &Arc<Message>) {
        let at = address(self.number);
        let gone = self.lease.is_none() && outcome == Outcome::GivenUp;
        match act {
            Act::Create => {
                let name = token(u64::from(self.number) + 100);
                let ttl = Duration::from_secs(100);
                let created = self.shard.create(&at, NewMailbox::new(name, ttl, ttl), END);
                if gone && quarantine.is_zero() {
                    assert_eq!(created.map(|it| it.messages), Ok(0), "M8: no old mail");
                    self.heir = Some(Holder::Token(name));
                } else {
                    assert_eq!(created, Err(CreateError::Taken));
                }
            }
            Act::Expire => {
                self.shard.expire(END, 1);
            }
            Act::Lease => {
                let leased = self.shard.lease(&at, Existence::Required, 1, END);
                match leased {
                    Ok(lease) => {
                        assert!(self.heir.is_some());
                        self.shard.release(lease, END);
                    }
                    Err(why) => {
                        assert_eq!(why, Unavailable::NoSuchMailbox);
                        assert!(self.heir.is_none());
                    }
                }
            }
            Act::Settle => {
                let lease = self.lease.take().expect("it settles once");
                match outcome {
                    Outcome::GivenUp => self.shard.release(lease, END),
                    Outcome::Stored => {
                        let until = self.shard.deliver(lease, message, END);
                        assert_eq!(until, END.plus(LATE_MESSAGE_SHOWN));
                    }
                }
            }
        }
        self.shard.check();
    }

    /// Messages that a holder sees; `None` if there is no mailbox for them.
    fn seen(&self, holder: &Holder, now: Instant) -> Option<usize> {
        let listed = self.shard.list(holder, Sequence(0), usize::MAX, now);
        listed.map(|it| it.len())
    }

    /// What was stored is there (I1), what was not and what has ended is nowhere (I2).
    fn check(&self, outcome: Outcome) {
        let old = Holder::Token(token(self.number.into()));
        let settled = self.lease.is_none();
        let expected = match outcome {
            Outcome::Stored if settled => Some(1),
            Outcome::GivenUp if settled => None,
            _ => Some(0),
        };
        assert_eq!(self.seen(&old, END), expected, "I1, I2");
        if let Some(heir) = &self.heir {
            assert_eq!(self.seen(heir, END), Some(0), "I2");
        }
        let operator = Holder::Operator(address(self.number));
        assert_eq!(self.seen(&operator, END), None);
    }

    /// The message is there to the end of its promise, and then everything goes.
    fn finish(mut self, outcome: Outcome) {
        let old = Holder::Token(token(self.number.into()));
        let shown_until = END.plus(LATE_MESSAGE_SHOWN);
        let last = Instant::from_secs(9 + LATE_MESSAGE_SHOWN.as_secs());
        while self.shard.expire(last, 1).more {}
        let expected = (outcome == Outcome::Stored).then_some(1);
        assert_eq!(self.seen(&old, last), expected, "I1, I10");
        assert_eq!(self.seen(&old, shown_until), None);
        while self.shard.expire(Instant::from_secs(1_000), 1).more {}
        self.shard.check();
        assert_eq!(self.shard.mailboxes(), 0);
    }
}

#[test]
fn m9_at_one_tick_in_every_order_promises_hold() {
    let numbers = [0, 1, 2, 3].map(|it| (it, OWNER_KEY.owner_of_address(&address(it), SHARDS)));
    let other = numbers.iter().find(|(_, shard)| *shard != numbers[0].1);
    let pair = [numbers[0].0, other.expect("not all on one shard").0];
    let orders = orders();
    assert_eq!(orders.len(), 24);
    for quarantine in [Duration::ZERO, QUARANTINE] {
        let budget = Budget {
            address_quarantine: Span(quarantine),
            ..Budget::default()
        };
        for outcome in [Outcome::GivenUp, Outcome::Stored] {
            for one in &orders {
                for two in &orders {
                    let ledger = Ledger::new(1 << 20);
                    let mut corners = pair.map(|it| Corner::new(it, &budget, &ledger));
                    let body = message(&ledger, 20, END);
                    for nth in 0..ACTS.len() {
                        for (corner, order) in corners.iter_mut().zip([one, two]) {
                            corner.act(order[nth], outcome, quarantine, &body);
                            corner.check(outcome);
                        }
                    }
                    drop(body);
                    for corner in corners {
                        corner.finish(outcome);
                    }
                    assert_eq!(ledger.used(), 0, "I6");
                }
            }
        }
    }
}
