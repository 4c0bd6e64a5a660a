//! Header fields: split here, in one walk with limits; their contents decoded by mail-parser.

#![forbid(unsafe_code)]

use super::decode::{Encoding, tidy};
use super::names::safe_kind;
use mail_parser::parsers::MessageStream;
use mail_parser::{ContentType, HeaderValue};
use std::ops::Range;

/// Only so much of a header is looked at.
pub const HEADER_BYTES_MAX: usize = 64 << 10;

/// The most fields of a header that are shown.
pub const FIELDS_MAX: usize = 1_000;

/// The longest decoded value that is shown, in bytes; what is meant for programs may be longer.
const VALUE_BYTES_MAX: usize = 8 << 10;

/// The longest value of a field that says what a part is.
const MIME_BYTES_MAX: usize = 32 << 10;

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name as it was written.
    pub name: String,
    /// Its value, unfolded, with encoded words decoded.
    pub value: String,
    /// Its value as it was written, line breaks included.
    pub raw: String,
}

/// Where the fields of a header are.
#[derive(Clone, Debug, Default)]
pub(super) struct Header {
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// Where the header ends and the body begins.
    pub(super) end: usize,
    /// Whether a line that is no field ended it.
    pub(super) is_broken: bool,
    /// Whether there are fields that were not looked at.
    pub(super) is_cut: bool,
}

/// The next line without its end, and where the one after it begins.
pub(super) fn line(raw: &[u8], at: usize) -> (Range<usize>, usize) {
    match memchr::memchr(b'\n', &raw[at..]) {
        Some(length) => {
            let end = at + length;
            let is_crlf = length > 0 && raw[end - 1] == b'\r';
            (at..end - usize::from(is_crlf), end + 1)
        }
        None => (at..raw.len(), raw.len()),
    }
}

impl Header {
    /// The header that begins at `start`. It ends with an empty line, with a line that can be no field,
    /// or before a line of which `is_delimiter` says that it belongs to what is around.
    pub(super) fn at(raw: &[u8], start: usize, is_delimiter: impl Fn(&[u8]) -> bool) -> Self {
        let mut header = Self {
            end: start,
            ..Self::default()
        };
        while header.end < raw.len() {
            let (range, next) = line(raw, header.end);
            let text = &raw[range.clone()];
            if text.is_empty() {
                header.end = next;
                break;
            }
            if text.starts_with(b"--") && is_delimiter(text) {
                header.is_broken = true;
                break;
            }
            if text[0] == b' ' || text[0] == b'\t' {
                match header.fields.last_mut() {
                    Some((_, value)) if !header.is_cut => value.end = range.end,
                    _ => {}
                }
            } else if let Some(colon) = colon(text) {
                let is_within =
                    range.end - start <= HEADER_BYTES_MAX && header.fields.len() < FIELDS_MAX;
                header.is_cut |= !is_within;
                if is_within {
                    let name = range.start..range.start + colon;
                    header
                        .fields
                        .push((name, range.start + colon + 1..range.end));
                }
            } else if !(range.start == start && text.starts_with(b"From ")) {
                header.is_broken = true;
                break;
            }
            header.end = next;
        }
        header
    }

    /// The value of the first field of this name, cut to a sane length.
    fn value<'a>(&self, raw: &'a [u8], name: &str) -> Option<&'a [u8]> {
        let named = |field: &&(Range<usize>, Range<usize>)| {
            raw[field.0.clone()]
                .trim_ascii_end()
                .eq_ignore_ascii_case(name.as_bytes())
        };
        let (_, value) = self.fields.iter().find(named)?;
        let value = &raw[value.clone()];
        Some(&value[..value.len().min(MIME_BYTES_MAX)])
    }

    /// A field as decoded text.
    pub(super) fn text(&self, raw: &[u8], name: &str) -> Option<String> {
        self.value(raw, name).map(decoded)
    }

    /// Everything, in order.
    pub(super) fn all(&self, raw: &[u8]) -> Vec<Field> {
        let field = |(name, value): &(Range<usize>, Range<usize>)| {
            let value = &raw[value.clone()];
            let value = &value[..value.len().min(VALUE_BYTES_MAX)];
            Field {
                name: String::from_utf8_lossy(raw[name.clone()].trim_ascii_end()).into_owned(),
                value: decoded(value),
                raw: String::from_utf8_lossy(value).into_owned(),
            }
        };
        self.fields.iter().map(field).collect()
    }
}

/// Where the name of a field ends (RFC 5322, section 2.2), if this line begins a field.
fn colon(text: &[u8]) -> Option<usize> {
    let colon = memchr::memchr(b':', text)?;
    let name = text[..colon].trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(|byte| *byte > b' ' && *byte != 0x7F);
    is_name.then_some(colon)
}

/// A value with a line end, as mail-parser wants it.
fn ended(value: &[u8]) -> Vec<u8> {
    [value, b"\n"].concat()
}

/// An unstructured value: unfolded, encoded words decoded, one line.
fn decoded(value: &[u8]) -> String {
    let value = ended(value);
    let decoded = match MessageStream::new(&value).parse_unstructured() {
        HeaderValue::Text(text) => text.into_owned(),
        HeaderValue::TextList(texts) => texts.join(" "),
        _ => String::new(),
    };
    let one_line = tidy(&decoded).replace(['\n', '\t'], " ");
    one_line.trim().to_owned()
}

