//! Messages, made before the run: only a marker is written into each of them when it is sent.

use crate::failure::Failure;
use crate::job::Size;
use crate::sizes::Sizes;
use std::io::Write as _;

/// The word before a marker in a subject.
pub(crate) const MARK: &str = "mark-";
/// Hexadecimal digits of a marker.
pub(crate) const MARKER_DIGITS: usize = 16;

const HEADER: &str = "From: Load <load@client.example>\r\nTo: Load <load@mayfly.test>\r\nSubject: mark-0000000000000000\r\n\
    Date: Thu, 26 Nov 2026 04:00:00 +0000\r\nMessage-ID: <mark-0000000000000000@client.example>\r\nMIME-Version: 1.0\r\n\r\n";
/// Bytes of a line of a body, its CRLF included.
const LINE: usize = 74;
/// Each line of this number begins with a dot: transparency is part of the load.
const DOT_EVERY: usize = 32;

/// Bodies of every size that a load needs.
#[derive(Debug)]
pub(crate) struct Payloads {
    sizes: Sizes,
    /// By class: as DATA has them, dots doubled and the end mark behind; or as they are, for chunks.
    bodies: Vec<Vec<u8>>,
    markers: Vec<usize>,
}

impl Payloads {
    pub(crate) fn new(size: &Size, chunking: bool) -> Result<Self, Failure> {
        let sizes = Sizes::new(size)?;
        let form = |bytes: &u64| {
            let text = text(usize::try_from(*bytes).unwrap_or(usize::MAX));
            if chunking { text } else { stuffed(&text) }
        };
        let bodies = sizes.classes().iter().map(form).collect();
        let markers = HEADER
            .match_indices(MARK)
            .map(|(at, _)| at + MARK.len())
            .collect();
        Ok(Self {
            sizes,
            bodies,
            markers,
        })
    }

    /// Writes the header of a message behind what `buffer` holds.
    pub(crate) fn header(&self, marker: u64, buffer: &mut Vec<u8>) {
        let start = buffer.len();
        buffer.extend_from_slice(HEADER.as_bytes());
        for at in &self.markers {
            let place = start + at;
            write_hex(marker, &mut buffer[place..place + MARKER_DIGITS]);
        }
    }

    /// Bytes of a header.
    pub(crate) fn header_bytes(&self) -> usize {
        HEADER.len()
    }

    /// What follows the header of message `number`.
    pub(crate) fn body(&self, number: u64) -> &[u8] {
        &self.bodies[self.sizes.class(number)]
    }
}

fn write_hex(value: u64, place: &mut [u8]) {
    for (index, digit) in place.iter_mut().rev().enumerate() {
        let nibble = (value >> (4 * index)) & 0xf;
        *digit = b"0123456789abcdef"[usize::try_from(nibble).unwrap_or_default()];
    }
}

/// The markers that stand in a text, in order.
pub(crate) fn markers(text: &[u8]) -> impl Iterator<Item = u64> + '_ {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest
                .windows(MARK.len())
                .position(|window| window == MARK.as_bytes())?;
            let digits = rest.get(at + MARK.len()..at + MARK.len() + MARKER_DIGITS)?;
            rest = &rest[at + MARK.len()..];
            let marker = std::str::from_utf8(digits)
                .ok()
                .and_then(|digits| u64::from_str_radix(digits, 16).ok());
            if marker.is_some() {
                return marker;
            }
        }
    })
}

/// So many bytes of text in lines; it ends with CRLF. At least two.
fn text(bytes: usize) -> Vec<u8> {
    const WORDS: &[u8] =
        b"The mayfly lives for a day and the mail that it carries for an hour or so ";
    let mut text = Vec::with_capacity(bytes);
    let mut line = 0;
    while text.len() < bytes {
        let left = bytes - text.len();
        // A line of one byte cannot end; the one before it takes the byte.
        let length = if left <= LINE {
            left
        } else if left == LINE + 1 {
            LINE - 1
        } else {
            LINE
        };
        for at in 0..length.saturating_sub(2) {
            text.push(WORDS[(at + line) % WORDS.len()]);
        }
        if line % DOT_EVERY == DOT_EVERY - 1 && length > 2 {
            let first = text.len() - (length - 2);
            text[first] = b'.';
        }
        text.extend_from_slice(b"\r\n");
        line += 1;
    }
    text
}

