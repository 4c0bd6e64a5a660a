//! Encryption of a message to the key of its mailbox, in the format of age (<https://age-encryption.org/v1>).
//!
//! Only this direction, and only to one X25519 key. The format around it is a few lines of text; what is hard is done by the
//! library that does TLS. See docs/decisions/0017-messages-are-sealed-in-the-format-of-age.md.

use crate::mail::{Body, BodyWriter, EncryptionKey, Ledger};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::agreement::{EphemeralPrivateKey, UnparsedPublicKey, X25519, agree_ephemeral};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use aws_lc_rs::rand::{SystemRandom, fill};
use data_encoding::BASE64_NOPAD;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a chunk of the payload.
const CHUNK_BYTES: usize = 64 << 10;

/// What is added to each chunk.
const TAG_BYTES: usize = 16;

/// What stands before the chunks.
const PAYLOAD_NONCE_BYTES: usize = 16;

/// The words of the key that wraps the file's key.
const WRAP_INFO: &[u8] = b"age-encryption.org/v1/X25519";

/// Why a message was not encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// The key is one that everybody could open.
    Key,
    /// There is no memory for what would come of it.
    NoMemory,
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key => "the key is of small order",
            Self::NoMemory => "the memory for mail is used up",
        })
    }
}

impl std::error::Error for SealError {}

/// Whether messages can be encrypted to a key: not to a point of small order, whose secrets everybody knows.
#[must_use]
pub fn is_usable(key: &EncryptionKey) -> bool {
    header(key).is_ok()
}

/// What `plain`, in pieces, becomes.
///
/// # Errors
/// [`SealError`] says why not. Nothing is kept then.
pub fn seal<'a>(
    plain: impl Iterator<Item = &'a [u8]>,
    length: usize,
    key: &EncryptionKey,
    ledger: &Ledger,
) -> Result<Body, SealError> {
    let (head, file_key) = header(key).map_err(|Unspecified| SealError::Key)?;
    let mut nonce = [0; PAYLOAD_NONCE_BYTES];
    random(&mut nonce);
    let payload_key =
        derived(&nonce, &*file_key, b"payload").map_err(|Unspecified| SealError::Key)?;
    let chunks = length.div_ceil(CHUNK_BYTES).max(1);
    let sealed = head.len() + nonce.len() + length + chunks * TAG_BYTES;
    let reservation = ledger.reserve(sealed as u64).ok_or(SealError::NoMemory)?;
    let mut body = BodyWriter::new(reservation);
    body.write(head.as_bytes());
    body.write(&nonce);
    let mut stream = Stream {
        key: key_of(&payload_key).map_err(|Unspecified| SealError::Key)?,
        number: 0,
        chunk: Vec::with_capacity((CHUNK_BYTES + TAG_BYTES).min(length + TAG_BYTES)),
        body,
    };
    for piece in plain {
        stream.write(piece).map_err(|Unspecified| SealError::Key)?;
    }
    let body = stream.finish().map_err(|Unspecified| SealError::Key)?;
    debug_assert_eq!(body.len(), sealed, "paid for exactly");
    Ok(body.finish())
}

/// The text before the payload, and the key of the file, which it wraps.
fn header(key: &EncryptionKey) -> Result<(String, Zeroizing<[u8; 16]>), Unspecified> {
    let mut file_key = Zeroizing::new([0; 16]);
    random(&mut *file_key);
    let ours = EphemeralPrivateKey::generate(&X25519, &SystemRandom::new())?;
    let share = ours.compute_public_key()?;
    let salt = [share.as_ref(), key.as_bytes()].concat();
    let theirs = UnparsedPublicKey::new(&X25519, key.as_bytes());
    // It fails for points of small order, as it must (RFC 7748 section 6.1).
    let wrap_key = agree_ephemeral(ours, theirs, Unspecified, |shared| {
        derived(&salt, shared, WRAP_INFO)
    })?;
    let mut wrapped = file_key.to_vec();
    let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
    key_of(&wrap_key)?.seal_in_place_append_tag(nonce, Aad::empty(), &mut wrapped)?;
    let mut text = format!(
        "age-encryption.org/v1\n-> X25519 {}\n{}\n---",
        BASE64_NOPAD.encode(share.as_ref()),
        BASE64_NOPAD.encode(&wrapped)
    );
    let mac_key = derived(&[], &*file_key, b"header")?;
    let mac = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, &*mac_key),
        text.as_bytes(),
    );
    text.push(' ');
    text.push_str(&BASE64_NOPAD.encode(mac.as_ref()));
    text.push('\n');
    Ok((text, file_key))
}

