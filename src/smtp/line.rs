//! From bytes to command lines.
//!
//! Only CRLF ends a line (RFC 5321 section 2.3.8). A client that sends LF alone still gets an
//! answer for each: a bare LF ends a line that is *refused*, and whatever follows it is refused as
//! well, up to and including the next line that ends in CRLF. So such a client never hangs, there
//! is one reply for each LF whatever the segmentation, and nothing that stands behind a bare LF is
//! ever executed: it may be the inside of what another server took for a single line.
//!
//! By choice ([`Newlines::Normalize`]) a bare LF ends a line as CRLF does. A CR alone is refused in
//! any case.
//!
//! A refused BDAT is worse than other refused lines: how many bytes behind it are no commands
//! cannot be known, so nothing behind it may be read at all.

#![forbid(unsafe_code)]

use super::Newlines;
use memchr::{memchr, memchr2};
use std::borrow::Cow;

/// How much of an over-long line is read and thrown away before the session ends.
pub const DISCARD_BYTES_MAX: u32 = 64 << 10;

/// What the reader delivers.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A clean line without its CRLF. It is borrowed when all of it came in one piece.
    Complete(Cow<'a, [u8]>),
    /// A line that must not be looked into.
    Refused(LineOffence),
}

/// Why a line is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineOffence {
    /// It has a CR or LF that is not part of a CRLF, or stands behind a bare LF.
    BareNewline,
    /// It begins with a control character: another protocol, whose bytes may never hold a line's end.
    Binary,
    /// It is a BDAT with any of the other offences: what follows cannot be told from commands.
    Chunk,
    /// Behind an over-long line no end came for [`DISCARD_BYTES_MAX`]: no line can follow.
    Endless,
    /// It has a NUL.
    NulByte,
    /// It is too long. Delivered as soon as that is known; the rest of it is discarded.
    TooLong,
}

/// Cuts input into lines. Holds a buffer only while it holds a part of a line.
#[derive(Debug)]
pub struct LineReader {
    partial: Vec<u8>,
    at: At,
    newlines: Newlines,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// In a line that begins behind a CRLF, or at the start of the connection.
    Clean,
    /// In a line that begins behind a bare LF.
    BehindBareLf,
    /// In the rest of an over-long line.
    Discarding { read: u32, after_cr: bool },
    /// In another protocol: no line can follow.
    Binary,
}

impl Default for LineReader {
    /// Only CRLF ends a line.
    fn default() -> Self {
        Self::with(Newlines::Strict)
    }
}

impl LineReader {
    /// A reader at the start of the first line.
    #[must_use]
    pub const fn with(newlines: Newlines) -> Self {
        Self {
            partial: Vec::new(),
            at: At::Clean,
            newlines,
        }
    }

