//! What EHLO can offer beside the basic commands.

#![forbid(unsafe_code)]

use crate::settings::choices;

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

    const fn bit(extension: Extension) -> u16 {
        1 << extension as u16
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
    }
}
