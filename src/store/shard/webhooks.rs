//! Who is called when mail comes, and what has happened of which they are to hear.
//!
//! A shard calls nobody. It writes down notices, a few numbers each, and whoever runs it takes them out after each verb or
//! turn. A notice holds nothing of a message: whoever calls asks for it when its turn has come ([`Shard::called`]), and does
//! not get what has ended meanwhile. Without webhooks a message costs one look at an empty list.

#![forbid(unsafe_code)]

use super::{LIVES, MailboxId, Shard};
use crate::clock::Instant;
use crate::mail::{Address, Ledger, Reservation};
use crate::store::{CreateError, Entry, Holder, Sequence, TERMS_COST_BYTES, Watcher};
use std::fmt;
use std::sync::Arc;

/// What a webhook costs beside its URL, in bytes of the budget.
const WEBHOOK_COST_BYTES: u64 = 192;

/// Random bytes in the secret of a webhook.
pub const SECRET_BYTES: usize = 24;

/// Who is called, as far as one needs to know to put calls in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callee {
    /// Drawn for each webhook, and never used again.
    pub id: u64,
    /// The keyed hash of its URL.
    pub url: u64,
    /// The keyed hash of its host and port.
    pub host: u64,
}

/// What is called when mail comes to one mailbox. It ends with the mailbox.
pub struct Webhook {
    /// Who it is.
    pub callee: Callee,
    /// The URL.
    pub url: Box<str>,
    /// By which calls are signed.
    pub secret: [u8; SECRET_BYTES],
    /// When it was named.
    pub created_at: Instant,
    _paid: Reservation,
}

impl Webhook {
    /// A webhook, if the ledger can pay for it.
    #[must_use]
    pub fn new(
        callee: Callee,
        url: &str,
        secret: [u8; SECRET_BYTES],
        created_at: Instant,
        ledger: &Ledger,
    ) -> Option<Self> {
        Some(Self {
            callee,
            url: url.into(),
            secret,
            created_at,
            _paid: ledger.reserve(WEBHOOK_COST_BYTES + url.len() as u64)?,
        })
    }
}

impl fmt::Debug for Webhook {
    /// Neither the URL, which may be a secret, nor what is one.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Webhook(..)")
    }
}

/// What is called for all mail of a domain and those below it.
#[derive(Clone, PartialEq, Eq)]
pub struct DomainCallee {
    /// The domain, canonical.
    pub domain: Box<str>,
    /// Who it is.
    pub callee: Callee,
}

impl DomainCallee {
    fn hears_of(&self, address: &Address) -> bool {
        let above = address.domain().strip_suffix(&*self.domain);
        above.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    }
}

impl fmt::Debug for DomainCallee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DomainCallee(..)")
    }
}

/// Something has happened of which somebody is to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Who.
    pub callee: Callee,
    /// In which mailbox.
    pub mailbox: MailboxId,
    /// What.
    pub what: Happened,
}

/// What has happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A message came: somebody is to be called.
    Arrived(Sequence),
    /// Its holder has deleted it: nobody is to be called about it any more.
    Deleted(Sequence),
    /// The mailbox is gone, or its webhook: nobody is to be called any more.
    Closed,
}

/// What somebody is to hear, as it stands now.
#[derive(Debug)]
pub struct Called {
    /// Where the message came.
    pub address: Address,
    /// The message.
    pub entry: Entry,
    /// What the holder has named; the operator's webhooks are known to whoever asks.
    pub webhook: Option<Arc<Webhook>>,
}

impl<W: Watcher> Shard<W> {
    /// Has a URL called from now on when mail comes, in place of one that was named before. `None`: no such mailbox.
    ///
    /// # Errors
    /// [`CreateError::NoMemory`] when the ledger cannot pay.
    pub fn set_webhook(
        &mut self,
        holder: &Holder,
        webhook: Arc<Webhook>,
        now: Instant,
    ) -> Option<Result<(), CreateError>> {
        let index = self.held(holder, now)?;
        let paid = match self.mailbox(index).is_plain() {
            true => match self.ledger.reserve(TERMS_COST_BYTES) {
                Some(paid) => Some(paid),
                None => return Some(Err(CreateError::NoMemory)),
            },
            false => None,
        };
        self.close_webhook(index);
        self.mailbox_mut(index).set_webhook(webhook, paid);
        self.checked();
        Some(Ok(()))
    }

    /// What is called when mail comes, if anything is. Outer `None`: no such mailbox.
    #[must_use]
    pub fn webhook(&self, holder: &Holder, now: Instant) -> Option<Option<Arc<Webhook>>> {
        let mailbox = self.mailbox(self.held(holder, now)?);
        Some(mailbox.webhook().cloned())
    }

    /// Has nobody called any more; says whether anybody was. `None`: no such mailbox.
    pub fn remove_webhook(&mut self, holder: &Holder, now: Instant) -> Option<bool> {
        let index = self.held(holder, now)?;
        Some(self.close_webhook(index))
    }

