//! One core's mailboxes.
//!
//! A [`Shard`] is a plain value: no core, no lock, no clock. It belongs to one core; others reach
//! it through that core's inbox. Reading never creates anything, and an empty mailbox that nobody
//! holds is not kept.

#![forbid(unsafe_code)]

mod index;
mod mailbox;
pub mod shard;
pub mod terms;

pub use shard::Shard;
pub use shard::public::{Feed, RECENT_MAX};
pub use shard::webhooks::{Called, Callee, DomainCallee, Happened, Notice, SECRET_BYTES, Webhook};
pub use terms::{Password, Takes, Terms};

use crate::clock::Instant;
use crate::mail::{Address, EncryptionKey, Message};
use crate::settings::{Bytes, Span, choices, settings};
use crate::slab;
use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;
use std::time::Duration;

settings! {
    /// How much mail is kept and for how long.
    pub struct Budget {
        /// Memory for mail, shared by all cores. "0" takes half of what the machine (or its cgroup) has.
        /// When it is used up new mail is deferred with 452 4.3.1; stored mail is never touched.
        pub memory: Bytes = Bytes(0),
        /// How long a mailbox lives when its creator does not say.
        pub mailbox_ttl_default: Span = Span::secs(3600),
        /// The longest that a mailbox may be made to live, extensions included, counted from now. 7 days at most.
        pub mailbox_ttl_max: Span = Span::secs(24 * 3600),
        /// The longest that a message is kept, whatever its mailbox does: in a mailbox that lives for 7 days a message goes after
        /// one, unless this is raised as well. It also bounds mail that waits where nobody holds the address. 7 days at most.
        pub message_ttl_max: Span = Span::secs(24 * 3600),
        /// The most messages in one mailbox.
        pub mailbox_messages_max: u32 = 500,
        /// The most bytes in one mailbox, checked when a recipient is named. A message counts once it is stored,
        /// so each of those that are under way at the same time may go beyond.
        pub mailbox_bytes_max: Bytes = Bytes::mib(64),
        /// What happens when a mailbox is full.
        pub when_mailbox_full: WhenFull = WhenFull::Defer,
        /// How long a mailbox that was made for so many messages lives when it has taken the last of them, unless its time ends
        /// before.
        pub after_last_message: Span = Span::secs(900),
        /// How long an address that has ended, expired or erased, is given to nobody: who held it may be known by it elsewhere, and
        /// mail for them may still be under way. Up to a quarter longer in fact. "0s" turns it off.
        /// Addresses are remembered as keyed marks from which none can be read, and forgotten when mayfly stops.
        pub address_quarantine: Span = Span::secs(24 * 3600),
        /// Ended addresses for which each core has room. Price: 4 bytes each, taken as they come. Up to as many, fewer than one other
        /// address in a thousand is taken for one of them and cannot be created; with twice as many one in eight. Beyond that the
        /// oldest come free before their time.
        pub quarantine_addresses_max: u32 = 250_000,
        /// How long before a mailbox expires its watchers are told.
        pub expires_soon: Span = Span::secs(300),
        /// The most event streams and waiting calls on one mailbox. Price: one bounded queue each.
        pub watchers_max: u32 = 16,
    }
}

choices! {
    /// What happens when a mailbox is full.
    pub enum WhenFull {
        /// New mail is answered with 452 4.2.2; the sender tries again later.
        Defer = "defer",
        /// The oldest message goes.
        DropOldest = "drop-oldest",
    }
}

/// What a mailbox itself costs, in bytes of the budget: its place in the shard with room to grow,
/// its address, its timer, its places in two indexes, and the list of what was removed (a test
/// holds this against the sizes of these).
pub const MAILBOX_COST_BYTES: u64 = 512;

/// What [`Terms`] cost the mailbox that has some, in bytes of the budget; a password comes on top.
pub const TERMS_COST_BYTES: u64 = 256;

/// What a [`Password`] costs the mailbox that has one, in bytes of the budget.
pub const PASSWORD_COST_BYTES: u64 = 128;

/// What a message costs in each mailbox beside its body, in bytes of the budget: its place there
/// and, once, its envelope with the longest reverse-path and what a body needs beside its bytes.
/// Two recipients pay twice for what is held once: that errs on the safe side.
pub const ENTRY_COST_BYTES: u64 = 768;

/// What it costs to remember for late watchers that a message was removed, in bytes of the budget.
/// Taken from what the message gives back.
pub const REMOVAL_COST_BYTES: u64 = 32;

