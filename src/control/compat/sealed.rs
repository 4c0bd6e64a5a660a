//! What a client keeps for us: a few bytes, sealed (AES-256-GCM) under a key that is drawn when the process starts.
//!
//! Services that hand out tokens, session ids or tickets at any time would need a table of them. Here the token *is* the entry
//! of that table: it names the mailbox and says when it ends, nobody else can make or read one, and nothing is kept. Each
//! use has a key and a label of its own, so that what was sealed for one opens for no other.

use crate::control::random;
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::BASE64URL_NOPAD;
use std::fmt;

/// The longest text that is opened: what is longer was not sealed here.
const TEXT_BYTES_MAX: usize = 512;

/// A key for one use. It lives and dies with the process, as the mail does.
pub(in crate::control) struct SealKey {
    key: RandomizedNonceKey,
    label: &'static str,
}

impl SealKey {
    /// A new key for the use that the label names.
    pub(in crate::control) fn draw(label: &'static str) -> Self {
        let key = RandomizedNonceKey::new(&AES_256_GCM, &random::<32>());
        let key = key.unwrap_or_else(|_| unreachable!("the key is as long as it must be"));
        Self { key, label }
    }

    /// A text from which only this key gets these bytes again: letters, digits, `-` and `_`. No two are alike.
    pub(in crate::control) fn seal(&self, plain: &[u8]) -> String {
        let mut sealed = plain.to_vec();
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(self.label), &mut sealed)
            .unwrap_or_else(|_| unreachable!("so few bytes can be sealed"));
        BASE64URL_NOPAD.encode(&[&nonce.as_ref()[..], &sealed].concat())
    }

    /// What was sealed, if it was sealed by this key.
    pub(in crate::control) fn open(&self, text: &str) -> Option<Vec<u8>> {
        if text.len() > TEXT_BYTES_MAX {
            return None;
        }
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        let mut sealed = sealed.to_vec();
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let plain = self
            .key
            .open_in_place(nonce, Aad::from(self.label), &mut sealed);
        plain.ok().map(|plain| plain.to_vec())
    }
}

impl fmt::Debug for SealKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_key_that_sealed_opens_and_only_what_was_not_touched() {
        let key = SealKey::draw("a use");
        for plain in [&b""[..], b"x", &[7; 80]] {
            let [one, two] = [(); 2].map(|()| key.seal(plain));
            assert_ne!(one, two);
            assert_eq!(key.open(&one).as_deref(), Some(plain));
            assert_eq!(SealKey::draw("a use").open(&one), None);
            for end in 0..one.len() {
                assert_eq!(key.open(&one[..end]), None, "cut to {end}");
            }
            for (at, old) in one.char_indices() {
                let new = if old == 'A' { "B" } else { "A" };
                let mut forged = one.clone();
                forged.replace_range(at..=at, new);
                assert_eq!(key.open(&forged), None, "changed at {at}");
            }
        }
        for forged in [
            "",
            "-",
            "\u{e4}\u{e4}",
            "A=",
            &"A".repeat(100),
            &"A".repeat(9_999),
        ] {
            assert_eq!(key.open(forged), None, "{forged}");
        }
        assert_eq!(format!("{key:?}"), "SealKey(..)");
    }

    #[test]
    fn what_was_sealed_for_one_use_opens_for_no_other() {
        let one = SealKey::draw("one");
        let text = one.seal(b"plain");
        let other = SealKey {
            label: "other",
            ..one
        };
        assert_eq!(other.open(&text), None);
    }
}