    /// The same for one that wants to hear no more. Another that was named meanwhile stays.
    pub fn end_webhook(&mut self, mailbox: MailboxId, id: u64) {
        let named = self.mailboxes.get(mailbox.0).and_then(|it| it.webhook());
        if named.is_some_and(|it| it.callee.id == id) {
            self.close_webhook(mailbox.0.index);
        }
    }

    /// What a notice is about, unless it has ended.
    #[must_use]
    pub fn called(&self, mailbox: MailboxId, sequence: Sequence, now: Instant) -> Option<Called> {
        let mailbox = self.mailboxes.get(mailbox.0)?;
        Some(Called {
            address: mailbox.address.clone(),
            entry: mailbox.message(sequence, now)?,
            webhook: mailbox.webhook().cloned(),
        })
    }

    /// Says who is called for all mail of a domain.
    pub fn set_domain_callees(&mut self, callees: Box<[DomainCallee]>) {
        self.domain_callees = callees;
    }

    /// Whether something is to be taken with [`Self::take_notices`].
    #[must_use]
    pub const fn has_notices(&self) -> bool {
        !self.notices.is_empty()
    }

    /// What was noted since this was asked last. A verb notes as much as it does: a message, a mailbox, or what expired.
    #[must_use]
    pub fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Writes down for all who are to hear of it that something has happened.
    pub(super) fn note(&mut self, index: u32, what: Happened) {
        let own = self.mailbox(index).webhook().map(|it| it.callee);
        if own.is_none() && self.domain_callees.is_empty() {
            return;
        }
        let mailbox = MailboxId(self.mailboxes.key_at(index).expect(LIVES));
        let address = &self.mailbox(index).address;
        let of_domains = self.domain_callees.iter().filter(|it| it.hears_of(address));
        let callees = own.into_iter().chain(of_domains.map(|it| it.callee));
        let notices = callees.map(|callee| Notice {
            callee,
            mailbox,
            what,
        });
        let notices: Vec<Notice> = notices.collect();
        self.notices.extend(notices);
    }

