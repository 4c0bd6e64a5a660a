//! What stands behind a session here: real shards, the recipients' rules and the byte budget, in one
//! thread. As the edge does, without its cores.

use crate::world::token;
use mayfly::clock::{Instant, Stamps, WallClock};
use mayfly::mail::message::QueueId;
use mayfly::mail::trace::Trace;
use mayfly::mail::{Address, BodyWriter, Ledger, Message, ReversePath};
use mayfly::policy::recipients::{self, Accept, Decision, MustExist, Rules};
use mayfly::smtp::{Beginning, Complete, Question, Receipt, Reply, Verdict};
use mayfly::store::{
    Budget, Event, Existence, HashKey, Holder, Lease, NewMailbox, Sequence, Shard, Unavailable,
    Watcher,
};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

const SHARDS: usize = 2;
const OWNER_KEY: HashKey = HashKey(3, 4);
const DOMAIN: &str = "ours.test";
const HOUR: Duration = Duration::from_secs(3600);
/// Enough for the largest message of any row, and for little more.
const MEMORY: u64 = 64 << 20;

/// Nobody watches.
struct Nobody;

impl Watcher for Nobody {
    fn notify(&self, _: &Event) -> bool {
        false
    }
}

/// A place in a mailbox, which goes back to its owner unless a message takes it.
pub(crate) struct Held {
    shard: usize,
    lease: Option<Lease>,
    returned: Rc<RefCell<Vec<(usize, Lease)>>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(lease) = self.lease.take() {
            self.returned.borrow_mut().push((self.shard, lease));
        }
    }
}

/// A message as a mailbox holds it, without the trace headers that were put before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The local part of its mailbox.
    pub(crate) mailbox: String,
    /// The reverse-path, empty for the null one.
    pub(crate) from: String,
    pub(crate) content: Vec<u8>,
}

/// The mailboxes `u1`, `u2` and `u3` at `ours.test`, and `postmaster`.
pub(crate) struct House {
    shards: Vec<Shard<Nobody>>,
    ledger: Ledger,
    rules: Rules,
    returned: Rc<RefCell<Vec<(usize, Lease)>>>,
    mailboxes: Vec<(Address, Holder)>,
    /// How long the trace headers of each message are, by its name.
    heads: BTreeMap<String, usize>,
    last_name: u128,
}

impl House {
    pub(crate) fn new(budget: &Budget, now: Instant) -> Self {
        let ledger = Ledger::new(MEMORY);
        let shards = (0..SHARDS).map(|_| Shard::new(budget.clone(), HashKey(1, 2), ledger.clone()));
        let mut rules = Rules {
            domains: vec![DOMAIN.to_owned()],
            accept: Accept::Created,
            ..Rules::default()
        };
        recipients::normalize(&mut rules).expect("good rules");
        let mut house = Self {
            shards: shards.collect(),
            ledger,
            rules,
            returned: Rc::default(),
            mailboxes: Vec::new(),
            heads: BTreeMap::new(),
            last_name: 0,
        };
        let postmaster = Address::from_parts("postmaster", DOMAIN);
        house
            .mailboxes
            .push((postmaster.clone(), Holder::Operator(postmaster)));
        for (nth, local) in ["u1", "u2", "u3"].into_iter().enumerate() {
            let address = Address::from_parts(local, DOMAIN);
            let token = token(nth as u64);
            let owner = OWNER_KEY.owner_of_address(&address, SHARDS);
            house.shards[owner]
                .create(&address, NewMailbox::new(token, HOUR, HOUR), now)
                .expect("nobody has it");
            house.mailboxes.push((address, Holder::Token(token)));
        }
        house
    }

    pub(crate) fn decide(&mut self, question: Question<Held>, now: Instant) -> Verdict<Held> {
        self.take_back(now);
        match question {
            Question::Recipient {
                recipient,
                declared_bytes,
                ..
            } => Verdict::Recipient(match recipients::decide(&recipient, &self.rules) {
                Decision::RelayDenied => Err(Reply::RelayDenied),
                Decision::Mailbox {
                    address,
                    must_exist,
                } => self.lease(&address, must_exist, declared_bytes, now),
            }),
            Question::Impersonate(_) => Verdict::Impersonate(Err(Reply::NotImplemented)),
            Question::Begin(beginning) => {
                Verdict::Begin(self.open(&beginning, now).ok_or(Reply::NoMemory))
            }
            Question::Grow { bytes } => {
                Verdict::Grow(self.ledger.reserve(bytes).ok_or(Reply::NoMemory))
            }
            Question::Message(complete) => Verdict::Message(Ok(self.deliver(complete, now))),
        }
    }

