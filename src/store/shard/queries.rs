//! What only some of those ask who read mailboxes: pages from the newest on, what was looked at, who knows a password.

#![forbid(unsafe_code)]

use super::Shard;
use crate::clock::Instant;
use crate::mail::Address;
use crate::store::{Entry, Holder, Password, Sequence, TokenHash, Watcher};

impl<W: Watcher> Shard<W> {
    /// How many messages there are, and `limit` of them at most, newest first, after leaving out the newest `skip`. `None`
    /// if there is no such mailbox.
    #[must_use]
    pub fn newest(
        &self,
        holder: &Holder,
        skip: usize,
        limit: usize,
        now: Instant,
    ) -> Option<(usize, Vec<Entry>)> {
        let mailbox = self.mailbox(self.held(holder, now)?);
        Some(mailbox.newest(skip, limit, now))
    }

    /// Marks a message as seen or not; watchers are told if that is news. The message as it stands then. Outer `None`: no such
    /// mailbox. Inner: no such message.
    pub fn set_seen(
        &mut self,
        holder: &Holder,
        message: Sequence,
        seen: bool,
        now: Instant,
    ) -> Option<Option<Entry>> {
        let index = self.held(holder, now)?;
        let marked = self.mailbox_mut(index).set_seen(message, seen, now);
        self.checked();
        let Some((entry, dropped)) = marked else {
            return Some(None);
        };
        self.tally.watchers_dropped += dropped as u64;
        Some(Some(entry))
    }

    /// By which token the mailbox of an address is held, and the password that its holder may show instead. `None` if there
    /// is no such mailbox, or it has no password.
    #[must_use]
    pub fn password(&self, address: &Address, now: Instant) -> Option<(TokenHash, Password)> {
        let mailbox = self.mailbox(self.find(address)?);
        if mailbox.is_over(now) {
            return None;
        }
        Some((mailbox.token?, mailbox.password()?.clone()))
    }
}
