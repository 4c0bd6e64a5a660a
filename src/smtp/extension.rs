//! What EHLO can offer beside the basic commands.

#![forbid(unsafe_code)]

use crate::settings::{Value, choices};

choices! {
    /// A service extension (RFC 5321 section 2.2) that a listener can offer.
    pub enum Extension {
        /// Content with bytes beyond ASCII (RFC 6152).
        EightBitMime = "8BITMIME",
        /// Content without lines (RFC 3030 section 3); needs CHUNKING.
        BinaryMime = "BINARYMIME",
        /// Messages in counted chunks, with BDAT (RFC 3030 section 2).
        Chunking = "CHUNKING",
        /// The limits in force, told beforehand (RFC 9422).
        Limits = "LIMITS",
        /// Commands in groups (RFC 2920).
        Pipelining = "PIPELINING",
        /// Messages that may only travel inside TLS (RFC 8689).
        RequireTls = "REQUIRETLS",
        /// Sizes declared beforehand (RFC 1870).
        Size = "SIZE",
        /// Addresses beyond ASCII (RFC 6531).
        SmtpUtf8 = "SMTPUTF8",
        /// TLS on request (RFC 3207).
        StartTls = "STARTTLS",
    }
}

/// A set of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions(u16);

impl Extensions {
    /// Every one.
    pub const ALL: Self = Self(u16::MAX);

    /// None of them.
    pub const NONE: Self = Self(0);

    /// What of these can be had now: BINARYMIME needs CHUNKING (RFC 3030 section 3), SMTPUTF8 needs 8BITMIME (RFC 6531 section
    /// 3.1), STARTTLS has no place inside TLS (RFC 3207
    /// section 4.2), and REQUIRETLS has none outside of it (RFC 8689 section 2).
    #[must_use]
    pub const fn in_force(self, tls: bool) -> Self {
        let it = match tls {
            true => self.without(Extension::StartTls),
            false => self.without(Extension::RequireTls),
        };
        let it = match it.offers(Extension::Chunking) {
            true => it,
            false => it.without(Extension::BinaryMime),
        };
        match it.offers(Extension::EightBitMime) {
            true => it,
            false => it.without(Extension::SmtpUtf8),
        }
    }

    /// Whether the extension with this EHLO keyword is among them; `None` if it is none that can be left out.
    pub(super) fn offers_keyword(self, keyword: &str) -> Option<bool> {
        let place = Extension::choices()
            .iter()
            .position(|choice| choice.word == keyword)?;
        Some(self.0 & 1 << place != 0)
    }

    /// Whether it is among them.
    #[must_use]
    pub const fn offers(self, extension: Extension) -> bool {
        self.0 & Self::bit(extension) != 0
    }

    /// All of these but one.
    #[must_use]
    pub const fn without(self, extension: Extension) -> Self {
        Self(self.0 & !Self::bit(extension))
    }

    /// All of these and one more.
    #[must_use]
    pub const fn with(self, extension: Extension) -> Self {
        Self(self.0 | Self::bit(extension))
    }

    const fn bit(extension: Extension) -> u16 {
        1 << extension as u16
    }
}

/// What EHLO offers, with the limits in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offer {
    /// Which extensions can be had now.
    pub extensions: Extensions,
    /// Whether the client may speak for others (XCLIENT).
    pub xclient: bool,
    /// The largest message, in bytes.
    pub message_bytes_max: u64,
    /// The most recipients of a message.
    pub recipients_max: u32,
    /// The most messages of a session; 0 if there is no limit.
    pub messages_max: u32,
}

impl Offer {
    /// Whether it has the line that begins with this keyword.
    pub(super) fn has(&self, keyword: &str) -> bool {
        match self.extensions.offers_keyword(keyword) {
            Some(offered) => offered,
            None => keyword != "XCLIENT" || self.xclient,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_out_is_not_offered() {
        let offered = Extensions::ALL.without(Extension::StartTls);
        assert!(!offered.offers(Extension::StartTls));
        assert!(offered.offers(Extension::EightBitMime) && offered.offers(Extension::SmtpUtf8));
        assert_eq!(offered.offers_keyword("STARTTLS"), Some(false));
        assert_eq!(offered.offers_keyword("SMTPUTF8"), Some(true));
        assert_eq!(offered.offers_keyword("ENHANCEDSTATUSCODES"), None);
    }

    #[test]
    fn some_can_only_be_had_with_others_or_at_their_time() {
        let (plain, tls) = (
            Extensions::ALL.in_force(false),
            Extensions::ALL.in_force(true),
        );
        assert!(plain.offers(Extension::StartTls) && !plain.offers(Extension::RequireTls));
        assert!(!tls.offers(Extension::StartTls) && tls.offers(Extension::RequireTls));
        assert!(tls.offers(Extension::BinaryMime));
        let lines_only = Extensions::ALL.without(Extension::Chunking).in_force(true);
        assert!(!lines_only.offers(Extension::BinaryMime));
        let seven_bits = Extensions::ALL.without(Extension::EightBitMime);
        assert!(!seven_bits.in_force(true).offers(Extension::SmtpUtf8));
    }
}
