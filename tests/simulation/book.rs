//! What sessions and clients may do, and what each client did in the last minute, counted as the edge's driver counts it.

#![forbid(unsafe_code)]

use crate::peer::MESSAGE_BYTES_MAX;
use mayfly::clock::Instant;
use mayfly::metrics::{ClientLimit, Label as _};
use mayfly::policy::clients::{Rules, units};
use mayfly::policy::window::Window;
use mayfly::settings::{Bytes, Span};
use mayfly::smtp::{Limits, Newlines, Reply};
use std::collections::BTreeMap;

/// Clients of this simulation, by number.
pub(crate) const CLIENTS: u64 = 4;

/// Whom XCLIENT names.
pub(crate) const NAMED: u64 = CLIENTS;

/// What a session may do, in calm times and under pressure.
pub(crate) fn limits(under_pressure: bool, newlines: Newlines) -> Limits {
    let (part, seconds) = if under_pressure { (2, 5) } else { (1, 20) };
    Limits {
        message_bytes_max: Bytes(MESSAGE_BYTES_MAX / part),
        reserve_step_bytes: Bytes(1000),
        command_timeout: Span::secs(30),
        data_timeout: Span::secs(seconds),
        transaction_timeout: Span::secs(3 * seconds),
        tarpit: Span::secs(1),
        tarpit_after_errors: 2,
        data_bytes_per_second_min: Bytes(100),
        newlines,
        ..Limits::default()
    }
}

pub(crate) struct Book {
    rules: Rules,
    windows: BTreeMap<(u64, usize), Window>,
}

impl Book {
    /// Limits that are reached now and then.
    pub(crate) fn new() -> Self {
        Self {
            rules: Rules {
                messages_per_minute_max: 8,
                recipients_per_minute_max: 20,
                bytes_per_minute_max: Bytes::kib(24),
                failed_recipients_per_minute_max: 10,
                tls_failures_per_minute_max: 1,
                aborted_per_minute_max: 4,
                ..Rules::default()
            },
            windows: BTreeMap::new(),
        }
    }

    pub(crate) fn is_used_up(&self, client: u64, limit: ClientLimit, now: Instant) -> bool {
        let window = self.windows.get(&(client, limit.index()));
        let estimate = window.map_or(0, |window| window.estimate(now));
        self.rules.is_used_up(limit, estimate)
    }

    pub(crate) fn note(&mut self, client: u64, limit: ClientLimit, count: u32, now: Instant) {
        let window = self.windows.entry((client, limit.index())).or_default();
        *window = window.plus(count, now);
    }

    pub(crate) fn note_bytes(&mut self, client: u64, bytes: u64, now: Instant) {
        self.note(client, ClientLimit::Bytes, units(bytes), now);
    }

    /// What was reserved and not needed.
    pub(crate) fn take_back(&mut self, client: u64, reserved: u64, used: u64, now: Instant) {
        let window = self
            .windows
            .entry((client, ClientLimit::Bytes.index()))
            .or_default();
        *window = window.minus(units(reserved).saturating_sub(units(used)), now);
    }

    /// Why a recipient is refused whoever it is, if so.
    pub(crate) fn refusal(&self, client: u64, is_first: bool, now: Instant) -> Option<Reply> {
        let used_up = |limit| self.is_used_up(client, limit, now);
        if used_up(ClientLimit::FailedRecipients) {
            return Some(Reply::ClientGuesses);
        }
        let of_transactions = [
            (ClientLimit::Messages, Reply::ClientTooManyMessages),
            (ClientLimit::Recipients, Reply::ClientTooManyRecipients),
            (ClientLimit::Bytes, Reply::ClientTooManyBytes),
            (ClientLimit::Aborted, Reply::ClientTooManyAborted),
        ];
        let mut reached = of_transactions.into_iter().filter(|_| is_first);
        reached
            .find(|(limit, _)| used_up(*limit))
            .map(|(_, reply)| reply)
    }
}