/// How long a message is shown that came to a mailbox whose time ended while the message was under
/// way.
///
/// A lease keeps the mailbox until the lease ends: a 250 after that must not mean a message that
/// nobody can read. What was in it goes when it was to go, and it takes no other mail in that time,
/// so a stranger can keep neither alive.
pub const LATE_MESSAGE_SHOWN: Duration = Duration::from_secs(60);

/// The secret under which addresses and tokens are hashed. Made at start, never written anywhere.
#[derive(Clone, Copy)]
pub struct HashKey(pub u64, pub u64);

impl HashKey {
    /// The keyed hash (SipHash-1-3) of any bytes.
    #[must_use]
    pub fn hash_bytes(self, bytes: &[u8]) -> u64 {
        self.hash(bytes)
    }

    fn hash(self, bytes: &[u8]) -> u64 {
        let mut hasher = siphasher::sip::SipHasher13::new_with_keys(self.0, self.1);
        hasher.write(bytes);
        hasher.finish()
    }

    /// Which of `shards` owns this address.
    #[must_use]
    pub fn owner_of_address(self, address: &Address, shards: usize) -> usize {
        (self.hash(address.as_str().as_bytes()) % shards as u64) as usize
    }

    /// Which of `shards` owns this token. Tokens are drawn until that is the owner of their
    /// mailbox's address, so that a token alone leads to its mailbox.
    #[must_use]
    pub fn owner_of_token(self, token: &TokenHash, shards: usize) -> usize {
        (self.hash(&token.0) % shards as u64) as usize
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(..)")
    }
}

/// The keyed hash (HMAC-SHA-256) of a mailbox's token. The token itself is kept nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TokenHash(pub [u8; 32]);

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// What a mailbox is to be when it is created.
#[derive(Debug)]
pub struct NewMailbox {
    /// The hash of the token that will open it.
    pub token: TokenHash,
    /// How long it shall live from now; cut to `ttl_max`.
    pub ttl: Duration,
    /// The longest that it may be made to live, extensions included, counted from then on. What the operator grants to
    /// its creator; `mailbox_ttl_max` for everybody else.
    pub ttl_max: Duration,
    /// What else is particular about it.
    pub terms: Option<Box<Terms>>,
}

impl NewMailbox {
    /// A mailbox without anything particular about it.
    #[must_use]
    pub const fn new(token: TokenHash, ttl: Duration, ttl_max: Duration) -> Self {
        Self {
            token,
            ttl,
            ttl_max,
            terms: None,
        }
    }
}

/// In whose name a mailbox is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Holder {
    /// The holder of a token.
    Token(TokenHash),
    /// The operator, who reads mailboxes that exist without a token (`postmaster`).
    Operator(Address),
    /// Anybody, at an address whose mail was taken with [`Existence::Public`]. Opens no mailbox that has a token, and
    /// none of the operator's.
    Public(Address),
}

/// A message's number in its mailbox. Numbers grow and are never used twice in the life of a
/// mailbox; 0 stands before the first. Events carry numbers of the same series.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sequence(pub u64);

/// Whether a mailbox must exist before mail can come to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// It must have been created.
    Required,
    /// Mail makes it, unless its address has ended not long ago.
    Implied,
    /// Mail makes it in any case: it is the operator's, and nobody can have held it before.
    Operators,
    /// Mail makes it, unless its address has ended not long ago, and it is everybody's: [`Holder::Public`] opens it.
    Public,
}

/// Why a recipient cannot have a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// No such mailbox, and it must exist; or it has ended, and mail does not make it anew so soon.
    NoSuchMailbox,
    /// The mailbox has taken as many messages as it was made for.
    UsedUp,
    /// The mailbox has no place left.
    MailboxFull,
    /// The byte budget is used up.
    NoMemory,
}

/// Why a mailbox could not be created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CreateError {
    /// Somebody holds that address, or has held it not long ago; or all its mail shall be encrypted, and there is some already.
    Taken,
    /// The byte budget is used up.
    NoMemory,
}

/// A place in a mailbox, kept free for one message. Must go back to its shard through
/// [`Shard::deliver`] or [`Shard::release`]. It names the mailbox itself, not its address: a
/// mailbox made anew under the same address never gets what was meant for the old one.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    pub(crate) mailbox: MailboxId,
    encryption_key: Option<EncryptionKey>,
}

impl Lease {
    /// The key to which a message must be encrypted before it is delivered here.
    #[must_use]
    pub const fn encryption_key(&self) -> Option<&EncryptionKey> {
        self.encryption_key.as_ref()
    }
}