    fn lease(
        &mut self,
        address: &Address,
        must_exist: MustExist,
        declared_bytes: u64,
        now: Instant,
    ) -> Result<Held, Reply> {
        let existence = match must_exist {
            MustExist::Yes => Existence::Required,
            MustExist::No => Existence::Implied,
            MustExist::Operators => Existence::Operators,
            MustExist::Public => Existence::Public,
        };
        let shard = OWNER_KEY.owner_of_address(address, SHARDS);
        match self.shards[shard].lease(address, existence, declared_bytes, now) {
            Ok(lease) => Ok(Held {
                shard,
                lease: Some(lease),
                returned: Rc::clone(&self.returned),
            }),
            Err(Unavailable::NoSuchMailbox) => Err(Reply::NoSuchMailbox),
            Err(Unavailable::MailboxFull) => Err(Reply::MailboxFull),
            Err(Unavailable::NoMemory) => Err(Reply::NoMemory),
            Err(Unavailable::UsedUp) => Err(Reply::MailboxUsedUp),
        }
    }

    fn open(&mut self, beginning: &Beginning, now: Instant) -> Option<BodyWriter> {
        self.last_name += 1;
        let queue_id = QueueId::from_random(self.last_name);
        let headers = Trace {
            tls: None,
            reverse_path: &beginning.reverse_path,
            helo: &beginning.helo,
            client: IpAddr::V4(Ipv4Addr::LOCALHOST),
            hostname: "mx.test",
            with: beginning.protocol.into(),
            queue_id,
            only_recipient: beginning.only_recipient.as_ref(),
            date: &Stamps::default().rfc5322(wall(), now),
        }
        .headers();
        self.heads
            .insert(queue_id.as_str().to_owned(), headers.len());
        let bytes = beginning.bytes + headers.len() as u64;
        Some(BodyWriter::beginning_with(
            headers,
            self.ledger.reserve(bytes)?,
        ))
    }

    fn deliver(&mut self, complete: Complete<Held>, now: Instant) -> Receipt {
        // Between the beginning of a message and its end this one session begins no other.
        let queue_id = QueueId::from_random(self.last_name);
        let message = Arc::new(Message {
            queue_id,
            reverse_path: complete.reverse_path,
            body: complete.body,
            received_at: now,
            tls: false,
            require_tls: complete.require_tls,
            encrypted: false,
        });
        let until = complete
            .leases
            .into_iter()
            .filter_map(|mut held| {
                let lease = held.lease.take()?;
                Some(self.shards[held.shard].deliver(lease, &message, now))
            })
            .min();
        Receipt {
            kept_until: Stamps::default().rfc3339(wall(), until.expect("it has a recipient")),
            queue_id,
        }
    }

    /// What was not used goes back to its owners.
    fn take_back(&mut self, now: Instant) {
        for (shard, lease) in self.returned.take() {
            self.shards[shard].release(lease, now);
        }
    }

    /// Everything that the mailboxes hold, mailbox by mailbox.
    pub(crate) fn stored(&mut self, now: Instant) -> Vec<Stored> {
        self.take_back(now);
        let mut all = Vec::new();
        for (address, holder) in &self.mailboxes {
            let shard = &self.shards[OWNER_KEY.owner_of_address(address, SHARDS)];
            for entry in shard
                .list(holder, Sequence(0), usize::MAX, now)
                .unwrap_or_default()
            {
                let message = &entry.message;
                let head = self.heads[message.queue_id.as_str()];
                let whole = message.body.segments().collect::<Vec<_>>().concat();
                assert!(whole[..head].starts_with(b"Return-Path:"));
                all.push(Stored {
                    mailbox: address.local().to_owned(),
                    from: match &message.reverse_path {
                        ReversePath::Null => String::new(),
                        ReversePath::Address(text) => text.to_string(),
                    },
                    content: whole[head..].to_vec(),
                });
            }
        }
        all
    }

    /// How much memory is in use.
    pub(crate) fn used(&self) -> u64 {
        self.ledger.used()
    }

    /// When every session is gone and every mailbox erased, nothing is left.
    pub(crate) fn close(mut self, now: Instant) {
        self.take_back(now);
        for (address, holder) in &self.mailboxes {
            let shard = &mut self.shards[OWNER_KEY.owner_of_address(address, SHARDS)];
            shard.erase(holder, now);
        }
        for shard in &mut self.shards {
            let later = now.plus(Duration::from_secs(2 * 24 * 3600));
            while shard.expire(later, 100).more {}
            shard.check();
            assert_eq!((shard.mailboxes(), shard.messages()), (0, 0));
        }
        assert_eq!(self.ledger.used(), 0, "all memory is given back");
    }
}

fn wall() -> WallClock {
    WallClock::new(Instant::ZERO, 1_795_341_600_000_000)
}