    /// Takes the next line from `input`, all of which it uses up when the line does not end there.
    /// A line may have `line_bytes_max` bytes, its CRLF included.
    pub fn read<'a>(&mut self, input: &mut &'a [u8], line_bytes_max: usize) -> Option<Line<'a>> {
        if let At::Discarding { read, after_cr } = self.at
            && let Some(endless) = self.discard(input, read, after_cr)
        {
            return Some(endless);
        }
        if input.is_empty() || matches!(self.at, At::Discarding { .. }) {
            return None;
        }
        if self.at == At::Binary {
            *input = &[];
            return None;
        }
        if self.at == At::Clean && self.partial.is_empty() && is_binary(input[0]) {
            *input = &[];
            self.at = At::Binary;
            return Some(Line::Refused(LineOffence::Binary));
        }
        let room = line_bytes_max.saturating_sub(self.partial.len());
        let window = &input[..input.len().min(room)];
        let Some(end) = memchr(b'\n', window) else {
            let now_too_long = window.len() == room;
            return if now_too_long {
                *input = &input[room..];
                Some(self.too_long(window))
            } else {
                self.partial.extend_from_slice(window);
                *input = &[];
                None
            };
        };
        let (line, rest) = input.split_at(end + 1);
        *input = rest;
        Some(self.complete(line))
    }

    /// Whether a part of a line is held.
    #[must_use]
    pub const fn is_amid_line(&self) -> bool {
        !self.partial.is_empty() || !matches!(self.at, At::Clean)
    }

    /// Judges a line that ends with the last byte of `line`, an LF.
    fn complete<'a>(&mut self, line: &'a [u8]) -> Line<'a> {
        let mut line = if self.partial.is_empty() {
            Cow::Borrowed(line)
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(line);
            Cow::Owned(whole)
        };
        let ends_in_crlf = line.ends_with(b"\r\n");
        let at = At::behind_lf(ends_in_crlf, self.newlines);
        let before = std::mem::replace(&mut self.at, at);
        if at == At::BehindBareLf || before == At::BehindBareLf {
            return refused(LineOffence::BareNewline, [&line, b""]);
        }
        let text_len = line.len() - if ends_in_crlf { 2 } else { 1 };
        match memchr2(b'\r', b'\0', &line[..text_len]) {
            Some(place) if line[place] == b'\0' => refused(LineOffence::NulByte, [&line, b""]),
            Some(_) => refused(LineOffence::BareNewline, [&line, b""]),
            None => {
                match &mut line {
                    Cow::Borrowed(bytes) => *bytes = &bytes[..text_len],
                    Cow::Owned(bytes) => bytes.truncate(text_len),
                }
                Line::Complete(line)
            }
        }
    }

    fn too_long(&mut self, window: &[u8]) -> Line<'static> {
        let partial = std::mem::take(&mut self.partial);
        let last = window.last().or_else(|| partial.last());
        self.at = At::Discarding {
            read: 0,
            after_cr: last == Some(&b'\r'),
        };
        refused(LineOffence::TooLong, [&partial, window])
    }

    /// Throws away the rest of an over-long line; its reply has been given.
    fn discard(&mut self, input: &mut &[u8], read: u32, after_cr: bool) -> Option<Line<'static>> {
        let room = (DISCARD_BYTES_MAX - read) as usize;
        let window = &input[..input.len().min(room)];
        if let Some(end) = memchr(b'\n', window) {
            let cr_before = match end.checked_sub(1) {
                Some(place) => window[place] == b'\r',
                None => after_cr,
            };
            self.at = At::behind_lf(cr_before, self.newlines);
            *input = &input[end + 1..];
            return None;
        }
        *input = &input[window.len()..];
        if window.len() == room {
            return Some(Line::Refused(LineOffence::Endless));
        }
        self.at = At::Discarding {
            read: read + window.len() as u32,
            after_cr: window.last().map_or(after_cr, |last| *last == b'\r'),
        };
        None
    }
}

/// Whether no line that a person or a mail client writes begins with this byte, as those of TLS, RDP and the PROXY
/// protocol do.
const fn is_binary(first: u8) -> bool {
    first.is_ascii_control() && !matches!(first, b'\t' | b'\n' | b'\r')
}

/// Refuses a line of which `parts` are known.
fn refused(why: LineOffence, parts: [&[u8]; 2]) -> Line<'static> {
    let start = parts.iter().copied().flatten().take(b"BDAT".len());
    if start.map(u8::to_ascii_uppercase).eq(*b"BDAT") {
        Line::Refused(LineOffence::Chunk)
    } else {
        Line::Refused(why)
    }
}

