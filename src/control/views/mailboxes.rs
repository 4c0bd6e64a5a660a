//! Mailboxes as JSON.

use crate::clock::{Instant, WallClock};
use crate::control::Token;
use crate::control::recovery::Ticket;
use crate::store::MailboxState;
use serde::{Serialize, Serializer};
use utoipa::ToSchema;

/// A mailbox, as its holder sees it.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct Mailbox {
    /// Its address in the canonical form: what mail is delivered by.
    #[schema(example = "damuki-renuza-hitepa@mayfly.test")]
    address: String,
    /// The same address with its domain as people write it.
    #[schema(example = "damuki-renuza-hitepa@mayfly.test")]
    address_unicode: String,
    /// When it was created.
    #[schema(format = DateTime, example = "2026-11-22T10:00:00Z")]
    created_at: String,
    /// When it and all its mail go.
    #[schema(required, format = DateTime, example = "2026-11-22T10:30:00Z")]
    expires_at: Option<String>,
    /// Seconds until then, rounded up.
    #[schema(required, example = 1_800)]
    expires_in: Option<u64>,
    /// Whether all that comes is encrypted to the key that its holder gave.
    #[schema(example = false)]
    encrypted: bool,
    /// Messages in it.
    #[schema(example = 0)]
    messages: usize,
    /// Bytes of these messages.
    #[schema(example = 0)]
    bytes: u64,
    /// Where the series of its events stands: list or stream from here to see only what comes later.
    #[schema(pattern = "^[0-9]{1,20}$", example = "0")]
    cursor: String,
    /// How many messages it takes in its life, if not any number.
    #[schema(required, minimum = 1, example = json!(null))]
    messages_max: Option<u32>,
    /// How many more it takes.
    #[schema(required, minimum = 0, example = json!(null))]
    messages_left: Option<u32>,
    /// The plan under which it was created, if it has a name.
    #[schema(required, example = json!(null))]
    plan: Option<String>,
}

/// A mailbox that has just been created, with the token that opens it.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct CreatedMailbox {
    #[serde(flatten)]
    mailbox: Mailbox,
    /// Opens this mailbox and nothing else. It is shown this once.
    #[serde(serialize_with = "reveal")]
    #[schema(value_type = String, pattern = "^mf_[a-z2-7]{32}$", example = "mf_k3v5x2m7q4c6r2s3t5u3w5y7z2a2b4d6")]
    token: Token,
    /// Gets a new token while the mailbox lives, if this one is lost. It is shown this once, and counts once.
    #[serde(serialize_with = "reveal_ticket")]
    #[schema(value_type = String, pattern = "^mfr_[a-z2-7]+$", example = "mfr_k3v5x2m7q4c6r2s3t5u3w5y7z2a2b4d6")]
    recovery: Ticket,
    links: MailboxLinks,
}

/// Where things of a mailbox are. The token says which mailbox.
#[derive(Serialize, ToSchema)]
pub(in crate::control) struct MailboxLinks {
    #[schema(example = "/api/v1/mailbox")]
    mailbox: &'static str,
    #[schema(example = "/api/v1/messages")]
    messages: &'static str,
    #[schema(example = "/api/v1/events")]
    events: &'static str,
}

impl Mailbox {
    /// A mailbox at a time.
    pub(in crate::control) fn new(state: &MailboxState, wall: &WallClock, now: Instant) -> Self {
        let left = state
            .expires_at
            .map(|at| at.since(now).as_millis().div_ceil(1_000));
        Self {
            address: state.address.as_str().to_owned(),
            address_unicode: state.address.to_unicode().into(),
            created_at: wall.rfc3339(state.created_at),
            expires_at: state.expires_at.map(|at| wall.rfc3339(at)),
            expires_in: left.and_then(|secs| u64::try_from(secs).ok()),
            encrypted: state.encrypted,
            messages: state.messages,
            bytes: state.bytes,
            cursor: state.last.0.to_string(),
            messages_max: state.takes.map(|it| it.most()),
            messages_left: state.takes.map(|it| it.left()),
            plan: state.plan.as_deref().map(ToOwned::to_owned),
        }
    }

    /// The same with the token that was drawn for it, and the ticket for another.
    pub(in crate::control) fn created(self, token: Token, recovery: Ticket) -> CreatedMailbox {
        CreatedMailbox {
            mailbox: self,
            token,
            recovery,
            links: MailboxLinks {
                mailbox: "/api/v1/mailbox",
                messages: "/api/v1/messages",
                events: "/api/v1/events",
            },
        }
    }
}

/// The one place where a token is written down: the answer to whoever created its mailbox.
fn reveal<S: Serializer>(token: &Token, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(token.reveal())
}

/// The one place where a ticket is written down.
fn reveal_ticket<S: Serializer>(ticket: &Ticket, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(ticket.reveal())
}