/// How a part wants to be shown (RFC 2183).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disposition {
    /// As a file.
    Attachment,
    /// Where it stands.
    Inline,
}

/// What the header of a part says about its body.
#[derive(Clone, Debug, Default)]
pub(super) struct About {
    /// The media type in lower case, `type/subtype`.
    pub(super) kind: String,
    pub(super) boundary: Option<Vec<u8>>,
    pub(super) charset: Option<String>,
    pub(super) encoding: Encoding,
    pub(super) disposition: Option<Disposition>,
    pub(super) name: Option<String>,
    /// Its other name, if it is given two (RFC 2183 `filename`, RFC 2045 `name`) that differ.
    pub(super) other_name: Option<String>,
    pub(super) content_id: Option<String>,
}

fn content_type(value: &[u8]) -> Option<ContentType<'static>> {
    match MessageStream::new(&ended(value))
        .parse_content_type()
        .into_owned()
    {
        HeaderValue::ContentType(kind) => Some(kind),
        _ => None,
    }
}

impl About {
    pub(super) fn of(raw: &[u8], header: &Header, default_kind: &str) -> Self {
        let kind = header.value(raw, "Content-Type").and_then(content_type);
        let disposition = header
            .value(raw, "Content-Disposition")
            .and_then(content_type);
        let attribute = |of: &Option<ContentType<'static>>, name| {
            of.as_ref()
                .and_then(|of| of.attribute(name))
                .map(str::to_owned)
        };
        let encoding = header.value(raw, "Content-Transfer-Encoding");
        let (filename, type_name) = (
            attribute(&disposition, "filename"),
            attribute(&kind, "name"),
        );
        let other_name = type_name
            .clone()
            .filter(|_| filename.is_some() && filename != type_name);
        Self {
            kind: kind.as_ref().map_or_else(
                || default_kind.to_owned(),
                |kind| safe_kind(&kind.c_type, kind.c_subtype.as_deref()),
            ),
            boundary: attribute(&kind, "boundary").map(String::into_bytes),
            charset: attribute(&kind, "charset"),
            encoding: encoding.map_or(Encoding::Identity, |name| {
                Encoding::named(&String::from_utf8_lossy(name))
            }),
            disposition: disposition.as_ref().map(|disposition| {
                if disposition.c_type.eq_ignore_ascii_case("inline") {
                    Disposition::Inline
                } else {
                    Disposition::Attachment
                }
            }),
            name: filename.or(type_name),
            other_name,
            content_id: header.value(raw, "Content-ID").map(|id| {
                let id = String::from_utf8_lossy(id);
                id.trim()
                    .trim_start_matches('<')
                    .trim_end_matches('>')
                    .to_owned()
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(raw: &[u8]) -> Header {
        Header::at(raw, 0, |_| false)
    }

    #[test]
    fn fields_are_decoded_and_kept_as_they_were() {
        let raw =
            b"Subject: =?utf-8?q?J=C3=B6rg?=\r\n =?utf-8?q?_x?=\r\nX-A:\tb\r\n\r\nbody: no\r\n";
        let found = header(raw);
        let fields = found.all(raw);
        assert_eq!(fields.len(), 2);
        assert_eq!(fields[0].value, "J\u{f6}rg x");
        assert_eq!(fields[0].raw, " =?utf-8?q?J=C3=B6rg?=\r\n =?utf-8?q?_x?=");
        assert_eq!((&*fields[1].name, &*fields[1].value), ("X-A", "b"));
        assert_eq!(&raw[found.end..], b"body: no\r\n");
    }

    #[test]
    fn j3_a_header_ends_where_no_field_is() {
        for (raw, body, is_broken) in [
            (
                &b"A: b\r\nno field here\r\n"[..],
                &b"no field here\r\n"[..],
                true,
            ),
            (b"A: b\r\n", b"", false),
            (b"\r\nbody", b"body", false),
            (b"From me Sun\r\nA: b\r\n\r\nbody", b"body", false),
            (b": b\r\n", b": b\r\n", true),
            (b"", b"", false),
        ] {
            let header = header(raw);
            assert_eq!((&raw[header.end..], header.is_broken), (body, is_broken));
        }
    }

    #[test]
    fn a_part_says_what_it_is() {
        let raw = b"Content-Type: Text/HTML; charset=\"utf-8\"; name=a.html\r\n\
            Content-Disposition: attachment; filename*=utf-8''%c3%a4.html\r\n\
            Content-Transfer-Encoding: Base64\r\nContent-ID: <a@b>\r\n\r\n";
        let about = About::of(raw, &header(raw), "text/plain");
        assert_eq!(about.kind, "text/html");
        assert_eq!(about.name.as_deref(), Some("\u{e4}.html"));
        assert_eq!(about.encoding, Encoding::Base64);
        assert_eq!(about.content_id.as_deref(), Some("a@b"));
        assert_eq!(about.disposition, Some(Disposition::Attachment));
    }
}
