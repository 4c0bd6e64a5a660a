//! The one form of an address, as docs/api.md says it, and the limits that it must keep.

use crate::grammar::{Host, LocalPart, Mailbox, Reader};
use crate::leniency::Leniency;
use unicode_normalization::UnicodeNormalization;

/// The longest local part (RFC 5321 section 4.5.3.1.1), quotes not counted.
const LOCAL_PART_BYTES_MAX: usize = 64;

/// The longest address: a path without its brackets (RFC 5321 section 4.5.3.1.3).
pub(crate) const ADDRESS_BYTES_MAX: usize = 254;

impl Mailbox {
    /// The one form that stands for all spellings of a recipient; `None` if there is none.
    pub(crate) fn canonical(&self) -> Option<String> {
        let local = self.local.canonical()?;
        let host = self.host.canonical()?;
        let address = format!("{local}@{host}").to_ascii_lowercase();
        (address.len() <= ADDRESS_BYTES_MAX || self.spelled.is_ascii() && self.host.is_domain())
            .then_some(address)
    }

    /// A sender as spelled, if it could be an address: of its local part nothing is asked but that it is text.
    pub(crate) fn sender(self) -> Option<String> {
        self.local.means.chars().all(is_text).then_some(())?;
        if !self.host.is_ascii() {
            self.host.canonical()?;
        }
        Some(self.spelled)
    }
}

impl LocalPart {
    fn canonical(&self) -> Option<String> {
        self.means.chars().all(is_text).then_some(())?;
        let spelled = written(&self.means)?;
        if self.means.is_ascii() {
            return Some(spelled);
        }
        let mapped = mapped(&self.means);
        let is_legal = match self.is_quoted {
            false => is_dot_string(&mapped),
            // No character beyond ASCII may become one that only quotes let in.
            true => self.means.chars().filter(|it| !it.is_ascii()).all(|it| {
                let alone = self::mapped(&it.to_string());
                alone
                    .split('.')
                    .all(|part| part.is_empty() || is_dot_string(part))
            }),
        };
        is_legal.then(|| written(&mapped)).flatten()
    }
}

impl Host {
    const fn is_domain(&self) -> bool {
        matches!(self, Self::Domain(_))
    }

    fn is_ascii(&self) -> bool {
        let (Self::Domain(text) | Self::Literal(text)) = self;
        text.is_ascii()
    }

    fn canonical(&self) -> Option<String> {
        match self {
            Self::Literal(text) => Some(text.clone()),
            Self::Domain(text) if text.is_ascii() => Some(text.clone()),
            Self::Domain(text) => {
                let (labels, _) = idna::uts46::Uts46::new()
                    .to_ascii(
                        text.as_bytes(),
                        idna::AsciiDenyList::STD3,
                        idna::uts46::Hyphens::CheckFirstLast,
                        idna::uts46::DnsLength::Ignore,
                    )
                    .map(|it| (it.into_owned(), ()))
                    .ok()?;
                let mut reader = Reader::new(labels.as_bytes(), Leniency::ALL);
                let domain = reader.domain()?;
                reader.is_at_end().then_some(domain)
            }
        }
    }
}

/// Without quotes if it needs none.
fn written(means: &str) -> Option<String> {
    let (text, quote) = match is_dot_string(means) {
        true => (means.to_owned(), ""),
        false => (means.replace('\\', "\\\\").replace('"', "\\\""), "\""),
    };
    (text.len() <= LOCAL_PART_BYTES_MAX).then(|| format!("{quote}{text}{quote}"))
}

fn is_dot_string(text: &str) -> bool {
    let mut reader = Reader::new(text.as_bytes(), &[]);
    reader.dot_string().is_some() && reader.is_at_end()
}

/// No control, and no end of a line in any alphabet.
fn is_text(character: char) -> bool {
    !matches!(character, '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{2028}' | '\u{2029}')
}

/// Normalized, of one width, in lower case, with one sigma, and normalized again.
fn mapped(text: &str) -> String {
    let normal: String = text.nfc().collect();
    let mut narrow = String::new();
    for character in normal.chars() {
        match character {
            // The forms of the block "Halfwidth and Fullwidth Forms", by their compatibility decomposition of one step.
            '\u{ffa0}' => narrow.push('\u{3164}'),
            '\u{ffe3}' => narrow.push('\u{af}'),
            '\u{ffa1}'..='\u{ffdc}' => narrow.push(hangul(character)),
            '\u{3000}' | '\u{ff00}'..='\u{ffef}' => narrow.extend(character.nfkd()),
            other => narrow.push(other),
        }
    }
    let lower: String = narrow.chars().flat_map(char::to_lowercase).collect();
    lower.replace('ς', "σ").nfc().collect()
}

/// The compatibility letter that a half-width Hangul letter is a form of: both decompose to the same.
fn hangul(form: char) -> char {
    let means: String = form.to_string().nfkd().collect();
    ('\u{3131}'..='\u{3163}')
        .find(|letter| letter.to_string().nfkd().eq(means.chars()))
        .unwrap_or(form)
}
