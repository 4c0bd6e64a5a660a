//! Addresses as RFC 5321 section 4.1.2 writes them.

#![forbid(unsafe_code)]

use std::fmt;

/// A mailbox address in its canonical form: `local@domain`, ASCII, lower case, an unneeded quoting
/// of the local part removed, no trailing dot on the domain. Equal addresses are equal mailboxes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Address {
    text: Box<str>,
    local_len: u8,
}

/// Where a message says it came from (RFC 5321 section 4.1.2, `Reverse-path`).
#[derive(Clone, PartialEq, Eq)]
pub enum ReversePath {
    /// `<>`: a bounce or another message that must not be answered.
    Null,
    /// An address, spelled as the client did (its source route, if any, left out).
    Address(Box<str>),
}

/// Whom `RCPT TO` names.
#[derive(Clone, PartialEq, Eq)]
pub enum Recipient {
    /// `<Postmaster>` without a domain (RFC 5321 section 4.5.1).
    Postmaster,
    /// An address.
    Address(Address),
}

impl Address {
    /// Everything before the last `@`.
    #[must_use]
    pub fn local(&self) -> &str {
        &self.text[..usize::from(self.local_len)]
    }

    /// Everything after the last `@`.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[usize::from(self.local_len) + 1..]
    }

    /// The whole address.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(..)")
    }
}

impl fmt::Debug for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReversePath(..)")
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recipient(..)")
    }
}

impl Address {
    /// The address of these parts, which must be in canonical form already; for names that this program
    /// makes itself, never for what a stranger sent.
    ///
    /// # Panics
    /// When the local part is longer than 255 bytes.
    #[must_use]
    pub fn from_parts(local: &str, domain: &str) -> Self {
        let local_len = u8::try_from(local.len()).expect("a local part has 255 bytes at most");
        Self {
            text: format!("{local}@{domain}").into_boxed_str(),
            local_len,
        }
    }
}