/// The payload: chunks of equal size, each with a number and the last one with a mark, so none can be left out.
struct Stream {
    key: LessSafeKey,
    number: u64,
    /// What is not encrypted yet.
    chunk: Vec<u8>,
    body: BodyWriter,
}

impl Stream {
    fn write(&mut self, mut plain: &[u8]) -> Result<(), Unspecified> {
        while !plain.is_empty() {
            // Only when more comes it is known that a full chunk is not the last.
            if self.chunk.len() == CHUNK_BYTES {
                self.seal_chunk(false)?;
            }
            let fits = plain.len().min(CHUNK_BYTES - self.chunk.len());
            self.chunk.extend_from_slice(&plain[..fits]);
            plain = &plain[fits..];
        }
        Ok(())
    }

    fn seal_chunk(&mut self, is_last: bool) -> Result<(), Unspecified> {
        let mut nonce = [0; NONCE_LEN];
        nonce[3..11].copy_from_slice(&self.number.to_be_bytes());
        nonce[11] = u8::from(is_last);
        self.number += 1;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::empty(), &mut self.chunk)?;
        self.body.write(&self.chunk);
        self.body.write(tag.as_ref());
        self.chunk.clear();
        Ok(())
    }

    fn finish(mut self) -> Result<BodyWriter, Unspecified> {
        self.seal_chunk(true)?;
        Ok(self.body)
    }
}

fn key_of(key: &[u8; 32]) -> Result<LessSafeKey, Unspecified> {
    UnboundKey::new(&CHACHA20_POLY1305, key).map(LessSafeKey::new)
}

/// HKDF with SHA-256 (RFC 5869).
fn derived(salt: &[u8], secret: &[u8], info: &[u8]) -> Result<Zeroizing<[u8; 32]>, Unspecified> {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], HKDF_SHA256)?
        .fill(&mut *key)?;
    Ok(key)
}

fn random(bytes: &mut [u8]) {
    fill(bytes).unwrap_or_else(|_| {
        unreachable!("the generator is seeded or the process would have aborted")
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of age's own documentation.
    const KNOWN: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

    #[test]
    fn what_is_sealed_is_paid_for_and_never_twice_the_same() {
        let key = EncryptionKey::parse(KNOWN).expect("a recipient");
        assert!(is_usable(&key));
        for length in [
            0,
            1,
            CHUNK_BYTES - 1,
            CHUNK_BYTES,
            CHUNK_BYTES + 1,
            3 * CHUNK_BYTES,
        ] {
            let ledger = Ledger::new(1 << 20);
            let plain = vec![b'x'; length];
            let seal = || seal(plain.chunks(1000), length, &key, &ledger).expect("sealed");
            let (one, other) = (seal(), seal());
            let chunks = length.div_ceil(CHUNK_BYTES).max(1);
            let head = one.head(300);
            assert!(head.starts_with(b"age-encryption.org/v1\n-> X25519 "));
            let mark = memchr::memmem::find(&head, b"\n--- ").expect("the end of the header");
            let begins = mark + "\n--- ".len() + 43 + "\n".len();
            let expected = begins + PAYLOAD_NONCE_BYTES + length + chunks * TAG_BYTES;
            assert_eq!(one.len(), expected);
            assert_eq!(ledger.used(), 2 * expected as u64);
            assert_ne!(one.head(usize::MAX), other.head(usize::MAX));
            let none = Ledger::new(expected as u64 - 1);
            let refused = super::seal(plain.chunks(1000), length, &key, &none);
            assert_eq!(refused.err(), Some(SealError::NoMemory));
            assert_eq!(none.used(), 0);
        }
    }
}
