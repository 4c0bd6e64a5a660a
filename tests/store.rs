//! The store against a slow model that is obviously right, and scenes that deserve a name.

#![forbid(unsafe_code)]

mod world;

use mayfly::clock::Instant;
use mayfly::mail::{Address, Ledger};
use mayfly::settings::{Bytes, Span};
use mayfly::store::{
    Budget, CreateError, Event, Existence, HashKey, Holder, LATE_MESSAGE_SHOWN, Lease, NewMailbox,
    Sequence, Shard, Unavailable, Watcher, WhenFull,
};
use proptest::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use world::{address, message, token};

/// Writes down what it is told, up to a number of events.
#[derive(Clone)]
struct Diary {
    events: Rc<RefCell<Vec<Event>>>,
    max: usize,
    gone: Rc<RefCell<bool>>,
}

impl Diary {
    fn new() -> Self {
        Self::with_room_for(usize::MAX)
    }

    fn with_room_for(max: usize) -> Self {
        Self {
            events: Rc::default(),
            max,
            gone: Rc::default(),
        }
    }

    /// The events since this was asked last, in short: `+1` arrived, `-1` removed, `!1` marked as seen, `?1` as
    /// not seen, `soon`,
    /// `closed`, `reset`.
    fn read(&self) -> String {
        let events = std::mem::take(&mut *self.events.borrow_mut());
        let mut last = None;
        let words: Vec<String> = events
            .iter()
            .map(|event| {
                assert!(last < Some(event.sequence()), "events are in order");
                last = Some(event.sequence());
                match event {
                    Event::Arrived(entry) => format!("+{}", entry.sequence.0),
                    Event::Removed { message, .. } => format!("-{}", message.0),
                    Event::Marked { entry, .. } => {
                        format!("{}{}", if entry.seen { "!" } else { "?" }, entry.sequence.0)
                    }
                    Event::ExpiresSoon { .. } => "soon".to_owned(),
                    Event::Closed { .. } => "closed".to_owned(),
                    Event::Reset { .. } => "reset".to_owned(),
                }
            })
            .collect();
        words.join(" ")
    }
}

impl Watcher for Diary {
    fn notify(&self, event: &Event) -> bool {
        let room = self.events.borrow().len() < self.max && !*self.gone.borrow();
        if room {
            self.events.borrow_mut().push(event.clone());
        }
        room
    }

    fn is_gone(&self) -> bool {
        *self.gone.borrow()
    }
}

fn at(secs: u64) -> Instant {
    Instant::from_secs(secs)
}

const DAY: Duration = Duration::from_secs(86_400);

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

/// A shard with a clock that only the test turns.
struct Scene {
    shard: Shard<Diary>,
    ledger: Ledger,
    holder: Holder,
    address: Address,
}

impl Scene {
    /// One mailbox, created at 0 for 1000 seconds.
    fn new(budget: Budget) -> Self {
        let mut scene = Self::empty(budget);
        scene.create(0, 1000).expect("free");
        scene
    }

    fn empty(budget: Budget) -> Self {
        let ledger = Ledger::new(1 << 30);
        Self {
            shard: Shard::new(budget, HashKey(1, 2), ledger.clone()),
            ledger,
            holder: Holder::Token(token(1)),
            address: address(1),
        }
    }

    fn create(&mut self, now: u64, ttl: u64) -> Result<(), CreateError> {
        let (address, ttl) = (self.address.clone(), secs(ttl));
        self.shard
            .create(&address, NewMailbox::new(token(1), ttl, DAY), at(now))
            .map(|_| ())
    }

    fn lease(&mut self, existence: Existence, now: u64) -> Result<Lease, Unavailable> {
        let address = self.address.clone();
        self.shard.lease(&address, existence, 10, at(now))
    }

    fn fill(&mut self, lease: Lease, now: u64) {
        let message = message(&self.ledger, 10, at(now));
        self.shard.deliver(lease, &message, at(now));
    }

    fn mail(&mut self, now: u64) {
        let lease = self.lease(Existence::Required, now).expect("there is room");
        self.fill(lease, now);
    }

    fn implied_mail(&mut self, now: u64) {
        let lease = self.lease(Existence::Implied, now).expect("there is room");
        self.fill(lease, now);
    }

    fn listed(&self, now: u64) -> Option<Vec<u64>> {
        let list = self
            .shard
            .list(&self.holder, Sequence(0), usize::MAX, at(now))?;
        Some(list.iter().map(|entry| entry.sequence.0).collect())
    }

    fn watch(&mut self, since: Option<u64>, now: u64) -> Diary {
        let diary = Diary::new();
        let since = since.map(Sequence);
        let added = self
            .shard
            .watch(&self.holder, since, diary.clone(), at(now));
        assert_eq!(added, Some(true));
        diary
    }

