//! From bytes to the content of a message, after DATA.
//!
//! Two rules of RFC 5321 section 4.5.2 hold for every line, the first included: a line that is
//! just a dot ends the data, and any other line that begins with a dot loses it. Only CRLF ends a
//! line. A CR or LF alone, or a NUL, is remembered and reading goes on to the *true* end: whoever
//! sees another end than the sender lets a second message be smuggled in. By choice a CR or LF
//! alone becomes a space instead ([`Newlines::Normalize`]), which nobody takes for a line's end.
//!
//! What BDAT counts (RFC 3030) is read by the same rules, without dots: see [`chunk`](super::chunk).

#![forbid(unsafe_code)]

use super::Newlines;
use memchr::{memchr, memchr3};

/// Undoes the transparency of DATA. It begins at the start of a line: the CRLF of the command
/// itself stands before the first one.
#[derive(Debug)]
pub struct DataReader {
    at: At,
    offence: Option<DataOffence>,
    newlines: Newlines,
    /// Whether dots at the start of lines mean something: not in chunks.
    dots: bool,
}

/// Where the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    /// Behind a CRLF.
    LineStart,
    /// Behind a dot that began a line; it is not content.
    Dot,
    /// Behind a dot that began a line and a CR.
    DotCr,
    /// Anywhere else.
    Text,
    /// Behind a CR that is kept back: what it is depends on the next byte.
    Cr,
    /// Between a CR that was delivered and its LF, which is known to come.
    Crlf,
    /// Behind the end.
    End,
}

/// What a message may not contain (RFC 5321 sections 2.3.8 and 4.1.1.4, RFC 5322 section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataOffence {
    /// A CR or an LF that is not part of a CRLF.
    BareNewline,
    /// A NUL.
    NulByte,
}

/// What the reader delivers.
#[derive(Debug, PartialEq, Eq)]
pub enum Piece<'a> {
    /// Content, as long as possible.
    Content(&'a [u8]),
    /// The next byte is content, and there is no room for it.
    Full,
    /// The data is complete; what is left of the input follows it.
    End,
    /// The input is used up.
    Starved,
}

impl Default for DataReader {
    fn default() -> Self {
        Self::new()
    }
}

impl DataReader {
    /// A reader at the start of the first line, to which a CR or LF alone is an offence.
    #[must_use]
    pub const fn new() -> Self {
        Self::with(Newlines::Strict)
    }

    /// A reader at the start of the first line.
    #[must_use]
    pub const fn with(newlines: Newlines) -> Self {
        Self {
            at: At::LineStart,
            offence: None,
            newlines,
            dots: true,
        }
    }

    /// A reader of content whose end is known otherwise: dots stay, and mean nothing.
    pub(super) const fn without_dots(newlines: Newlines) -> Self {
        Self {
            dots: false,
            ..Self::with(newlines)
        }
    }

    /// The first offence so far.
    #[must_use]
    pub const fn offence(&self) -> Option<DataOffence> {
        self.offence
    }

