//! Ids: 24 hexadecimal digits, as MongoDB's are, made of what they name by a keyed hash.
//!
//! Nothing is kept for an id. Those of accounts and domains are compared with what they would be. That of a message is made so that
//! its number can be had from it again: four bytes are a keyed hash of mailbox and number, and hide the eight of the number
//! itself under another, made of those four. So it is found without a search, no two of a mailbox are alike, and one
//! that was made up is as good as none. Whoever has one must still show a token: an id opens nothing.

use crate::control::random;
use crate::store::{Sequence, TokenHash};
use aws_lc_rs::hmac;
use data_encoding::HEXLOWER;
use std::fmt;

/// Bytes of an id.
const ID_BYTES: usize = 12;
/// Those of them that are a hash of mailbox and number.
const TAG_BYTES: usize = 4;

/// The key under which ids are made. It lives and dies with the process.
pub(super) struct Ids(hmac::Key);

impl Ids {
    pub(super) fn draw() -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, &random::<32>()))
    }

    /// The id of the account whose mailbox has this token.
    pub(super) fn account(&self, holder: &TokenHash) -> String {
        let id: [u8; ID_BYTES] = self.hash("account", &holder.0, &[]);
        HEXLOWER.encode(&id)
    }

    /// The id of a domain.
    pub(super) fn domain(&self, name: &str) -> String {
        let id: [u8; ID_BYTES] = self.hash("domain", name.as_bytes(), &[]);
        HEXLOWER.encode(&id)
    }

    /// The id of a message in the mailbox that has this token.
    pub(super) fn message(&self, holder: &TokenHash, message: Sequence) -> String {
        let tag = self.tag(holder, message);
        let hidden = message.0 ^ self.pad(holder, tag);
        let mut id = tag.to_vec();
        id.extend_from_slice(&hidden.to_be_bytes());
        HEXLOWER.encode(&id)
    }

    /// Which message of that mailbox an id names, if any.
    pub(super) fn number(&self, holder: &TokenHash, id: &str) -> Option<Sequence> {
        let bytes = HEXLOWER.decode(id.as_bytes()).ok()?;
        let (tag, hidden) = bytes.split_first_chunk::<TAG_BYTES>()?;
        let hidden = u64::from_be_bytes(hidden.try_into().ok()?);
        let message = Sequence(hidden ^ self.pad(holder, *tag));
        (self.tag(holder, message) == *tag).then_some(message)
    }

    fn tag(&self, holder: &TokenHash, message: Sequence) -> [u8; TAG_BYTES] {
        self.hash("message", &holder.0, &message.0.to_be_bytes())
    }

    fn pad(&self, holder: &TokenHash, tag: [u8; TAG_BYTES]) -> u64 {
        u64::from_be_bytes(self.hash("number", &holder.0, &tag))
    }

    /// The first bytes of the hash of two parts, of which one has a length that is known.
    fn hash<const LENGTH: usize>(&self, kind: &str, one: &[u8], other: &[u8]) -> [u8; LENGTH] {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(kind.as_bytes());
        context.update(&[0]);
        context.update(one);
        context.update(other);
        let mut first = [0; LENGTH];
        first.copy_from_slice(&context.sign().as_ref()[..LENGTH]);
        first
    }
}

impl fmt::Debug for Ids {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ids(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn is_id(id: &str) -> bool {
        id.len() == 24 && id.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'))
    }

    #[test]
    fn an_id_leads_back_to_its_message_and_to_no_other() {
        let (ids, holder) = (Ids::draw(), TokenHash([7; 32]));
        let (other_key, other_holder) = (Ids::draw(), TokenHash([8; 32]));
        let mut seen = HashSet::new();
        for number in (0..2_000).chain([u64::MAX - 1, u64::MAX]).map(Sequence) {
            let id = ids.message(&holder, number);
            assert!(is_id(&id), "{id}");
            assert_eq!(id, ids.message(&holder, number), "always the same");
            assert_eq!(ids.number(&holder, &id), Some(number));
            assert_ne!(ids.number(&other_holder, &id), Some(number));
            assert_ne!(other_key.number(&holder, &id), Some(number));
            assert!(seen.insert(id), "no two are alike");
        }
    }

    #[test]
    fn what_was_made_up_names_no_message() {
        let (ids, holder) = (Ids::draw(), TokenHash([7; 32]));
        let id = ids.message(&holder, Sequence(41));
        for (at, old) in id.char_indices() {
            let mut changed = id.clone();
            changed.replace_range(at..=at, if old == '0' { "1" } else { "0" });
            assert_eq!(ids.number(&holder, &changed), None, "{at}");
        }
        for text in [
            "",
            "1",
            &id[..23],
            &format!("{id}0"),
            &id.to_uppercase(),
            "zz",
        ] {
            // An id without letters is the same in capitals.
            if text != id {
                assert_eq!(ids.number(&holder, text), None, "{text}");
            }
        }
    }

    #[test]
    fn accounts_and_domains_have_ids_of_their_own() {
        let ids = Ids::draw();
        let (one, other) = (TokenHash([1; 32]), TokenHash([2; 32]));
        let all = [
            ids.account(&one),
            ids.account(&other),
            ids.domain("a.test"),
            ids.domain("b.test"),
            Ids::draw().account(&one),
        ];
        assert!(all.iter().all(|id| is_id(id)));
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
        assert_eq!(format!("{ids:?}"), "Ids(..)");
    }
}