/// A mailbox inside its shard: place and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MailboxId(pub(crate) slab::Key);

/// A mailbox as its holder sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailboxState {
    /// Its address.
    pub address: Address,
    /// When it was created.
    pub created_at: Instant,
    /// When it and all its mail go; `None` for the operator's mailboxes, whose messages go one by
    /// one.
    pub expires_at: Option<Instant>,
    /// Whether all that comes is encrypted to its holder's key.
    pub encrypted: bool,
    /// Messages in it.
    pub messages: usize,
    /// Bytes of these messages.
    pub bytes: u64,
    /// The number given last.
    pub last: Sequence,
    /// How many messages it takes in its life, if not any number.
    pub takes: Option<Takes>,
    /// The plan under which it was created, if it has a name.
    pub plan: Option<Arc<str>>,
}

/// A message as it stands in a mailbox.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number here.
    pub sequence: Sequence,
    /// When it goes.
    pub expires_at: Instant,
    /// Whether somebody marked it as seen.
    pub seen: bool,
    /// The message, shared with other mailboxes.
    pub message: Arc<Message>,
}

/// What happened in a mailbox.
#[derive(Clone, Debug)]
pub enum Event {
    /// A message came.
    Arrived(Entry),
    /// A message went: deleted, evicted, or expired before its mailbox.
    Removed {
        /// The number of this event.
        sequence: Sequence,
        /// The number of the message.
        message: Sequence,
    },
    /// A message was marked as seen, or as not seen.
    Marked {
        /// The number of this event.
        sequence: Sequence,
        /// The message as it stands now.
        entry: Entry,
    },
    /// The mailbox will expire soon.
    ExpiresSoon {
        /// The number of this event.
        sequence: Sequence,
        /// When.
        expires_at: Instant,
    },
    /// The mailbox is gone, or its token is; nothing will follow.
    Closed {
        /// The number of this event.
        sequence: Sequence,
    },
    /// The watcher asked to go on from a point of which the shard no longer knows all that
    /// followed: list again.
    Reset {
        /// Everything up to here may have been missed.
        sequence: Sequence,
    },
}

impl Event {
    /// The number of the event. All events of a mailbox are numbered in one series.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        match self {
            Self::Arrived(entry) => entry.sequence,
            Self::Removed { sequence, .. }
            | Self::Marked { sequence, .. }
            | Self::ExpiresSoon { sequence, .. }
            | Self::Closed { sequence }
            | Self::Reset { sequence } => *sequence,
        }
    }
}

/// Somebody who wants to hear of a mailbox's events.
pub trait Watcher {
    /// Takes an event; `false` when it cannot (gone, or too slow), and the watcher is dropped.
    /// Never waits.
    fn notify(&self, event: &Event) -> bool;

    /// Whether it would take nothing any more. Asked only when there is no room for another
    /// watcher.
    fn is_gone(&self) -> bool {
        false
    }
}

/// What a call to [`Shard::expire`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiry {
    /// Copies of messages that went.
    pub messages: usize,
    /// Mailboxes that went.
    pub mailboxes: usize,
    /// Whether more is due now and the call should be made again soon.
    pub more: bool,
}

/// What a shard has counted since it was asked last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Copies of messages that came into a mailbox.
    pub messages_delivered: u64,
    /// Copies that came for a mailbox that its holder had erased meanwhile, and went with it.
    pub messages_late: u64,
    /// Copies whose time was up, or their mailbox's.
    pub messages_expired: u64,
    /// Copies that their holder deleted, alone or with the mailbox.
    pub messages_deleted: u64,
    /// Copies that made room for newer ones.
    pub messages_evicted: u64,
    /// Mailboxes given to a holder.
    pub mailboxes_created: u64,
    /// Mailboxes that their holder erased.
    pub mailboxes_erased: u64,
    /// Mailboxes whose time was up.
    pub mailboxes_expired: u64,
    /// Mailboxes that took the last message that they were made for.
    pub mailboxes_used_up: u64,
    /// Mailboxes that got a new token because the old one was lost.
    pub mailboxes_recovered: u64,
    /// Times that an address could not be created because it has ended not long ago.
    pub quarantine_refused: u64,
    /// Times that ended addresses came free before their time.
    pub quarantine_cut_short: u64,
    /// Watchers that were gone or too slow.
    pub watchers_dropped: u64,
    /// The longest that something stayed in memory after its time was up. It was not shown then.
    pub expiry_lag_max: Duration,
}