    /// Reads on in `input`, `room` bytes of content at most.
    pub fn read<'a>(&mut self, input: &mut &'a [u8], room: usize) -> Piece<'a> {
        loop {
            let Some(&next) = input.first() else {
                return Piece::Starved;
            };
            self.at = match (self.at, next) {
                (At::LineStart, b'.') if self.dots => At::Dot,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, b'\n') => {
                    *input = &input[1..];
                    self.at = At::End;
                    return Piece::End;
                }
                (At::End, _) => return Piece::End,
                (At::LineStart | At::Dot | At::Text, _) => {
                    self.at = At::Text;
                    return self.read_text(input, room);
                }
                (At::Cr, b'\n') | (At::Crlf, _) => return self.read_crlf(input, room),
                (At::DotCr | At::Cr, _) => return self.read_stray_cr(room),
            };
            *input = &input[1..];
        }
    }

    /// Nothing follows: a CR that is kept back is one that stands alone.
    pub(super) fn finish(&mut self, room: usize) -> Piece<'static> {
        if self.at == At::Cr {
            self.read_stray_cr(room)
        } else {
            Piece::End
        }
    }

    /// Reads content that reaches over as many lines as it can: up to a dot that must go, or a
    /// CR or LF that must become a space.
    fn read_text<'a>(&mut self, input: &mut &'a [u8], room: usize) -> Piece<'a> {
        let window = &input[..input.len().min(room)];
        if window.is_empty() {
            return Piece::Full;
        }
        let mut place = match self.dots {
            true => plain_len::<true>(window),
            false => plain_len::<false>(window),
        };
        let mut used = None;
        self.at = loop {
            let Some(found) = memchr3(b'\r', b'\n', b'\0', &window[place..]) else {
                place = window.len();
                break At::Text;
            };
            let offender = place + found;
            place = offender + 1;
            match (window[offender], input.get(place)) {
                (b'\r', None) => {
                    place = offender;
                    used = Some(offender + 1);
                    break At::Cr;
                }
                (b'\r', Some(b'\n')) if place == window.len() => break At::Crlf,
                (b'\r', Some(b'\n')) => {
                    place += 1;
                    let next = window.get(place);
                    if self.dots && next.is_none_or(|next| *next == b'.') {
                        break At::LineStart;
                    }
                }
                (b'\0', _) => self.remember(DataOffence::NulByte),
                _ if self.newlines == Newlines::Strict => self.remember(DataOffence::BareNewline),
                _ if offender == 0 => {
                    *input = &input[1..];
                    return Piece::Content(b" ");
                }
                _ => {
                    place = offender;
                    break At::Text;
                }
            }
        };
        let content = &window[..place];
        *input = &input[used.unwrap_or(place)..];
        if content.is_empty() {
            Piece::Starved
        } else {
            Piece::Content(content)
        }
    }

    /// Reads the CRLF, or the LF of one, that was torn apart.
    fn read_crlf<'a>(&mut self, input: &mut &'a [u8], room: usize) -> Piece<'a> {
        let whole: &[u8] = match self.at {
            At::Cr => b"\r\n",
            _ => b"\n",
        };
        if room < whole.len() {
            return match room {
                0 => Piece::Full,
                _ => {
                    self.at = At::Crlf;
                    Piece::Content(b"\r")
                }
            };
        }
        self.at = At::LineStart;
        *input = &input[1..];
        Piece::Content(whole)
    }

    /// Delivers the CR that was kept back and is not part of a CRLF.
    fn read_stray_cr<'a>(&mut self, room: usize) -> Piece<'a> {
        if room == 0 {
            return Piece::Full;
        }
        self.at = At::Text;
        match self.newlines {
            Newlines::Normalize => Piece::Content(b" "),
            Newlines::Strict => {
                self.remember(DataOffence::BareNewline);
                Piece::Content(b"\r")
            }
        }
    }

    fn remember(&mut self, offence: DataOffence) {
        self.offence.get_or_insert(offence);
    }
}

/// How many bytes are looked at together.
const BLOCK: usize = 64;

/// The length of a beginning of `text`, in blocks, that is content as it stands: only CRLF ends its
/// lines, none of which begins with a dot (if `DOTS` matter), and there is no NUL. It knows nothing
/// of the byte before `text`, which must not be a CR, nor whether a last CR is followed by an LF.
///
/// This says nothing that the reader would not find out by itself, line by line, at less than half
/// the speed: the compiler turns the comparison of whole blocks into vector instructions.
fn plain_len<const DOTS: bool>(text: &[u8]) -> usize {
    if text.first() == Some(&b'\n') {
        return 0;
    }
    let mut place = 0;
    while let Some(blocks) = text[place..].first_chunk::<{ BLOCK + 1 }>() {
        let (block, behind) = (&blocks[..BLOCK], &blocks[1..]);
        let faults = block.iter().zip(behind).fold(0, |faults, (byte, next)| {
            let torn = u8::from((*byte == b'\r') != (*next == b'\n'));
            let dot = u8::from(DOTS) & u8::from(*byte == b'\n') & u8::from(*next == b'.');
            faults | torn | dot | u8::from(*byte == b'\0')
        });
        if faults != 0 {
            break;
        }
        place += BLOCK;
    }
    // A CR at the end is left for the reader, who looks at what follows it.
    place - usize::from(text[..place].ends_with(b"\r"))
}

/// Counts the Received headers of a message, to find loops (RFC 5321 section 6.3). It looks at the
/// header only: behind the first empty line it costs nothing.
#[derive(Debug)]
pub struct HopCounter {
    at: InHeader,
    hops: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InHeader {
    /// In the first letters of a line, all of which are those of `received:`; so many have come.
    Name(usize),
    /// In the rest of a line.
    Line,
    /// At a CR that began a line.
    EmptyLine,
    /// Behind the header.
    Over,
}

impl HopCounter {
    const NAME: &'static [u8] = b"received:";