    fn expire(&mut self, now: u64) {
        while self.shard.expire(at(now), 7).more {}
    }

    fn is_empty(&self) -> bool {
        self.shard.check();
        self.shard.mailboxes() == 0 && self.ledger.used() == 0
    }
}

#[test]
fn mail_is_there_until_its_mailbox_goes() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    scene.mail(2);
    assert_eq!(scene.listed(999), Some(vec![1, 2]));
    assert_eq!(
        scene.listed(1000),
        None,
        "although the wheel has not come to it"
    );
    scene.expire(1001);
    assert!(scene.is_empty());
    let tally = scene.shard.take_tally();
    assert_eq!((tally.messages_delivered, tally.messages_expired), (2, 2));
    assert_eq!((tally.mailboxes_created, tally.mailboxes_expired), (1, 1));
    assert!(tally.expiry_lag_max <= secs(1));
}

#[test]
fn a_message_goes_before_its_mailbox_when_its_own_time_is_up() {
    let mut scene = Scene::new(Budget {
        message_ttl_max: Span::secs(100),
        ..Budget::default()
    });
    scene.mail(10);
    scene.mail(20);
    let diary = scene.watch(None, 20);
    assert_eq!(scene.listed(109), Some(vec![1, 2]));
    assert_eq!(scene.listed(110), Some(vec![2]));
    let state = scene.shard.state(&scene.holder, at(110)).expect("held");
    assert_eq!((state.messages, state.bytes), (1, 10));
    scene.expire(111);
    assert_eq!(diary.read(), "-1");
    scene.expire(121);
    assert_eq!(diary.read(), "-2");
    assert_eq!(scene.listed(121), Some(vec![]));
}

#[test]
fn a_lease_keeps_the_mailbox_and_late_mail_is_shown_for_a_minute() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    let lease = scene.lease(Existence::Required, 999).expect("in time");
    let other = scene.lease(Existence::Required, 999).expect("in time");
    assert_eq!(scene.listed(999), Some(vec![1]));
    assert_eq!(scene.listed(1000), Some(vec![]), "no lease keeps its mail");
    let used = scene.ledger.used();
    scene.expire(1001);
    assert!(scene.ledger.used() < used, "its memory comes back");
    assert_eq!(scene.shard.take_tally().messages_expired, 1);
    scene.expire(2000);
    assert_eq!(scene.listed(2000), Some(vec![]), "kept by the lease");
    assert_eq!(
        scene.lease(Existence::Required, 2000),
        Err(Unavailable::NoSuchMailbox),
        "nobody may keep it for ever"
    );
    assert_eq!(scene.create(2000, 10), Err(CreateError::Taken));
    scene.fill(lease, 2000);
    scene.fill(other, 2050);
    let end = 2050 + LATE_MESSAGE_SHOWN.as_secs();
    assert_eq!(scene.listed(end - 1), Some(vec![3, 4]));
    assert_eq!(
        scene.lease(Existence::Required, 2051),
        Err(Unavailable::NoSuchMailbox)
    );
    assert_eq!(scene.listed(end), None);
    scene.expire(end + 1);
    assert!(scene.is_empty());
}

#[test]
fn a_lease_given_back_lets_a_mailbox_go_at_once_when_it_is_due() {
    let mut scene = Scene::new(Budget::default());
    let lease = scene.lease(Existence::Required, 999).expect("in time");
    scene.expire(1500);
    assert_eq!(scene.listed(1500), Some(vec![]));
    scene.shard.release(lease, at(1500));
    assert!(scene.is_empty());
}

#[test]
fn a_holder_may_extend_a_mailbox_that_a_lease_keeps() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    let lease = scene.lease(Existence::Required, 999).expect("in time");
    let holder = scene.holder.clone();
    let state = scene.shard.extend(&holder, secs(500), at(1100));
    assert_eq!(state.and_then(|it| it.expires_at), Some(at(1600)));
    assert_eq!(scene.listed(1100), Some(vec![]), "what has ended stays so");
    scene.shard.release(lease, at(1200));
    scene.mail(1300);
    assert_eq!(scene.listed(1599), Some(vec![3]));
    scene.expire(1601);
    assert!(scene.is_empty());
}

#[test]
fn what_was_meant_for_an_erased_mailbox_never_reaches_the_next_one() {
    let mut scene = Scene::new(Budget {
        address_quarantine: Span::secs(0),
        ..Budget::default()
    });
    let lease = scene.lease(Existence::Required, 1).expect("there is room");
    let other = scene.lease(Existence::Required, 1).expect("there is room");
    let holder = scene.holder.clone();
    assert_eq!(scene.shard.erase(&holder, at(2)), Some(()));
    assert!(scene.is_empty());
    scene.create(3, 100).expect("free again");
    scene.fill(lease, 4);
    scene.shard.release(other, at(4));
    assert_eq!(scene.listed(5), Some(vec![]));
    assert_eq!(scene.shard.take_tally().messages_late, 1);
    scene.shard.check();
}

