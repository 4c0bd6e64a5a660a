//! Transfer encodings and character sets, forgivingly: what is wrong is skipped or replaced, and what
//! is left is shown. The result is never longer than three times the input.

#![forbid(unsafe_code)]

use mail_parser::decoders::charsets::map::charset_decoder;
use std::borrow::Cow;

/// How the bytes of a part are written down (RFC 2045, section 6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Encoding {
    /// As they are.
    #[default]
    Identity,
    /// Base 64.
    Base64,
    /// Quoted-printable.
    QuotedPrintable,
}

impl Encoding {
    pub(super) fn named(name: &str) -> Self {
        match name.trim() {
            name if name.eq_ignore_ascii_case("base64") => Self::Base64,
            name if name.eq_ignore_ascii_case("quoted-printable") => Self::QuotedPrintable,
            _ => Self::Identity,
        }
    }

    /// Its name (RFC 2045, section 6.1). Whatever leaves the bytes as they are is called `8bit`, which allows most.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Identity => "8bit",
            Self::Base64 => "base64",
            Self::QuotedPrintable => "quoted-printable",
        }
    }

    /// The bytes that are meant; never more than there are.
    pub(super) fn decode<'a>(self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        match self {
            Self::Identity => Cow::Borrowed(bytes),
            Self::Base64 => Cow::Owned(base64(bytes)),
            Self::QuotedPrintable => Cow::Owned(quoted_printable(bytes)),
        }
    }

    /// How many bytes to decode so that about `wanted` come out.
    pub(super) fn written_length(self, wanted: usize) -> usize {
        match self {
            Self::Identity => wanted,
            // Four for three, and line ends.
            Self::Base64 => wanted.saturating_mul(3) / 2,
            Self::QuotedPrintable => wanted.saturating_mul(3),
        }
    }
}

const fn sextet(byte: u8) -> Option<u8> {
    match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len() / 4 * 3 + 3);
    let (mut bits, mut count) = (0_u32, 0);
    for byte in bytes {
        let Some(six) = sextet(*byte) else {
            if *byte == b'=' {
                // Padding ends a group; some mails go on with another one.
                (bits, count) = (0, 0);
            }
            continue;
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            decoded.push((bits >> count) as u8);
            bits &= (1 << count) - 1;
        }
    }
    decoded
}

fn quoted_printable(bytes: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some(at) = memchr::memchr(b'=', rest) {
        decoded.extend_from_slice(&rest[..at]);
        rest = &rest[at + 1..];
        let hex = |byte: &u8| char::from(*byte).to_digit(16);
        if let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(high), hex(low))
        {
            decoded.push((high << 4 | low) as u8);
            rest = after;
            continue;
        }
        // A soft line break, perhaps with blanks before the line's end.
        let blanks = rest
            .iter()
            .take_while(|byte| b" \t\r".contains(byte))
            .count();
        if rest.get(blanks) == Some(&b'\n') {
            rest = &rest[blanks + 1..];
        } else if blanks < rest.len() {
            decoded.push(b'=');
        }
    }
    decoded.extend_from_slice(rest);
    decoded
}

/// Bytes as text. Without a character set, or one that nobody knows: UTF-8 if it is, else what old
/// programs of the West wrote.
pub(super) fn text(bytes: &[u8], charset: Option<&str>) -> String {
    let named = charset
        .filter(|name| !name.eq_ignore_ascii_case("utf-8"))
        .and_then(|name| charset_decoder(name.as_bytes()));
    let named = match charset {
        // Mails that claim to be ASCII are often something else.
        Some(name) if name.eq_ignore_ascii_case("us-ascii") => None,
        _ => named,
    };
    match (named, std::str::from_utf8(bytes)) {
        (Some(decode), _) => decode(bytes),
        (None, Ok(text)) => text.to_owned(),
        (None, Err(_)) if charset.is_some_and(|name| name.eq_ignore_ascii_case("utf-8")) => {
            String::from_utf8_lossy(bytes).into_owned()
        }
        (None, Err(_)) => match charset_decoder(b"windows-1252") {
            Some(decode) => decode(bytes),
            None => String::from_utf8_lossy(bytes).into_owned(),
        },
    }
}

/// Text for a screen: line ends are line feeds, and there are no other control characters.
pub(super) fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\r' => {
                characters.next_if_eq(&'\n');
                tidy.push('\n');
            }
            '\n' | '\t' => tidy.push(character),
            control if control.is_control() => {}
            other => tidy.push(other),
        }
    }
    tidy
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn j5_wrong_encodings_give_what_can_be_had() {
        for (written, meant) in [
            ("SGVsbG8=", "Hello"),
            ("SGVs\r\nbG8", "Hello"),
            ("SG Vs!!bG8=SGVsbG8=", "HelloHello"),
            ("S", ""),
            ("====", ""),
        ] {
            assert_eq!(base64(written.as_bytes()), meant.as_bytes(), "{written}");
        }
        for (written, meant) in [
            ("a=3Db", "a=b"),
            ("a=3db=\r\nc", "a=bc"),
            ("a= \t\r\nb", "ab"),
            ("100=% =ZZ =", "100=% =ZZ "),
            ("=\n=4", "=4"),
        ] {
            assert_eq!(
                quoted_printable(written.as_bytes()),
                meant.as_bytes(),
                "{written}"
            );
        }
    }

    #[test]
    fn text_is_text_whatever_its_label() {
        let utf8 = "J\u{f6}rg".as_bytes();
        assert_eq!(text(utf8, None), "J\u{f6}rg");
        assert_eq!(text(utf8, Some("us-ascii")), "J\u{f6}rg");
        assert_eq!(text(b"J\xf6rg", None), "J\u{f6}rg");
        assert_eq!(text(b"J\xf6rg", Some("no-such-thing")), "J\u{f6}rg");
        assert_eq!(text(b"J\xf6rg", Some("iso-8859-1")), "J\u{f6}rg");
        assert_eq!(text(b"J\xf6rg", Some("utf-8")), "J\u{fffd}rg");
        assert_eq!(text(b"\xd4\xd5", Some("koi8-r")), "\u{442}\u{443}");
        assert_eq!(tidy("a\r\nb\rc\0\x1b[1md"), "a\nb\nc[1md");
    }
}
