//! The slow model of a shard: one ordered map, looked through from end to end at every question.

#![forbid(unsafe_code)]

use super::world::{address, token, try_body, wrap};
use super::*;
use mayfly::store::{ENTRY_COST_BYTES, MAILBOX_COST_BYTES, MailboxState, NewMailbox};
use proptest::sample::Index;
use proptest::test_runner::TestCaseError;

const ADDRESSES: u32 = 4;
const MESSAGES_MAX: u32 = 4;
const BYTES_MAX: u64 = 100;
const MAILBOX_TTL_MAX: u64 = 90;
const MESSAGE_TTL_MAX: u64 = 60;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Create {
        address: u32,
        ttl: u64,
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
        implied: bool,
        bytes: u64,
    },
    Pass {
        millis: u64,
    },
    Release {
        pick: Index,
    },
}

/// A token that was given out at some time, or the operator.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Token(Index),
    Operator(u32),
}

pub(crate) fn step() -> impl Strategy<Value = Step> {
    let who = || {
        prop_oneof![
            3 => any::<Index>().prop_map(Who::Token),
            1 => (0..ADDRESSES).prop_map(Who::Operator),
        ]
    };
    let ttl = || prop_oneof![0..5_u64, 0..2 * MAILBOX_TTL_MAX];
    prop_oneof![
        3 => (0..ADDRESSES, ttl()).prop_map(|(address, ttl)| Step::Create { address, ttl }),
        2 => (who(), any::<Index>()).prop_map(|(who, pick)| Step::Delete { who, pick }),
        6 => (any::<Index>(), 0..60_usize).prop_map(|(pick, bytes)| Step::Deliver { pick, bytes }),
        1 => who().prop_map(|who| Step::Erase { who }),
        3 => (0..20_usize).prop_map(|work| Step::Expire { work }),
        1 => (who(), ttl()).prop_map(|(who, ttl)| Step::Extend { who, ttl }),
        8 => (0..ADDRESSES, any::<bool>(), 0..70_u64)
            .prop_map(|(address, implied, bytes)| Step::Lease { address, implied, bytes }),
        6 => prop_oneof![0..200_u64, 0..40_000_u64].prop_map(|millis| Step::Pass { millis }),
        2 => any::<Index>().prop_map(|pick| Step::Release { pick }),
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
    leased: u32,
    /// Name, bytes and end of each message, in order of arrival.
    mail: Vec<(u128, usize, Instant)>,
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
            Step::Create { address, ttl } => self.create(address, ttl)?,
            Step::Delete { who, pick } => self.delete(&who, pick)?,
            Step::Deliver { pick, bytes } => self.deliver(pick, bytes),
            Step::Erase { who } => {
                let found = self.held(&who);
                let erased = self.shard.erase(&self.holder(&who), self.now);
                prop_assert_eq!(erased.is_some(), found.is_some());
                found.map(|number| self.boxes.remove(&number));
            }
            Step::Expire { work } => {
                self.shard.expire(self.now, work);
            }
            Step::Extend { who, ttl } => self.extend(&who, ttl)?,
            Step::Lease {
                address,
                implied,
                bytes,
            } => self.lease(address, implied, bytes)?,
            Step::Pass { millis } => self.now = self.now.plus(Duration::from_millis(millis)),
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
        self.boxes.retain(|_, it| {
            let over = it.expires_at.is_some_and(|end| end <= now);
            it.mail.retain(|(_, _, end)| !over && *end > now);
            let idle = it.token.is_none() && it.mail.is_empty();
            it.leased > 0 || !(over || idle)
        });
    }

    fn create(&mut self, number: u32, ttl: u64) -> Result<(), TestCaseError> {
        let name = self.fresh();
        let ttl_kept = ttl.min(MAILBOX_TTL_MAX);
        let created = self
            .shard
            .create(&address(number), new_mailbox(name, ttl), self.now);
        let expires_at = Some(self.now.plus(secs(ttl_kept)));
        let found = self.boxes.values_mut().find(|it| it.address == number);
        if let Some(it) = found {
            if it.token.is_some() {
                prop_assert_eq!(created, Err(CreateError::Taken));
                return Ok(());
            }
            (it.token, it.expires_at, it.created_at) = (Some(name), expires_at, self.now);
        } else {
            let it = Box {
                address: number,
                token: Some(name),
                created_at: self.now,
                expires_at,
                closing: false,
                leased: 0,
                mail: Vec::new(),
            };
            self.boxes.insert(name, it);
        }
        prop_assert_eq!(created.map(|it| it.expires_at), Ok(expires_at));
        self.tokens.push(name);
        Ok(())
    }

    fn delete(&mut self, who: &Who, pick: Index) -> Result<(), TestCaseError> {
        let holder = self.holder(who);
        let listed = self
            .shard
            .list(&holder, Sequence(0), usize::MAX, self.now)
            .unwrap_or_default();
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

    fn deliver(&mut self, pick: Index, bytes: usize) {
        if self.leases.is_empty() {
            return;
        }
        let (lease, number) = self.leases.remove(pick.index(self.leases.len()));
        let name = u128::from(self.fresh());
        let body = try_body(&self.ledger, bytes).expect("a large budget");
        let end = self.now.plus(secs(MESSAGE_TTL_MAX));
        self.shard
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
            it.closing = true;
            it.expires_at = it.expires_at.max(Some(self.now.plus(LATE_MESSAGE_SHOWN)));
        }
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
        }
        Ok(())
    }

    fn lease(&mut self, number: u32, implied: bool, bytes: u64) -> Result<(), TestCaseError> {
        let existence = if implied {
            Existence::Implied
        } else {
            Existence::Required
        };
        let expected = self.lease_expected(number, implied, bytes);
        let leased = self
            .shard
            .lease(&address(number), existence, bytes, self.now);
        prop_assert_eq!(leased.as_ref().err().copied(), expected.err());
        let Ok(lease) = leased else { return Ok(()) };
        let found = self.boxes.iter_mut().find(|(_, it)| it.address == number);
        let of = if let Some((of, it)) = found {
            it.leased += 1;
            *of
        } else {
            let it = Box {
                address: number,
                token: None,
                created_at: self.now,
                expires_at: None,
                closing: false,
                leased: 1,
                mail: Vec::new(),
            };
            let of = self.fresh();
            self.boxes.insert(of, it);
            of
        };
        self.leases.push((lease, of));
        Ok(())
    }

    fn lease_expected(&self, number: u32, implied: bool, bytes: u64) -> Result<(), Unavailable> {
        let drop_oldest = self.budget.when_mailbox_full == WhenFull::DropOldest;
        let Some(it) = self.boxes.values().find(|it| it.address == number) else {
            return if implied {
                Ok(())
            } else {
                Err(Unavailable::NoSuchMailbox)
            };
        };
        let ending = it.closing || it.expires_at.is_some_and(|end| end <= self.now);
        if !implied && (ending || it.token.is_none()) {
            return Err(Unavailable::NoSuchMailbox);
        }
        let held: usize = it.mail.iter().map(|(_, bytes, _)| bytes).sum();
        let count = it.mail.len() as u32 + it.leased;
        let full = if drop_oldest {
            it.leased >= MESSAGES_MAX || bytes > BYTES_MAX
        } else {
            count >= MESSAGES_MAX || held as u64 + bytes > BYTES_MAX
        };
        if ending || full {
            return Err(Unavailable::MailboxFull);
        }
        Ok(())
    }

    /// The model's mailbox that `who` may see.
    fn held(&self, who: &Who) -> Option<u64> {
        let is_it = |it: &Box| match who {
            Who::Token(pick) => it.token == Some(*pick.get(&self.tokens)),
            Who::Operator(number) => it.address == *number && it.token.is_none(),
        };
        let mut found = self.boxes.iter().filter(|(_, it)| is_it(it));
        found.next().map(|(number, _)| *number)
    }

    fn holder(&self, who: &Who) -> Holder {
        match who {
            Who::Token(pick) => Holder::Token(token(*pick.get(&self.tokens))),
            Who::Operator(number) => Holder::Operator(address(*number)),
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
        for (holder, found) in tokens.chain(operator) {
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

fn new_mailbox(name: u64, ttl: u64) -> NewMailbox {
    NewMailbox::new(token(name), secs(ttl), secs(MAILBOX_TTL_MAX))
}
