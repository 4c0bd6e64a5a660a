//! Mailboxes that are everybody's: what came there last, and whoever hears of all of them.
//!
//! A mailbox is everybody's while the place that was leased last was leased with [`Existence::Public`], and nobody holds it. Mail
//! for other mailboxes pays one comparison for what is here. Mail for these pays for one number in a ring, and for more
//! only while somebody listens.
//!
//! [`Existence::Public`]: crate::store::Existence::Public

#![forbid(unsafe_code)]

use super::{LIVES, Mailbox, Shard};
use crate::clock::Instant;
use crate::mail::Address;
use crate::store::mailbox::Stored;
use crate::store::{Entry, Holder, MailboxId, Sequence, Watcher};
use std::collections::VecDeque;

/// How many of the newest public messages a shard can name. Price: 24 bytes each.
pub const RECENT_MAX: usize = 30;

/// Who hears of everything in all public mailboxes of a shard. There is one for each shard at most.
///
/// Neither verb may wait. One that returns `false` wants to hear no more, and is dropped.
pub trait Feed {
    /// A message came.
    fn arrived(&mut self, mailbox: &Address, entry: &Entry) -> bool;

    /// A message went: deleted, evicted or expired.
    fn removed(&mut self, mailbox: &Address, message: Sequence) -> bool;
}

/// What a shard remembers of its public mailboxes.
#[derive(Default)]
pub(super) struct Public {
    /// The newest messages, oldest first. What has gone since is found out when somebody asks.
    recent: VecDeque<(MailboxId, Sequence)>,
    feed: Option<Box<dyn Feed + Send>>,
}

impl Public {
    /// A message came into a public mailbox.
    pub(super) fn arrived(&mut self, id: MailboxId, mailbox: &Address, entry: &Entry) {
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back((id, entry.sequence));
        self.feed = self
            .feed
            .take()
            .and_then(|mut feed| feed.arrived(mailbox, entry).then_some(feed));
    }

    /// Tells everybody who ought to know that a message went; says how many watchers were dropped.
    pub(super) fn tell_removed<W: Watcher>(
        &mut self,
        mailbox: &mut Mailbox<W>,
        gone: &Stored,
    ) -> usize {
        if mailbox.is_public && self.feed.is_some() {
            self.feed = self.feed.take().and_then(|mut feed| {
                let goes_on = feed.removed(&mailbox.address, gone.sequence());
                goes_on.then_some(feed)
            });
        }
        mailbox.tell_removed(gone)
    }
}

/// Everybody comes and looks.
impl<W: Watcher> Shard<W> {
    /// Lets `feed` hear of what happens in public mailboxes from now on, in place of the one before.
    pub fn feed_public(&mut self, feed: Box<dyn Feed + Send>) {
        self.public.feed = Some(feed);
    }

    /// Whether somebody hears of public mailboxes.
    #[must_use]
    pub fn is_public_fed(&self) -> bool {
        self.public.feed.is_some()
    }

    /// The newest public messages that are still there, oldest first, [`RECENT_MAX`] at most.
    #[must_use]
    pub fn recent_public(&self, now: Instant) -> Vec<(Address, Entry)> {
        let recent = self.public.recent.iter();
        recent
            .filter_map(|(id, sequence)| {
                let mailbox = self.mailboxes.get(id.0)?;
                let entry = mailbox.is_public.then(|| mailbox.message(*sequence, now));
                Some((mailbox.address.clone(), entry??))
            })
            .collect()
    }

    /// Deletes all messages of a mailbox; says how many there were. Messages under way still come. `None` if there is no such
    /// mailbox.
    pub fn purge(&mut self, holder: &Holder, now: Instant) -> Option<usize> {
        let index = self.held(holder, now)?;
        self.expire_messages(index, now, &mut { usize::MAX });
        let mut purged = 0;
        loop {
            let mailbox = self.mailboxes.at_mut(index).expect(LIVES);
            let Some(gone) = mailbox.pop_oldest_if(|_| true) else {
                break;
            };
            let dropped = self.public.tell_removed(mailbox, &gone);
            purged += 1;
            self.messages -= 1;
            self.tally.messages_deleted += 1;
            self.tally.watchers_dropped += dropped as u64;
        }
        self.after_change(index, now);
        self.checked();
        Some(purged)
    }
}
