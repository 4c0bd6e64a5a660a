//! The bytes of a message, as an opaque handle.
//!
//! A body is written once, piece by piece, and then never changed. It grows by whole segments,
//! never by moving, so no copy of a mail is left behind in freed memory; the binary's allocator
//! overwrites what is freed (see docs/decisions). Its bytes are paid for by the [`Reservation`] that
//! it carries and that gives them back when the body goes. Mailboxes share the
//! [`Message`](super::Message) that it belongs to.
//!
//! Most messages come in one piece: those take two allocations, one for the trace headers and one
//! of just the size of the rest.

#![forbid(unsafe_code)]

use super::ledger::Reservation;
use std::fmt;

/// A segment that is not the first of the content is at least this large.
const SEGMENT_BYTES_MIN: usize = 4 << 10;

/// Segments grow with the body up to this size.
const SEGMENT_BYTES_MAX: usize = 256 << 10;

/// Memory that a finished body may hold beyond its bytes.
const SLACK_BYTES_MAX: usize = 256;

/// A finished body.
pub struct Body {
    segments: Segments,
    len: usize,
    /// Held for its drop: the bytes go back to the ledger with the body.
    _reservation: Reservation,
}

impl Body {
    /// Its length in bytes.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Its bytes, in order, in pieces of no particular size.
    pub fn segments(&self) -> impl Iterator<Item = &[u8]> {
        self.segments.iter()
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

/// The bytes, in order. The first two have places of their own, so that a list of segments is made
/// only for messages that need more.
#[derive(Default)]
struct Segments {
    /// What the body began with; never written to.
    head: Vec<u8>,
    first: Vec<u8>,
    more: Vec<Vec<u8>>,
}

impl Segments {
    fn iter(&self) -> impl Iterator<Item = &[u8]> {
        [&self.head, &self.first]
            .into_iter()
            .chain(&self.more)
            .map(Vec::as_slice)
            .filter(|segment| !segment.is_empty())
    }

    /// The one that is written to.
    fn last(&mut self) -> &mut Vec<u8> {
        self.more.last_mut().unwrap_or(&mut self.first)
    }

    /// The last segment if it has room, else a new one. The first write gets a segment of just its
    /// size; the others grow with `len`, the length of the body so far.
    fn with_room(&mut self, len: usize, wanted: usize) -> &mut Vec<u8> {
        let wanted = wanted.min(SEGMENT_BYTES_MAX);
        if self.first.capacity() == 0 {
            self.first.reserve_exact(wanted);
        } else if self.last().len() == self.last().capacity() {
            let size = wanted.max(len.clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES_MAX));
            self.more.push(Vec::with_capacity(size));
        }
        self.last()
    }
}

/// A body that is being written. It never holds more bytes than are reserved for it.
pub struct BodyWriter {
    segments: Segments,
    len: usize,
    reservation: Reservation,
}

impl BodyWriter {
    /// An empty body that may grow to what `reservation` holds.
    #[must_use]
    pub fn new(reservation: Reservation) -> Self {
        Self::beginning_with(Vec::new(), reservation)
    }

    /// A body that begins with `head`, which counts against `reservation`.
    #[must_use]
    pub fn beginning_with(head: Vec<u8>, reservation: Reservation) -> Self {
        debug_assert!(head.len() as u64 <= reservation.bytes(), "paid for first");
        Self {
            len: head.len(),
            segments: Segments {
                head,
                ..Segments::default()
            },
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
            let segment = self.segments.with_room(self.len, rest.len());
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
        let last = self.segments.last();
        if last.capacity() - last.len() > SLACK_BYTES_MAX {
            last.shrink_to_fit();
        }
        self.reservation.shrink_to(self.len as u64);
        Body {
            segments: self.segments,
            len: self.len,
            _reservation: self.reservation,
        }
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
    fn a_message_that_comes_in_one_piece_is_held_in_two_exactly() {
        let ledger = Ledger::new(1 << 20);
        let head = b"Received: here\r\n".to_vec();
        let mut writer = BodyWriter::beginning_with(head, ledger.reserve(9000).expect("fits"));
        assert_eq!(writer.write(&[b'x'; 5000]), 5000);
        let body = writer.finish();
        let lengths: Vec<usize> = body.segments().map(<[u8]>::len).collect();
        assert_eq!(lengths, [16, 5000]);
        assert_eq!(body.segments.first.capacity(), 5000);
        assert_eq!((body.len(), ledger.used()), (5016, 5016));
    }

    #[test]
    fn what_is_dropped_pays_back() {
        let ledger = Ledger::new(100);
        let mut writer = BodyWriter::new(ledger.reserve(10).expect("fits"));
        assert_eq!((writer.write(b"hello"), ledger.used()), (5, 10));
        let body = writer.finish();
        assert_eq!(ledger.used(), 5);
        drop(body);
        assert_eq!(ledger.used(), 0);
    }
}
