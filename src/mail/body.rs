//! The bytes of a message, as an opaque handle.
//!
//! A body is written once, piece by piece, and then shared by every mailbox that holds it. It
//! grows by whole segments, never by moving, so no copy of a mail is left behind in freed memory;
//! the binary's allocator overwrites what is freed (see docs/decisions). Its bytes are paid for by
//! the [`Reservation`] that it carries: the last handle to go gives them back.

#![forbid(unsafe_code)]

use super::ledger::Reservation;
use std::fmt;
use std::sync::Arc;

/// A segment that is not the first is at least this large.
const SEGMENT_BYTES_MIN: usize = 4 << 10;

/// Segments grow with the body up to this size.
const SEGMENT_BYTES_MAX: usize = 256 << 10;

/// Memory that a finished body may hold beyond its bytes.
const SLACK_BYTES_MAX: usize = 256;

/// A finished body. Clones share the bytes.
#[derive(Clone)]
pub struct Body {
    content: Arc<Content>,
}

struct Content {
    segments: Vec<Vec<u8>>,
    len: usize,
    /// Held for its drop: the bytes go back to the ledger with the content.
    _reservation: Reservation,
}

impl Body {
    /// Its length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.content.len
    }

    /// Whether it has no bytes at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its bytes, in order, in pieces of no particular size.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.content.segments.iter().map(Vec::as_slice)
    }

    /// A copy of its first bytes, `bytes_max` at most.
    #[must_use]
    pub fn head(&self, bytes_max: usize) -> Vec<u8> {
        let mut head = Vec::with_capacity(bytes_max.min(self.len()));
        for segment in self.segments() {
            let room = bytes_max - head.len();
            head.extend_from_slice(&segment[..segment.len().min(room)]);
        }
        head
    }
}

impl fmt::Debug for Body {
    /// Its length, never its bytes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.len())
    }
}

/// A body that is being written. It never holds more bytes than are reserved for it.
pub struct BodyWriter {
    segments: Vec<Vec<u8>>,
    len: usize,
    reservation: Reservation,
}

impl BodyWriter {
    /// An empty body that may grow to what `reservation` holds.
    #[must_use]
    pub const fn new(reservation: Reservation) -> Self {
        Self {
            segments: Vec::new(),
            len: 0,
            reservation,
        }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been written.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that may be written before the reservation must grow.
    #[must_use]
    pub fn room(&self) -> usize {
        usize::try_from(self.reservation.bytes())
            .unwrap_or(usize::MAX)
            .saturating_sub(self.len)
    }

    /// Makes room.
    pub fn grow(&mut self, by: Reservation) {
        self.reservation.absorb(by);
    }

    /// Appends as many of `bytes` as there is room for; says how many.
    pub fn write(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.room());
        let mut rest = &bytes[..taken];
        while !rest.is_empty() {
            let segment = self.segment_for(rest.len());
            let fits = rest.len().min(segment.capacity() - segment.len());
            segment.extend_from_slice(&rest[..fits]);
            rest = &rest[fits..];
        }
        self.len += taken;
        taken
    }

    /// Closes the body; what was reserved but not written goes back.
    #[must_use]
    pub fn finish(mut self) -> Body {
        if let Some(last) = self.segments.last_mut()
            && last.capacity() - last.len() > SLACK_BYTES_MAX
        {
            last.shrink_to_fit();
        }
        self.reservation.shrink_to(self.len as u64);
        Body {
            content: Arc::new(Content {
                segments: self.segments,
                len: self.len,
                _reservation: self.reservation,
            }),
        }
    }

    /// The last segment if it has room, else a new one. The first write gets a segment of just its size, and
    /// so does a long one: most messages come as their trace headers and one piece, and are then held exactly.
    fn segment_for(&mut self, wanted: usize) -> &mut Vec<u8> {
        let full = self
            .segments
            .last()
            .is_none_or(|segment| segment.len() == segment.capacity());
        if full {
            let least = match self.len {
                0 => 0,
                _ if wanted >= SEGMENT_BYTES_MIN && self.segments.len() == 1 => 0,
                len => len.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX),
            };
            let size = least.max(wanted.min(SEGMENT_BYTES_MAX));
            self.segments.push(Vec::with_capacity(size));
        }
        self.segments
            .last_mut()
            .unwrap_or_else(|| unreachable!("a segment was pushed when there was none"))
    }
}

impl fmt::Debug for BodyWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyWriter({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ledger::Ledger;
    use super::*;

    #[test]
    fn the_bytes_come_back_in_order_whatever_the_pieces() {
        let text: Vec<u8> = (0..700_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        for piece in [1, 7, 4096, 100_000, text.len()] {
            let ledger = Ledger::new(1 << 20);
            let mut writer = BodyWriter::new(ledger.reserve(1 << 20).expect("fits"));
            for chunk in text.chunks(piece) {
                assert_eq!(writer.write(chunk), chunk.len());
            }
            let body = writer.finish();
            assert_eq!(body.segments().collect::<Vec<_>>().concat(), text);
            assert_eq!(ledger.used(), text.len() as u64);
            assert_eq!(body.head(10), text[..10]);
            drop(body);
            assert_eq!(ledger.used(), 0);
        }
    }

    #[test]
    fn nothing_is_written_beyond_the_reservation() {
        let ledger = Ledger::new(100);
        let mut writer = BodyWriter::new(ledger.reserve(3).expect("fits"));
        assert_eq!(writer.write(b"abcdef"), 3);
        assert_eq!(writer.write(b"def"), 0);
        writer.grow(ledger.reserve(2).expect("fits"));
        assert_eq!(writer.write(b"def"), 2);
        assert_eq!(
            writer.finish().segments().collect::<Vec<_>>().concat(),
            b"abcde"
        );
    }

    #[test]
    fn handles_share_and_the_last_one_pays_back() {
        let ledger = Ledger::new(100);
        let mut writer = BodyWriter::new(ledger.reserve(10).expect("fits"));
        writer.write(b"hello");
        let (first, second) = {
            let body = writer.finish();
            (body.clone(), body)
        };
        drop(first);
        assert_eq!(ledger.used(), 5);
        drop(second);
        assert_eq!(ledger.used(), 0);
    }
}
