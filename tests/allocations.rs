//! What a message costs in allocations: each is paid for twice, when it is made and when it is
//! overwritten and freed.

#![forbid(unsafe_code)]

mod kept;
mod world;

use allocation_counter::measure;
use kept::{Kept, chunks, data};
use mayfly::clock::Instant;
use mayfly::mail::Ledger;
use mayfly::store::{
    Budget, ENTRY_COST_BYTES, Event, Existence, HashKey, MAILBOX_COST_BYTES, NewMailbox, Shard,
    Watcher,
};
use std::time::Duration;
use world::{address, message, token};

#[test]
fn a_message_on_a_kept_connection_needs_few_allocations() {
    let mut kept = Kept::new();
    let text = data(4 << 10);
    kept.message(&text);
    let spent = measure(|| {
        kept.message(&text);
    });
    assert_eq!(spent.count_current, 0, "what a message took is given back");
    assert!(spent.count_total <= 6, "{spent:?}");
}

#[test]
fn a_chunk_needs_no_allocation() {
    let mut kept = Kept::new();
    let text = data(4 << 10);
    // A chunk of the whole costs what DATA costs. Smaller ones need further segments of the body, and those are
    // as large for a thousand chunks of 4 bytes as for two of 2 KiB.
    for (size, allocations_max) in [(4 << 10, 6), (2 << 10, 9), (64, 9), (4, 9)] {
        let writes = chunks(&text, size);
        kept.chunks(&writes);
        let mut answered = 0;
        let spent = measure(|| answered = kept.chunks(&writes));
        assert!(answered > writes.len() * "250 ".len());
        assert_eq!(spent.count_current, 0, "what a message took is given back");
        assert!(
            spent.count_total <= allocations_max,
            "chunks of {size}: {spent:?}"
        );
    }
}

#[test]
fn a_message_in_tiny_chunks_takes_no_more_memory_than_it_has_bytes() {
    let mut kept = Kept::new();
    let text = data(128 << 10);
    let writes = chunks(&text, 1);
    kept.chunks(&writes[writes.len() - 1..]);
    let spent = measure(|| {
        kept.chunks(&writes);
    });
    // Its bytes, one segment that is as large again and hardly begun, and the envelope.
    let bytes_max = (256 << 10) + (8 << 10);
    assert!(spent.bytes_max <= bytes_max, "{spent:?}");
}

/// Nobody watches here.
struct Nobody;

impl Watcher for Nobody {
    fn notify(&self, _: &Event) -> bool {
        false
    }
}

/// What mailboxes and messages take from the allocator is no more than what they pay for in the budget, and not much less.
#[test]
fn a_mailbox_and_a_message_take_what_they_pay_for() {
    // Tables double: a little more than a power of two of them is the worst, and pages of places are whole.
    const MAILBOXES: u32 = (1 << 16) * 7 / 8 + 1024;
    let ledger = Ledger::new(u64::MAX);
    let (now, hour) = (Instant::from_secs(1), Duration::from_secs(3_600));
    let mut shard: Shard<Nobody> = Shard::new(Budget::default(), HashKey(1, 2), ledger.clone());
    let spent = measure(|| {
        for number in 0..MAILBOXES {
            let wanted = NewMailbox::new(token(number.into()), hour, hour);
            let created = shard.create(&address(number), wanted, now);
            assert!(created.is_ok());
        }
    });
    let each = spent.bytes_current / i64::from(MAILBOXES);
    let cost = i64::try_from(MAILBOX_COST_BYTES).expect("small");
    assert!(
        (cost / 2..=cost).contains(&each),
        "{each} bytes for an empty mailbox"
    );
    assert_eq!(ledger.used(), u64::from(MAILBOXES) * MAILBOX_COST_BYTES);

    let body_bytes = 1_000;
    let spent = measure(|| {
        for number in 0..MAILBOXES {
            let lease = shard.lease(&address(number), Existence::Required, 1, now);
            let message = message(&ledger, body_bytes, now);
            shard.deliver(lease.expect("there is room"), &message, now);
        }
    });
    let bytes = i64::try_from(body_bytes).expect("small");
    let each = spent.bytes_current / i64::from(MAILBOXES) - bytes;
    let cost = i64::try_from(ENTRY_COST_BYTES).expect("small");
    assert!(
        (cost / 4..=cost).contains(&each),
        "{each} bytes for a message beside its body"
    );
}
