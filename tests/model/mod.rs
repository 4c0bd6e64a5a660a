//! The slow model of a shard: one ordered map, looked through from end to end at every question.

#![forbid(unsafe_code)]

use super::world::{address, token, try_body, wrap};
use super::*;
use mayfly::store::{ENTRY_COST_BYTES, MAILBOX_COST_BYTES, MailboxState, NewMailbox, Takes, Terms};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;

const ADDRESSES: u32 = 4;
const MESSAGES_MAX: u32 = 4;
const BYTES_MAX: u64 = 100;
const MAILBOX_TTL_MAX: u64 = 90;
const MESSAGE_TTL_MAX: u64 = 60;
const AFTER_LAST: u64 = 20;
const QUARANTINE: Duration = Duration::from_secs(30);

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        address: u32,
        ttl: u64,
        takes: Option<u32>,
    },
    Delete {
        who: Who,
        pick: Index,
    },
    Deliver {
        pick: Index,
        bytes: usize,
    },
    Erase {
        who: Who,
    },
    Expire {
        work: usize,
    },
    Extend {
        who: Who,
        ttl: u64,
    },
    Lease {
        address: u32,
        existence: Existence,
        bytes: u64,
    },
    Mark {
        who: Who,
        pick: Index,
        seen: bool,
    },
    Pass {
        millis: u64,
    },
    Purge {
        who: Who,
    },
    Recover {
        pick: Index,
    },
    Release {
        pick: Index,
    },
}

/// A token that was given out at some time, the operator, or anybody.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Token(Index),
    Operator(u32),
    Public(u32),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = || {
        prop_oneof![
            3 => any::<Index>().prop_map(Who::Token),
            1 => (0..ADDRESSES).prop_map(Who::Operator),
            1 => (0..ADDRESSES).prop_map(Who::Public),
        ]
    };
    let ttl = || prop_oneof![0..5_u64, 0..2 * MAILBOX_TTL_MAX];
    prop_oneof![
        4 => (0..ADDRESSES, ttl(), prop::option::of(1..4_u32))
            .prop_map(|(address, ttl, takes)| Step::Create { address, ttl, takes }),
        2 => (who(), any::<Index>()).prop_map(|(who, pick)| Step::Delete { who, pick }),
        6 => (any::<Index>(), 0..60_usize).prop_map(|(pick, bytes)| Step::Deliver { pick, bytes }),
        1 => who().prop_map(|who| Step::Erase { who }),
        3 => (0..20_usize).prop_map(|work| Step::Expire { work }),
        1 => (who(), ttl()).prop_map(|(who, ttl)| Step::Extend { who, ttl }),
        8 => (0..ADDRESSES, existence(), 0..70_u64)
            .prop_map(|(address, existence, bytes)| Step::Lease { address, existence, bytes }),
        2 => (who(), any::<Index>(), any::<bool>())
            .prop_map(|(who, pick, seen)| Step::Mark { who, pick, seen }),
        6 => prop_oneof![0..200_u64, 0..40_000_u64].prop_map(|millis| Step::Pass { millis }),
        1 => who().prop_map(|who| Step::Purge { who }),
        1 => any::<Index>().prop_map(|pick| Step::Recover { pick }),
        2 => any::<Index>().prop_map(|pick| Step::Release { pick }),
    ]
}

fn existence() -> impl Strategy<Value = Existence> {
    prop_oneof![
        4 => Just(Existence::Required),
        3 => Just(Existence::Implied),
        1 => Just(Existence::Operators),
        2 => Just(Existence::Public),
    ]
}

/// A mailbox of the model. Its number is never used again.
#[derive(Debug)]
struct Box {
    address: u32,
    token: Option<u64>,
    created_at: Instant,
    expires_at: Option<Instant>,
    closing: bool,
    /// Whether anybody may see it.
    public: bool,
    leased: u32,
    /// How many more messages it takes, and the end that the last of them has set.
    takes: Option<(u32, Option<Instant>)>,
    /// Name, bytes and end of each message, in order of arrival.
    mail: Vec<(u128, usize, Instant)>,
}

