//! What holds for one mailbox and not for all: what its creator was granted, and what they asked for.
//!
//! Few mailboxes have any of it, so a mailbox holds it in a box.

#![forbid(unsafe_code)]

use super::{PASSWORD_COST_BYTES, TERMS_COST_BYTES, Webhook};
use crate::clock::Instant;
use crate::mail::EncryptionKey;
use crate::mail::quota::Seat;
use crate::settings::Bytes;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What holds for one mailbox and not for all.
#[derive(Debug, Default)]
pub struct Terms {
    /// The plan under which it was created, if it has a name.
    pub plan: Option<Arc<str>>,
    /// Its place among its creator's mailboxes.
    pub seat: Option<Seat>,
    /// The most messages in it at a time, in place of `mailbox_messages_max`.
    pub messages_max: Option<u32>,
    /// The most bytes in it, in place of `mailbox_bytes_max`.
    pub bytes_max: Option<Bytes>,
    /// To what all mail for it is encrypted.
    pub encryption_key: Option<EncryptionKey>,
    /// How many messages it takes in its life, if not any number.
    pub takes: Option<Takes>,
    /// What is called when mail comes.
    pub webhook: Option<Arc<Webhook>>,
    /// What its holder may show instead of a token.
    pub password: Option<Box<Password>>,
}

impl Terms {
    /// What they cost their mailbox, in bytes of the budget.
    #[must_use]
    pub fn cost(&self) -> u64 {
        let password = self.password.as_ref().map_or(0, |_| PASSWORD_COST_BYTES);
        TERMS_COST_BYTES + password
    }
}

/// The hash of a password (Argon2id, RFC 9106) with all that is needed to make it again. The password itself is kept nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Password {
    /// Memory in KiB that its hash takes.
    pub memory_kib: u32,
    /// Passes over that memory.
    pub passes: u32,
    /// Random bytes that are its own.
    pub salt: [u8; 16],
    /// The hash.
    pub hash: [u8; 32],
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(..)")
    }
}

/// How many messages a mailbox takes in its life.
///
/// With the last of them its time is cut to what its holder needs to read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takes {
    most: u32,
    after_last: Duration,
    left: Left,
}

/// How many more it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// So many, those under way included. Never none.
    Some(u32),
    /// None; and it lives no longer than that.
    None(Instant),
}

impl Takes {
    /// `most` messages, one at least; and it lives for `after_last` when it has them.
    #[must_use]
    pub fn new(most: u32, after_last: Duration) -> Self {
        let most = most.max(1);
        Self {
            most,
            after_last,
            left: Left::Some(most),
        }
    }

    /// How many it takes in all.
    #[must_use]
    pub const fn most(&self) -> u32 {
        self.most
    }

    /// How many more it takes, those under way included.
    #[must_use]
    pub const fn left(&self) -> u32 {
        match self.left {
            Left::Some(left) => left,
            Left::None(_) => 0,
        }
    }

    /// The latest that it lives now that it has taken its last message; `None` while it takes more.
    #[must_use]
    pub const fn end(&self) -> Option<Instant> {
        match self.left {
            Left::Some(_) => None,
            Left::None(end) => Some(end),
        }
    }

    /// The earliest that its last message can end it: what may be promised to others before.
    #[must_use]
    pub fn may_end(&self, now: Instant) -> Instant {
        self.end().unwrap_or_else(|| now.plus(self.after_last))
    }

    /// Takes `messages` more; says whether the last of all was among them.
    pub(super) fn count(&mut self, messages: u32, now: Instant) -> bool {
        let Left::Some(left) = self.left else {
            return false;
        };
        self.left = match left.saturating_sub(messages) {
            0 => Left::None(now.plus(self.after_last)),
            left => Left::Some(left),
        };
        self.end().is_some()
    }

    /// A message that was under way when its time came is shown until then.
    pub(super) fn show_until(&mut self, shown: Instant) {
        if let Left::None(end) = &mut self.left {
            *end = shown.max(*end);
        }
    }
}