#[test]
fn an_implied_mailbox_lives_as_long_as_its_mail_and_goes_to_its_creator() {
    let mut scene = Scene::empty(Budget::default());
    let operator = Holder::Operator(scene.address.clone());
    let lease = scene.lease(Existence::Implied, 1).expect("there is room");
    scene.shard.release(lease, at(1));
    assert!(scene.is_empty(), "an empty one is not kept");
    scene.implied_mail(2);
    assert_eq!(
        scene.lease(Existence::Required, 2),
        Err(Unavailable::NoSuchMailbox),
        "nobody created it"
    );
    let diary = Diary::new();
    let watched = scene.shard.watch(&operator, None, diary.clone(), at(3));
    assert_eq!(watched, Some(true));
    scene.create(4, 100).expect("nobody holds it");
    assert_eq!(diary.read(), "closed", "the operator reads no further");
    assert_eq!(scene.listed(5), Some(vec![1]));
    assert!(scene.shard.state(&operator, at(5)).is_none());
    scene.implied_mail(6);
    assert_eq!(diary.read(), "");
    assert_eq!(scene.create(7, 100), Err(CreateError::Taken));
    scene.expire(105);
    assert!(scene.is_empty());
}

#[test]
fn deleting_the_last_message_of_an_implied_mailbox_ends_it() {
    let mut scene = Scene::empty(Budget::default());
    let operator = Holder::Operator(scene.address.clone());
    scene.implied_mail(1);
    let deleted = scene.shard.delete(&operator, Sequence(1), at(2));
    assert_eq!(deleted, Some(true));
    assert!(scene.is_empty());
}

#[test]
fn a_full_mailbox_defers_or_lets_the_oldest_go() {
    let budget = |when_mailbox_full| Budget {
        mailbox_messages_max: 3,
        mailbox_bytes_max: Bytes(1000),
        when_mailbox_full,
        ..Budget::default()
    };
    let mut scene = Scene::new(budget(WhenFull::Defer));
    (0..2).for_each(|_| scene.mail(1));
    let lease = scene.lease(Existence::Required, 2).expect("the last place");
    assert_eq!(
        scene.lease(Existence::Required, 2),
        Err(Unavailable::MailboxFull)
    );
    scene.shard.release(lease, at(2));
    scene.mail(3);
    let address = scene.address.clone();

    let mut scene = Scene::new(budget(WhenFull::DropOldest));
    (0..5).for_each(|_| scene.mail(1));
    let listed = scene.listed(2).expect("held");
    assert_eq!(listed.len(), 3);
    assert!(listed.is_sorted() && listed[0] > 2);
    let too_large = scene
        .shard
        .lease(&address, Existence::Required, 1001, at(2));
    assert_eq!(too_large, Err(Unavailable::MailboxFull));
    assert_eq!(scene.shard.take_tally().messages_evicted, 2);
}

#[test]
fn bytes_fill_a_mailbox_too() {
    let mut scene = Scene::new(Budget {
        mailbox_bytes_max: Bytes(25),
        ..Budget::default()
    });
    scene.mail(1);
    scene.mail(1);
    assert_eq!(
        scene.lease(Existence::Required, 2),
        Err(Unavailable::MailboxFull)
    );
}

#[test]
fn without_memory_nothing_is_promised() {
    let mut scene = Scene::new(Budget::default());
    let used = scene.ledger.used();
    scene.ledger.set_limit(used);
    assert_eq!(
        scene.lease(Existence::Required, 1),
        Err(Unavailable::NoMemory)
    );
    let other = address(2);
    let implied = scene.shard.lease(&other, Existence::Implied, 1, at(1));
    assert_eq!(implied, Err(Unavailable::NoMemory));
    let created = scene
        .shard
        .create(&other, NewMailbox::new(token(2), secs(1), DAY), at(1));
    assert_eq!(created, Err(CreateError::NoMemory));
    assert_eq!(scene.ledger.used(), used);
    scene.shard.check();
}

#[test]
fn a_watcher_hears_everything_in_order_and_can_go_on_where_it_was() {
    let mut scene = Scene::new(Budget::default());
    let diary = scene.watch(None, 0);
    scene.mail(1);
    scene.mail(2);
    let holder = scene.holder.clone();
    scene.shard.delete(&holder, Sequence(1), at(3));
    assert_eq!(diary.read(), "+1 +2 -1");
    scene.expire(699);
    assert_eq!(diary.read(), "");
    scene.expire(701);
    assert_eq!(diary.read(), "soon");
    assert_eq!(scene.watch(Some(0), 702).read(), "+2 -1 soon");
    assert_eq!(scene.watch(Some(2), 702).read(), "-1 soon");
    assert_eq!(scene.watch(Some(4), 702).read(), "");
    assert_eq!(
        scene.watch(Some(5), 702).read(),
        "reset",
        "from another life"
    );
    scene.shard.extend(&holder, secs(1000), at(800));
    scene.expire(1401);
    assert_eq!(diary.read(), "", "the moment has moved");
    scene.expire(1501);
    assert_eq!(diary.read(), "soon");
    scene.expire(1801);
    assert_eq!(diary.read(), "closed");
    assert!(scene.is_empty());
}

