//! From what was spelled to the one form that stands for all spellings (see [`Address`](super::Address)).

#![forbid(unsafe_code)]

use super::{
    AddressError, Host, LOCAL_PART_BYTES_MAX, LocalPart, Mailbox, beyond_ascii, domain, dotted,
    is_atext,
};
use nom::Parser;
use nom::combinator::all_consuming;
use std::borrow::Cow;

impl<'a> Mailbox<'a> {
    /// What was spelled, if somebody may write from there. It need not have a canonical form, and its local part may be longer
    /// than ours: those that mailing lists and forwarders make (VERP, SRS) are, and RFC 5321 section 4.5.3.1 asks servers
    /// for as few limits as they can do with.
    pub(super) fn check_sender(&self) -> Result<&'a str, AddressError> {
        self.local.plain()?;
        if let Host::Domain(labels) = self.host
            && !labels.is_ascii()
        {
            self.host.write_canonical(&mut String::new())?;
        }
        std::str::from_utf8(self.spelled).map_err(|_| AddressError::BadLocalPart)
    }
}

impl<'a> LocalPart<'a> {
    /// Holds it to [`LOCAL_PART_BYTES_MAX`] and to text.
    pub(super) fn check(&self) -> Result<(), AddressError> {
        match self {
            Self::Dotted(atoms) if atoms.is_ascii() => check_length(atoms.len()),
            _ => self
                .plain()
                .and_then(|plain| write_local_part(&plain, &mut String::new())),
        }
    }

    /// What it stands for, without quotes and backslashes.
    fn plain(&self) -> Result<Cow<'a, str>, AddressError> {
        let plain = match *self {
            Self::Dotted(atoms) => Cow::Borrowed(utf8(atoms, AddressError::BadLocalPart)?),
            Self::Quoted(inner) => {
                let mut plain = String::with_capacity(inner.len());
                let mut characters = utf8(inner, AddressError::BadLocalPart)?.chars();
                while let Some(character) = characters.next() {
                    let escaped = match character {
                        '\\' => characters.next(),
                        _ => None,
                    };
                    plain.push(escaped.unwrap_or(character));
                }
                Cow::Owned(plain)
            }
        };
        if !plain.chars().all(beyond_ascii::is_text) {
            return Err(AddressError::BadLocalPart);
        }
        Ok(plain)
    }

    /// Both what is spelled and what becomes of it must be within the limit. What was beyond ASCII must not become a
    /// character that needs quotes: a full-width `@` is no way to write one.
    pub(super) fn write_canonical(&self, text: &mut String) -> Result<(), AddressError> {
        let plain = self.plain()?;
        write_local_part(&plain, text)?;
        if plain.is_ascii() {
            return Ok(());
        }
        let mapped = beyond_ascii::local_part(&plain);
        let is_legal = match self {
            Self::Dotted(_) => is_dotted(&mapped),
            Self::Quoted(_) => !plain.chars().any(becomes_special),
        };
        if !is_legal {
            return Err(AddressError::BadLocalPart);
        }
        text.clear();
        write_local_part(&mapped, text)
    }
}

/// Without quotes if it needs none; else with only `"` and `\` escaped.
fn write_local_part(plain: &str, text: &mut String) -> Result<(), AddressError> {
    if is_dotted(plain) {
        text.push_str(plain);
        return check_length(text.len());
    }
    text.push('"');
    for character in plain.chars() {
        if matches!(character, '"' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
    text.push('"');
    check_length(text.len() - 2)
}

const fn check_length(local_len: usize) -> Result<(), AddressError> {
    if local_len > LOCAL_PART_BYTES_MAX {
        return Err(AddressError::LocalPartTooLong);
    }
    Ok(())
}

/// Whether it needs no quotes.
fn is_dotted(plain: &str) -> bool {
    matches!(dotted(plain.as_bytes()), Ok(([], _)))
}

/// Whether it is beyond ASCII and is mapped to what may only stand in quotes. (What is composed is beyond ASCII, so one
/// character at a time tells.)
fn becomes_special(character: char) -> bool {
    !character.is_ascii()
        && beyond_ascii::local_part(character.encode_utf8(&mut [0; 4]))
            .bytes()
            .any(|byte| !is_atext(byte) && byte != b'.')
}

impl Host<'_> {
    /// A domain in A-labels, a literal in the one spelling of the address that it names. Lower case is left to the caller.
    pub(super) fn write_canonical(&self, text: &mut String) -> Result<(), AddressError> {
        match self {
            Self::Domain(labels) if labels.is_ascii() => text.push_str(ascii(labels)),
            Self::Domain(labels) => {
                let labels = beyond_ascii::domain_to_ascii(utf8(labels, AddressError::BadDomain)?)?;
                match all_consuming(domain).parse(labels.as_bytes()) {
                    Ok((_, labels)) => text.push_str(ascii(labels)),
                    Err(nom::Err::Failure(named)) => return Err(named),
                    Err(_) => return Err(AddressError::BadDomain),
                }
            }
            Self::Ipv4(address) => text.push_str(&format!("[{address}]")),
            Self::Ipv6(address) => text.push_str(&format!("[ipv6:{address}]")),
            Self::General(inner) => {
                text.push('[');
                text.push_str(ascii(inner));
                text.push(']');
            }
        }
        Ok(())
    }
}

/// What the grammar has read here is ASCII.
pub(super) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_else(|_| unreachable!("what is ASCII was asked before"))
}

/// Bytes beyond ASCII are let in by the grammar one by one; whether they are characters is seen here.
fn utf8(bytes: &[u8], otherwise: AddressError) -> Result<&str, AddressError> {
    std::str::from_utf8(bytes).map_err(|_| otherwise)
}