impl Box {
    /// One that nobody holds.
    fn new(address: u32, now: Instant) -> Self {
        Self {
            address,
            token: None,
            created_at: now,
            expires_at: None,
            closing: false,
            public: false,
            leased: 0,
            takes: None,
            mail: Vec::new(),
        }
    }

    /// Counts messages of those that it takes.
    fn count(&mut self, messages: u32, now: Instant) {
        let Some((left, None)) = self.takes else {
            return;
        };
        let left = left.saturating_sub(messages);
        let shown = self.expires_at.filter(|_| self.closing);
        let end = (left == 0).then(|| now.plus(secs(AFTER_LAST)).max(shown.unwrap_or(now)));
        self.takes = Some((left, end));
        self.end_with_last();
    }

    fn end_with_last(&mut self) {
        if let Some((_, Some(last))) = self.takes {
            self.expires_at = self.expires_at.map(|end| end.min(last));
        }
    }
}

/// When a held address came to its end, and when the shard had surely seen to it.
struct Ended {
    at: Instant,
    seen_by: Option<Instant>,
}

struct Pair {
    shard: Shard<Diary>,
    ledger: Ledger,
    budget: Budget,
    now: Instant,
    boxes: BTreeMap<u64, Box>,
    /// Leases with the number of the model's mailbox.
    leases: Vec<(Lease, u64)>,
    tokens: Vec<u64>,
    /// Names of messages that were marked as seen.
    seen: BTreeSet<u128>,
    ended: BTreeMap<u32, Ended>,
    next: u64,
}

pub(crate) fn run(when_mailbox_full: WhenFull, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let ledger = Ledger::new(1 << 20);
    let budget = Budget {
        mailbox_ttl_max: Span::secs(MAILBOX_TTL_MAX),
        message_ttl_max: Span::secs(MESSAGE_TTL_MAX),
        mailbox_messages_max: MESSAGES_MAX,
        mailbox_bytes_max: Bytes(BYTES_MAX),
        when_mailbox_full,
        address_quarantine: Span(QUARANTINE),
        quarantine_addresses_max: 1_000,
        ..Budget::default()
    };
    let mut pair = Pair {
        shard: Shard::new(budget.clone(), HashKey(1, 2), ledger.clone()),
        ledger,
        budget,
        now: Instant::ZERO,
        boxes: BTreeMap::new(),
        leases: Vec::new(),
        tokens: vec![0],
        seen: BTreeSet::new(),
        ended: BTreeMap::new(),
        next: 1,
    };
    for step in steps {
        pair.step(step)?;
        pair.sweep();
        pair.compare()?;
    }
    pair.finish()
}

