//! The mailboxes of one core.

#![forbid(unsafe_code)]

use super::{
    Budget, CreateError, Entry, Existence, Expiry, HashKey, Holder, Lease, MailboxState, Sequence,
    TokenHash, Unavailable, Watcher,
};
use crate::clock::Instant;
use crate::mail::{Address, Ledger, Message};
use std::sync::Arc;
use std::time::Duration;

/// The mailboxes of one core. See the module's text.
#[derive(Debug)]
pub struct Shard<W> {
    watchers: Vec<W>,
}

#[allow(clippy::todo, unused_variables, missing_docs)]
impl<W: Watcher> Shard<W> {
    /// An empty shard. `key` must differ from the one that chooses owners, or all addresses of a shard would share low hash bits.
    pub fn new(budget: Budget, key: HashKey, ledger: Ledger) -> Self {
        todo!()
    }
    /// Changes the rules for what comes from now on.
    pub fn set_budget(&mut self, budget: Budget) {
        todo!()
    }

    /// Keeps a place for one message of about `declared_bytes`. Creates the mailbox if its existence is implied.
    pub fn lease(
        &mut self,
        address: &Address,
        existence: Existence,
        declared_bytes: u64,
        now: Instant,
    ) -> Result<Lease, Unavailable> {
        todo!()
    }
    /// Gives a place back.
    pub fn release(&mut self, lease: Lease, now: Instant) {
        todo!()
    }
    /// Puts a message in its place. Never refuses. If the mailbox was erased meanwhile the message goes with it.
    pub fn deliver(&mut self, lease: Lease, message: &Arc<Message>, now: Instant) {
        todo!()
    }

    /// Gives an address to the holder of a token; mail that the address already holds becomes theirs.
    pub fn create(
        &mut self,
        address: &Address,
        token: TokenHash,
        ttl: Duration,
        now: Instant,
    ) -> Result<MailboxState, CreateError> {
        todo!()
    }
    pub fn state(&self, holder: &Holder, now: Instant) -> Option<MailboxState> {
        todo!()
    }
    /// Sets the mailbox to expire `ttl` from now, within `mailbox_ttl_max`.
    pub fn extend(&mut self, holder: &Holder, ttl: Duration, now: Instant) -> Option<MailboxState> {
        todo!()
    }
    /// Erases the mailbox and all its mail; its token is dead. `None` if there is none.
    pub fn erase(&mut self, holder: &Holder, now: Instant) -> Option<()> {
        todo!()
    }
    /// Messages numbered after `after`, oldest first, `limit` at most.
    pub fn list(
        &self,
        holder: &Holder,
        after: Sequence,
        limit: usize,
        now: Instant,
    ) -> Option<Vec<Entry>> {
        todo!()
    }
    /// One message. Outer `None`: no such mailbox. Inner: no such message.
    pub fn message(
        &self,
        holder: &Holder,
        sequence: Sequence,
        now: Instant,
    ) -> Option<Option<Entry>> {
        todo!()
    }
    /// Deletes one message; says whether it was there.
    pub fn delete(&mut self, holder: &Holder, sequence: Sequence, now: Instant) -> Option<bool> {
        todo!()
    }
    /// Adds a watcher, who is first told what followed `since` (if given). `Some(false)`: too many watch already.
    pub fn watch(
        &mut self,
        holder: &Holder,
        since: Option<Sequence>,
        watcher: W,
        now: Instant,
    ) -> Option<bool> {
        todo!()
    }

    /// Lets go what is due, in at most `work_max` steps.
    pub fn expire(&mut self, now: Instant, work_max: usize) -> Expiry {
        todo!()
    }
    /// Nothing is due before then.
    pub fn next_expiry(&self) -> Option<Instant> {
        todo!()
    }

    pub fn mailboxes(&self) -> usize {
        todo!()
    }
    pub fn messages(&self) -> usize {
        todo!()
    }
}
