//! The protocol without I/O: bytes and time in, actions out.
//!
//! ```text
//! bytes -> line reader -> command (nom, one whole line) -> state x command -> replies, questions
//!       -> data reader  -> body
//!       -> chunk reader -> body
//! ```
//!
//! A [`Session`] never waits, never looks at a clock and never decides what only others can know:
//! it asks ([`Question`]) and is answered ([`Verdict`]). `L` is what the answer to a recipient
//! leaves in the session's hands until the transaction ends: a lease on a place in a mailbox, whose
//! drop gives the place back.

#![forbid(unsafe_code)]

mod answered;
mod bdat;
pub mod chunk;
pub mod command;
pub mod data;
mod execute;
pub mod extension;
pub mod line;
pub mod proxy;
pub mod reply;
pub mod session;
mod transaction;
pub mod xclient;

pub use extension::{Extension, Extensions, Offer};
pub use reply::Reply;
pub use session::Session;

use crate::clock::{Instant, Stamp};
use crate::mail::trace::With;
use crate::mail::{Body, BodyWriter, Recipient, Reservation, ReversePath};
use crate::settings::{Bytes, Span, choices, settings};
use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

settings! {
    /// What one SMTP session may do and how long it may take.
    pub struct Limits {
        /// The longest command line, its CRLF included. RFC 5321 section 4.5.3.1.4 asks for 512 at least.
        /// Price: a connection in the middle of a line may hold as much.
        pub line_bytes_max: Bytes = Bytes(2048),
        /// The most recipients of one message. RFC 5321 section 4.5.3.1.8 asks for 100 at least.
        /// Price: an address and a lease (about 100 bytes) each while the transaction lasts.
        pub recipients_max: u32 = 1000,
        /// The most messages of one session; the next MAIL gets 421. 0: no limit. It is advertised with LIMITS (RFC 9422).
        /// Price: a client with more mail has to connect again.
        pub messages_per_session_max: u32 = 0,
        /// The largest message, as advertised with SIZE (RFC 1870). RFC 5321 section 4.5.3.1.7 asks for 64 KiB at least.
        /// Price: a session may reserve this much of the memory budget.
        pub message_bytes_max: Bytes = Bytes::mib(25),
        /// Memory is reserved in steps of this size while a message of undeclared size comes in.
        pub reserve_step_bytes: Bytes = Bytes::kib(64),
        /// The session ends with 421 after this many commands that were refused for their form, order or recipient.
        pub errors_max: u32 = 20,
        /// The session ends with 421 after this many commands that move no mail (NOOP, RSET, VRFY, EHLO, HELP, a message
        /// that is refused) since mail was last delivered.
        pub junk_commands_max: u32 = 100,
        /// How long each reply to an error waits, beyond `tarpit_after_errors`; what a client sends meanwhile waits too. 0s: not at all.
        /// Price: a session that only makes errors lasts longer by `errors_max` times this, at most.
        pub tarpit: Span = Span::secs(0),
        /// Errors of a session that are answered without `tarpit`.
        pub tarpit_after_errors: u32 = 10,
        /// Whether a session ends with 554 when something came with EHLO, HELO or DATA that should have waited for their reply
        /// (RFC 2920 section 3.1): mail programs wait, senders of abuse and programs that were made to speak SMTP often do not.
        /// It depends on what has arrived: what comes a moment later is not noticed. STARTTLS is always guarded so.
        pub forbid_early_pipelining: bool = true,
        /// A message with this many Received headers is in a loop and is refused (RFC 5321 section 6.3 asks for 100 at least).
        pub hops_max: u32 = 100,
        /// How long a client may take for one command. RFC 5321 section 4.5.3.2.7 asks for 5 minutes at least.
        /// The time runs from the last reply: single bytes do not prolong it.
        pub command_timeout: Span = Span::secs(300),
        /// How long the data of a message may stand still at its start; from then on it must come at `data_bytes_per_second_min`.
        pub data_timeout: Span = Span::secs(300),
        /// The longest that a message may take, from MAIL to the end of its data, however busy the client is: then 421.
        /// Price: places in mailboxes and memory are held for as long.
        pub transaction_timeout: Span = Span::secs(30 * 60),
        /// The least average rate at which the data of a message must come, beyond `data_timeout`.
        pub data_bytes_per_second_min: Bytes = Bytes(500),
        /// What becomes of a CR or an LF that is not part of a CRLF, in commands and in messages (RFC 5321 section 2.3.8).
        /// Content that was announced as binary (BODY=BINARYMIME) is never touched.
        pub newlines: Newlines = Newlines::Strict,
        /// How long a client waits for the greeting. Who speaks before it is turned away with 554: robots do, mail servers do not.
        /// 0 means no delay. Not where TLS comes first, and not for those who come through a proxy.
        /// Price: about 150 bytes and a descriptor for each client that waits; it counts as a connection.
        pub greeting_delay: Span = Span::secs(0),
        /// Whether a client that waits gets a first line of the greeting at once. More robots speak when they have seen one.
        pub greeting_teaser: bool = false,
    }
}

choices! {
    /// What becomes of a CR or an LF that is not part of a CRLF.
    pub enum Newlines {
        /// The command or the message is refused.
        Strict = "strict",
        /// In commands an LF alone ends the line, and a CR alone is refused; in messages each becomes a space, which no program takes for
        /// the end of a line. The data of a message ends with CRLF, dot, CRLF and nothing else.
        Normalize = "normalize",
    }
}