impl At {
    const fn behind_lf(after_cr: bool, newlines: Newlines) -> Self {
        match newlines {
            Newlines::Strict if !after_cr => Self::BehindBareLf,
            Newlines::Strict | Newlines::Normalize => Self::Clean,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 16;

    /// Every line of `input`, at every chunk size; `!` and a name stands for an offence.
    fn check(input: &[u8], expected: &[&str]) {
        check_with(Newlines::Strict, input, expected);
    }

    fn check_with(newlines: Newlines, input: &[u8], expected: &[&str]) {
        for size in 1..=input.len() {
            let mut reader = LineReader::with(newlines);
            let mut lines = Vec::new();
            for mut chunk in input.chunks(size) {
                while !chunk.is_empty() {
                    match reader.read(&mut chunk, MAX) {
                        Some(Line::Complete(line)) => {
                            lines.push(String::from_utf8_lossy(&line).into_owned());
                        }
                        Some(Line::Refused(why)) => lines.push(format!("!{why:?}")),
                        None => assert!(chunk.is_empty(), "the input must be used up"),
                    }
                }
            }
            assert_eq!(lines, expected, "at chunk size {size}");
        }
    }

    #[test]
    fn only_crlf_ends_a_line() {
        check(b"NOOP\r\n\r\nQUIT\r\nRS", &["NOOP", "", "QUIT"]);
        check(b"NO\rOP\r\nRSET\r\n", &["!BareNewline", "RSET"]);
        check(b"NOOP\r\r\nRSET\r\n", &["!BareNewline", "RSET"]);
        check(b"NO\0OP\r\nRSET\r\n", &["!NulByte", "RSET"]);
    }

    #[test]
    fn another_protocol_is_known_by_its_first_byte() {
        for bytes in [&b"\x16\x03\x01"[..], b"\0\0\0", b"\x03\0"] {
            let line = LineReader::default().read(&mut &bytes[..], MAX);
            assert_eq!(line, Some(Line::Refused(LineOffence::Binary)));
        }
        check(b"\tNOOP\r\nN\x16\r\n", &["\tNOOP", "N\x16"]);
        check(b"\x16\x03\x01\r\nQUIT\r\n", &["!Binary"]);
    }

    #[test]
    fn nothing_behind_a_bare_lf_is_executed() {
        check(
            b"NOOP\nQUIT\r\nRSET\r\n",
            &["!BareNewline", "!BareNewline", "RSET"],
        );
        check(b"EHLO a\nQUIT\n", &["!BareNewline", "!BareNewline"]);
        check(b"\n\r\nRSET\r\n", &["!BareNewline", "!BareNewline", "RSET"]);
    }

    #[test]
    fn by_choice_a_bare_lf_ends_a_line() {
        let check = |input, expected| check_with(Newlines::Normalize, input, expected);
        check(b"NOOP\nQUIT\r\n\nRSET\n", &["NOOP", "QUIT", "", "RSET"]);
        check(b"NO\rOP\nRSET\n", &["!BareNewline", "RSET"]);
        check(b"NOOP\r\r\nRSET\n", &["!BareNewline", "RSET"]);
        check(b"NO\0OP\nRSET\n", &["!NulByte", "RSET"]);
        check(b"0123456789abcdef\nRSET\n", &["!TooLong", "RSET"]);
        check(b"0123456789abcde\nRSET\n", &["0123456789abcde", "RSET"]);
    }

    #[test]
    fn a_refused_bdat_is_known_by_name() {
        check(b"BDAT 5\nhello", &["!Chunk"]);
        check(b"bdat 5\0\r\n", &["!Chunk"]);
        check(b"BdAt\r5\r\n", &["!Chunk"]);
        check(b"BDAT 50000000000000000", &["!Chunk"]);
        check(b"BDA\0T\r\n", &["!NulByte"]);
        check(b"BDAT 5\r\n", &["BDAT 5"]);
    }

    #[test]
    fn an_over_long_line_is_refused_once() {
        check(b"0123456789abcd\r\nRSET\r\n", &["0123456789abcd", "RSET"]);
        check(b"0123456789abcde\r\nRSET\r\n", &["!TooLong", "RSET"]);
        check(b"0123456789abcdef\r\nRSET\r\n", &["!TooLong", "RSET"]);
        check(b"0123456789abcdefghij\r\nRSET\r\n", &["!TooLong", "RSET"]);
        check(
            b"0123456789abcdefghij\nQUIT\r\nRSET\r\n",
            &["!TooLong", "!BareNewline", "RSET"],
        );
        check(
            b"0123456789abcdef\nQUIT\r\nRSET\r\n",
            &["!TooLong", "!BareNewline", "RSET"],
        );
    }

    #[test]
    fn discarding_is_bounded() {
        let input = vec![b'a'; MAX + DISCARD_BYTES_MAX as usize];
        for size in [1, 1000, input.len()] {
            let mut reader = LineReader::default();
            let mut last = None;
            for mut chunk in input.chunks(size) {
                while !chunk.is_empty() {
                    last = reader.read(&mut chunk, MAX).or(last);
                }
                assert!(
                    reader.partial.capacity() <= MAX,
                    "what is thrown away is not kept"
                );
            }
            assert_eq!(last, Some(Line::Refused(LineOffence::Endless)));
        }
    }

    #[test]
    fn an_idle_reader_holds_no_buffer() {
        let mut reader = LineReader::default();
        let line = reader.read(&mut &b"NOOP\r\n"[..], MAX);
        assert!(matches!(line, Some(Line::Complete(Cow::Borrowed(b"NOOP")))));
        assert!(reader.read(&mut &b"NO"[..], MAX).is_none());
        assert!(reader.is_amid_line());
        let line = reader.read(&mut &b"OP\r\n"[..], MAX);
        assert_eq!(line, Some(Line::Complete(Cow::Owned(b"NOOP".to_vec()))));
        assert_eq!(reader.partial.capacity(), 0);
        assert!(!reader.is_amid_line());
    }
}
