//! The key to which a holder wants their mail encrypted: an age recipient (<https://age-encryption.org/v1>), `age1...`.
//!
//! It is public, and says by itself which key it is: a name in Bech32 (BIP 173) with a checksum.

#![forbid(unsafe_code)]

use std::fmt;
use std::sync::Arc;

/// What a recipient begins with.
const PREFIX: &str = "age";

/// Five bits a letter, in this order.
const LETTERS: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";

/// The letters of the checksum.
const CHECKSUM_LETTERS: usize = 6;

/// Letters of a recipient of 32 bytes: `age`, `1`, 52 of the key, 6 of the checksum.
pub const TEXT_LEN: usize = PREFIX.len() + 1 + 52 + CHECKSUM_LETTERS;

/// An X25519 public key. Clones share it.
#[derive(Clone, PartialEq, Eq)]
pub struct EncryptionKey(Arc<[u8; 32]>);

impl EncryptionKey {
    /// Reads `age1...`, in lower or in upper case. `None`: it is no recipient, or another kind of one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_mixed = text.contains(|it: char| it.is_ascii_lowercase())
            && text.contains(|it: char| it.is_ascii_uppercase());
        if text.len() != TEXT_LEN || is_mixed {
            return None;
        }
        let text = text.to_ascii_lowercase();
        let data = text.strip_prefix(PREFIX)?.strip_prefix('1')?;
        let letters: Vec<u8> = data
            .bytes()
            .map(|letter| LETTERS.iter().position(|it| *it == letter))
            .map(|place| place.and_then(|place| u8::try_from(place).ok()))
            .collect::<Option<_>>()?;
        if checksum(&letters) != 1 {
            return None;
        }
        bytes(&letters[..letters.len() - CHECKSUM_LETTERS]).map(|key| Self(Arc::new(key)))
    }

    /// The key itself.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for EncryptionKey {
    /// It is public, and still it says whose mail this is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey(..)")
    }
}

/// The remainder of BIP 173; 1 if the checksum is right.
fn checksum(letters: &[u8]) -> u32 {
    const GENERATOR: [u32; 5] = [
        0x3b6a_57b2,
        0x2650_8e6d,
        0x1ea1_19fa,
        0x3d42_33dd,
        0x2a14_62b3,
    ];
    let prefix = PREFIX.bytes();
    let name = prefix
        .clone()
        .map(|byte| byte >> 5)
        .chain([0])
        .chain(prefix.map(|byte| byte & 31));
    name.chain(letters.iter().copied()).fold(1, |sum, value| {
        let top = sum >> 25;
        let shifted = (sum & 0x1ff_ffff) << 5 ^ u32::from(value);
        let places = GENERATOR.iter().enumerate();
        let set = places.filter(|(place, _)| top >> place & 1 == 1);
        set.fold(shifted, |sum, (_, term)| sum ^ term)
    })
}

/// 32 bytes of 52 letters; the four bits that are left over must be zero.
fn bytes(letters: &[u8]) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    let (mut bits, mut count, mut place) = (0_u32, 0, 0);
    for letter in letters {
        bits = bits << 5 | u32::from(*letter);
        count += 5;
        if count >= 8 {
            count -= 8;
            *bytes.get_mut(place)? = (bits >> count) as u8;
            place += 1;
            bits &= (1 << count) - 1;
        }
    }
    (place == bytes.len() && bits == 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of age's own documentation.
    const KNOWN: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn a_known_recipient_is_read() {
        let key = EncryptionKey::parse(KNOWN).expect("a recipient");
        assert!(EncryptionKey::parse(&KNOWN.to_uppercase()) == Some(key.clone()));
        assert_eq!(&key.as_bytes()[..4], &[0x07, 0xe2, 0x2f, 0x5e]);
        assert_eq!(format!("{key:?}"), "EncryptionKey(..)");
    }

    #[test]
    fn no_letter_can_be_wrong() {
        for place in 0..KNOWN.len() {
            for letter in ['q', 'p', 'b', '1', 'A', ' '] {
                let mut text: Vec<char> = KNOWN.chars().collect();
                if text[place] != letter {
                    text[place] = letter;
                    let text: String = text.into_iter().collect();
                    assert_eq!(EncryptionKey::parse(&text), None, "{text}");
                }
            }
        }
        for wrong in [
            "",
            "age1",
            &KNOWN[..61],
            &format!("{KNOWN}q"),
            &KNOWN.replace("age1", "bge1"),
            &format!("AGE1{}", &KNOWN[4..]),
            "AGE-SECRET-KEY-1GFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPYYSJZGFPQ4EGAEX",
        ] {
            assert_eq!(EncryptionKey::parse(wrong), None, "{wrong}");
        }
    }
}