/// What the session tells its driver to do next. There is no other way out of a session, so the
/// compiler sees to it that no driver forgets a case.
#[derive(Debug)]
pub enum Action<L> {
    /// Write these bytes, then ask again. They are borrowed when they are one reply that never changes.
    Send(Cow<'static, [u8]>),
    /// Find the answer and hand it to [`Session::answer`].
    Ask(Question<L>),
    /// Every reply has been sent: run the handshake, then call [`Session::tls_established`].
    StartTls,
    /// Do nothing until then, whatever comes in: then call [`Session::resume`].
    Pause {
        /// When to go on.
        until: Instant,
    },
    /// Nothing to do before more input or `deadline`.
    Wait {
        /// When to call [`Session::expire`] if no input has come that completes what is awaited.
        deadline: Instant,
    },
    /// Every reply has been sent: close the connection.
    Close(CloseReason),
}

/// What only others can know or do.
#[derive(Debug)]
pub enum Question<L> {
    /// May mail go to this recipient?
    Recipient {
        /// Whom `RCPT TO` named.
        recipient: Recipient,
        /// The size that `MAIL` declared (RFC 1870), 0 if none.
        declared_bytes: u64,
        /// Whether `MAIL` has named none before.
        is_first: bool,
    },
    /// May the client speak for another one? (XCLIENT)
    Impersonate(Impersonation),
    /// DATA, or the first BDAT, was asked for: reserve memory and open a body that begins with the trace headers.
    Begin(Beginning),
    /// The body outgrows its reservation: reserve this much more.
    Grow {
        /// How much more.
        bytes: u64,
    },
    /// The message is complete: store it for every recipient, or for none.
    Message(Complete<L>),
}

/// Whom a trusted client speaks for (XCLIENT). What it did not say stays as it was.
#[derive(Clone, PartialEq, Eq)]
pub struct Impersonation {
    /// The client's address.
    pub address: Option<IpAddr>,
}

impl fmt::Debug for Impersonation {
    /// Never the address.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Impersonation(..)")
    }
}

/// What is needed to open a body.
#[derive(Debug)]
pub struct Beginning {
    /// Bytes of content to reserve, trace headers not counted.
    pub bytes: u64,
    /// For the Return-Path header.
    pub reverse_path: ReversePath,
    /// What the client called itself.
    pub helo: Arc<str>,
    /// For the `with` clause of the Received header.
    pub protocol: Protocol,
    /// The recipient, if there is exactly one; several are not disclosed to one another.
    pub only_recipient: Option<Recipient>,
}

/// The protocol that a message came with (RFC 3848).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// After HELO.
    Smtp,
    /// After EHLO.
    Esmtp,
    /// After EHLO, inside TLS.
    Esmtps,
    /// After EHLO, with SMTPUTF8 (RFC 6531 section 4.3).
    Utf8Smtp,
    /// After EHLO, with SMTPUTF8, inside TLS.
    Utf8Smtps,
}

impl From<Protocol> for With {
    fn from(protocol: Protocol) -> Self {
        match protocol {
            Protocol::Smtp => Self::Smtp,
            Protocol::Esmtp => Self::Esmtp,
            Protocol::Esmtps => Self::Esmtps,
            Protocol::Utf8Smtp => Self::Utf8Smtp,
            Protocol::Utf8Smtps => Self::Utf8Smtps,
        }
    }
}

/// A message whose end has been seen.
#[derive(Debug)]
pub struct Complete<L> {
    /// Where it says it came from.
    pub reverse_path: ReversePath,
    /// What each accepted recipient's verdict left.
    pub leases: Leases<L>,
    /// When MAIL was accepted.
    pub begun_at: Instant,
    /// When its data could come.
    pub data_begun_at: Instant,
    /// Whether it may only travel inside TLS (RFC 8689).
    pub require_tls: bool,
    /// Trace headers and content.
    pub body: Body,
}

/// Leases in the order of their recipients. A single one, as most messages have, needs no list.
#[derive(Debug)]
pub struct Leases<L> {
    first: Option<L>,
    more: Vec<L>,
}

impl<L> Leases<L> {
    /// How many there are.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.first.is_some() as usize + self.more.len()
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// They, in order.
    pub fn iter(&self) -> impl Iterator<Item = &L> {
        self.first.iter().chain(&self.more)
    }

    fn push(&mut self, lease: L) {
        if self.first.is_none() {
            self.first = Some(lease);
        } else {
            self.more.push(lease);
        }
    }
}

impl<L> Default for Leases<L> {
    fn default() -> Self {
        Self {
            first: None,
            more: Vec::new(),
        }
    }
}

impl<L> IntoIterator for Leases<L> {
    type Item = L;
    type IntoIter = std::iter::Chain<std::option::IntoIter<L>, std::vec::IntoIter<L>>;

    fn into_iter(self) -> Self::IntoIter {
        self.first.into_iter().chain(self.more)
    }
}

/// The answer to a question. The kinds must match.
#[derive(Debug)]
pub enum Verdict<L> {
    /// To [`Question::Recipient`].
    Recipient(Result<L, Reply>),
    /// To [`Question::Impersonate`].
    Impersonate(Result<(), Reply>),
    /// To [`Question::Begin`].
    Begin(Result<BodyWriter, Reply>),
    /// To [`Question::Grow`].
    Grow(Result<Reservation, Reply>),
    /// To [`Question::Message`].
    Message(Result<Receipt, Reply>),
}

/// What the 250 after a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Until when it is kept, as RFC 3339 writes it.
    pub kept_until: Stamp,
    /// The message's name.
    pub queue_id: crate::mail::message::QueueId,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The client said QUIT.
    Quit,
    /// The client broke the rules once too often, or in a way after which nothing can be trusted.
    Misbehaved,
    /// The client was too slow.
    TimedOut,
    /// The server stops.
    Shutdown,
}
