//! What is called when mail comes to a mailbox.

#![forbid(unsafe_code)]

use super::Mailbox;
use crate::mail::Reservation;
use crate::store::Webhook;
use std::sync::Arc;

impl<W> Mailbox<W> {
    /// What is called, if anything is.
    pub(in crate::store) fn webhook(&self) -> Option<&Arc<Webhook>> {
        self.terms.as_ref()?.webhook.as_ref()
    }

    /// Takes that away.
    pub(in crate::store) fn take_webhook(&mut self) -> Option<Arc<Webhook>> {
        self.terms.as_mut()?.webhook.take()
    }

    /// Whether nothing is particular about it so far, so that the first particular must be paid for.
    pub(in crate::store) const fn is_plain(&self) -> bool {
        self.terms.is_none()
    }

    /// Has this called. `paid` pays for what is particular about the mailbox, if nothing was.
    pub(in crate::store) fn set_webhook(
        &mut self,
        webhook: Arc<Webhook>,
        paid: Option<Reservation>,
    ) {
        if let Some(paid) = paid {
            self.reservation.absorb(paid);
        }
        self.terms.get_or_insert_default().webhook = Some(webhook);
    }
}
