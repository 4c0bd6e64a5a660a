//! A message as it is stored: its envelope and its body.

#![forbid(unsafe_code)]

use super::address::ReversePath;
use super::body::Body;
use crate::clock::Instant;
use std::fmt;

/// The name of a message in its 250 reply and in its Received header: 10 random bytes in base 32.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct QueueId([u8; 16]);

impl QueueId {
    /// The name that `random` bits make; 80 of them are used.
    #[must_use]
    pub fn from_random(random: u128) -> Self {
        const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
        let mut text = [0; 16];
        for (place, letter) in text.iter_mut().enumerate() {
            *letter = ALPHABET[(random >> (5 * place)) as usize & 31];
        }
        Self(text)
    }

    /// As text, 16 letters and digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_else(|_| unreachable!("the alphabet is ASCII"))
    }
}

impl fmt::Debug for QueueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A message, held once for all of its recipients.
pub struct Message {
    /// Its name in the 250 reply.
    pub queue_id: QueueId,
    /// Where a bounce would go (never sent from here). Nothing of it is kept beside a body that is encrypted.
    pub reverse_path: ReversePath,
    /// Trace headers and content, byte for byte as they will be handed out, or both encrypted.
    pub body: Body,
    /// Whether the body is encrypted to the key of its mailbox, in the format of age.
    pub encrypted: bool,
    /// When its last byte came.
    pub received_at: Instant,
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether it may only travel inside TLS, as its sender asked (RFC 8689).
    pub require_tls: bool,
}

impl fmt::Debug for Message {
    /// Its size, nothing that identifies sender or content.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({} bytes)", self.body.len())
    }
}
