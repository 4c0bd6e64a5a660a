//! From bytes to the content of a message, behind BDAT (RFC 3030).
//!
//! A chunk is counted beforehand: its bytes are content whatever they look like, and no dot among
//! them means anything. What a message may not contain behind DATA it may not contain here either,
//! unless it was announced as binary (`BODY=BINARYMIME`). A CRLF may be torn between two chunks.
//!
//! Nothing is copied or allocated for a chunk, so many small ones cost no more memory than a large one.

#![forbid(unsafe_code)]

use super::data::{DataOffence, DataReader, Piece};
use super::transaction::received_bytes_max;
use super::{Limits, Newlines};
use crate::clock::Instant;
use std::time::Duration;

/// The bytes that a BDAT announced.
#[derive(Clone, Copy, Debug)]
pub struct Chunk {
    bytes: u64,
    bytes_left: u64,
    is_last: bool,
    begun_at: Instant,
}

impl Chunk {
    /// As many `bytes` as BDAT said, at `now`.
    #[must_use]
    pub const fn new(bytes: u64, is_last: bool, now: Instant) -> Self {
        Self {
            bytes,
            bytes_left: bytes,
            is_last,
            begun_at: now,
        }
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Whether it is the last of its message.
    #[must_use]
    pub const fn is_last(&self) -> bool {
        self.is_last
    }

    /// When it is too slow: as data behind DATA, but each chunk for itself.
    pub(super) fn deadline(&self, limits: &Limits) -> Instant {
        data_deadline(self.begun_at, self.bytes - self.bytes_left, limits)
    }

    /// Takes from `input` what belongs to it and throws it away, as much as a message may have.
    pub(super) fn discard(&mut self, input: &mut &[u8], limits: &Limits) -> Discarded {
        let discarded = self.bytes - self.bytes_left;
        let allowed = received_bytes_max(limits).saturating_sub(discarded);
        let there = self.window(input).len();
        let len = there.min(usize::try_from(allowed).unwrap_or(usize::MAX));
        self.take(input, len);
        match self.bytes_left {
            0 => Discarded::All,
            _ if len < there => Discarded::TooMuch,
            _ => Discarded::SoFar,
        }
    }

    /// What of `input` belongs to it.
    fn window<'a>(&self, input: &&'a [u8]) -> &'a [u8] {
        let left = usize::try_from(self.bytes_left).unwrap_or(usize::MAX);
        &input[..input.len().min(left)]
    }

    fn take(&mut self, input: &mut &[u8], len: usize) {
        *input = &input[len..];
        self.bytes_left -= len as u64;
    }
}

/// How far a chunk that nobody wants was thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Discarded {
    /// To its end.
    All,
    /// As far as it has come.
    SoFar,
    /// More of it has come than is thrown away.
    TooMuch,
}

/// When data that began to come at `begun_at` is too slow: after `data_timeout`, and later by the
/// time that the bytes received so far are allowed.
pub(super) fn data_deadline(begun_at: Instant, bytes_received: u64, limits: &Limits) -> Instant {
    let bytes_per_second = limits.data_bytes_per_second_min.0.max(1);
    let earned = bytes_received.saturating_mul(1000) / bytes_per_second;
    begun_at
        .plus(limits.data_timeout.0)
        .plus(Duration::from_millis(earned))
}

/// Reads the chunks of one message.
#[derive(Debug)]
pub struct ChunkReader {
    content: Content,
    chunk: Chunk,
}

/// What the message was announced as.
#[derive(Debug)]
enum Content {
    /// Lines: the rules of DATA hold.
    Lines(DataReader),
    /// Anything.
    Binary,
}

impl ChunkReader {
    /// A reader of lines, at the start of the first chunk.
    #[must_use]
    pub const fn of_lines(newlines: Newlines, first: Chunk) -> Self {
        Self {
            content: Content::Lines(DataReader::without_dots(newlines)),
            chunk: first,
        }
    }

