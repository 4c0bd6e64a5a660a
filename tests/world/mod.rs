//! What tests of the store are made of: addresses, tokens and messages by number.

#![forbid(unsafe_code)]
#![allow(dead_code, reason = "each test takes what it needs")]

use mayfly::clock::Instant;
use mayfly::mail::message::QueueId;
use mayfly::mail::{Address, Body, BodyWriter, Ledger, Message, ReversePath};
use mayfly::store::TokenHash;
use std::sync::Arc;

pub(crate) fn address(number: u32) -> Address {
    Address::from_parts(&format!("u{number}"), "mayfly.test")
}

pub(crate) fn token(number: u64) -> TokenHash {
    let mut bytes = [0x5a; 32];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    TokenHash(bytes)
}

/// A body of `bytes` bytes, paid for; `None` when the ledger cannot.
pub(crate) fn try_body(ledger: &Ledger, bytes: usize) -> Option<Body> {
    let mut writer = BodyWriter::new(ledger.reserve(bytes as u64)?);
    writer.write(&vec![b'x'; bytes]);
    Some(writer.finish())
}

/// A message around a body, named by a number.
pub(crate) fn wrap(name: u128, body: Body, received_at: Instant) -> Arc<Message> {
    Arc::new(Message {
        queue_id: QueueId::from_random(name),
        reverse_path: ReversePath::Null,
        body,
        received_at,
        tls: false,
        require_tls: false,
        encrypted: false,
    })
}

pub(crate) fn message(ledger: &Ledger, bytes: usize, received_at: Instant) -> Arc<Message> {
    let body = try_body(ledger, bytes).expect("the budget of this test is large");
    wrap(0, body, received_at)
}

/// A small generator of numbers (xorshift64*), so that a seed gives the same run everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Zero is the one state from which it would not move.
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`, which must not be 0.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 16) % end
    }

    /// True `percent` times of a hundred.
    pub(crate) fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}