    /// Takes a mailbox's webhook away; says whether there was one.
    pub(super) fn close_webhook(&mut self, index: u32) -> bool {
        let Some(webhook) = self.mailbox_mut(index).take_webhook() else {
            return false;
        };
        self.notices.push(Notice {
            callee: webhook.callee,
            mailbox: MailboxId(self.mailboxes.key_at(index).expect(LIVES)),
            what: Happened::Closed,
        });
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::message::QueueId;
    use crate::mail::{BodyWriter, Message, ReversePath};
    use crate::store::{Budget, Event, Existence, HashKey, NewMailbox, TokenHash};
    use std::time::Duration;

    struct Nobody;

    impl Watcher for Nobody {
        fn notify(&self, _: &Event) -> bool {
            true
        }
    }

    struct World {
        shard: Shard<Nobody>,
        ledger: Ledger,
    }

    const HOLDER: Holder = Holder::Token(TokenHash([1; 32]));

    fn at(secs: u64) -> Instant {
        Instant::from_secs(secs)
    }

    fn address(text: &str) -> Address {
        Address::parse(text).expect("an address")
    }

    fn callee(id: u64) -> Callee {
        Callee {
            id,
            url: 10 + id,
            host: 20,
        }
    }

    impl World {
        fn new() -> Self {
            let ledger = Ledger::new(1 << 20);
            let shard = Shard::new(Budget::default(), HashKey(1, 2), ledger.clone());
            let mut world = Self { shard, ledger };
            let ttl = Duration::from_secs(100);
            let wanted = NewMailbox::new(TokenHash([1; 32]), ttl, ttl);
            let created = world.shard.create(&address("a@x.test"), wanted, at(0));
            created.expect("created");
            world
        }

        fn webhook(&self, id: u64) -> Arc<Webhook> {
            let webhook = Webhook::new(callee(id), "https://a.test/", [7; 24], at(0), &self.ledger);
            Arc::new(webhook.expect("paid for"))
        }

        fn set(&mut self, id: u64, now: u64) {
            let webhook = self.webhook(id);
            let set = self.shard.set_webhook(&HOLDER, webhook, at(now));
            assert_eq!(set, Some(Ok(())));
        }

        fn mail(&mut self, to: &str, now: u64) {
            let to = address(to);
            let lease = self.shard.lease(&to, Existence::Implied, 10, at(now));
            let mut writer = BodyWriter::new(self.ledger.reserve(10).expect("room"));
            writer.write(b"0123456789");
            let message = Message {
                queue_id: QueueId::from_random(0),
                reverse_path: ReversePath::Null,
                body: writer.finish(),
                received_at: at(now),
                encrypted: false,
                tls: false,
                require_tls: false,
            };
            let lease = lease.expect("a place");
            self.shard.deliver(lease, &Arc::new(message), at(now));
        }

        /// Who is to hear of what.
        fn heard(&mut self) -> Vec<(u64, Happened)> {
            let notices = self.shard.take_notices();
            notices.iter().map(|it| (it.callee.id, it.what)).collect()
        }
    }

    #[test]
    fn a_webhook_hears_of_its_mailbox_and_ends_with_it() {
        let mut world = World::new();
        world.mail("a@x.test", 1);
        assert_eq!(world.heard(), []);
        world.set(1, 2);
        world.mail("a@x.test", 3);
        world.mail("b@x.test", 3);
        assert_eq!(world.heard(), [(1, Happened::Arrived(Sequence(2)))]);
        assert_eq!(world.shard.delete(&HOLDER, Sequence(2), at(4)), Some(true));
        assert_eq!(world.heard(), [(1, Happened::Deleted(Sequence(2)))]);
        // Another one takes its place.
        world.set(2, 5);
        assert_eq!(world.heard(), [(1, Happened::Closed)]);
        world.mail("a@x.test", 6);
        let notices = world.shard.take_notices();
        let (mailbox, sequence) = (notices[0].mailbox, Sequence(4));
        assert_eq!(notices[0].what, Happened::Arrived(sequence));
        let called = world
            .shard
            .called(mailbox, sequence, at(7))
            .expect("is there");
        assert_eq!(called.address, address("a@x.test"));
        assert_eq!(called.webhook.map(|it| it.callee), Some(callee(2)));
        drop(called.entry);
        assert!(world.shard.called(mailbox, Sequence(2), at(7)).is_none());
        assert!(world.shard.called(mailbox, sequence, at(100)).is_none());
        // The wheel may go a tick later.
        world.shard.expire(at(101), usize::MAX);
        assert_eq!(world.heard(), [(2, Happened::Closed)]);
        world.shard.erase(&HOLDER, at(101));
        world.shard.expire(at(10_000_000), usize::MAX);
        assert_eq!(world.ledger.used(), 0, "what was paid for comes back");
    }

    #[test]
    fn webhooks_are_taken_away_by_their_holder_by_themselves_and_with_the_token() {
        let mut world = World::new();
        assert_eq!(world.shard.remove_webhook(&HOLDER, at(1)), Some(false));
        world.set(1, 1);
        let named = world.shard.webhook(&HOLDER, at(1)).flatten();
        assert_eq!(named.map(|it| it.callee.id), Some(1));
        assert_eq!(world.shard.remove_webhook(&HOLDER, at(1)), Some(true));
        assert!(
            world
                .shard
                .webhook(&HOLDER, at(1))
                .expect("a mailbox")
                .is_none()
        );
        assert_eq!(world.heard(), [(1, Happened::Closed)]);
        world.set(2, 2);
        world.mail("a@x.test", 3);
        let mailbox = world.shard.take_notices()[0].mailbox;
        world.shard.end_webhook(mailbox, 1);
        assert_eq!(world.heard(), []);
        world.shard.end_webhook(mailbox, 2);
        assert_eq!(world.heard(), [(2, Happened::Closed)]);
        // Whoever had the token that was lost may have named it.
        world.set(3, 4);
        let TokenHash(old) = TokenHash([1; 32]);
        let recovered = world
            .shard
            .recover(&TokenHash(old), TokenHash([2; 32]), at(5));
        assert!(recovered.is_some());
        assert_eq!(world.heard(), [(3, Happened::Closed)]);
        world.mail("a@x.test", 6);
        assert!(!world.shard.has_notices());
        assert_eq!(
            world.shard.set_webhook(&HOLDER, world.webhook(4), at(7)),
            None
        );
    }

    #[test]
    fn domains_hear_of_all_their_mail() {
        let mut world = World::new();
        let hears = |domain: &str, id| DomainCallee {
            domain: domain.into(),
            callee: callee(id),
        };
        let callees = [hears("x.test", 7), hears("sub.x.test", 8)];
        world.shard.set_domain_callees(callees.into());
        world.set(1, 0);
        let arrived = |id| (id, Happened::Arrived(Sequence(1)));
        for (to, expected) in [
            ("a@x.test", vec![arrived(1), arrived(7)]),
            ("b@x.test", vec![arrived(7)]),
            ("c@sub.x.test", vec![arrived(7), arrived(8)]),
            ("d@yx.test", vec![]),
        ] {
            world.mail(to, 1);
            assert_eq!(world.heard(), expected, "{to}");
        }
        world.shard.erase(&HOLDER, at(2));
        let closed = [(1, Happened::Closed), (7, Happened::Closed)];
        assert_eq!(world.heard(), closed);
    }

    #[test]
    fn the_price_of_a_webhook_is_what_it_costs() {
        let cost = size_of::<Webhook>() + 2 * size_of::<usize>() + 2 * 32;
        assert!(cost as u64 <= WEBHOOK_COST_BYTES, "{cost}");
        assert!(size_of::<Notice>() <= 64, "{}", size_of::<Notice>());
        assert_eq!(format!("{:?}", World::new().webhook(1)), "Webhook(..)");
    }
}
