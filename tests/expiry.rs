//! A million mailboxes come to their end.
//!
//! None is shown late, none goes early, what goes costs a few steps and what stays costs none, and
//! the memory comes back. Steps are counted, not seconds: the test says the same on every machine.

#![forbid(unsafe_code)]

mod world;

use mayfly::clock::Instant;
use mayfly::mail::{Ledger, Message};
use mayfly::settings::Span;
use mayfly::store::{
    Budget, Event, Existence, Expiry, HashKey, Holder, NewMailbox, Sequence, Shard, Watcher,
};
use std::sync::Arc;
use std::time::Duration;
use world::{Random, address, message, token};

const MAILBOXES: u32 = 1_000_000;
const TTL_MAX_SECS: u64 = 24 * 3600;

struct Nobody;

impl Watcher for Nobody {
    fn notify(&self, _: &Event) -> bool {
        false
    }
}

fn shard(ledger: &Ledger) -> Shard<Nobody> {
    let budget = Budget {
        mailbox_ttl_max: Span::secs(TTL_MAX_SECS),
        ..Budget::default()
    };
    Shard::new(budget, HashKey(5, 6), ledger.clone())
}

fn holder(number: u32) -> Holder {
    Holder::Token(token(number.into()))
}

fn deliver(shard: &mut Shard<Nobody>, number: u32, message: &Arc<Message>, now: Instant) {
    let lease = shard
        .lease(&address(number), Existence::Required, 5, now)
        .expect("created, empty and paid for");
    shard.deliver(lease, message, now);
}

/// Lets everything go that is due, and counts the calls of one step each that this takes.
fn expire_all(shard: &mut Shard<Nobody>, now: Instant) -> (Expiry, usize) {
    let (mut sum, mut steps) = (Expiry::default(), 0);
    loop {
        let done = shard.expire(now, 1);
        sum.messages += done.messages;
        sum.mailboxes += done.mailboxes;
        steps += 1;
        if !done.more {
            return (sum, steps);
        }
    }
}

#[test]
fn a_million_mailboxes_go_on_time_and_at_their_own_cost() {
    let ledger = Ledger::new(u64::MAX);
    let mut shard = shard(&ledger);
    let mut random = Random::new(1);
    let start = Instant::from_secs(1000);
    let body = message(&ledger, 5, start);
    let mut ends: Vec<Option<Instant>> = Vec::new();
    for number in 0..MAILBOXES {
        let ttl = Duration::from_micros(1 + random.below(TTL_MAX_SECS * 1_000_000));
        let created = shard.create(&address(number), wanted(number, ttl), start);
        assert_eq!(created.map(|it| it.expires_at), Ok(Some(start.plus(ttl))));
        deliver(&mut shard, number, &body, start);
        ends.push(Some(start.plus(ttl)));
    }
    drop(body);

    let mut now = start;
    let (mut steps, mut gone, mut changed) = (0, 0, 0);
    while shard.mailboxes() > 0 {
        for _ in 0..500 {
            let number = random.below(MAILBOXES.into()) as u32;
            changed += change(&mut shard, &mut random, &mut ends, number, now);
        }
        // Half of the time the clock waits for what is next, else it jumps.
        let next = shard.next_expiry().expect("there are mailboxes");
        let jump = Duration::from_micros(random.below(200_000_000));
        now = now.max(if random.chance(50) {
            next
        } else {
            now.plus(jump)
        });
        let kept = shard.mailboxes();
        let (done, calls) = expire_all(&mut shard, now);
        assert_eq!(done.mailboxes, kept - shard.mailboxes());
        steps += calls;
        gone += done.mailboxes;
    }
    let cascades = 8 * MAILBOXES as usize;
    assert!(steps < cascades, "{steps} steps for {gone} mailboxes");
    assert!(gone > 0 && changed > 0);
    assert_eq!(ledger.used(), 0);
    assert_eq!((shard.messages(), shard.next_expiry()), (0, None));
}

/// Looks at a mailbox, which is there until its end and no longer, and sometimes erases or extends
/// it.
fn change(
    shard: &mut Shard<Nobody>,
    random: &mut Random,
    ends: &mut [Option<Instant>],
    number: u32,
    now: Instant,
) -> usize {
    let end = &mut ends[number as usize];
    let alive = end.is_some_and(|end| end > now);
    let holder = holder(number);
    let seen = shard.message(&holder, Sequence(1), now);
    assert_eq!(
        seen.is_some(),
        alive,
        "mailbox {number}, end {end:?}, now {now}"
    );
    assert_eq!(
        seen.flatten().map(|it| it.expires_at),
        end.filter(|_| alive)
    );
    if !alive || !random.chance(10) {
        return 0;
    }
    // Shortened as often as extended, but never past the message's own end.
    let left = end.map_or(Duration::ZERO, |end| end.since(now));
    let ttl = Duration::from_micros(random.below(left.as_micros() as u64 + 1));
    if random.chance(50) {
        *end = shard.extend(&holder, ttl, now).and_then(|it| it.expires_at);
        assert_eq!(*end, Some(now.plus(ttl)));
    } else {
        assert_eq!(shard.erase(&holder, now), Some(()));
        *end = None;
    }
    1
}

#[test]
fn what_stays_costs_nothing() {
    let ledger = Ledger::new(u64::MAX);
    let steps_beside = |kept: u32| {
        let mut shard = shard(&ledger);
        let start = Instant::from_secs(10);
        let body = message(&ledger, 5, start);
        for number in 0..kept + 100 {
            let secs = if number < kept { 20 * 3600 } else { 60 };
            let ttl = Duration::from_secs(secs);
            let created = shard.create(&address(number), wanted(number, ttl), start);
            assert!(created.is_ok());
            deliver(&mut shard, number, &body, start);
        }
        let (done, steps) = expire_all(&mut shard, Instant::from_secs(71));
        assert_eq!(
            (done.mailboxes, done.messages, done.more),
            (100, 100, false)
        );
        assert_eq!(shard.mailboxes(), kept as usize);
        steps
    };
    assert_eq!(steps_beside(100_000), steps_beside(0));
}

#[test]
fn a_clock_that_looks_ten_times_a_second_lets_nothing_stay_longer_than_three() {
    let ledger = Ledger::new(u64::MAX);
    let mut shard = shard(&ledger);
    let mut random = Random::new(2);
    let start = Instant::from_secs(10);
    for number in 0..100_000 {
        let ttl = Duration::from_micros(random.below(600_000_000));
        let created = shard.create(&address(number), wanted(number, ttl), start);
        assert!(created.is_ok());
    }
    for tenths in 0..6_100 {
        let now = start.plus(Duration::from_millis(tenths * 100));
        while shard.expire(now, 1000).more {}
    }
    assert_eq!(shard.mailboxes(), 0);
    let tally = shard.take_tally();
    assert_eq!(tally.mailboxes_expired, 100_000);
    let lag = tally.expiry_lag_max;
    assert!(lag < Duration::from_millis(250), "{lag:?}");
}

fn wanted(number: u32, ttl: Duration) -> NewMailbox {
    NewMailbox::new(token(number.into()), ttl, Duration::from_secs(TTL_MAX_SECS))
}
