//! What a message costs in the store, with a thousand mailboxes and with a million.
//!
//! Run with `cargo bench --no-default-features --bench store`. Each figure is for one message,
//! mailbox or timer; between the two sizes lies only what the caches of the machine make of it: `benches/instructions.rs`
//! counts the instructions.

#![forbid(unsafe_code)]
#![allow(missing_docs, reason = "criterion's macros declare a public function")]

mod engine;
#[path = "../tests/kept/mod.rs"]
mod kept;
#[path = "../tests/world/mod.rs"]
mod world;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use engine::mailboxes::{self, Crowd, Timers, shard};
use std::hint::black_box;

const SIZES: [u32; 2] = [1_000, 1_000_000];

/// Addresses in one turn of `owner_of_address`.
const ADDRESSES: u32 = 100;

fn lease_and_deliver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("lease_and_deliver");
    for size in SIZES {
        let mut crowd = Crowd::new(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| crowd.deliver());
        });
    }
    group.finish();
}

/// A mailbox is made with an end, and goes when that has come.
fn create_and_expire(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("create_and_expire");
    for size in SIZES {
        let mut crowd = Crowd::new(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| black_box(crowd.create_and_expire()));
        });
    }
    group.finish();
}

/// Everything is due at once.
fn expire_all(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("expire_all");
    group.sample_size(10);
    for size in SIZES {
        group.throughput(Throughput::Elements(size.into()));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || shard(size),
                mailboxes::expire_all,
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

fn wheel(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wheel_insert_and_remove");
    for size in SIZES {
        let mut timers = Timers::new(size);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| timers.move_one());
        });
    }
    group.finish();
}

/// The keyed hash that says which core owns an address.
fn owner_of_address(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("owner_of_address");
    let addresses: Vec<_> = (0..ADDRESSES).map(world::address).collect();
    group.throughput(Throughput::Elements(ADDRESSES.into()));
    group.bench_function("one of three", |bencher| {
        bencher.iter(|| black_box(mailboxes::owners(black_box(&addresses))));
    });
    group.finish();
}

criterion_group!(
    benches,
    lease_and_deliver,
    create_and_expire,
    expire_all,
    wheel,
    owner_of_address
);
criterion_main!(benches);