    /// A counter at the start of the header.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            at: InHeader::Name(0),
            hops: 0,
        }
    }

    /// How many there were so far.
    #[must_use]
    pub const fn hops(&self) -> u32 {
        self.hops
    }

    /// Looks at the next piece of content.
    pub fn observe(&mut self, mut content: &[u8]) {
        while let Some(&next) = content.first() {
            self.at = match self.at {
                InHeader::Over => return,
                InHeader::Line => match memchr(b'\n', content) {
                    None => return,
                    Some(end) => {
                        content = &content[end..];
                        InHeader::Name(0)
                    }
                },
                InHeader::EmptyLine if next == b'\n' => InHeader::Over,
                InHeader::Name(0) if next == b'\r' => InHeader::EmptyLine,
                InHeader::Name(come) if next.eq_ignore_ascii_case(&Self::NAME[come]) => {
                    if come + 1 == Self::NAME.len() {
                        self.hops = self.hops.saturating_add(1);
                        InHeader::Line
                    } else {
                        InHeader::Name(come + 1)
                    }
                }
                InHeader::Name(_) | InHeader::EmptyLine => {
                    self.at = InHeader::Line;
                    continue;
                }
            };
            content = &content[1..];
        }
    }
}

impl Default for HopCounter {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, PartialEq, Eq)]
    struct Outcome {
        content: Vec<u8>,
        offended: bool,
        /// What follows the end; `None` when there is no end.
        rest: Option<Vec<u8>>,
    }

    /// The rules as the standard writes them, a byte at a time, with no thought of speed.
    fn reference(input: &[u8], newlines: Newlines) -> Outcome {
        let mut content = Vec::new();
        let mut offended = false;
        let mut rest = input;
        loop {
            let is_line_start = content.is_empty() && rest.len() == input.len()
                || input[..input.len() - rest.len()].ends_with(b"\r\n");
            if is_line_start && rest.starts_with(b".\r\n") {
                let rest = Some(rest[3..].to_vec());
                return Outcome {
                    content,
                    offended,
                    rest,
                };
            }
            if is_line_start && rest.starts_with(b".") {
                rest = &rest[1..];
            }
            let read = &input[..input.len() - rest.len()];
            let Some(&byte) = rest.first() else {
                return Outcome {
                    content,
                    offended,
                    rest: None,
                };
            };
            let is_stray = match byte {
                b'\r' => rest.len() > 1 && rest[1] != b'\n',
                b'\n' => !read.ends_with(b"\r"),
                _ => false,
            };
            if is_stray && newlines == Newlines::Normalize {
                content.push(b' ');
            } else {
                offended |= is_stray || byte == b'\0';
                content.push(byte);
            }
            rest = &rest[1..];
        }
    }

    /// What the reader makes of it, in chunks of `size` and with `room` bytes of room at a time.
    fn read(mut reader: DataReader, input: &[u8], size: usize, room: usize) -> Outcome {
        let mut content = Vec::new();
        let mut left = input;
        while !left.is_empty() {
            let mut chunk = &left[..left.len().min(size)];
            left = &left[chunk.len()..];
            loop {
                match reader.read(&mut chunk, room) {
                    Piece::Content(piece) => {
                        assert!(!piece.is_empty() && piece.len() <= room);
                        content.extend_from_slice(piece);
                    }
                    Piece::Full => unreachable!("there is always room"),
                    Piece::End => {
                        let rest = Some([chunk, left].concat());
                        let offended = reader.offence().is_some();
                        return Outcome {
                            content,
                            offended,
                            rest,
                        };
                    }
                    Piece::Starved => break,
                }
            }
        }
        let offended = reader.offence().is_some();
        Outcome {
            content,
            offended,
            rest: None,
        }
    }

    fn check(input: &[u8], content: &[u8], offended: bool, rest: Option<&[u8]>) {
        let expected = Outcome {
            content: content.to_vec(),
            offended,
            rest: rest.map(<[u8]>::to_vec),
        };
        for size in 1..=input.len() {
            for room in [1, 2, 1000] {
                assert_eq!(
                    read(DataReader::new(), input, size, room),
                    expected,
                    "chunks of {size}, room {room}"
                );
            }
        }
    }

    #[test]
    fn a_dot_alone_ends_and_other_dots_go() {
        check(b".\r\nNEXT", b"", false, Some(b"NEXT"));
        check(b"a\r\n.\r\nNEXT", b"a\r\n", false, Some(b"NEXT"));
        check(
            b"..a\r\n..\r\n...\r\n.b\r\n.\r\n",
            b".a\r\n.\r\n..\r\nb\r\n",
            false,
            Some(b""),
        );
        check(b"a\r\n. \r\nb", b"a\r\n \r\nb", false, None);
        check(b"a.\r\n.\r\n", b"a.\r\n", false, Some(b""));
        check(b"\r\n\r\n.\r\n", b"\r\n\r\n", false, Some(b""));
    }

    #[test]
    fn no_other_end_is_known() {
        for hostile in [
            &b"\n.\n"[..],
            b"\n.\r\n",
            b"\r\n.\n",
            b"\r.\r",
            b"\r.\n",
            b"\n.\r",
            b"\r.\r\n",
            b"\r\n.\r",
            b"\r\n.\r\r\n",
            b"\r\r\n.\r\r\n",
            b"\r\n\0.\r\n",
            b"\r\n.\0\r\n",
        ] {
            let input = [b"a", hostile, b"b\r\n.\r\nNEXT"].concat();
            for size in 1..=input.len() {
                let outcome = read(DataReader::new(), &input, size, 1000);
                assert!(outcome.offended, "{hostile:?}");
                assert_eq!(outcome.rest.as_deref(), Some(&b"NEXT"[..]), "{hostile:?}");
                let reader = DataReader::with(Newlines::Normalize);
                let outcome = read(reader, &input, size, 1000);
                assert_eq!(outcome.offended, hostile.contains(&b'\0'), "{hostile:?}");
                assert_eq!(outcome.rest.as_deref(), Some(&b"NEXT"[..]), "{hostile:?}");
            }
        }
    }

    #[test]
    fn without_room_nothing_is_lost() {
        let mut reader = DataReader::new();
        let mut input = &b"ab\r\n.\r\n"[..];
        assert_eq!(reader.read(&mut input, 3), Piece::Content(b"ab\r"));
        assert_eq!(reader.read(&mut input, 0), Piece::Full);
        assert_eq!(reader.read(&mut input, 1), Piece::Content(b"\n"));
        assert_eq!(reader.read(&mut input, 0), Piece::End);
        assert_eq!(reader.offence(), None);
        let mut reader = DataReader::new();
        let mut torn = &b"a\r"[..];
        assert_eq!(reader.read(&mut torn, 2), Piece::Content(b"a"));
        let mut torn = &b"\n"[..];
        assert_eq!(reader.read(&mut torn, 1), Piece::Content(b"\r"));
        assert_eq!(reader.read(&mut torn, 0), Piece::Full);
        assert_eq!(reader.read(&mut torn, 1), Piece::Content(b"\n"));
    }

    #[test]
    fn a_stray_cr_or_lf_becomes_a_space_by_choice() {
        for (input, content) in [
            (
                &b"Subject: a\nBcc: v@x\r\n.\r\n"[..],
                &b"Subject: a Bcc: v@x\r\n"[..],
            ),
            (b"\n.\n\r\n.\r\n", b" . \r\n"),
            (b"\r\r\n.\r\n", b" \r\n"),
            (b".\r.\r\n.\r\n", b" .\r\n"),
            (b".\n.\r\n.\r\n", b" .\r\n"),
            (b"\n\r\n\n.\r\n\r\n.\r\n", b" \r\n .\r\n\r\n"),
        ] {
            for size in 1..=input.len() {
                for room in [1, 2, 1000] {
                    let reader = DataReader::with(Newlines::Normalize);
                    let outcome = read(reader, input, size, room);
                    assert_eq!(
                        outcome.content.escape_ascii().to_string(),
                        content.escape_ascii().to_string()
                    );
                    assert!(!outcome.offended && outcome.rest == Some(Vec::new()));
                }
            }
        }
    }

    #[test]
    fn hops_are_counted_in_the_header_only() {
        let text = b"Received: a\r\nreceived:b\r\n Received: folded\r\nX-Received: c\r\n\
            Receive: d\r\nRECEIVED:\r\n\r\nReceived: in the body\r\n";
        for size in 1..=text.len() {
            let mut counter = HopCounter::new();
            text.chunks(size).for_each(|piece| counter.observe(piece));
            assert_eq!(counter.hops(), 3, "chunks of {size}");
        }
    }

    proptest! {
        #[test]
        fn the_reader_agrees_with_the_reference(
            fragments in prop::collection::vec(
                prop::sample::select(vec![&b"\r\n"[..], b".", b"\r", b"\n", b"\0", b"a", b"xyz", b"\r\n.\r\n", b"\r\n..", &[b'x'; 50], &[b'x'; BLOCK]]),
                0..24,
            ),
            size in prop_oneof![1_usize..12, 50_usize..2000],
            room in prop_oneof![1_usize..12, 50_usize..2000],
        ) {
            let input = fragments.concat();
            for newlines in [Newlines::Strict, Newlines::Normalize] {
                let expected = reference(&input, newlines);
                let outcome = read(DataReader::with(newlines), &input, size, room);
                prop_assert_eq!(outcome.offended, expected.offended);
                // Without an end the reader may still hold a CR back that the reference has.
                if expected.rest.is_some() {
                    prop_assert_eq!(outcome, expected);
                } else {
                    prop_assert!(outcome.rest.is_none() && expected.content.starts_with(&outcome.content));
                }
            }
        }
    }
}