    /// A reader of anything, at the start of the first chunk.
    #[must_use]
    pub const fn of_binary(first: Chunk) -> Self {
        Self {
            content: Content::Binary,
            chunk: first,
        }
    }

    /// Goes on with the next chunk; the one before has ended.
    pub fn begin(&mut self, next: Chunk) {
        debug_assert_eq!(self.chunk.bytes_left, 0, "a chunk is read to its end");
        self.chunk = next;
    }

    /// The chunk that is read, or was read last.
    #[must_use]
    pub const fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// The first offence so far.
    #[must_use]
    pub const fn offence(&self) -> Option<DataOffence> {
        match &self.content {
            Content::Lines(reader) => reader.offence(),
            Content::Binary => None,
        }
    }

    /// Reads on in `input`, `room` bytes of content at most. [`Piece::End`] is the end of the chunk;
    /// it needs no input.
    pub fn read<'a>(&mut self, input: &mut &'a [u8], room: usize) -> Piece<'a> {
        let mut window = self.chunk.window(input);
        let there = window.len();
        let piece = match &mut self.content {
            _ if there == 0 => Piece::Starved,
            Content::Lines(reader) => reader.read(&mut window, room),
            Content::Binary if room == 0 => Piece::Full,
            Content::Binary => {
                let content;
                (content, window) = window.split_at(there.min(room));
                Piece::Content(content)
            }
        };
        self.chunk.take(input, there - window.len());
        if piece != Piece::Starved || self.chunk.bytes_left > 0 {
            return piece;
        }
        match &mut self.content {
            Content::Lines(reader) if self.chunk.is_last => reader.finish(room),
            Content::Lines(_) | Content::Binary => Piece::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Instant = Instant::ZERO;

    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        content: Vec<u8>,
        offence: Option<DataOffence>,
        /// What follows the last chunk.
        rest: Vec<u8>,
    }

    /// What a message in chunks of these sizes is, with no thought of how it comes.
    fn model(content: &[u8], rest: &[u8], newlines: Newlines) -> Outcome {
        let is_stray = |place: usize| match content[place] {
            b'\r' => content.get(place + 1) != Some(&b'\n'),
            b'\n' => place == 0 || content[place - 1] != b'\r',
            _ => false,
        };
        let mut outcome = Outcome {
            content: content.to_vec(),
            offence: None,
            rest: rest.to_vec(),
        };
        for (place, byte) in content.iter().enumerate() {
            let offence = match byte {
                b'\0' => Some(DataOffence::NulByte),
                _ if !is_stray(place) => None,
                _ if newlines == Newlines::Strict => Some(DataOffence::BareNewline),
                _ => {
                    outcome.content[place] = b' ';
                    None
                }
            };
            outcome.offence = outcome.offence.or(offence);
        }
        outcome
    }

    /// What the reader makes of chunks of the sizes `chunks`, when the input comes in pieces of
    /// `size` and there are `room` bytes of room at a time.
    fn read(
        mut reader: ChunkReader,
        chunks: &[usize],
        input: &[u8],
        size: usize,
        room: usize,
    ) -> Outcome {
        let mut content = Vec::new();
        let mut pieces = input.chunks(size);
        let mut piece: &[u8] = &[];
        let mut chunks = chunks.iter().skip(1).peekable();
        loop {
            match reader.read(&mut piece, room) {
                Piece::Content(part) => {
                    assert!(!part.is_empty() && part.len() <= room);
                    content.extend_from_slice(part);
                }
                Piece::Full => unreachable!("there is always room"),
                Piece::Starved => {
                    assert!(piece.is_empty());
                    piece = pieces.next().expect("the input holds all chunks");
                }
                Piece::End if reader.chunk().is_last() => break,
                Piece::End => {
                    let bytes = *chunks.next().expect("the last one says so") as u64;
                    reader.begin(Chunk::new(bytes, chunks.peek().is_none(), NOW));
                }
            }
        }
        Outcome {
            content,
            offence: reader.offence(),
            rest: piece.iter().chain(pieces.flatten()).copied().collect(),
        }
    }

    fn first(chunks: &[usize]) -> Chunk {
        Chunk::new(chunks[0] as u64, chunks.len() == 1, NOW)
    }

    #[test]
    fn a_line_may_end_across_chunks_and_nothing_is_an_end() {
        let input = b"..\r\n.\r\nQUIT\r\n\r\n.\r\nREST";
        let len = input.len() - b"REST".len();
        let expected = model(&input[..len], b"REST", Newlines::Strict);
        assert_eq!(expected.offence, None);
        for cut in 0..=len {
            let chunks = [cut, len - cut, 0];
            for size in 1..=input.len() {
                let reader = ChunkReader::of_lines(Newlines::Strict, first(&chunks));
                assert_eq!(read(reader, &chunks, input, size, 1000), expected);
            }
        }
    }

    #[test]
    fn without_room_nothing_is_lost() {
        let mut reader = ChunkReader::of_lines(Newlines::Normalize, Chunk::new(5, true, NOW));
        let mut input = &b"a\r\nb\rNOOP"[..];
        assert_eq!(reader.read(&mut input, 2), Piece::Content(b"a\r"));
        assert_eq!(reader.read(&mut input, 0), Piece::Full);
        assert_eq!(reader.read(&mut input, 1), Piece::Content(b"\n"));
        assert_eq!(reader.read(&mut input, 9), Piece::Content(b"b"));
        assert_eq!(reader.read(&mut input, 0), Piece::Full);
        assert_eq!(reader.read(&mut input, 1), Piece::Content(b" "));
        assert_eq!(reader.read(&mut input, 0), Piece::End);
        assert_eq!(input, b"NOOP");
    }

    #[test]
    fn what_is_thrown_away_is_bounded() {
        let limits = Limits {
            message_bytes_max: crate::settings::Bytes(100),
            ..Limits::default()
        };
        let allowed = 100 + 50 + 1024;
        let input = vec![b'x'; allowed + 1];
        let mut chunk = Chunk::new(allowed as u64, true, NOW);
        let mut left = &input[..];
        assert_eq!(chunk.discard(&mut left, &limits), Discarded::All);
        assert_eq!(left.len(), 1);
        let mut chunk = Chunk::new(u64::MAX, true, NOW);
        let mut left = &input[..allowed];
        assert_eq!(chunk.discard(&mut left, &limits), Discarded::SoFar);
        assert_eq!(chunk.discard(&mut &input[..1], &limits), Discarded::TooMuch);
    }

    proptest! {
        #[test]
        fn the_reader_agrees_with_the_model_at_every_cut(
            fragments in prop::collection::vec(
                prop::sample::select(vec![&b"\r\n"[..], b".", b"\r", b"\n", b"\0", b"a", b"\r\n.\r\n", &[b'x'; 70]]),
                0..16,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..5),
            rest in prop::sample::select(vec![&b""[..], b"\n", b"\r\n", b"BDAT 5\r\n"]),
            size in prop_oneof![1_usize..12, 50_usize..500],
            room in prop_oneof![1_usize..12, 50_usize..500],
        ) {
            let content = fragments.concat();
            let input = [&content, rest].concat();
            let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(content.len() + 1)).collect();
            ends.push(content.len());
            ends.sort_unstable();
            let mut start = 0;
            let chunks: Vec<usize> = ends.iter().map(|end| end - std::mem::replace(&mut start, *end)).collect();
            for newlines in [Newlines::Strict, Newlines::Normalize] {
                let reader = ChunkReader::of_lines(newlines, first(&chunks));
                let outcome = read(reader, &chunks, &input, size, room);
                prop_assert_eq!(outcome, model(&content, rest, newlines));
            }
            let outcome = read(ChunkReader::of_binary(first(&chunks)), &chunks, &input, size, room);
            prop_assert_eq!(outcome.content, content);
            prop_assert_eq!((outcome.offence, &outcome.rest[..]), (None, rest));
        }
    }
}