#[test]
fn who_was_away_too_long_must_list_again() {
    let mut scene = Scene::new(Budget::default());
    let holder = scene.holder.clone();
    for _ in 0..100 {
        scene.mail(1);
        let last = scene.shard.state(&holder, at(1)).map(|it| it.last);
        scene.shard.delete(&holder, last.expect("held"), at(1));
    }
    // Message n has number 2n-1 and its removal 2n; 64 removals are remembered.
    assert_eq!(scene.watch(Some(71), 2).read(), "reset");
    let rest = scene.watch(Some(72), 2).read();
    assert_eq!(rest.split(' ').count(), 64);
    assert!(
        rest.starts_with("-73 ") && rest.ends_with(" -199"),
        "{rest}"
    );
}

#[test]
fn a_watcher_that_is_too_slow_or_gone_is_dropped_and_gives_its_place_back() {
    let mut scene = Scene::new(Budget {
        watchers_max: 2,
        ..Budget::default()
    });
    let slow = Diary::with_room_for(1);
    let holder = scene.holder.clone();
    let add = |scene: &mut Scene, diary: &Diary| {
        let watcher = diary.clone();
        scene
            .shard
            .watch(&holder, Some(Sequence(0)), watcher, at(1))
    };
    let (second, third) = (Diary::new(), Diary::new());
    assert_eq!(add(&mut scene, &slow), Some(true));
    assert_eq!(add(&mut scene, &second), Some(true));
    assert_eq!(add(&mut scene, &third), Some(false), "two are enough");
    scene.mail(2);
    scene.mail(3);
    assert_eq!(scene.shard.take_tally().watchers_dropped, 1);
    assert_eq!(add(&mut scene, &third), Some(true));
    *second.gone.borrow_mut() = true;
    assert_eq!(add(&mut scene, &Diary::new()), Some(true));
    assert_eq!(third.read(), "+1 +2");
    assert_eq!(slow.read(), "+1");
}

#[test]
fn a_lowered_span_lets_no_message_overtake_another() {
    let mut scene = Scene::empty(Budget::default());
    scene.create(0, 86_000).expect("free");
    scene.mail(0);
    scene.shard.set_budget(Budget {
        message_ttl_max: Span::secs(10),
        ..Budget::default()
    });
    scene.mail(1);
    assert_eq!(
        scene.listed(85_999),
        Some(vec![1, 2]),
        "what was promised stays so"
    );
    scene.shard.check();
}

#[test]
fn a_large_mailbox_goes_in_small_steps() {
    let mut scene = Scene::new(Budget {
        mailbox_messages_max: 10_000,
        ..Budget::default()
    });
    (0..5000).for_each(|_| scene.mail(1));
    let mut calls = 0;
    loop {
        calls += 1;
        let done = scene.shard.expire(at(1001), 100);
        assert!(done.messages <= 100);
        assert_eq!(scene.listed(1001), None, "half gone is gone");
        if !done.more {
            break;
        }
    }
    assert!((50..60).contains(&calls), "{calls} calls");
    assert!(scene.is_empty());
}

#[test]
fn even_one_step_at_a_time_comes_to_an_end() {
    let mut scene = Scene::new(Budget::default());
    (0..10).for_each(|_| scene.mail(1));
    let mut calls = 0;
    while scene.shard.expire(at(1001), 0).more {
        calls += 1;
        assert!(calls < 100);
    }
    assert!(scene.is_empty());
}

#[test]
fn nothing_is_printed_that_identifies_anyone() {
    let mut scene = Scene::new(Budget::default());
    scene.mail(1);
    assert_eq!(
        format!("{:?}", scene.shard),
        "Shard(1 mailboxes, 1 messages)"
    );
    let state = scene.shard.state(&scene.holder, at(2)).expect("held");
    assert!(!format!("{state:?} {:?}", scene.holder).contains("mayfly"));
}

mod everybodys;
mod grants;
mod marks;
mod model;

proptest! {
    #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn the_shard_does_what_the_slow_model_does(
        when_full in prop_oneof![Just(WhenFull::Defer), Just(WhenFull::DropOldest)],
        steps in prop::collection::vec(model::step(), 1..150),
    ) {
        model::run(when_full, steps)?;
    }
}