impl Pair {
    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Create {
                address,
                ttl,
                takes,
            } => self.create(address, ttl, takes)?,
            Step::Delete { who, pick } => self.delete(&who, pick)?,
            Step::Deliver { pick, bytes } => self.deliver(pick, bytes),
            Step::Erase { who } => {
                let found = self.held(&who);
                let erased = self.shard.erase(&self.holder(&who), self.now);
                prop_assert_eq!(erased.is_some(), found.is_some());
                let gone = found.and_then(|number| self.boxes.remove(&number));
                if let Some(it) = gone.filter(|it| it.token.is_some()) {
                    self.has_ended(it.address);
                }
            }
            Step::Expire { work } => {
                self.shard.expire(self.now, work);
            }
            Step::Extend { who, ttl } => self.extend(&who, ttl)?,
            Step::Lease {
                address,
                existence,
                bytes,
            } => self.lease(address, existence, bytes)?,
            Step::Mark { who, pick, seen } => self.mark(&who, pick, seen)?,
            Step::Pass { millis } => self.now = self.now.plus(Duration::from_millis(millis)),
            Step::Purge { who } => {
                let found = self.held(&who);
                let purged = self.shard.purge(&self.holder(&who), self.now);
                let mail = found.and_then(|number| self.boxes.get_mut(&number));
                let gone = mail.map(|it| std::mem::take(&mut it.mail).len());
                prop_assert_eq!(purged, gone);
            }
            Step::Recover { pick } => {
                let (old, new) = (*pick.get(&self.tokens), self.fresh());
                let found = self.boxes.values_mut().find(|it| it.token == Some(old));
                let recovered = self.shard.recover(&token(old), token(new), self.now);
                prop_assert_eq!(recovered.is_some(), found.is_some());
                if let Some(it) = found {
                    it.token = Some(new);
                    self.tokens.push(new);
                }
            }
            Step::Release { pick } => {
                if !self.leases.is_empty() {
                    let (lease, number) = self.leases.remove(pick.index(self.leases.len()));
                    self.shard.release(lease, self.now);
                    if let Some(it) = self.boxes.get_mut(&number) {
                        it.leased -= 1;
                    }
                }
            }
        }
        Ok(())
    }

    /// A name that was not used before.
    fn fresh(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Lets everything go whose time is up or which nothing keeps.
    fn sweep(&mut self) {
        let now = self.now;
        let mut ended = Vec::new();
        self.boxes.retain(|_, it| {
            let over = it.expires_at.is_some_and(|end| end <= now);
            it.mail.retain(|(_, _, end)| !over && *end > now);
            let idle = it.token.is_none() && it.mail.is_empty();
            let stays = it.leased > 0 || !(over || idle);
            if !stays && it.token.is_some() {
                ended.push(it.address);
            }
            stays
        });
        for address in ended {
            self.has_ended(address);
        }
        if self.shard.mailboxes() == self.boxes.len() {
            for it in self.ended.values_mut() {
                it.seen_by.get_or_insert(now);
            }
        }
    }

    fn has_ended(&mut self, address: u32) {
        let ended = Ended {
            at: self.now,
            seen_by: None,
        };
        self.ended.insert(address, ended);
    }

    /// Whether an address is kept from others because it has ended not long ago; `None` if it may be either way.
    fn is_kept_from_others(&self, address: u32) -> Option<bool> {
        let Some(ended) = self.ended.get(&address) else {
            return Some(false);
        };
        if self.now < ended.at.plus(QUARANTINE) {
            return Some(true);
        }
        let at_most = QUARANTINE + QUARANTINE / 4;
        let over = |seen: Instant| self.now >= seen.plus(at_most);
        ended.seen_by.is_some_and(over).then_some(false)
    }

    fn create(&mut self, number: u32, ttl: u64, takes: Option<u32>) -> Result<(), TestCaseError> {
        let name = self.fresh();
        let wanted = new_mailbox(name, ttl, takes);
        let created = self.shard.create(&address(number), wanted, self.now);
        let mut boxes = self.boxes.values();
        let held = boxes.any(|it| it.address == number && it.token.is_some());
        let kept = self.is_kept_from_others(number);
        if held || kept == Some(true) || kept.is_none() && created.is_err() {
            prop_assert_eq!(created, Err(CreateError::Taken));
            return Ok(());
        }
        let found = self.boxes.iter().find(|(_, it)| it.address == number);
        let of = found.map_or(name, |(of, _)| *of);
        let new = || Box::new(number, self.now);
        let it = self.boxes.entry(of).or_insert_with(new);
        it.token = Some(name);
        it.public = false;
        it.created_at = self.now;
        it.expires_at = Some(self.now.plus(secs(ttl.min(MAILBOX_TTL_MAX))));
        it.takes = takes.map(|left| (left, None));
        it.count(it.mail.len() as u32, self.now);
        prop_assert_eq!(created.map(|it| it.expires_at), Ok(it.expires_at));
        self.tokens.push(name);
        Ok(())
    }

    /// All that the shard shows.
    fn listed(&self, holder: &Holder) -> Vec<mayfly::store::Entry> {
        self.shard
            .list(holder, Sequence(0), usize::MAX, self.now)
            .unwrap_or_default()
    }

    fn delete(&mut self, who: &Who, pick: Index) -> Result<(), TestCaseError> {
        let holder = self.holder(who);
        let listed = self.listed(&holder);
        let found = self.held(who);
        if listed.is_empty() {
            let deleted = self.shard.delete(&holder, Sequence(1 << 40), self.now);
            prop_assert_eq!(deleted, found.map(|_| false));
            return Ok(());
        }
        let at = pick.index(listed.len());
        let sequence = listed[at].sequence;
        prop_assert_eq!(self.shard.delete(&holder, sequence, self.now), Some(true));
        if let Some(it) = found.and_then(|number| self.boxes.get_mut(&number)) {
            it.mail.remove(at);
        }
        Ok(())
    }

    fn mark(&mut self, who: &Who, pick: Index, seen: bool) -> Result<(), TestCaseError> {
        let holder = self.holder(who);
        let listed = self.listed(&holder);
        let found = self.held(who);
        if listed.is_empty() {
            let number = Sequence(1 << 40);
            let marked = self.shard.set_seen(&holder, number, seen, self.now);
            prop_assert_eq!(marked.map(|it| it.is_some()), found.map(|_| false));
            return Ok(());
        }
        let at = pick.index(listed.len());
        let number = listed[at].sequence;
        let marked = self.shard.set_seen(&holder, number, seen, self.now);
        prop_assert_eq!(marked.flatten().map(|it| it.seen), Some(seen));
        let it = found.and_then(|number| self.boxes.get(&number));
        if let Some((name, ..)) = it.map(|it| it.mail[at]) {
            match seen {
                true => self.seen.insert(name),
                false => self.seen.remove(&name),
            };
        }
        Ok(())
    }

    fn deliver(&mut self, pick: Index, bytes: usize) {
        if self.leases.is_empty() {
            return;
        }
        let (lease, number) = self.leases.remove(pick.index(self.leases.len()));
        let name = u128::from(self.fresh());
        let body = try_body(&self.ledger, bytes).expect("a large budget");
        let end = self.now.plus(secs(MESSAGE_TTL_MAX));
        let promised = self
            .shard
            .deliver(lease, &wrap(name, body, self.now), self.now);
        let Some(it) = self.boxes.get_mut(&number) else {
            return;
        };
        it.leased -= 1;
        if self.budget.when_mailbox_full == WhenFull::DropOldest {
            let held = |mail: &[(u128, usize, Instant)]| -> usize {
                mail.iter().map(|(_, bytes, _)| bytes).sum()
            };
            while !it.mail.is_empty()
                && (it.mail.len() >= MESSAGES_MAX as usize
                    || held(&it.mail) + bytes > BYTES_MAX as usize)
            {
                it.mail.remove(0);
            }
        }
        it.mail.push((name, bytes, end));
        if it.closing || it.expires_at.is_some_and(|end| end <= self.now) {
            let shown = self.now.plus(LATE_MESSAGE_SHOWN);
            it.closing = true;
            it.expires_at = it.expires_at.max(Some(shown));
            if let Some((_, Some(last))) = &mut it.takes {
                *last = shown.max(*last);
            }
        }
        it.count(1, self.now);
        let mut sure = it.expires_at.map_or(end, |it| it.min(end));
        if let (Some((1.., None)), false) = (it.takes, it.closing) {
            sure = sure.min(self.now.plus(secs(AFTER_LAST)));
        }
        assert_eq!(promised, sure);
    }

    fn extend(&mut self, who: &Who, ttl: u64) -> Result<(), TestCaseError> {
        let extended = self.shard.extend(&self.holder(who), secs(ttl), self.now);
        let found = self.held(who);
        prop_assert_eq!(extended.is_some(), found.is_some());
        if let Some(it) = found.and_then(|number| self.boxes.get_mut(&number))
            && it.expires_at.is_some()
        {
            it.expires_at = Some(self.now.plus(secs(ttl.min(MAILBOX_TTL_MAX))));
            it.closing = false;
            it.end_with_last();
        }
        Ok(())
    }

    fn lease(
        &mut self,
        number: u32,
        existence: Existence,
        bytes: u64,
    ) -> Result<(), TestCaseError> {
        let mut expected = self.lease_expected(number, existence, bytes);
        let leased = self
            .shard
            .lease(&address(number), existence, bytes, self.now);
        let is_new = self.boxes.values().all(|it| it.address != number);
        let unsure = self.is_kept_from_others(number).is_none();
        let implied = matches!(existence, Existence::Implied | Existence::Public);
        if implied && is_new && unsure && leased.is_err() {
            expected = Err(Unavailable::NoSuchMailbox);
        }
        prop_assert_eq!(leased.as_ref().err().copied(), expected.err());
        let Ok(lease) = leased else { return Ok(()) };
        let public = existence == Existence::Public;
        let found = self.boxes.iter_mut().find(|(_, it)| it.address == number);
        let of = if let Some((of, it)) = found {
            it.leased += 1;
            it.public = public && it.token.is_none();
            *of
        } else {
            let mut it = Box::new(number, self.now);
            it.leased = 1;
            it.public = public;
            let of = self.fresh();
            self.boxes.insert(of, it);
            of
        };
        self.leases.push((lease, of));
        Ok(())
    }

    fn lease_expected(
        &self,
        number: u32,
        existence: Existence,
        bytes: u64,
    ) -> Result<(), Unavailable> {
        let required = existence == Existence::Required;
        let drop_oldest = self.budget.when_mailbox_full == WhenFull::DropOldest;
        let Some(it) = self.boxes.values().find(|it| it.address == number) else {
            let kept = self.is_kept_from_others(number) == Some(true);
            let implied = matches!(existence, Existence::Implied | Existence::Public);
            return if required || kept && implied {
                Err(Unavailable::NoSuchMailbox)
            } else {
                Ok(())
            };
        };
        let ending = it.closing || it.expires_at.is_some_and(|end| end <= self.now);
        if required && (ending || it.token.is_none()) {
            return Err(Unavailable::NoSuchMailbox);
        }
        if let (Some((_, Some(_))), false) = (it.takes, ending) {
            return Err(Unavailable::UsedUp);
        }
        let none_left = it.takes.is_some_and(|(left, _)| it.leased >= left);
        let held: usize = it.mail.iter().map(|(_, bytes, _)| bytes).sum();
        let count = it.mail.len() as u32 + it.leased;
        let full = if drop_oldest {
            it.leased >= MESSAGES_MAX || bytes > BYTES_MAX
        } else {
            count >= MESSAGES_MAX || held as u64 + bytes > BYTES_MAX
        };
        if ending || full || none_left {
            return Err(Unavailable::MailboxFull);
        }
        Ok(())
    }

    /// The model's mailbox that `who` may see.
    fn held(&self, who: &Who) -> Option<u64> {
        let is_it = |it: &Box| match who {
            Who::Token(pick) => it.token == Some(*pick.get(&self.tokens)),
            Who::Operator(number) => it.address == *number && it.token.is_none(),
            Who::Public(number) => it.address == *number && it.public,
        };
        let mut found = self.boxes.iter().filter(|(_, it)| is_it(it));
        found.next().map(|(number, _)| *number)
    }

    fn holder(&self, who: &Who) -> Holder {
        match who {
            Who::Token(pick) => Holder::Token(token(*pick.get(&self.tokens))),
            Who::Operator(number) => Holder::Operator(address(*number)),
            Who::Public(number) => Holder::Public(address(*number)),
        }
    }

    /// Every observable, of every mailbox that there is or ever was.
    fn compare(&self) -> Result<(), TestCaseError> {
        self.shard.check();
        let tokens = self.tokens.iter().map(|name| {
            let found = self.boxes.values().find(|it| it.token == Some(*name));
            (Holder::Token(token(*name)), found)
        });
        let operator = (0..ADDRESSES).map(|number| {
            let mut mine = self.boxes.values();
            let found = mine.find(|it| it.address == number && it.token.is_none());
            (Holder::Operator(address(number)), found)
        });
        let public = (0..ADDRESSES).map(|number| {
            let mut mine = self.boxes.values();
            let found = mine.find(|it| it.address == number && it.public);
            (Holder::Public(address(number)), found)
        });
        for (holder, found) in tokens.chain(operator).chain(public) {
            let state = self.shard.state(&holder, self.now);
            let listed = self.shard.list(&holder, Sequence(0), usize::MAX, self.now);
            prop_assert_eq!(state.is_some(), found.is_some());
            prop_assert_eq!(listed.is_some(), found.is_some());
            if let (Some(state), Some(listed), Some(it)) = (state, listed, found) {
                self.compare_one(&holder, &state, &listed, it)?;
            }
        }
        let live = self.boxes.values().map(|it| it.mail.len()).sum::<usize>();
        prop_assert!(self.shard.messages() >= live);
        prop_assert!(self.shard.mailboxes() >= self.boxes.len());
        let least = live as u64 * ENTRY_COST_BYTES + self.boxes.len() as u64 * MAILBOX_COST_BYTES;
        prop_assert!(self.ledger.used() >= least);
        Ok(())
    }

    fn compare_one(
        &self,
        holder: &Holder,
        state: &MailboxState,
        listed: &[mayfly::store::Entry],
        it: &Box,
    ) -> Result<(), TestCaseError> {
        let end = it.expires_at.map(|end| end.max(self.now));
        prop_assert_eq!(&state.address, &address(it.address));
        prop_assert_eq!((state.created_at, state.expires_at), (it.created_at, end));
        let left = state.takes.map(|takes| takes.left());
        prop_assert_eq!(left, it.takes.map(|(left, _)| left));
        let bytes: usize = it.mail.iter().map(|(_, bytes, _)| bytes).sum();
        prop_assert_eq!((state.messages, state.bytes), (it.mail.len(), bytes as u64));
        prop_assert_eq!(listed.len(), it.mail.len());
        for (entry, (name, bytes, ends_at)) in listed.iter().zip(&it.mail) {
            let named = mayfly::mail::message::QueueId::from_random(*name);
            prop_assert_eq!(entry.message.queue_id, named);
            prop_assert_eq!(entry.message.body.len(), *bytes);
            prop_assert_eq!(
                entry.expires_at,
                end.map_or(*ends_at, |end| end.min(*ends_at))
            );
            prop_assert!(entry.sequence <= state.last);
            prop_assert_eq!(entry.seen, self.seen.contains(name));
            let one = self.shard.message(holder, entry.sequence, self.now);
            prop_assert!(
                one.flatten()
                    .is_some_and(|one| one.sequence == entry.sequence)
            );
            let page = self.shard.list(holder, entry.sequence, 1, self.now);
            let next = listed.iter().find(|it| it.sequence > entry.sequence);
            prop_assert_eq!(
                page.and_then(|page| page.first().map(|it| it.sequence)),
                next.map(|it| it.sequence)
            );
        }
        prop_assert!(listed.is_sorted_by(|one, next| one.sequence < next.sequence));
        let (total, newest) = self.shard.newest(holder, 1, 2, self.now).expect("is held");
        let wanted = listed.iter().rev().skip(1).take(2).map(|it| it.sequence);
        prop_assert_eq!(total, listed.len());
        prop_assert!(newest.iter().map(|it| it.sequence).eq(wanted));
        Ok(())
    }

    /// At the end of all time nothing is left.
    fn finish(mut self) -> Result<(), TestCaseError> {
        for (lease, _) in std::mem::take(&mut self.leases) {
            self.shard.release(lease, self.now);
        }
        self.now = self.now.plus(secs(2 * MAILBOX_TTL_MAX));
        self.shard.expire(self.now, usize::MAX);
        self.shard.check();
        prop_assert_eq!((self.shard.mailboxes(), self.shard.messages()), (0, 0));
        prop_assert_eq!(self.ledger.used(), 0);
        prop_assert_eq!(self.shard.next_expiry(), None);
        Ok(())
    }
}

fn new_mailbox(name: u64, ttl: u64, takes: Option<u32>) -> NewMailbox {
    let terms = takes.map(|most| Terms {
        takes: Some(Takes::new(most, secs(AFTER_LAST))),
        ..Terms::default()
    });
    NewMailbox {
        terms: terms.map(std::boxed::Box::new),
        ..NewMailbox::new(token(name), secs(ttl), secs(MAILBOX_TTL_MAX))
    }
}