/// A text as DATA has it (RFC 5321 section 4.5.2): a dot at the start of a line doubled, the end mark behind.
pub(crate) fn stuffed(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / LINE / DOT_EVERY + 8);
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    out.extend_from_slice(b".\r\n");
    out
}

/// Where the chunks of a message of so many bytes end (RFC 3030): the last one may be smaller. A size of 0 means one chunk.
pub(crate) fn chunks(bytes: usize, chunk_bytes: usize) -> impl Iterator<Item = (usize, bool)> {
    let each = if chunk_bytes == 0 {
        bytes.max(1)
    } else {
        chunk_bytes
    };
    let count = bytes.div_ceil(each).max(1);
    (1..=count).map(move |index| ((index * each).min(bytes), index == count))
}

/// The line before a chunk.
pub(crate) fn bdat(bytes: usize, last: bool, buffer: &mut Vec<u8>) {
    let last = if last { " LAST" } else { "" };
    // Writing into memory does not fail.
    let _ = write!(buffer, "BDAT {bytes}{last}\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The slow way back: what a receiver makes of it.
    fn unstuffed(wire: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for line in wire.split_inclusive(|byte| *byte == b'\n') {
            if line == b".\r\n" {
                return out;
            }
            out.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        }
        panic!("no end");
    }

    proptest! {
        #[test]
        fn a_text_is_as_long_as_it_was_asked_to_be(bytes in 2_usize..20_000) {
            let text = text(bytes);
            prop_assert_eq!(text.len(), bytes);
            prop_assert!(text.ends_with(b"\r\n"));
            prop_assert!(text.split(|byte| *byte == b'\n').all(|line| line.is_empty() || line.ends_with(b"\r")));
            prop_assert_eq!(unstuffed(&stuffed(&text)), text);
        }

        #[test]
        fn chunks_cover_a_message_once(bytes in 0_usize..100_000, chunk in 0_usize..70_000) {
            let ends: Vec<(usize, bool)> = chunks(bytes, chunk).take(200_000).collect();
            prop_assert_eq!(ends.last(), Some(&(bytes, true)));
            prop_assert_eq!(ends.iter().filter(|(_, last)| *last).count(), 1);
            let mut from = 0;
            for (end, _) in ends {
                prop_assert!(end > from || bytes == 0);
                prop_assert!(chunk == 0 || end - from <= chunk);
                from = end;
            }
        }
    }

    #[test]
    fn a_chunk_says_how_long_it_is() {
        let mut buffer = Vec::new();
        bdat(1000, false, &mut buffer);
        bdat(0, true, &mut buffer);
        assert_eq!(buffer, b"BDAT 1000\r\nBDAT 0 LAST\r\n");
    }

    #[test]
    fn a_marker_goes_in_and_comes_out() {
        let payloads = Payloads::new(&Size::Fixed(5000), false).expect("a size");
        let mut message = b"before".to_vec();
        payloads.header(0x0000_0003_0000_00ff, &mut message);
        assert_eq!(message.len(), 6 + payloads.header_bytes());
        let found: Vec<u64> = markers(&message).collect();
        assert_eq!(
            found,
            [0x3_0000_00ff, 0x3_0000_00ff],
            "in the subject and in the Message-ID"
        );
        assert_eq!(markers(b"mark-zz mark-000000000000000g mark-0").count(), 0);
    }

    #[test]
    fn some_lines_begin_with_a_dot() {
        let text = text(50_000);
        assert!(text.windows(3).any(|window| window == b"\r\n."));
        assert!(stuffed(&text).windows(4).any(|window| window == b"\r\n.."));
    }
}
