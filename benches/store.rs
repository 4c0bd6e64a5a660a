//! What a message costs in the store, with a thousand mailboxes and with a million.
//!
//! Run with `cargo bench --no-default-features --bench store`. Each figure is for one message,
//! mailbox or timer; between the two sizes lies only what the caches of the machine make of it.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros declare a public function")]

#[path = "../tests/world/mod.rs"]
mod world;

use criterion::{BatchSize, BenchmarkId, Criterion, criterion_group, criterion_main};
use mayfly::clock::Instant;
use mayfly::mail::Ledger;
use mayfly::settings::Bytes;
use mayfly::store::{Budget, Event, Existence, HashKey, NewMailbox, Shard, Watcher, WhenFull};
use mayfly::wheel::Wheel;
use std::hint::black_box;
use std::time::Duration;
use world::{Random, address, message, token};

const SIZES: [u32; 2] = [1_000, 1_000_000];

struct Nobody;

impl Watcher for Nobody {
    fn notify(&self, _: &Event) -> bool {
        false
    }
}

/// A shard with this many mailboxes, which end within a day. The oldest message of a full one goes,
/// so that delivery can go on for ever.
fn shard(mailboxes: u32) -> Shard<Nobody> {
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

fn lease_and_deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lease_and_deliver");
    for size in SIZES {
        let mut shard = shard(size);
        let ledger = Ledger::new(u64::MAX);
        let body = message(&ledger, 4096, Instant::ZERO);
        let mut random = Random::new(1);
        let addresses: Vec<_> = (0..size).map(address).collect();
        let now = Instant::from_secs(1);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                let to = &addresses[random.below(size.into()) as usize];
                let lease = shard.lease(to, Existence::Required, 4096, now);
                shard.deliver(lease.expect("the oldest makes room"), &body, now);
            });
        });
    }
    group.finish();
}

/// A mailbox is made with an end, and goes when that has come.
fn create_and_expire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("create_and_expire");
    for size in SIZES {
        let mut shard = shard(size);
        let mut number = size;
        let mut now = Instant::from_secs(1);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                number += 1;
                let ttl = Duration::from_millis(200);
                let created = shard.create(
                    &address(number),
                    NewMailbox::new(token(number.into()), ttl, ttl),
                    now,
                );
                assert!(created.is_ok());
                now = now.plus(Duration::from_micros(10));
                black_box(shard.expire(now, 1000));
            });
        });
    }
    group.finish();
}

/// Everything is due at once.
fn expire_all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expire_all");
    group.sample_size(10);
    for size in SIZES {
        group.throughput(criterion::Throughput::Elements(size.into()));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || shard(size),
                |mut shard| {
                    let end = Instant::from_secs(100_000);
                    while shard.expire(end, 1000).more {}
                    assert_eq!(shard.mailboxes(), 0);
                    shard
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel_insert_and_remove");
    for size in SIZES {
        let mut wheel = Wheel::new();
        let mut random = Random::new(1);
        let mut deadline = || Instant::from_micros(random.next() % 86_400_000_000);
        let mut keys: Vec<_> = (0..size).map(|n| wheel.insert(deadline(), n)).collect();
        let mut at = 0;
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                // A step that is prime to both sizes visits all of them in no order.
                at = (at + 7_919) % keys.len();
                let value = wheel.remove(keys[at]).expect("it was set");
                keys[at] = wheel.insert(deadline(), value);
            });
        });
    }
    group.finish();
}

criterion_group!(
    benches,
    lease_and_deliver,
    create_and_expire,
    expire_all,
    wheel
);
criterion_main!(benches);
