//! Whether the books balance.

#![forbid(unsafe_code)]

use super::Shard;
use crate::settings::Span;
use std::time::Duration;

/// Up to this many mailboxes and messages, debug builds recompute all sums after each verb.
const CHECKED_MAX: usize = 32;

impl<W> Shard<W> {
    /// Recomputes everything that is counted along the way. Slow.
    ///
    /// # Panics
    /// When the books do not balance.
    pub fn check(&self) {
        let (mut messages, mut tokens, mut timers) = (0, 0, 0);
        for (index, mailbox) in self.mailboxes.iter() {
            mailbox.check();
            messages += mailbox.len();
            assert_eq!(self.find(&mailbox.address), Some(index));
            if let Some(token) = &mailbox.token {
                tokens += 1;
                assert_eq!(self.find_token(token), Some(index));
            }
            let rings = mailbox.timer.map(|timer| {
                timers += 1;
                self.wheel.deadline_of(timer).expect("the timer is set")
            });
            // A budget that was changed may ask for a warning earlier than was planned.
            let soon = Span(Duration::ZERO);
            if let Some(due) = mailbox.due(soon) {
                assert!(rings.is_some_and(|rings| rings <= due), "a timer is late");
            }
        }
        assert_eq!(self.messages, messages);
        assert_eq!(self.by_address.len(), self.mailboxes.len());
        assert_eq!(self.by_token.len(), tokens);
        assert_eq!(self.wheel.len(), timers);
    }

    pub(super) fn checked(&self) {
        if cfg!(debug_assertions) && self.mailboxes.len() + self.messages <= CHECKED_MAX {
            self.check();
        }
    }
}
